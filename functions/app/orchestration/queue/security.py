"""Which operation may be caused by whom and run where. One table; pure."""

from typing import Final, Literal

from app.kit.errors import Forbidden
from app.orchestration.queue.operation import Level

Source = Literal["client", "api", "trigger", "event", "saga", "system", "admin"]
"""Who causes an operation: a client by name (callable), a route on a user's behalf, or the backend itself."""

Place = Literal["api", "trigger"]
"""Where a runner stands: inside a request, or behind the queue."""

SOURCES: Final[dict[Level, frozenset[Source]]] = {
    Level.PUBLIC: frozenset({"client", "api", "trigger", "event", "saga", "system", "admin"}),
    Level.USER: frozenset({"api", "trigger", "event", "saga", "system", "admin"}),
    Level.SYSTEM: frozenset({"trigger", "event", "saga", "system", "admin"}),
    Level.MONEY: frozenset({"trigger", "event", "saga", "system", "admin"}),
}
"""A route causes money to move only through a service of the feature (source `system`), never by naming the
operation.
"""

PLACES: Final[dict[Level, frozenset[Place]]] = {
    Level.PUBLIC: frozenset({"api", "trigger"}),
    Level.USER: frozenset({"api", "trigger"}),
    Level.SYSTEM: frozenset({"trigger"}),
    Level.MONEY: frozenset({"trigger"}),
}

AUDITED: Final = frozenset({Level.SYSTEM, Level.MONEY})
"""Levels whose every end is written to the audit log."""


class LevelForbidden(Forbidden):
    """This operation may not be caused from there."""

    code = "operation_not_allowed"
    title = "This operation cannot be started from here"


def refuse_source(name: str, level: Level, source: Source) -> None:
    """Stops what may not be caused by `source`."""
    if source not in SOURCES[level]:
        raise LevelForbidden(f"{name} cannot be started by {source}", operation=name, level=level.value)


def may_run(level: Level, place: Place) -> bool:
    """Whether a runner in this place may take it."""
    return place in PLACES[level]
