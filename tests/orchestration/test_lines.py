"""Operations of one line run one at a time and in order, whatever the Realtime Database loses."""

from collections.abc import Callable, Sequence
from contextlib import suppress

from app.kit.clock import minutes
from app.kit.errors import Unavailable
from app.kit.stores.documents import Document, Increment, Merge, Replace, Write
from app.orchestration.queue.doorbell import QUEUE, SLOTS, WINDOW
from app.orchestration.queue.handler import Done, Handler, LeaseOver, Run, RunOutcome
from app.orchestration.queue.operation import OperationState, SecurityLevel
from orchestration.shop import Shop, Spy, order


class Killed(BaseException):
    """The death of the process: no `except Exception` catches it."""


class Line:
    """The line of alice's operations. `acts[n]` is called while her operation `n` works."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.running: list[object] = []
        self.most = 0
        self.acts: dict[int, Callable[[Run], None]] = {}
        self.shop = Shop([Handler("work", self.work)])

    def work(self, run: Run) -> RunOutcome:
        n = run.operation.payload["n"]
        assert isinstance(n, int)
        self.running.append(n)
        self.most = max(self.most, len(self.running))
        try:
            if n in self.acts:
                self.acts.pop(n)(run)
        finally:
            self.running.remove(n)
        self.seen.append(n)
        return Done(None, lambda: [Merge("counts/all", {"n": Increment(1)})])

    def enter(self, n: int) -> str:
        return self.shop.queue.enqueue(order(payload={"n": n}, key="alice", position=n))

    def total(self) -> object:
        stored = self.shop.documents.get("counts/all")
        return stored.fields["n"] if stored else 0

    def forget(self) -> None:
        """Deletes all that the Realtime Database holds of the queue."""
        self.shop.realtime.update({QUEUE: None, SLOTS: None})

    def sweep(self) -> None:
        self.shop.sweeper.tick()
        self.shop.drain()

    def left(self) -> list[str]:
        return [path for path in self.shop.documents.all() if path.startswith("lines/")]


class TestTwoOfALine:
    def test_never_run_at_once_though_an_earlier_one_enters_and_every_slot_is_lost(self) -> None:
        line = Line()

        def meanwhile(_: Run) -> None:
            line.forget()
            line.enter(1)
            line.shop.clock.advance(minutes=1)
            line.sweep()

        line.acts[2] = meanwhile
        line.enter(2)
        line.shop.drain()
        line.shop.pass_time(minutes=2)
        assert (line.seen, line.most, line.total()) == ([2, 1], 1, 2)
        assert line.left() == []

    def test_a_dead_runner_holds_the_line_no_longer_than_its_lease(self) -> None:
        line = Line()

        def die(_: Run) -> None:
            line.enter(1)
            raise Killed

        line.acts[2] = die
        line.enter(2)
        with suppress(Killed):
            line.shop.drain()
        line.shop.pass_time(minutes=1)
        assert line.seen == []
        line.shop.pass_time(minutes=5)
        assert (line.seen, line.left()) == ([1, 2], [])

    def test_who_lost_the_line_writes_nothing_more(self) -> None:
        """T-85: operation 2 outlives its lease, operation 1 runs meanwhile, and then 2 goes on."""
        line = Line()
        fences: list[Document | None] = []

        def sleep(run: Run) -> None:
            fences.append(line.shop.documents.get(run.fence_path))
            line.enter(1)
            line.shop.clock.advance(minutes=5)
            line.sweep()
            assert line.seen == [1, 2]
            with suppress(LeaseOver):
                run.fence(line.shop.documents.get(run.fence_path))
                raise AssertionError("a fence for who lost the line")

        line.acts[2] = sleep
        second = line.enter(2)
        line.shop.drain()
        assert fences[0] is not None and fences[0].path.startswith("lines/")
        assert (line.seen, line.total()) == ([1, 2, 2], 2)
        assert [one.outcome for one in line.shop.queue.get(second).history] == ["lost"]

    def test_who_only_stood_still_and_renews_its_lease_keeps_the_line(self) -> None:
        """T-85: operation 1 found the lease of 2 over, and 2 renews it before the claim of 1 is committed."""
        line = Line()

        def stand_still(run: Run) -> None:
            line.enter(1)

            def go_on(writes: Sequence[Write]) -> None:
                if any(isinstance(write, Replace) and write.path.startswith("lines/") for write in writes):
                    line.shop.documents.before_commit.remove(go_on)
                    run.renew()

            line.shop.clock.advance(minutes=5)
            line.shop.documents.before_commit.append(go_on)
            line.sweep()

        line.acts[2] = stand_still
        line.enter(2)
        line.shop.drain()
        line.shop.pass_time(minutes=2)
        assert (line.seen, line.most, line.total(), line.left()) == ([2, 1], 1, 2, [])

    def test_a_fence_of_the_line_goes_through_while_it_is_held(self) -> None:
        line = Line()

        def commit(run: Run) -> None:
            line.shop.outbox.commit([run.fence(line.shop.documents.get(run.fence_path))])

        line.acts[1] = commit
        line.enter(1)
        line.shop.drain()
        assert (line.seen, line.total(), line.left()) == ([1], 1, [])

    def test_a_retry_gives_the_line_back(self) -> None:
        failures: list[BaseException] = [Unavailable("down")]
        shop = Shop([Handler("work", Spy(failures))])
        shop.queue.enqueue(order(key="alice", position=2))
        shop.drain()
        shop.queue.enqueue(order(key="alice", position=1))
        shop.drain()
        assert sorted(shop.states()) == ["queued", "succeeded"]

    def test_it_costs_two_writes_more_and_no_read_of_its_own(self) -> None:
        def cost(key: str | None) -> tuple[int, int]:
            shop = Shop([Handler("work", Spy(), level=SecurityLevel.USER)])
            shop.queue.enqueue(order(key=key))
            shop.drain()
            return shop.documents.writes, shop.documents.reads

        # The first of the line is queried before and after the run; the second query finds no document.
        assert (cost(None), cost("alice")) == ((3, 1), (5, 1))


class TestALongLine:
    def test_hides_nobody_however_long_it_is(self) -> None:
        """T-113."""
        seen: list[str | None] = []

        def work(run: Run) -> RunOutcome:
            seen.append(run.operation.key)
            if len(seen) == 1:
                shop.runner().serve("default")
            return Done()

        shop = Shop([Handler("work", work)])
        shop.rings = False
        for _ in range(20 * WINDOW + 100):
            shop.queue.enqueue(order(key="alice"))
        shop.clock.advance(seconds=1)
        shop.queue.enqueue(order(key="bob"))
        shop.runner().serve("default")
        assert seen[:2] == ["alice", "bob"]
        shop.rings = True
        shop.drain()
        assert len(seen) == 20 * WINDOW + 101

    def test_costs_one_ring_a_minute_while_its_head_backs_off(self) -> None:
        """The operations behind the first are not rung for, and only the first has an alarm."""
        spy = Spy([Unavailable("down", retry_after_s=600)])
        shop = Shop([Handler("work", spy)])
        for n in range(50):
            shop.queue.enqueue(order(key="alice", position=n))
        shop.drain()
        assert len(shop.alarms.set_for) == 1
        rung: list[str] = []

        def hear(values: object) -> None:
            assert isinstance(values, dict)
            rung.extend(path for path, value in values.items() if value and "op_" in path and QUEUE in path)

        shop.realtime.before_write.append(hear)
        shop.pass_time(minutes=5)
        assert len(rung) <= 5
        assert len(spy.runs) == 1
        shop.pass_time(minutes=10)
        assert len(spy.runs) == 51


def work_on(shop: Shop, minutes: int) -> None:
    """Lets time pass while a handler works; in each minute the heartbeat, the sweeper and another runner act."""
    for _ in range(minutes):
        shop.clock.advance(minutes=1)
        shop.heartbeat.beat()
        shop.sweeper.tick()
        shop.runner().serve("default")


class TestTheHeartbeat:
    def test_keeps_the_lease_of_work_that_does_not_say_so(self) -> None:
        """T-85: eight minutes without a call of `renew` are one run, although a lease lasts two."""
        runs: list[str] = []

        def work(run: Run) -> RunOutcome:
            runs.append(run.operation.id)
            work_on(shop, minutes=8)
            return Done()

        shop = Shop([Handler("work", work)])
        identity = shop.queue.enqueue(order(key="alice"))
        shop.drain()
        assert len(runs) == 1
        assert shop.queue.get(identity).state is OperationState.SUCCEEDED

    def test_does_not_keep_a_thread_that_hangs_for_ever(self) -> None:
        runs: list[str] = []

        def work(run: Run) -> RunOutcome:
            runs.append(run.operation.id)
            if len(runs) == 1:
                work_on(shop, minutes=14)
            return Done()

        shop = Shop([Handler("work", work)])
        shop.queue.enqueue(order())
        shop.drain()
        assert len(runs) == 2

    def test_lets_a_cancel_through_that_the_work_does_not_hear(self) -> None:
        def work(run: Run) -> RunOutcome:
            shop.queue.cancel(run.operation.id, "stop")
            work_on(shop, minutes=4)
            return Done(None, effects)

        def effects() -> Sequence[Write]:
            return [Merge("counts/all", {"n": Increment(1)})]

        shop = Shop([Handler("work", work)])
        identity = shop.queue.enqueue(order())
        shop.drain()
        assert shop.queue.get(identity).state is OperationState.CANCELLED
        assert shop.documents.get("counts/all") is None

    def test_costs_short_work_nothing(self) -> None:
        def work(run: Run) -> RunOutcome:
            shop.heartbeat.beat()
            return Done()

        shop = Shop([Handler("work", work, lease_us=minutes(2))])
        shop.queue.enqueue(order())
        shop.drain()
        assert shop.states() == ["succeeded"]
        assert shop.documents.writes == 4
