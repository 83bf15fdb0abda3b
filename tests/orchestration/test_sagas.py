"""Sagas of the kinds that features will need: payment, images, agent. They are also killed at every commit."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from app.kit.clock import minutes
from app.kit.errors import Invalid, InvariantViolation, Unavailable
from app.kit.stores.documents import Fields, Increment, Merge, Write
from app.orchestration.queue.doorbell import QUEUE
from app.orchestration.queue.retry import RetryPolicy
from app.orchestration.sagas.saga import SagaStatus, StepStatus
from app.orchestration.sagas.saga_definition import Action, SagaDefinition, SagaStep, StepDone, StepRun
from app.orchestration.sagas.saga_mirror import SagaMirror
from app.orchestration.sagas.sagas import TIMER, SagaStart
from app.orchestration.sweeper import Chore
from orchestration.shop import Shop

ONCE = RetryPolicy(tries=2)


class Killed(BaseException):
    """The death of the process: no `except Exception` catches it."""


@dataclass
class Trace:
    """Records what the steps did, and says which of them fail."""

    lines: list[str] = field(default_factory=list)
    fail: dict[str, Exception] = field(default_factory=dict)

    def step(self, name: str) -> Action:
        """An action that increments a counter in the database and appends its name to `lines`."""

        def act(run: StepRun) -> StepDone:
            if name in self.fail:
                raise self.fail[name]
            self.lines.append(name)

            def writes() -> Sequence[Write]:
                return [Merge("counts/all", {name: Increment(1)})]

            return StepDone({"by": name, "key": run.key}, writes)

        return act


def counts(shop: Shop) -> Fields:
    stored = shop.documents.get("counts/all")
    return stored.fields if stored else {}


def payment(trace: Trace) -> SagaDefinition:
    """Open an invoice, wait for the money, grant the credits, tell the user."""
    return SagaDefinition(
        "payment",
        1,
        (
            SagaStep("open", trace.step("open"), trace.step("void")),
            SagaStep("paid", waits_for="paid", within_us=minutes(60)),
            SagaStep("grant", trace.step("grant"), trace.step("take back"), retry=ONCE),
            SagaStep("tell", trace.step("tell"), retry=ONCE),
        ),
    )


def image(trace: Trace) -> SagaDefinition:
    """Reserve, draw two pictures in parallel, join, settle."""
    return SagaDefinition(
        "image",
        1,
        (
            SagaStep("reserve", trace.step("reserve"), trace.step("release")),
            SagaStep("draw a", trace.step("draw a"), trace.step("erase a"), after=("reserve",), retry=ONCE),
            SagaStep("draw b", trace.step("draw b"), trace.step("erase b"), after=("reserve",), retry=ONCE),
            SagaStep("settle", trace.step("settle"), after=("draw a", "draw b"), retry=ONCE),
        ),
    )


def started(shop: Shop, name: str) -> str:
    shop.sagas.start(SagaStart("saga-1", name, account="alice", input={"n": 1}))
    shop.drain()
    return "saga-1"


class TestPayment:
    def test_it_waits_for_the_money_and_grants_once(self) -> None:
        trace = Trace()
        shop = Shop(sagas=[payment(trace)])
        saga = started(shop, "payment")
        shop.pass_time(minutes=30)
        assert shop.sagas.get(saga).status is SagaStatus.WAITING
        for _ in range(3):
            shop.sagas.tell(saga, "paid", {"amount": 2400})
        shop.drain()
        done = shop.sagas.get(saga)
        assert done.status is SagaStatus.SUCCEEDED
        assert done.steps["paid"].result == {"amount": 2400}
        assert trace.lines == ["open", "grant", "tell"]

    def test_money_that_comes_before_it_is_waited_for_counts(self) -> None:
        trace = Trace()
        shop = Shop(sagas=[payment(trace)])
        shop.sagas.start(SagaStart("saga-1", "payment"))
        shop.sagas.tell("saga-1", "paid", {"amount": 1})
        shop.drain()
        assert shop.sagas.get("saga-1").status is SagaStatus.SUCCEEDED

    def test_money_that_never_comes_voids_the_invoice(self) -> None:
        trace = Trace()
        shop = Shop(sagas=[payment(trace)])
        saga = started(shop, "payment")
        shop.pass_time(minutes=62)
        assert shop.sagas.get(saga).status is SagaStatus.COMPENSATED
        assert trace.lines == ["open", "void"]
        assert shop.sagas.tell(saga, "paid", {"late": True}).status is SagaStatus.COMPENSATED

    def test_starting_it_twice_starts_it_once(self) -> None:
        trace = Trace()
        shop = Shop(sagas=[payment(trace)])
        started(shop, "payment")
        started(shop, "payment")
        assert trace.lines == ["open"]

    def test_a_step_of_unknown_outcome_is_undone_as_well(self) -> None:
        trace = Trace(fail={"grant": Unavailable("no answer")})
        shop = Shop(sagas=[payment(trace)])
        saga = started(shop, "payment")
        shop.sagas.tell(saga, "paid", {})
        shop.pass_time(minutes=5)
        state = shop.sagas.get(saga)
        assert state.status is SagaStatus.COMPENSATED
        assert trace.lines == ["open", "take back", "void"]

    def test_a_refused_step_has_nothing_to_undo(self) -> None:
        trace = Trace(fail={"grant": Invalid("account closed")})
        shop = Shop(sagas=[payment(trace)])
        saga = started(shop, "payment")
        shop.sagas.tell(saga, "paid", {})
        shop.drain()
        state = shop.sagas.get(saga)
        assert (state.status, state.failure) == (SagaStatus.COMPENSATED, "validation_failed: account closed")
        assert trace.lines == ["open", "void"]

    def test_a_compensation_that_dies_is_stuck_until_its_letter_is_replayed(self) -> None:
        trace = Trace(fail={"grant": Invalid("closed"), "void": InvariantViolation("no such invoice")})
        shop = Shop(sagas=[payment(trace)])
        saga = started(shop, "payment")
        shop.sagas.tell(saga, "paid", {})
        shop.drain()
        assert shop.sagas.get(saga).status is SagaStatus.STUCK
        trace.fail.clear()
        [letter] = shop.dead_letters()
        shop.letters.replay(letter.id, by="ada")
        shop.drain()
        assert shop.sagas.get(saga).status is SagaStatus.COMPENSATED


class TestImages:
    def test_what_runs_side_by_side_is_joined_once(self) -> None:
        """T-86: a step that comes after two others runs once."""
        trace = Trace()
        shop = Shop(sagas=[image(trace)])
        saga = started(shop, "image")
        assert shop.sagas.get(saga).status is SagaStatus.SUCCEEDED
        assert sorted(trace.lines) == ["draw a", "draw b", "reserve", "settle"]
        assert trace.lines[-1] == "settle"

    def test_compensation_goes_in_the_reverse_order(self) -> None:
        trace = Trace(fail={"settle": Invalid("no")})
        shop = Shop(sagas=[image(trace)])
        saga = started(shop, "image")
        assert shop.sagas.get(saga).status is SagaStatus.COMPENSATED
        forth, back = trace.lines[:3], trace.lines[3:]
        names = {"reserve": "release", "draw a": "erase a", "draw b": "erase b"}
        assert back == [names[name] for name in reversed(forth)]

    def test_a_branch_that_fails_waits_for_the_other_before_it_undoes(self) -> None:
        trace = Trace(fail={"draw a": Invalid("no")})
        shop = Shop(sagas=[image(trace)])
        saga = started(shop, "image")
        assert shop.sagas.get(saga).status is SagaStatus.COMPENSATED
        assert trace.lines == ["reserve", "draw b", "erase b", "release"]

    def test_its_owner_may_cancel_it(self) -> None:
        trace = Trace()
        shop = Shop(sagas=[payment(trace)])
        saga = started(shop, "payment")
        assert shop.sagas.cancel(saga, "changed my mind").status is SagaStatus.COMPENSATING
        shop.drain()
        assert shop.sagas.get(saga).status is SagaStatus.COMPENSATED
        assert trace.lines == ["open", "void"]


class TestAgent:
    def test_a_chain_of_steps_minutes_long_hands_results_on(self) -> None:
        shop: Shop
        seen: list[object] = []

        def think(run: StepRun) -> StepDone:
            for _ in range(6):
                shop.clock.advance(minutes=1)
                run.renew()
            return StepDone({"answer": 42})

        def write(run: StepRun) -> StepDone:
            seen.append(run.result("think")["answer"])
            return StepDone()

        shop = Shop(sagas=[SagaDefinition("agent", 1, (SagaStep("think", think), SagaStep("write", write)))])
        assert shop.sagas.get(started(shop, "agent")).status is SagaStatus.SUCCEEDED
        assert seen == [42]


class TestCrashes:
    @pytest.mark.parametrize("fail", [None, "tell"])
    @pytest.mark.parametrize("after", [False, True])
    def test_killed_at_every_write_it_ends_as_if_it_had_not_been(self, fail: str | None, after: bool) -> None:
        """T-84, T-87, T-38: killed before or after each commit, while steps are done or undone."""
        expected = self._run(fail, kill_at=None, after=after)
        for kill_at in range(1, expected[2] + 1):
            ended = self._run(fail, kill_at=kill_at, after=after)
            assert ended[:2] == expected[:2], f"killed {'after' if after else 'before'} commit {kill_at}"

    def _run(self, fail: str | None, *, kill_at: int | None, after: bool) -> tuple[SagaStatus, Fields, int]:
        trace = Trace(fail={fail: Invalid("no")} if fail else {})
        shop = Shop(sagas=[payment(trace)])
        shop.sagas.start(SagaStart("saga-1", "payment", account="alice"))
        shop.sagas.tell("saga-1", "paid", {})
        commits = [0]

        def kill(_: object) -> None:
            commits[0] += 1
            if commits[0] == kill_at:
                raise Killed

        (shop.documents.after_commit if after else shop.documents.before_commit).append(kill)
        for _ in range(12):
            with contextlib.suppress(Killed):
                shop.drain()
            shop.clock.advance(minutes=1)
            shop.sweeper.tick()
        return shop.sagas.get("saga-1").status, counts(shop), commits[0]


class TestDeploys:
    def test_a_running_saga_keeps_its_version(self) -> None:
        old = Trace()
        shop = Shop(sagas=[payment(old)])
        started(shop, "payment")
        new = Trace()
        newer = SagaDefinition("payment", 2, (SagaStep("all at once", new.step("all at once")),))
        deployed = Shop(sagas=[payment(old), newer], documents=shop.documents)
        deployed.sagas.tell("saga-1", "paid", {})
        deployed.drain()
        deployed.sagas.start(SagaStart("saga-2", "payment"))
        deployed.drain()
        assert deployed.sagas.get("saga-1").status is SagaStatus.SUCCEEDED
        assert old.lines == ["open", "grant", "tell"]
        assert new.lines == ["all at once"]

    def test_a_step_whose_operation_was_put_away_is_found_by_the_sweeper(self) -> None:
        trace = Trace()
        shop = Shop(sagas=[payment(trace)])
        shop.rings = False
        shop.sagas.start(SagaStart("saga-1", "payment"))
        from app.kit.stores.documents import Delete

        [operation] = shop.operations()
        shop.documents.commit([Delete(f"operations/{operation}")])
        shop.rings = True
        shop.pass_time(minutes=20)
        assert shop.sagas.get("saga-1").steps["open"].status is StepStatus.DONE

    def test_a_timer_that_was_put_away_is_rung_by_the_sweeper(self) -> None:
        shop = Shop(sagas=[payment(Trace())])
        saga = started(shop, "payment")
        shop.queue.cancel(shop.queue.id_of(TIMER, f"{saga}/paid"), "by mistake")
        shop.clock.advance(minutes=8 * 60)
        shop.pass_time(minutes=1)
        assert shop.sagas.get(saga).status is SagaStatus.COMPENSATED

    def test_the_sweeper_repairs_sagas_after_what_needs_no_realtime_database(self) -> None:
        """T-105: a repair rings, and where the Realtime Database hangs, reservations are given back all the same."""
        done: list[str] = []

        def work(_: int) -> int:
            done.append("reservations")
            return 1

        shop = Shop(sagas=[payment(Trace())], chores=[Chore("reservations", work)])
        saga = started(shop, "payment")
        shop.queue.cancel(shop.queue.id_of(TIMER, f"{saga}/paid"), "by mistake")
        shop.clock.advance(minutes=8 * 60)
        shop.realtime.before_write.append(lambda values: done.extend(path for path in values if QUEUE in path))
        shop.sweeper.tick()
        assert len(done) > 1
        assert done[0] == "reservations"


class TestAStepThatIsRefused:
    def test_after_an_attempt_of_unknown_outcome_is_undone(self) -> None:
        """T-38: the first attempt held something at the vendor, and its answer was lost."""
        outside: list[str] = []

        def hold(_: StepRun) -> StepDone:
            if outside:
                raise Invalid("the account was closed in the meantime")
            outside.append("held")
            raise Unavailable("no answer")

        def let_go(_: StepRun) -> StepDone:
            outside.append("let go")
            return StepDone()

        shop = Shop(sagas=[SagaDefinition("hold", 1, (SagaStep("hold", hold, let_go),))])
        saga = started(shop, "hold")
        shop.pass_time(minutes=2)
        assert shop.sagas.get(saga).status is SagaStatus.COMPENSATED
        assert outside == ["held", "let go"]


class TestACompensationThatIsCancelled:
    def test_is_replayed_like_one_that_died(self) -> None:
        """Otherwise the saga would be stuck for ever."""
        trace = Trace(fail={"grant": Invalid("closed"), "void": Unavailable("later")})
        shop = Shop(sagas=[payment(trace)])
        saga = started(shop, "payment")
        shop.sagas.tell(saga, "paid", {})
        shop.drain()
        undo = next(one.id for one in shop.operations().values() if one.name.endswith("undo"))
        shop.queue.cancel(undo, "by mistake")
        assert shop.sagas.get(saga).status is SagaStatus.STUCK
        trace.fail.clear()
        shop.letters.replay(undo, by="ada")
        shop.drain()
        assert shop.sagas.get(saga).status is SagaStatus.COMPENSATED


class TestTheMirror:
    def test_it_never_goes_back(self) -> None:
        """T-46, T-44: the trigger fires seven times, and after a later revision was shown."""
        trace = Trace()
        shop = Shop(sagas=[payment(trace)])
        mirror = SagaMirror(shop.outbox, shop.realtime)
        saga = started(shop, "payment")
        mirror.reflect(saga)
        shop.sagas.tell(saga, "paid", {})
        shop.drain()
        for _ in range(7):
            mirror.reflect(saga)
        shown = shop.realtime.get("users/alice/tasks/saga-1")
        assert isinstance(shown, dict)
        assert (shown["status"], shown["progress"]) == ("succeeded", 1)
        shop.realtime.update({"users/alice/tasks/saga-1/revision": 10_000})
        mirror.reflect(saga)
        assert shop.realtime.get("users/alice/tasks/saga-1/revision") == 10_000
