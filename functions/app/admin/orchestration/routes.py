"""`/orchestration/...`: lanes, operations, dead letters, sagas, events and the audit log. Administrators act and read;
the role `support` reads all but the audit log.

Every act is written to the audit log with the administrator's id. Acts may be repeated: pausing a paused lane changes
nothing, and replaying an operation that is open or succeeded answers 409.
"""

from typing import Final

from flask_openapi import APIBlueprint, Tag

from app.admin.orchestration import event_routes, serializers
from app.admin.orchestration.schemas import (
    AuditLineAnswer,
    AuditLogParameters,
    LaneAnswer,
    LanePath,
    LanesAnswer,
    OperationAnswer,
    OperationPath,
    OperationsParameters,
    Reason,
    SagaAnswer,
    SagaPath,
    SagasParameters,
)
from app.admin.orchestration.service import OrchestrationAdmin
from app.api.auth import caller, only
from app.api.paging import Cursors, time_and_id
from app.api.schemas import Page, PageParameters, Problem
from app.orchestration.assembly import Orchestration
from app.orchestration.queue.audit import audit_lines
from app.orchestration.queue.dead_letters import operations_in
from app.orchestration.queue.operation import OperationState

_TAG: Final = Tag(name="orchestration", description="Operations, sagas and dead letters, for administrators")


def routes(orchestration: Orchestration, admin: OrchestrationAdmin) -> APIBlueprint:
    """The blueprint of all these routes."""
    blueprint = APIBlueprint("orchestration", __name__, url_prefix="/orchestration", abp_tags=[_TAG])
    _lanes(blueprint, orchestration, admin)
    _operations(blueprint, orchestration)
    _letters(blueprint, orchestration)
    _sagas(blueprint, orchestration, admin)
    event_routes.add(blueprint, orchestration, admin)
    _audit(blueprint, orchestration)
    return blueprint


def _lanes(blueprint: APIBlueprint, orchestration: Orchestration, admin: OrchestrationAdmin) -> None:
    @blueprint.get("/lanes", summary="Depth, age and state of every lane", responses={200: LanesAnswer})
    @only("admin", "support")
    def lanes() -> LanesAnswer:
        return LanesAnswer(lanes=[_lane(orchestration, name) for name in sorted(orchestration.handlers.lanes)])

    @blueprint.post(
        "/lanes/<lane>/pause", summary="Pause a lane: start nothing more in it", responses={200: LaneAnswer}
    )
    @only("admin")
    def pause(path: LanePath) -> LaneAnswer:
        admin.set_paused(path.lane, paused=True, by=caller().uid)
        return _lane(orchestration, path.lane)

    @blueprint.post("/lanes/<lane>/resume", summary="Resume a paused lane", responses={200: LaneAnswer})
    @only("admin")
    def resume(path: LanePath) -> LaneAnswer:
        admin.set_paused(path.lane, paused=False, by=caller().uid)
        return _lane(orchestration, path.lane)


def _operations(blueprint: APIBlueprint, orchestration: Orchestration) -> None:
    @blueprint.get("/operations", summary="Operations in one state", responses={200: Page[OperationAnswer]})
    @only("admin", "support")
    def operations(query: OperationsParameters) -> Page[OperationAnswer]:
        return _page_of(orchestration, OperationState(query.state), query)

    @blueprint.get(
        "/operations/<operation_id>", summary="One operation", responses={200: OperationAnswer, 404: Problem}
    )
    @only("admin", "support")
    def operation(path: OperationPath) -> OperationAnswer:
        return serializers.operation(orchestration.queue.get(path.operation_id))

    @blueprint.post(
        "/operations/<operation_id>/cancel",
        summary="Stop an operation",
        responses={200: OperationAnswer, 404: Problem},
    )
    @only("admin")
    def cancel(path: OperationPath, body: Reason) -> OperationAnswer:
        reason, by = f"{caller().uid}: {body.reason}", caller().uid
        return serializers.operation(orchestration.queue.cancel(path.operation_id, reason, by=by))


