"""Which operation may be caused by whom and run where. One table; pure."""

from typing import Final, Literal

from app.kit.errors import Forbidden
from app.orchestration.queue.operation import SecurityLevel

Origin = Literal["client", "api", "trigger", "event", "saga", "system", "admin"]
"""Who causes an operation: a client by name (callable), a route on a user's behalf, or the backend itself."""

RunnerPlace = Literal["api", "trigger"]
"""Where a runner stands: inside a request, or behind the queue."""

SOURCES: Final[dict[SecurityLevel, frozenset[Origin]]] = {
    SecurityLevel.PUBLIC: frozenset({"client", "api", "trigger", "event", "saga", "system", "admin"}),
    SecurityLevel.USER: frozenset({"api", "trigger", "event", "saga", "system", "admin"}),
    SecurityLevel.SYSTEM: frozenset({"trigger", "event", "saga", "system", "admin"}),
    SecurityLevel.MONEY: frozenset({"trigger", "event", "saga", "system", "admin"}),
}
"""A route causes money to move only through a service of the feature (source `system`), never by naming the
operation.
"""

PLACES: Final[dict[SecurityLevel, frozenset[RunnerPlace]]] = {
    SecurityLevel.PUBLIC: frozenset({"api", "trigger"}),
    SecurityLevel.USER: frozenset({"api", "trigger"}),
    SecurityLevel.SYSTEM: frozenset({"trigger"}),
    SecurityLevel.MONEY: frozenset({"trigger"}),
}

AUDITED: Final = frozenset({SecurityLevel.SYSTEM, SecurityLevel.MONEY})
"""Levels whose every end is written to the audit log."""


class LevelForbidden(Forbidden):
    """This operation may not be caused from there."""

    code = "operation_not_allowed"
    title = "This operation cannot be started from here"


def refuse_source(name: str, level: SecurityLevel, source: Origin) -> None:
    """Stops what may not be caused by `source`."""
    if source not in SOURCES[level]:
        raise LevelForbidden(f"{name} cannot be started by {source}", operation=name, level=level.value)


def may_run(level: SecurityLevel, place: RunnerPlace) -> bool:
    """Whether a runner in this place may take it."""
    return place in PLACES[level]
