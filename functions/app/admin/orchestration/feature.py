"""Operations for administrators, plugged in: orchestration stands below the HTTP edge and has no routes of its own."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from app.feature import Feature, Figure, Invariant, late

if TYPE_CHECKING:
    from flask_openapi import APIBlueprint

    from app.orchestration.assembly import Orchestration


class OrchestrationAdminFeature(Feature):
    """Routes and figures of the queue, the sagas and the event bus."""

    def __init__(self, orchestration: "Callable[[], Orchestration]") -> None:
        super().__init__()
        self._orchestration = orchestration

    def routes(self) -> "Sequence[APIBlueprint]":
        from app.admin.orchestration import routes
        from app.admin.orchestration.service import OrchestrationAdmin

        orchestration = late(self._orchestration)
        return [routes.routes(orchestration, OrchestrationAdmin(orchestration))]

    def figures(self) -> Iterable[Figure]:
        from app.admin.orchestration.figures import figures

        return figures(self._orchestration())

    def invariants(self) -> Sequence[Invariant]:
        from app.admin.orchestration.figures import long_overdue

        return [Invariant("operations_move_in_time", lambda: long_overdue(self._orchestration()))]