def _letters(blueprint: APIBlueprint, orchestration: Orchestration) -> None:
    @blueprint.get("/dead-letters", summary="Dead letters, newest first", responses={200: Page[OperationAnswer]})
    @only("admin", "support")
    def letters(query: PageParameters) -> Page[OperationAnswer]:
        return _page_of(orchestration, OperationState.DEAD, query)

    @blueprint.post(
        "/dead-letters/<operation_id>/replay",
        summary="Queue a dead letter again, with all its tries",
        responses={200: OperationAnswer, 404: Problem, 409: Problem},
    )
    @only("admin")
    def replay(path: OperationPath) -> OperationAnswer:
        return serializers.operation(orchestration.letters.replay(path.operation_id, by=caller().uid))

    @blueprint.post(
        "/dead-letters/<operation_id>/discard",
        summary="Discard a dead letter",
        responses={200: OperationAnswer, 404: Problem, 409: Problem},
    )
    @only("admin")
    def discard(path: OperationPath, body: Reason) -> OperationAnswer:
        gone = orchestration.letters.discard(path.operation_id, by=caller().uid, reason=body.reason)
        return serializers.operation(gone)


def _sagas(blueprint: APIBlueprint, orchestration: Orchestration, admin: OrchestrationAdmin) -> None:
    @blueprint.get("/sagas", summary="Sagas, newest first", responses={200: Page[SagaAnswer]})
    @only("admin", "support")
    def sagas(query: SagasParameters) -> Page[SagaAnswer]:
        cursors = Cursors("sagas", time_and_id, (query.status,))
        found = orchestration.sagas.listing(query.status)
        page, more = cursors.listed(found, serializers.saga, query.limit, query.cursor)
        return Page[SagaAnswer](items=[*page], next_cursor=more)

    @blueprint.get("/sagas/<saga_id>", summary="One saga with its timeline", responses={200: SagaAnswer, 404: Problem})
    @only("admin", "support")
    def saga(path: SagaPath) -> SagaAnswer:
        return serializers.saga(orchestration.sagas.get(path.saga_id))

    @blueprint.post(
        "/sagas/<saga_id>/cancel",
        summary="Stop a saga and undo what it did",
        responses={200: SagaAnswer, 404: Problem},
    )
    @only("admin")
    def cancel_saga(path: SagaPath, body: Reason) -> SagaAnswer:
        return serializers.saga(admin.cancel_saga(path.saga_id, reason=body.reason, by=caller().uid))


def _audit(blueprint: APIBlueprint, orchestration: Orchestration) -> None:
    @blueprint.get(
        "/audit-log",
        summary="Every end of an operation that moves money or belongs to the system, and every act on one",
        responses={200: Page[AuditLineAnswer]},
    )
    @only("admin")
    def audit_log(query: AuditLogParameters) -> Page[AuditLineAnswer]:
        cursors = Cursors("audit-log", time_and_id, (query.uid, query.operation))
        found = audit_lines(orchestration.outbox, orchestration.clock, account=query.uid, operation=query.operation)
        page, more = cursors.listed(found, serializers.audit_line, query.limit, query.cursor)
        return Page[AuditLineAnswer](items=[*page], next_cursor=more)


def _page_of(orchestration: Orchestration, state: OperationState, query: PageParameters) -> Page[OperationAnswer]:
    cursors = Cursors("operations", time_and_id, (state,))
    found = operations_in(orchestration.outbox, orchestration.clock, state)
    page, more = cursors.listed(found, serializers.operation, query.limit, query.cursor)
    return Page[OperationAnswer](items=[*page], next_cursor=more)


def _lane(orchestration: Orchestration, name: str) -> LaneAnswer:
    now_us = orchestration.clock.now_us()
    return serializers.lane(orchestration.handlers.lanes[name], orchestration.doorbell.depth(name, now_us), now_us)
