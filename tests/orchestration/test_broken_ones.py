"""A malformed operation or saga, or a store that is unavailable, does not stop the others."""

from collections.abc import Mapping

import pytest

from app.kit.clock import minutes
from app.kit.errors import InvariantViolation, Unavailable
from app.kit.stores.documents import Create, Delete, Replace, Value
from app.kit.stores.realtime import Json
from app.orchestration.queue import line
from app.orchestration.queue.doorbell import QUEUE
from app.orchestration.queue.handler import Done, Handler, Run, RunOutcome
from app.orchestration.queue.operation import OperationState
from app.orchestration.queue.outbox import Outbox
from app.orchestration.sagas.saga import StepStatus
from app.orchestration.sagas.saga_definition import SagaDefinition, SagaStep, StepDone
from app.orchestration.sagas.sagas import SagaStart
from app.orchestration.sweeper import Chore
from orchestration.shop import Shop, Spy, order

ONE_STEP = SagaDefinition("one", 1, (SagaStep("only", lambda _: StepDone()),))


def rewrite(shop: Shop, path: str, changes: Mapping[str, Value]) -> None:
    """Changes a stored document, as a later version of the code might have."""
    stored = shop.documents.get(path)
    assert stored is not None
    shop.documents.commit([Replace(path, {**stored.fields, **changes}, stored.version)])


def two_of_which_the_first_is_broken(shop: Shop) -> str:
    """Enqueues a malformed operation and a good one, and loses their triggers. Returns the id of the good one."""
    shop.rings = False
    broken, whole = shop.queue.enqueue(order()), shop.queue.enqueue(order())
    shop.rings = True
    rewrite(shop, f"operations/{broken}", {"level": "of a later version"})
    return whole


def counted(ticks: list[int]) -> Chore:
    """A chore that appends its limit to `ticks`."""

    def work(limit: int) -> int:
        ticks.append(limit)
        return 1

    return Chore("credits", work)


class TestAnUnreadableOperation:
    def test_is_passed_over_by_the_sweeper(self) -> None:
        """T-38: otherwise nothing would be swept any more, expired reservations included."""
        spy, chores = Spy(), list[int]()
        shop = Shop([Handler("work", spy)], chores=[counted(chores)])
        whole = two_of_which_the_first_is_broken(shop)
        shop.realtime.update({QUEUE: None})
        shop.pass_time(minutes=2)
        assert len(chores) == 2
        assert spy.runs == [whole]

    def test_does_not_stop_a_lane_of_one(self) -> None:
        """T-105."""
        spy = Spy()
        shop = Shop([Handler("work", spy, lane="narrow")])
        whole = two_of_which_the_first_is_broken(shop)
        shop.doorbell.wake("narrow", shop.clock.now_us(), ["w"])
        with pytest.raises(InvariantViolation):
            shop.drain()
        assert spy.runs == [whole]
        shop.pass_time(minutes=2)


class TestTheFirstOfALine:
    @pytest.mark.parametrize("rung", [True, False], ids=["triggers", "the sweep"])
    def test_that_cannot_be_read_is_passed_once_and_becomes_a_dead_letter(self, rung: bool) -> None:
        """T-105: otherwise everything behind it would wait for ever."""
        spy = Spy()
        shop = Shop([Handler("work", spy)])
        shop.rings = rung
        broken, *whole = [shop.queue.enqueue(order(key="alice", position=n)) for n in range(3)]
        shop.rings = True
        rewrite(shop, f"operations/{broken}", {"level": "of a later version"})
        if not rung:
            shop.realtime.update({QUEUE: None})
        shop.pass_time(minutes=3)
        assert spy.runs == whole
        stored = shop.documents.get(f"operations/{broken}")
        assert stored is not None
        assert (stored.fields["state"], stored.fields["line"], stored.fields["level"]) == (
            "dead",
            None,
            "of a later version",
        )
        # Who can read it again, replays it.
        rewrite(shop, stored.path, {"level": "user"})
        assert [letter.id for letter in shop.dead_letters()] == [broken]

    def test_whose_lock_cannot_be_read_runs(self) -> None:
        spy = Spy()
        shop = Shop([Handler("work", spy)])
        [first, second] = [shop.queue.enqueue(order(key="alice", position=n)) for n in range(2)]
        lock = line.path_of(shop.queue.get(first))
        assert lock is not None
        shop.documents.commit([Create(lock, {"operation": 7})])
        shop.pass_time(minutes=3)
        assert spy.runs == [first, second]

    def test_whose_lock_names_one_that_cannot_be_read_runs(self) -> None:
        spy = Spy()
        shop = Shop([Handler("work", spy)])
        [other, first] = [shop.queue.enqueue(order(key=key)) for key in ("bob", "alice")]
        lock = line.path_of(shop.queue.get(first))
        assert lock is not None
        shop.documents.commit([Create(lock, {"operation": other, "token": 1})])
        rewrite(shop, f"operations/{other}", {"level": "of a later version"})
        shop.pass_time(minutes=3)
        assert spy.runs == [first]


def test_a_saga_of_a_version_that_is_gone_is_passed_over() -> None:
    shop = Shop(sagas=[ONE_STEP])
    shop.rings = False
    for id in ("gone", "lost"):
        shop.sagas.start(SagaStart(id, "one"))
        shop.clock.advance(seconds=1)
    rewrite(shop, "sagas/gone", {"version": 7})
    shop.documents.commit([Delete(f"operations/{operation}") for operation in shop.operations()])
    shop.rings = True
    shop.pass_time(minutes=20)
    assert shop.sagas.get("lost").steps["only"].status is StepStatus.DONE


def refuse(_: Mapping[str, Json]) -> None:
    raise Unavailable("the Realtime Database is away")


def test_a_commit_succeeds_though_its_alarm_breaks() -> None:
    """T-38: missing credentials for Cloud Tasks are no `Fault`; if they failed the commit, its caller would undo it."""
    spy = Spy()
    shop = Shop([Handler("work", spy)])
    outbox = Outbox(shop.documents, shop.doorbell, BrokenAlarms(), shop.clock)
    outbox.commit(shop.queue.rows([order(due_us=shop.clock.now_us() + minutes(1))]))
    shop.pass_time(minutes=3)
    assert len(spy.runs) == 1


class BrokenAlarms:
    def set(self, operation_id: str, due_us: int) -> None:
        raise OSError(f"no credentials for {operation_id} at {due_us}")


def test_long_work_goes_on_while_the_doorbell_is_away() -> None:
    """T-85: only the lease in Firestore counts."""

    def work(run: Run) -> RunOutcome:
        shop.realtime.before_write.append(refuse)
        try:
            run.renew()
        finally:
            shop.realtime.before_write.remove(refuse)
        return Done()

    shop = Shop([Handler("work", work)])
    identity = shop.queue.enqueue(order())
    shop.drain()
    operation = shop.queue.get(identity)
    assert (operation.state, operation.attempts) == (OperationState.SUCCEEDED, 1)


def test_chores_are_done_while_the_doorbell_is_away() -> None:
    """T-38."""
    chores = list[int]()
    shop = Shop([Handler("work", Spy())], chores=[counted(chores)])
    shop.queue.enqueue(order())
    shop.clock.advance(minutes=2)
    shop.realtime.before_write.append(refuse)
    swept = shop.sweeper.tick()
    assert swept.failed == ("rings",)
    assert chores == [100]
