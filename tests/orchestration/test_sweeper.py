"""The sweeper brings back lost tickets, triggers, alarms and runners; several may sweep at once."""

import contextlib
import threading

import pytest
from structlog.testing import capture_logs

from app.kit.clock import seconds
from app.kit.errors import Unavailable
from app.kit.stores.realtime import Json
from app.kit.stores.rows import MOST_READ
from app.orchestration import sweeper
from app.orchestration.queue.handler import Done, Handler, Run, RunOutcome
from app.orchestration.queue.operation import OperationState
from app.orchestration.sweeper import Chore, LastSweep
from orchestration.shop import Shop, Spy, order
from support.memory import MemoryRealtime


class Killed(BaseException):
    """The death of the process: no `except Exception` catches it."""


class TestLostRings:
    def test_a_row_whose_ring_was_lost_is_rung_again(self) -> None:
        spy = Spy()
        shop = Shop([Handler("work", spy)])
        shop.documents.commit(shop.queue.rows([order()]))
        shop.drain()
        assert spy.runs == []
        shop.pass_time(minutes=1)
        assert len(spy.runs) == 1

    def test_a_ticket_whose_trigger_was_lost_is_served(self) -> None:
        spy = Spy()
        shop = Shop([Handler("work", spy)])
        shop.rings = False
        shop.queue.enqueue(order())
        shop.rings = True
        shop.pass_time(minutes=1)
        assert len(spy.runs) == 1

    def test_the_realtime_database_may_lose_everything(self) -> None:
        spy = Spy()
        shop = Shop([Handler("work", spy)])
        shop.rings = False
        for _ in range(3):
            shop.queue.enqueue(order())
        shop.realtime.update({"orchestration": None})
        shop.rings = True
        shop.pass_time(minutes=1)
        assert len(spy.runs) == 3

    def test_a_backlog_without_runners_gets_as_many_as_its_lane_takes(self) -> None:
        """All its tickets exist, so that creating them again fires no trigger."""
        shop = Shop([Handler("work", Spy(), lane="vendors")])
        shop.rings = False
        for _ in range(30):
            shop.queue.enqueue(order())
        shop.rings = True
        woken: list[str] = []
        shop.realtime.before_write.append(lambda values: woken.extend(path for path in values if "-wake_" in path))
        shop.clock.advance(minutes=1)
        shop.sweeper.tick()
        assert len(woken) == 8
        shop.drain()
        assert shop.states() == ["succeeded"] * 30

    def test_a_paused_lane_gets_no_runner(self) -> None:
        """Its runners would find nothing that they may start, each minute again."""
        shop = Shop([Handler("work", Spy(), lane="vendors"), Handler("other", Spy())])
        shop.rings = False
        for name in ("work", "other"):
            shop.queue.enqueue(order(name))
        shop.doorbell.pause("vendors", True)
        shop.clock.advance(minutes=1)
        written: list[str] = []
        shop.realtime.before_write.append(lambda values: written.extend(values))
        assert shop.sweeper.tick().lanes == ("default", "vendors")
        woken = [path.split("/")[2] for path in written if "-wake_" in path]
        assert woken == ["default"]
        shop.doorbell.pause("vendors", False)
        shop.rings = True
        shop.pass_time(minutes=1)
        assert shop.states() == ["succeeded"] * 2

    def test_a_lost_alarm_only_costs_time(self) -> None:
        spy = Spy([Unavailable("down")])
        shop = Shop([Handler("work", spy)])
        shop.queue.enqueue(order())
        shop.drain()
        shop.alarms.set_for.clear()
        shop.pass_time(minutes=1)
        assert len(spy.runs) == 2


class TestDeadRunners:
    def test_what_a_dead_runner_held_is_taken_over_after_its_lease(self) -> None:
        deaths: list[BaseException] = [Killed()]

        def work(run: Run) -> RunOutcome:
            if deaths:
                raise deaths.pop()
            return Done()

        shop = Shop([Handler("work", work)])
        identity = shop.queue.enqueue(order())
        with contextlib.suppress(Killed):
            shop.drain()
        shop.pass_time(minutes=1)
        assert shop.queue.get(identity).state is OperationState.RUNNING
        shop.pass_time(minutes=2)
        done = shop.queue.get(identity)
        assert done.state is OperationState.SUCCEEDED
        assert (done.attempts, done.history[0].outcome) == (2, "lost")


