"""What the deployed functions of `main.py` call, and on which event.

run_operation   RTDB, created   /orchestration/queue/{lane}/{ticket}     run_operation(orchestration, lane)
due             Cloud Tasks     {"operation": id}                        due(orchestration, data)
show_saga       Firestore       sagas/{saga} written                     show_saga(orchestration, saga)
sweep           scheduler       every minute                             sweep(orchestration)
"""

from collections.abc import Mapping

from app.kit.errors import Unavailable, ensure
from app.kit.telemetry import log
from app.orchestration.assembly import Orchestration

_log = log("orchestration")


def run_operation(orchestration: Orchestration, lane: str) -> int:
    """A ticket was created: serves its lane. The lane decides which ticket goes first, so its name does not matter.

    Raises:
        Fault: a store is unavailable. The platform may repeat the event; the sweeper rings again in any case.
    """
    return orchestration.runner.serve(lane)


def due(orchestration: Orchestration, data: object) -> None:
    """An alarm fired: rings for its operation.

    Raises:
        TooEarly: the operation is not due. Cloud Tasks repeats the task, because the function fails.
    """
    operation = data.get("operation") if isinstance(data, Mapping) else None
    ensure(isinstance(operation, str), "an alarm names its operation")
    orchestration.queue.ring(str(operation))


def show_saga(orchestration: Orchestration, saga_id: str) -> None:
    """A saga's document was written: updates what its owner sees."""
    orchestration.mirror.reflect(saga_id)


def sweep(orchestration: Orchestration) -> dict[str, object]:
    """One tick of the sweeper. Returns what it did, chore by chore.

    Raises:
        Unavailable: some parts failed; the message names them.
    """
    swept = orchestration.sweeper.tick()
    rung, lanes, failed = swept.rung, list(swept.lanes), list(swept.failed)
    if rung or failed:
        _log.info("queue_swept", rung=rung, lanes=lanes, chores=swept.chores, failed=failed, complete=swept.complete)
    if failed:
        raise Unavailable(f"chores failed: {', '.join(failed)}")
    return {"rung": rung, "lanes": lanes, **swept.chores}
