"""An operation that is not due yet, over the Tasks emulator and the deployed functions `due` and `run_operation`."""

import secrets
from collections.abc import Iterator
from typing import Final
from uuid import uuid4

import pytest
import requests

from app.kit.clock import SystemClock, seconds
from app.kit.concurrency import Threads
from app.kit.ids import RandomIds
from app.kit.optimistic import full_jitter
from app.kit.stores import firestore
from app.kit.stores.realtime import FirebaseRealtime
from app.orchestration.assembly import Contributions, Orchestration, QueueDependencies, assemble
from app.orchestration.queue.alarms import FUNCTION, CloudTaskAlarms
from app.orchestration.queue.operation import Operation, OperationState
from app.orchestration.queue.operation_queue import Order
from app.orchestration.sagas.sagas import TIMER
from app.outside import REGION, firebase
from emulators.suite.places import PROJECT, origin
from support.suite import RunningSuite, eventually

AHEAD_US: Final = seconds(4)


@pytest.fixture
def orchestration(suite: RunningSuite) -> Orchestration:
    """As in production, with no features' handlers and with alarms on Cloud Tasks."""
    firebase(on_emulator=True)
    clock = SystemClock()
    documents, alarms, draw = firestore.connect(PROJECT), CloudTaskAlarms(REGION), secrets.randbelow
    pause = full_jitter(Threads(), draw)
    return assemble(
        QueueDependencies(documents, FirebaseRealtime(), clock, RandomIds(clock), draw, alarms, pause=pause),
        Contributions(),
    )


@pytest.fixture
def timer(orchestration: Orchestration) -> Iterator[str]:
    """The timer of a saga that does not exist: the one operation that needs no feature. It becomes a dead letter."""
    saga = f"none_{uuid4().hex}"
    due_us = orchestration.clock.now_us() + AHEAD_US
    operation = orchestration.queue.enqueue(
        Order(TIMER, {"saga": saga, "step": "paid"}, source="saga", once=saga, due_us=due_us)
    )
    yield operation
    if orchestration.queue.cancel(operation, "the test is over").state is OperationState.DEAD:
        orchestration.letters.discard(operation, by="test", reason="the test is over")


def test_an_alarm_rings_when_the_time_has_come_and_not_before(
    suite: RunningSuite, orchestration: Orchestration, timer: str
) -> None:
    """The emulator does not wait: `due` refuses a task that comes early, and the task is repeated until the operation
    is due. No sweeper runs here, so that only the task can have rung.
    """
    stats = requests.get(f"{origin(suite.ports.tasks)}/queueStats", timeout=30).json()
    assert f"queue:{PROJECT}-{REGION}-{FUNCTION}" in stats

    def ended() -> Operation | None:
        operation = orchestration.queue.get(timer)
        return operation if operation.state is OperationState.DEAD else None

    operation = eventually(ended, what="the run of the timer", within_s=60)
    assert operation.attempts == 1
    assert operation.reason is not None and operation.reason.startswith("NotFound")
    assert operation.finished_us is not None and operation.finished_us >= operation.due_us