class TestTheTick:
    def test_two_sweepers_at_once_do_no_more_than_one(self) -> None:
        """T-44"""
        spy = Spy()
        shop = Shop([Handler("work", spy)])
        shop.documents.commit(shop.queue.rows([order() for _ in range(5)]))
        shop.clock.advance(minutes=1)
        for _ in range(7):
            shop.sweeper.tick()
        shop.drain()
        assert len(spy.runs) == 5

    def test_a_tick_is_bounded_and_the_next_goes_on(self) -> None:
        shop = Shop([Handler("work", Spy())])
        shop.rings = False
        for many in (*[100] * (MOST_READ // 100), 10):
            shop.documents.commit(shop.queue.rows([order() for _ in range(many)]))
        shop.clock.advance(minutes=1)
        first, second = shop.sweeper.tick(), shop.sweeper.tick()
        assert (first.rung, first.complete) == (MOST_READ, False)
        assert (second.rung, second.complete) == (10, True)

    def test_leaves_a_mark_of_when_it_ended_and_how(self) -> None:
        """T-91: an old record shows that nobody sweeps."""

        def broken(limit: int) -> int:
            raise Unavailable("down")

        shop = Shop(chores=[Chore("broken", broken)])
        assert shop.sweeper.last() is None
        shop.clock.advance(minutes=1)
        shop.sweeper.tick()
        assert shop.sweeper.last() == LastSweep(shop.clock.now_us(), failed=1)

    def test_is_not_stopped_by_a_mark_that_cannot_be_left(self) -> None:
        def away(values: object) -> None:
            raise Unavailable("down")

        shop = Shop()
        shop.realtime.before_write.append(away)
        writes = shop.documents.writes
        assert shop.sweeper.tick().failed == ()
        assert shop.documents.writes == writes, "the mark is no document"

    def test_a_chore_that_fails_does_not_keep_the_others_from_being_done(self) -> None:
        done: list[int] = []

        def broken(limit: int) -> int:
            raise Unavailable("down")

        def fine(limit: int) -> int:
            done.append(limit)
            return 3

        shop = Shop(chores=[Chore("broken", broken), Chore("fine", fine, limit=7)])
        swept = shop.sweeper.tick()
        assert swept.failed == ("broken",)
        assert swept.chores == {"sagas": 0, "fine": 3}
        assert done == [7]


class HangingRealtime(MemoryRealtime):
    """Answers nobody until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()

    def get(self, path: str) -> Json:
        self.answers.wait()
        return super().get(path)


class TestAPartThatHangs:
    @pytest.fixture
    def hanging(self, monkeypatch: pytest.MonkeyPatch) -> HangingRealtime:
        monkeypatch.setattr(sweeper, "TICK_US", seconds(0))
        return HangingRealtime()

    def test_keeps_no_other_waiting(self, hanging: HangingRealtime) -> None:
        """T-105."""
        done: list[str] = []

        def hang(_: int) -> int:
            hanging.get("anything")
            return 1

        def work(_: int) -> int:
            done.append("checkpoint")
            return 1

        shop = Shop(chores=[Chore("mirrors", hang), Chore("checkpoint", work)])
        with capture_logs() as logged:
            swept = shop.sweeper.tick()
        assert (swept.failed, done) == (("mirrors",), ["checkpoint"])
        assert [line["chore"] for line in logged if line["event"] == "chore_overran"] == ["mirrors"]
        hanging.answers.set()

    def test_is_not_begun_again_while_it_still_runs(self, hanging: HangingRealtime) -> None:
        begun: list[int] = []

        def hang(limit: int) -> int:
            begun.append(limit)
            hanging.get("anything")
            return 1

        shop = Shop(chores=[Chore("mirrors", hang)])
        assert [shop.sweeper.tick().failed for _ in range(3)] == [("mirrors",)] * 3
        assert len(begun) == 1
        hanging.answers.set()

    def test_chores_of_the_realtime_database_come_last(self) -> None:
        order: list[str] = []

        def named(name: str) -> Chore:
            def work(_: int) -> int:
                order.append(name)
                return 1

            return Chore(name, work, realtime=name == "mirrors")

        shop = Shop(chores=[named("mirrors"), named("checkpoint")])
        shop.sweeper.tick()
        assert order == ["checkpoint", "mirrors"]
