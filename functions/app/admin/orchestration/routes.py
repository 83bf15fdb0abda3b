"""`/orchestration/...`: what waits and runs, sagas with their timeline, dead letters, events, the audit log. Admins
only.

Every act is written to the audit log with the admin's id. Acts are idempotent by nature: pausing twice is paused, and a
dead letter that is not dead any more answers 409.
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
from app.api.auth import caller, only
from app.api.paging import Cursors, time_and_id
from app.api.schemas import Page, PageParameters, Problem
from app.kit.clock import to_rfc3339
from app.kit.errors import NotFound
from app.orchestration.assembly import Orchestration
from app.orchestration.queue.audit import AuditQuestion, audit_lines, lane_row, saga_row
from app.orchestration.queue.dead_letters import operations_in, place_of
from app.orchestration.queue.operation import OperationState

_TAG: Final = Tag(name="orchestration", description="Operations, sagas and dead letters, for administrators")


def routes(orchestration: Orchestration) -> APIBlueprint:
    """The blueprint; see the module."""
    blueprint = APIBlueprint("orchestration", __name__, url_prefix="/orchestration", abp_tags=[_TAG])
    _lanes(blueprint, orchestration)
    _operations(blueprint, orchestration)
    _letters(blueprint, orchestration)
    _sagas(blueprint, orchestration)
    event_routes.add(blueprint, orchestration)
    _audit(blueprint, orchestration)
    return blueprint


def _lanes(blueprint: APIBlueprint, orchestration: Orchestration) -> None:
    @blueprint.get("/lanes", summary="Depth, age and state of every lane", responses={200: LanesAnswer})
    @only("admin", "support")
    def lanes() -> LanesAnswer:
        return LanesAnswer(lanes=[_lane(orchestration, name) for name in sorted(orchestration.handlers.lanes)])

    @blueprint.post("/lanes/<lane>/pause", summary="Start nothing more in a lane", responses={200: LaneAnswer})
    @only("admin")
    def pause(path: LanePath) -> LaneAnswer:
        return _set_paused(orchestration, path.lane, paused=True)

    @blueprint.post("/lanes/<lane>/resume", summary="Let a lane go on", responses={200: LaneAnswer})
    @only("admin")
    def resume(path: LanePath) -> LaneAnswer:
        return _set_paused(orchestration, path.lane, paused=False)


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
    @blueprint.get("/dead-letters", summary="What failed for good", responses={200: Page[OperationAnswer]})
    @only("admin", "support")
    def letters(query: PageParameters) -> Page[OperationAnswer]:
        return _page_of(orchestration, OperationState.DEAD, query)

    @blueprint.post(
        "/dead-letters/<operation_id>/replay",
        summary="Try it again, with all its tries",
        responses={200: OperationAnswer, 404: Problem, 409: Problem},
    )
    @only("admin")
    def replay(path: OperationPath) -> OperationAnswer:
        return serializers.operation(orchestration.letters.replay(path.operation_id, by=caller().uid))

    @blueprint.post(
        "/dead-letters/<operation_id>/discard",
        summary="Put it away",
        responses={200: OperationAnswer, 404: Problem, 409: Problem},
    )
    @only("admin")
    def discard(path: OperationPath, body: Reason) -> OperationAnswer:
        gone = orchestration.letters.discard(path.operation_id, by=caller().uid, reason=body.reason)
        return serializers.operation(gone)


def _sagas(blueprint: APIBlueprint, orchestration: Orchestration) -> None:
    @blueprint.get("/sagas", summary="Sagas, newest first", responses={200: Page[SagaAnswer]})
    @only("admin", "support")
    def sagas(query: SagasParameters) -> Page[SagaAnswer]:
        cursors = Cursors("sagas", time_and_id, (query.status,))
        found = orchestration.sagas.page(query.status, query.limit + 1, cursors.read(query.cursor))
        page, more = cursors.page(found, query.limit, lambda state: (to_rfc3339(state.created_us), state.id))
        return Page[SagaAnswer](items=[serializers.saga(state) for state in page], next_cursor=more)

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
        orchestration.sagas.get(path.saga_id)
        now_us, by = orchestration.clock.now_us(), caller().uid
        row = saga_row(saga=path.saga_id, actor=by, now_us=now_us, reason=body.reason)
        orchestration.outbox.commit([row])
        return serializers.saga(orchestration.sagas.cancel(path.saga_id, f"{by}: {body.reason}"))


def _audit(blueprint: APIBlueprint, orchestration: Orchestration) -> None:
    @blueprint.get(
        "/audit-log",
        summary="Every end of an operation that moves money or belongs to the system, and every act on one",
        responses={200: Page[AuditLineAnswer]},
    )
    @only("admin")
    def audit_log(query: AuditLogParameters) -> Page[AuditLineAnswer]:
        cursors = Cursors("audit-log", time_and_id, (query.uid, query.operation))
        question = AuditQuestion(query.uid, query.operation, query.limit + 1, cursors.read(query.cursor))
        found = audit_lines(orchestration.outbox, question)
        page, more = cursors.page(found, query.limit, lambda line: (line.at, line.id))
        return Page[AuditLineAnswer](items=[serializers.audit_line(line) for line in page], next_cursor=more)


def _page_of(orchestration: Orchestration, state: OperationState, query: PageParameters) -> Page[OperationAnswer]:
    cursors = Cursors("operations", time_and_id, (state,))
    found = operations_in(orchestration.outbox, state, query.limit + 1, cursors.read(query.cursor))
    page, more = cursors.page(found, query.limit, place_of)
    return Page[OperationAnswer](items=[serializers.operation(one) for one in page], next_cursor=more)


def _lane(orchestration: Orchestration, name: str) -> LaneAnswer:
    now_us = orchestration.clock.now_us()
    return serializers.lane(orchestration.handlers.lanes[name], orchestration.doorbell.depth(name, now_us), now_us)


def _set_paused(orchestration: Orchestration, name: str, *, paused: bool) -> LaneAnswer:
    if name not in orchestration.handlers.lanes:
        raise NotFound("There is no such lane", lane=name)
    now_us = orchestration.clock.now_us()
    action = "paused" if paused else "resumed"
    orchestration.outbox.commit([lane_row(lane=name, action=action, actor=caller().uid, now_us=now_us)])
    orchestration.doorbell.pause(name, paused)
    if not paused:
        waiting = orchestration.doorbell.depth(name, now_us).tickets
        orchestration.sweeper.wake(name, waiting, now_us)
    return _lane(orchestration, name)
