"""Operations from the order to the end: once, in order, within limits, and never lost."""

from collections.abc import Sequence

import pytest

from app.kit.clock import minutes, seconds
from app.kit.errors import Invalid, InvariantViolation, Unavailable
from app.kit.stores.documents import Create, Increment, Merge, Replace, Write
from app.orchestration.queue.handler import CancelRequested, Done, Handler, Handlers, Lane, Later, Run, RunOutcome
from app.orchestration.queue.operation import OperationState, Priority, SecurityLevel
from app.orchestration.queue.operation_document import path_of
from app.orchestration.queue.retry import RetryPolicy
from app.orchestration.queue.security import LevelForbidden
from orchestration.shop import Shop, Spy, order

QUICK = RetryPolicy(tries=3, first_us=seconds(2), most_us=seconds(60))


def count(run: Run) -> Sequence[Write]:
    return [Merge("counts/all", {"n": Increment(1)})]


def total(shop: Shop) -> object:
    stored = shop.documents.get("counts/all")
    return stored.fields["n"] if stored else 0


class TestTheCommonCase:
    def test_an_order_runs_once_and_ends_with_its_effect(self) -> None:
        spy = Spy(effects=count)
        shop = Shop([Handler("work", spy)])
        identity = shop.queue.enqueue(order(payload={"a": 1}))
        shop.drain()
        operation = shop.queue.get(identity)
        assert operation.state is OperationState.SUCCEEDED
        assert operation.result == {"run": 1}
        assert (total(shop), len(spy.runs)) == (1, 1)

    def test_it_costs_a_row_a_claim_and_an_end(self) -> None:
        shop = Shop([Handler("work", Spy(), level=SecurityLevel.USER)])
        shop.queue.enqueue(order())
        shop.drain()
        assert shop.documents.writes == 3
        assert shop.documents.reads == 1

    def test_an_empty_queue_costs_one_query_a_tick(self) -> None:
        shop = Shop([Handler("work", Spy())])
        shop.pass_time(minutes=60)
        assert (shop.documents.writes, shop.documents.reads) == (0, 2 * 60), "the records of two jobs"

    def test_the_order_stands_or_falls_with_its_cause(self) -> None:
        """T-38: the state change and the operation are one commit."""
        spy = Spy()
        shop = Shop([Handler("work", spy)])
        shop.documents.commit([Create("things/1", {})])
        with pytest.raises(Exception, match="exists"):
            shop.outbox.commit([Create("things/1", {}), *shop.queue.rows([order()])])
        shop.drain()
        assert spy.runs == []
        shop.outbox.commit([Create("things/2", {}), *shop.queue.rows([order()])])
        shop.drain()
        assert len(spy.runs) == 1

    def test_the_same_order_twice_is_one_operation(self) -> None:
        spy = Spy()
        shop = Shop([Handler("work", spy)])
        first = shop.queue.enqueue(order(once="mail/1"))
        shop.drain()
        assert shop.queue.enqueue(order(once="mail/1")) == first
        shop.drain()
        assert len(spy.runs) == 1

    def test_tickets_and_slots_are_gone_afterwards(self) -> None:
        shop = Shop([Handler("work", Spy())])
        shop.queue.enqueue(order())
        shop.drain()
        assert shop.realtime.get("orchestration/queue") is None
        assert shop.doorbell.depth("default", shop.clock.now_us()).running == 0


