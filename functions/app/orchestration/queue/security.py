"""What may cause an operation of each security level, and where it may run. Pure."""

from typing import Final, Literal

from app.kit.errors import Forbidden
from app.orchestration.queue.operation import SecurityLevel

Origin = Literal["client", "api", "trigger", "event", "saga", "system", "admin"]
"""What causes an operation: a client that names it (callable), a route on a user's behalf, or the backend itself."""

RunnerPlace = Literal["api", "trigger"]
"""Where a runner works: inside a request, or in the queue's trigger."""

SOURCES: Final[dict[SecurityLevel, frozenset[Origin]]] = {
    SecurityLevel.PUBLIC: frozenset({"client", "api", "trigger", "event", "saga", "system", "admin"}),
    SecurityLevel.USER: frozenset({"api", "trigger", "event", "saga", "system", "admin"}),
    SecurityLevel.SYSTEM: frozenset({"trigger", "event", "saga", "system", "admin"}),
    SecurityLevel.MONEY: frozenset({"trigger", "event", "saga", "system", "admin"}),
}
"""Routes (`api`) are missing where money moves: they call a service of the feature, which orders the operation with
source `system`.
"""

PLACES: Final[dict[SecurityLevel, frozenset[RunnerPlace]]] = {
    SecurityLevel.PUBLIC: frozenset({"api", "trigger"}),
    SecurityLevel.USER: frozenset({"api", "trigger"}),
    SecurityLevel.SYSTEM: frozenset({"trigger"}),
    SecurityLevel.MONEY: frozenset({"trigger"}),
}

AUDITED: Final = frozenset({SecurityLevel.SYSTEM, SecurityLevel.MONEY})
"""Levels whose operations leave a line in the audit log when they end."""


class LevelForbidden(Forbidden):
    """The source may not cause operations of this level."""

    code = "operation_not_allowed"
    title = "This operation cannot be started from here"


def refuse_source(name: str, level: SecurityLevel, source: Origin) -> None:
    """Raises `LevelForbidden` when `source` may not cause operations of this level."""
    if source not in SOURCES[level]:
        raise LevelForbidden(f"{name} cannot be started by {source}", operation=name, level=level.value)


def may_run(level: SecurityLevel, place: RunnerPlace) -> bool:
    """Whether a runner in this place may run operations of this level."""
    return place in PLACES[level]
