"""Turns operations, lanes, sagas and audit lines into the answers of the admin routes."""

from dataclasses import asdict

from app.admin.orchestration.schemas import (
    AttemptAnswer,
    AuditLineAnswer,
    LaneAnswer,
    MomentAnswer,
    OperationAnswer,
    SagaAnswer,
    StepAnswer,
    SubscriptionAnswer,
    WaitingAnswer,
)
from app.kit.clock import optional_rfc3339, to_rfc3339
from app.orchestration.event_bus import Subscription
from app.orchestration.queue.admission import Depth
from app.orchestration.queue.audit import AuditLine
from app.orchestration.queue.handler import Lane
from app.orchestration.queue.operation import Operation
from app.orchestration.sagas.saga import SagaState


def lane(known: Lane, depth: Depth, now_us: int) -> LaneAnswer:
    """A lane, and what waits and runs in it."""
    return LaneAnswer(
        lane=known.name,
        paused=depth.paused,
        limit=known.limit,
        running=depth.running,
        waiting=depth.tickets,
        more_waiting=depth.more,
        oldest=[
            WaitingAnswer(priority=priority.name.lower(), oldest_age_seconds=max(0, now_us // 1000 - due_ms) / 1000)
            for priority, due_ms in sorted(depth.oldest_due_ms.items())
        ],
    )


def operation(known: Operation) -> OperationAnswer:
    """An operation without its payload, which may contain data of its user."""
    return OperationAnswer(
        id=known.id,
        name=known.name,
        lane=known.lane,
        priority=known.priority.name.lower(),
        level=known.level.value,
        source=known.source,
        account=known.account,
        state=known.state.value,
        attempts=known.attempts,
        created_at=to_rfc3339(known.created_us),
        due_at=to_rfc3339(known.due_us),
        finished_at=optional_rfc3339(known.finished_us),
        owner=None if known.lease is None else known.lease.owner,
        reason=known.reason,
        history=[
            AttemptAnswer(
                at=to_rfc3339(line.at_us),
                attempt=line.number,
                owner=line.owner,
                outcome=line.outcome,
                detail=line.detail,
            )
            for line in known.history
        ],
    )


def saga(state: SagaState) -> SagaAnswer:
    """A saga without its input, facts and results, which may contain data of its user."""
    return SagaAnswer(
        id=state.id,
        name=state.name,
        version=state.version,
        account=state.account,
        status=state.status.value,
        progress=state.progress() / 1000,
        failure=state.failure,
        created_at=to_rfc3339(state.created_us),
        updated_at=to_rfc3339(state.updated_us),
        steps=[
            StepAnswer(
                name=name,
                status=step.status.value,
                started_at=optional_rfc3339(step.started_us),
            )
            for name, step in state.steps.items()
        ],
        timeline=[
            MomentAnswer(at=to_rfc3339(line.at_us), step=line.step, what=line.what, detail=line.detail)
            for line in state.timeline
        ],
    )


def audit_line(line: AuditLine) -> AuditLineAnswer:
    """One line of the audit log."""
    return AuditLineAnswer(**asdict(line))


def subscription(known: Subscription) -> SubscriptionAnswer:
    """One subscription to an event."""
    return SubscriptionAnswer(
        subscriber=known.subscriber,
        event=known.event,
        versions=sorted(known.versions),
        ordered=known.ordered,
        lane=known.lane,
        priority=known.priority.name.lower(),
        operation=known.operation,
    )
