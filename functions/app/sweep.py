"""The scheduled sweep: a list of chores that end what was left open. Part of the composition root.

Every chore is idempotent and bounded. One that fails is logged with its traceback and does not keep the others waiting;
the run as a whole then counts as failed, so that the scheduler shows it.
"""

from collections.abc import Callable, Mapping

from app.kit import telemetry
from app.kit.errors import Unavailable

Chore = Callable[[], object]


def sweep(chores: Mapping[str, Chore]) -> dict[str, object]:
    """Does every chore once; what each returned.

    Raises:
        Unavailable: some chores failed; it names them.
    """
    log = telemetry.log("sweep")
    done: dict[str, object] = {}
    failed: list[str] = []
    for name, chore in chores.items():
        try:
            done[name] = chore()
        except Exception as error:
            failed.append(name)
            log.error("a chore failed", chore=name, exc_info=error)
    log.info("swept", done=done, failed=failed)
    if failed:
        raise Unavailable(f"chores failed: {', '.join(failed)}")
    return done