class TestFailures:
    def test_a_fault_is_retried_later_with_backoff(self) -> None:
        spy = Spy([Unavailable("down"), Unavailable("down")], effects=count)
        shop = Shop([Handler("work", spy, retry=QUICK)])
        identity = shop.queue.enqueue(order())
        shop.drain()
        waiting = shop.queue.get(identity)
        assert waiting.state is OperationState.QUEUED
        assert seconds(1) <= waiting.due_us - shop.clock.now_us() <= seconds(2)
        shop.pass_time(minutes=3)
        assert shop.queue.get(identity).state is OperationState.SUCCEEDED
        assert (len(spy.runs), total(shop)) == (3, 1)

    def test_it_waits_as_long_as_the_failing_side_asked(self) -> None:
        shop = Shop([Handler("work", Spy([Unavailable("busy", retry_after_s=90)]))])
        identity = shop.queue.enqueue(order())
        shop.drain()
        assert shop.queue.get(identity).due_us == shop.clock.now_us() + seconds(90)

    def test_what_keeps_failing_becomes_a_dead_letter_with_its_history(self) -> None:
        shop = Shop([Handler("work", Spy([Unavailable(f"down {n}") for n in range(9)]), retry=QUICK)])
        identity = shop.queue.enqueue(order())
        shop.pass_time(minutes=5)
        dead = shop.queue.get(identity)
        assert dead.state is OperationState.DEAD
        assert dead.reason == "Unavailable: down 2"
        assert [line.detail for line in dead.history] == [f"Unavailable: down {n}" for n in range(3)]

    @pytest.mark.parametrize("failure", [Invalid("no such thing"), InvariantViolation("sums differ")])
    def test_what_cannot_get_better_fails_at_once(self, failure: Exception) -> None:
        spy = Spy([failure])
        shop = Shop([Handler("work", spy)])
        identity = shop.queue.enqueue(order())
        shop.pass_time(minutes=5)
        assert shop.queue.get(identity).state is OperationState.DEAD
        assert len(spy.runs) == 1

    def test_a_bug_is_kept_and_retried(self) -> None:
        shop = Shop([Handler("work", Spy([KeyError("colour")]), retry=QUICK)])
        identity = shop.queue.enqueue(order())
        shop.pass_time(minutes=2)
        done = shop.queue.get(identity)
        assert done.state is OperationState.SUCCEEDED
        assert done.history[0].detail == "KeyError: 'colour'"

    def test_an_operation_nobody_knows_waits_for_the_deploy_that_does(self) -> None:
        shop = Shop([Handler("work", Spy())])
        identity = shop.queue.enqueue(order())
        stored = shop.documents.get(path_of(identity))
        assert stored is not None
        shop.documents.commit([Replace(stored.path, {**stored.fields, "name": "newer.work"})])
        shop.drain()
        assert shop.queue.get(identity).state is OperationState.QUEUED

    def test_out_of_time_is_a_dead_letter(self) -> None:
        spy = Spy([Unavailable("down")] * 9)
        shop = Shop([Handler("work", spy)])
        identity = shop.queue.enqueue(order(deadline_us=shop.clock.now_us() + seconds(4)))
        shop.pass_time(minutes=2)
        dead = shop.queue.get(identity)
        assert dead.state is OperationState.DEAD
        assert dead.reason is not None
        assert dead.reason.startswith("out of time")

    def test_later_is_no_failure(self) -> None:
        answers: list[RunOutcome] = []
        shop = Shop([Handler("work", lambda run: answers.pop(0), retry=RetryPolicy(tries=1))])
        now = shop.clock.now_us()
        answers += [Later(now + minutes(1), "still confirming"), Later(now + minutes(2), "still confirming"), Done()]
        identity = shop.queue.enqueue(order())
        shop.pass_time(minutes=4)
        assert shop.queue.get(identity).state is OperationState.SUCCEEDED
        assert shop.queue.get(identity).attempts == 1


class TestTwoRunners:
    def test_two_who_claim_at_once_run_it_once(self) -> None:
        """T-84: the claim is one optimistic write."""
        spy = Spy()
        shop = Shop([Handler("work", spy)])
        identity = shop.queue.enqueue(order())
        other = shop.runner()
        raced: list[bool] = []

        def race(writes: Sequence[Write]) -> None:
            if not raced and any(isinstance(write, Replace) for write in writes):
                raced.append(True)
                other.run(identity)

        shop.documents.before_commit.append(race)
        shop.runner().run(identity)
        assert len(spy.runs) == 1

    def test_a_long_run_that_renews_is_left_alone(self) -> None:
        """T-85: ten minutes of work, one run, though the lease lasts two."""
        shop: Shop

        def work(run: Run) -> RunOutcome:
            runs.append(run.operation.id)
            for _ in range(10):
                shop.clock.advance(minutes=1)
                shop.sweeper.tick()
                shop.runner().serve("default")
                run.renew()
            return Done(None, lambda: count(run))

        runs: list[str] = []
        shop = Shop([Handler("work", work)])
        shop.queue.enqueue(order())
        shop.drain()
        assert (len(runs), total(shop)) == (1, 1)

    def test_who_lost_the_lease_cannot_commit(self) -> None:
        """T-85: the first runner sleeps through its lease; only the second one's effect counts."""
        shop: Shop
        runs: list[int] = []

        def work(run: Run) -> RunOutcome:
            runs.append(run.token)
            if len(runs) == 1:
                shop.clock.advance(minutes=5)
                shop.sweeper.tick()
                shop.runner().serve("default")
            return Done({"token": run.token}, lambda: count(run))

        shop = Shop([Handler("work", work)])
        identity = shop.queue.enqueue(order())
        shop.drain()
        assert runs == [1, 2]
        assert total(shop) == 1
        assert shop.queue.get(identity).result == {"token": 2}

    def test_work_that_kills_its_runner_dies_as_well(self) -> None:
        class Killed(BaseException):
            pass

        shop = Shop([Handler("work", Spy([Killed() for _ in range(9)]), retry=QUICK)])
        identity = shop.queue.enqueue(order())
        for _ in range(30):
            shop.clock.advance(minutes=1)
            shop.sweeper.tick()
            try:
                shop.drain()
            except Killed:
                continue
        dead = shop.queue.get(identity)
        assert dead.state is OperationState.DEAD
        assert dead.attempts == 3

    def test_effects_that_met_a_newer_version_are_decided_again(self) -> None:
        """T-43: the handler runs once; only its effect is decided again."""
        shop: Shop
        raced: list[bool] = []

        def effects(run: Run) -> Sequence[Write]:
            stored = shop.documents.get("things/1")
            assert stored is not None
            if not raced:
                raced.append(True)
                shop.documents.commit([Replace("things/1", {"n": 10})])
            n = stored.fields["n"]
            assert isinstance(n, int)
            return [Replace("things/1", {"n": n + 1}, stored.version)]

        spy = Spy(effects=effects)
        shop = Shop([Handler("work", spy)])
        shop.documents.commit([Create("things/1", {"n": 0})])
        shop.queue.enqueue(order())
        shop.drain()
        stored = shop.documents.get("things/1")
        assert stored is not None
        assert (stored.fields["n"], len(spy.runs)) == (11, 1)


