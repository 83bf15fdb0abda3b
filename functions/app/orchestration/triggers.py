"""What the triggers call: one line each in `main.py`.

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
    """A ticket was put up: serve its lane. Which ticket it was does not matter; the lane decides who goes first.

    Raises:
        Fault: a store is away. The platform may repeat the event; the sweeper comes in any case.
    """
    return orchestration.runner.serve(lane)


def due(orchestration: Orchestration, data: object) -> None:
    """An alarm fired.

    Raises:
        TooEarly: the task must be repeated, which its queue does when the function fails.
    """
    operation = data.get("operation") if isinstance(data, Mapping) else None
    ensure(isinstance(operation, str), "an alarm names its operation")
    orchestration.queue.ring(str(operation))


def show_saga(orchestration: Orchestration, saga_id: str) -> None:
    """A saga's document was written: bring its owner's view up to it."""
    orchestration.mirror.reflect(saga_id)


def sweep(orchestration: Orchestration) -> dict[str, object]:
    """One tick of the sweeper; what it did.

    Raises:
        Unavailable: some chores failed; it names them, and the scheduler shows it.
    """
    swept = orchestration.sweeper.tick()
    rung, lanes, failed = swept.rung, list(swept.lanes), list(swept.failed)
    if rung or failed:
        _log.info("queue_swept", rung=rung, lanes=lanes, chores=swept.chores, failed=failed, complete=swept.complete)
    if failed:
        raise Unavailable(f"chores failed: {', '.join(failed)}")
    return {"rung": rung, "lanes": lanes, **swept.chores}
