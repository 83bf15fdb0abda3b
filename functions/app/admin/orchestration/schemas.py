"""Bodies, parameters and answers of the admin routes."""

from typing import Literal, Self

from pydantic import Field, model_validator

from app.api.schemas import (
    AuditedId,
    Cursor,
    EventId,
    LaneId,
    OperationId,
    PageParameters,
    Parameters,
    RequestBody,
    ResponseBody,
    SagaId,
    SubscriberId,
    TimeIn,
    Timestamp,
    UserId,
)
from app.kit.clock import from_rfc3339
from app.orchestration.queue.operation import OperationState
from app.orchestration.sagas.saga import SagaStatus


class LanePath(Parameters):
    """Names one lane."""

    lane: LaneId


class OperationPath(Parameters):
    """Names one operation."""

    operation_id: OperationId


class SagaPath(Parameters):
    """Names one saga."""

    saga_id: SagaId


class OperationsParameters(PageParameters):
    """Which operations to list."""

    state: Literal["queued", "running", "succeeded", "dead", "cancelled", "discarded"] = OperationState.RUNNING.value


class SagasParameters(PageParameters):
    """Which sagas to list; all when no status is given."""

    status: SagaStatus | None = None


class AuditLogParameters(PageParameters):
    """Which lines of the audit log to list."""

    uid: UserId | None = None
    operation: AuditedId | None = None


class Reason(RequestBody):
    """Why the administrator does this; it is written to the audit log."""

    reason: str = Field(min_length=1, max_length=300)


class ReplayBody(RequestBody):
    """Which events to deliver again, by when they happened (`from` is inclusive, `to` is not), and to which subscriber.

    Events that the subscriber has handled are skipped, so that a repeated request sends nothing twice. With `again`
    they are delivered once more for each such text.
    """

    subscriber: SubscriberId = Field(examples=["welcome"])
    event: EventId = Field(examples=["CreditsDeposited"])
    from_: TimeIn = Field(alias="from")
    to: TimeIn
    again: str | None = Field(default=None, pattern=r"^[!-~]([ -~]{0,98}[!-~])?$", examples=["rebuild-1"])
    limit: int = Field(default=100, ge=1, le=100, description="Most deliveries read in one call")
    cursor: Cursor | None = None

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if from_rfc3339(self.from_) >= from_rfc3339(self.to):
            raise ValueError("`from` lies before `to`")
        return self


class ReplayAnswer(ResponseBody):
    """`sent` deliveries were made; call again with `next_cursor` until it is null."""

    sent: int
    next_cursor: str | None


class SubscriptionAnswer(ResponseBody):
    """`subscriber` receives `event`. `operation` is the name of the operations that deliver it."""

    subscriber: str
    event: str
    versions: list[int]
    ordered: bool
    lane: str
    priority: str
    operation: str


class SubscriptionsAnswer(ResponseBody):
    """All subscriptions."""

    subscriptions: list[SubscriptionAnswer]


class WaitingAnswer(ResponseBody):
    """The oldest waiting operation of one priority in a lane."""

    priority: str
    oldest_age_seconds: float


class LaneAnswer(ResponseBody):
    """One lane. `waiting` counts to a thousand; `more_waiting` says that it may be more."""

    lane: str
    paused: bool
    limit: int
    running: int
    waiting: int
    more_waiting: bool
    oldest: list[WaitingAnswer]


class LanesAnswer(ResponseBody):
    """Every lane."""

    lanes: list[LaneAnswer]


class AttemptAnswer(ResponseBody):
    """One line of an operation's history."""

    at: Timestamp
    attempt: int
    owner: str
    outcome: str
    detail: str


class OperationAnswer(ResponseBody):
    """An operation without its payload, which may contain data of its user."""

    id: str
    name: str
    lane: str
    priority: str
    level: str
    source: str
    account: str | None
    state: str
    attempts: int
    created_at: Timestamp
    due_at: Timestamp
    finished_at: Timestamp | None
    owner: str | None
    reason: str | None
    history: list[AttemptAnswer]


class StepAnswer(ResponseBody):
    """One step of a saga."""

    name: str
    status: str
    started_at: Timestamp | None


class MomentAnswer(ResponseBody):
    """One line of a saga's timeline."""

    at: Timestamp
    step: str
    what: str
    detail: str


class SagaAnswer(ResponseBody):
    """A saga with its timeline."""

    id: str
    name: str
    version: int
    account: str | None
    status: str
    progress: float
    failure: str | None
    created_at: Timestamp
    updated_at: Timestamp
    steps: list[StepAnswer]
    timeline: list[MomentAnswer]


class AuditLineAnswer(ResponseBody):
    """One line of the audit log."""

    id: str
    at: Timestamp
    action: str
    operation_id: str
    operation: str
    level: str
    account: str | None
    actor: str | None
    source: str
    result: str
    reason: str | None