class TestOrderAndLimits:
    def test_one_users_work_goes_in_order(self) -> None:
        seen: list[object] = []

        def work(run: Run) -> RunOutcome:
            seen.append(run.operation.payload["n"])
            return Done()

        shop = Shop([Handler("work", work)])
        for n in (3, 1, 2):
            shop.queue.enqueue(order(payload={"n": n}, key="alice", position=n))
        shop.drain()
        assert seen == [1, 2, 3]

    def test_a_retry_holds_back_those_behind_it_and_nobody_else(self) -> None:
        seen: list[object] = []
        failures = [Unavailable("down")]

        def work(run: Run) -> RunOutcome:
            if run.operation.payload["n"] == 1 and failures:
                raise failures.pop()
            seen.append(run.operation.payload["n"])
            return Done()

        shop = Shop([Handler("work", work)])
        for n in (1, 2):
            shop.queue.enqueue(order(payload={"n": n}, key="alice", position=n))
        shop.queue.enqueue(order(payload={"n": 3}, key="bob"))
        shop.drain()
        assert seen == [3]
        shop.pass_time(minutes=2)
        assert seen == [3, 1, 2]

    def test_order_holds_though_the_first_ones_ring_was_lost(self) -> None:
        """T-46"""
        seen: list[object] = []

        def work(run: Run) -> RunOutcome:
            seen.append(run.operation.payload["n"])
            return Done()

        shop = Shop([Handler("work", work)])
        shop.documents.commit(shop.queue.rows([order(payload={"n": 1}, key="alice", position=1)]))
        shop.queue.enqueue(order(payload={"n": 2}, key="alice", position=2))
        shop.drain()
        assert seen == [1, 2]

    def test_a_lane_runs_no_more_than_its_limit(self) -> None:
        shop: Shop
        most = [0]

        def work(run: Run) -> RunOutcome:
            most[0] = max(most[0], shop.doorbell.depth("narrow", shop.clock.now_us()).running)
            shop.runner().serve("narrow")
            return Done()

        shop = Shop([Handler("work", work, lane="narrow")])
        for _ in range(5):
            shop.queue.enqueue(order())
        shop.drain()
        assert most == [1]
        assert shop.states() == ["succeeded"] * 5

    def test_a_vendor_gets_no_more_than_it_can_take(self) -> None:
        shop: Shop
        depth, most = [0], [0]

        def work(run: Run) -> RunOutcome:
            depth[0] += 1
            most[0] = max(most[0], depth[0])
            shop.runner().serve("vendors")
            depth[0] -= 1
            return Done()

        shop = Shop([Handler("work", work, lane="vendors", vendor="acme")])
        for _ in range(6):
            shop.queue.enqueue(order())
        shop.drain()
        assert most == [2]
        assert shop.states() == ["succeeded"] * 6

    def test_low_is_slow_and_never_starved(self) -> None:
        seen: list[Priority] = []

        def work(run: Run) -> RunOutcome:
            seen.append(run.operation.priority)
            return Done()

        shop = Shop([Handler("work", work, lane="narrow")])
        shop.rings = False
        for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.CRITICAL):
            for _ in range(40):
                shop.queue.enqueue(order(priority=priority))
        shop.runner().serve("narrow")
        first = seen[:60]
        assert [first.count(priority) for priority in Priority] == [32, 16, 8, 4]

    def test_one_users_long_line_hides_nobody(self) -> None:
        """While alice's first operation runs, the tickets of her others fill the window, and bob's is behind them."""
        seen: list[str | None] = []

        def work(run: Run) -> RunOutcome:
            seen.append(run.operation.key)
            if len(seen) == 1:
                shop.runner().serve("default")
            return Done()

        shop = Shop([Handler("work", work)])
        shop.rings = False
        for _ in range(60):
            shop.queue.enqueue(order(key="alice"))
        shop.clock.advance(seconds=1)
        shop.queue.enqueue(order(key="bob"))
        shop.runner().serve("default")
        assert seen[:2] == ["alice", "bob"]
        assert len(seen) == 61

    def test_not_before_its_time(self) -> None:
        spy = Spy()
        shop = Shop([Handler("work", spy)])
        due_us = shop.clock.now_us() + minutes(10)
        identity = shop.queue.enqueue(order(due_us=due_us))
        shop.drain()
        assert shop.alarms.set_for == {identity: due_us}
        assert spy.runs == []
        shop.clock.advance(minutes=10)
        shop.drain()
        assert len(spy.runs) == 1


class TestPeople:
    def test_a_paused_lane_starts_nothing_until_it_is_resumed(self) -> None:
        spy = Spy()
        shop = Shop([Handler("work", spy)])
        shop.doorbell.pause("default", True)
        shop.queue.enqueue(order())
        shop.pass_time(minutes=5)
        assert spy.runs == []
        shop.doorbell.pause("default", False)
        shop.doorbell.wake("default", shop.clock.now_us(), ["w"])
        shop.drain()
        assert len(spy.runs) == 1

    def test_what_has_not_run_is_cancelled_for_good(self) -> None:
        spy = Spy()
        shop = Shop([Handler("work", spy)])
        shop.doorbell.pause("default", True)
        identity = shop.queue.enqueue(order())
        assert shop.queue.cancel(identity, "changed my mind").state is OperationState.CANCELLED
        shop.doorbell.pause("default", False)
        shop.pass_time(minutes=2)
        assert spy.runs == []

    def test_what_runs_is_asked_to_stop(self) -> None:
        shop: Shop

        def work(run: Run) -> RunOutcome:
            shop.queue.cancel(run.operation.id, "stop")
            with pytest.raises(CancelRequested):
                run.renew()
            run.renew()
            return Done(None, lambda: count(run))

        shop = Shop([Handler("work", work)])
        identity = shop.queue.enqueue(order())
        shop.drain()
        assert shop.queue.get(identity).state is OperationState.CANCELLED
        assert total(shop) == 0

    def test_a_cancel_that_comes_too_late_changes_nothing(self) -> None:
        shop: Shop

        def work(run: Run) -> RunOutcome:
            shop.queue.cancel(run.operation.id, "stop")
            return Done(None, lambda: count(run))

        shop = Shop([Handler("work", work)])
        identity = shop.queue.enqueue(order())
        shop.drain()
        assert shop.queue.get(identity).state is OperationState.SUCCEEDED
        assert total(shop) == 1


class TestSecurity:
    def test_a_client_cannot_name_an_operation_that_moves_money(self) -> None:
        shop = Shop(
            [Handler("pay", Spy(), level=SecurityLevel.MONEY), Handler("hello", Spy(), level=SecurityLevel.PUBLIC)]
        )
        shop.queue.enqueue(order("hello", source="client"))
        for source in ("client", "api"):
            with pytest.raises(LevelForbidden):
                shop.queue.enqueue(order("pay", source=source))

    @pytest.mark.parametrize("level", list(SecurityLevel))
    def test_ends_of_system_and_money_are_in_the_audit_log(self, level: SecurityLevel) -> None:
        shop = Shop([Handler("work", Spy(), level=level)])
        identity = shop.queue.enqueue(
            order(account="alice", source="system" if level is not SecurityLevel.USER else "api")
        )
        shop.drain()
        lines = [d.fields for path, d in shop.documents.all().items() if path.startswith("audit_log/")]
        if level in (SecurityLevel.PUBLIC, SecurityLevel.USER):
            assert lines == []
            return
        [line] = lines
        assert (line["operation_id"], line["account"], line["result"], line["source"]) == (
            identity,
            "alice",
            "succeeded",
            "system",
        )

    def test_every_lane_and_name_has_somebody_who_serves_it(self) -> None:
        """T-91: checked when the deployment is assembled."""
        with pytest.raises(InvariantViolation, match="nobody serves lane"):
            Handlers([Handler("work", Spy(), lane="nowhere")], [Lane("default")])
        with pytest.raises(InvariantViolation, match="nobody handles"):
            Shop([]).queue.enqueue(order("ghost"))
        with pytest.raises(InvariantViolation, match="two lanes"):
            Handlers(
                [Handler("a", Spy(), vendor="v"), Handler("b", Spy(), vendor="v", lane="other")],
                [Lane("default"), Lane("other")],
            )
