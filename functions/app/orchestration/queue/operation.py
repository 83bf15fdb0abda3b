"""One unit of durable work and every decision about it. Pure: knows no database, clock or random source.

Each function takes the stored operation and returns its next state. The caller writes that over exactly the version
that it read: when two runners decide at once, one write fails and its runner reads again.
"""

from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import Final, Literal

from app.kit.clock import seconds
from app.kit.errors import Rejection, ensure
from app.kit.stores.documents import Fields

SKEW_US: Final = seconds(5)
"""How far the clocks of two machines may differ. A lease may be taken over only this long after its end."""

GRACE_US: Final = seconds(30)
"""How long after its due time an operation may stay queued before the sweeper rings for it again."""

HISTORY: Final = 20
"""Attempts kept on the document, newest last."""

_DETAIL: Final = 300


class Priority(IntEnum):
    """Smaller values start first; `admission.SHARES` says how much more often."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3


class SecurityLevel(StrEnum):
    """Decides who may cause an operation and where it may run; `security.py` holds the tables."""

    PUBLIC = "public"
    USER = "user"
    SYSTEM = "system"
    MONEY = "money"


class OperationState(StrEnum):
    """State of an operation; in the last four it has ended."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    CANCELLED = "cancelled"
    DISCARDED = "discarded"


OPEN: Final = frozenset({OperationState.QUEUED, OperationState.RUNNING})


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run an operation and to write its end. `token` is the fencing token: it grows with every claim
    (https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html).
    """

    owner: str
    token: int
    expires_us: int
    others: Fields = field(default_factory=dict)
    """What is stored with it and is not known here: another version of the code wrote it. It is kept."""


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """One line of the history: the outcome of an attempt by `owner`."""

    at_us: int
    number: int
    owner: str
    outcome: str
    detail: str = ""
    others: Fields = field(default_factory=dict)
    """As of a lease."""


@dataclass(frozen=True, slots=True)
class Operation:
    """Stored as `operations/{id}`. Times are microseconds since 1970."""

    id: str
    name: str
    lane: str
    payload: Fields
    priority: Priority
    level: SecurityLevel
    source: str
    """What caused it: a `security.Origin`."""
    created_us: int
    due_us: int
    account: str | None = None
    key: str | None = None
    """Ordering key: operations of one lane and key run one at a time, by `position` (`line.py`)."""
    position: int = 0
    vendor: str | None = None
    topic: str | None = None
    """Name of the event that this operation delivers."""
    deadline_us: int | None = None
    state: OperationState = OperationState.QUEUED
    attempts: int = 0
    token: int = 0
    lease: Lease | None = None
    cancel_requested: bool = False
    reason: str | None = None
    """Why it did not succeed, or is asked to stop."""
    finished_us: int | None = None
    result: Fields | None = None
    history: tuple[PastAttempt, ...] = ()

    @property
    def line(self) -> str | None:
        """Lane and ordering key, by which a line's open operations are found; None without a key, or when it ended."""
        return f"{self.lane}/{self.key}" if self.key is not None and self.state in OPEN else None

    @property
    def wake_us(self) -> int | None:
        """When the sweeper rings for it again unless it moves before; None when it has ended."""
        if self.state is OperationState.QUEUED:
            return self.due_us + GRACE_US
        if self.state is OperationState.RUNNING and self.lease is not None:
            return self.lease.expires_us + SKEW_US
        return None


Obstacle = Literal["closed", "held", "early"]
"""Why an operation cannot be claimed: it has ended, another runner holds it, or it is not due yet."""


def claim(operation: Operation, *, owner: str, now_us: int, lease_us: int, tries: int) -> Operation | Obstacle:
    """Claims an operation for `owner`, or says why that is impossible. Ends it instead if it was cancelled, or has no
    time or no tries left.

    A running operation with an expired lease lost its runner. That attempt counts as a try, so that work which kills
    its runners becomes a dead letter.
    """
    obstacle = _obstacle(operation, now_us)
    if obstacle is not None:
        return obstacle
    if operation.state is OperationState.RUNNING:
        operation = _note(operation, now_us, _holder(operation), "lost", "the runner went away")
    if operation.cancel_requested:
        return _close(operation, OperationState.CANCELLED, now_us, operation.reason or "cancelled before it ran")
    if operation.deadline_us is not None and now_us >= operation.deadline_us:
        return _close(operation, OperationState.DEAD, now_us, "out of time: its deadline has passed")
    if operation.attempts >= tries:
        return _close(operation, OperationState.DEAD, now_us, f"lost its runner, in the last of {tries} tries")
    token = operation.token + 1
    return replace(
        operation,
        state=OperationState.RUNNING,
        attempts=operation.attempts + 1,
        token=token,
        lease=Lease(owner, token, now_us + lease_us),
    )


def renew(operation: Operation, *, token: int, now_us: int, lease_us: int) -> Operation:
    """Extends the lease that `token` holds, also after it expired if nobody has claimed the operation since."""
    lease = _held(operation, token)
    return replace(operation, lease=replace(lease, expires_us=max(lease.expires_us, now_us + lease_us)))


def holds(operation: Operation, token: int) -> bool:
    """Whether `token` is still the newest claim on a running operation."""
    return operation.state is OperationState.RUNNING and operation.lease is not None and operation.lease.token == token


def succeed(operation: Operation, *, token: int, now_us: int, result: Fields | None) -> Operation:
    """Ends the operation; the caller commits this together with its effects."""
    _held(operation, token)
    return replace(_close(operation, OperationState.SUCCEEDED, now_us, None), result=result)


def retry(operation: Operation, *, token: int, now_us: int, due_us: int, detail: str) -> Operation:
    """Queues the operation again for `due_us` after a failure, unless its deadline comes first."""
    lease = _held(operation, token)
    noted = _note(operation, now_us, lease.owner, "failed", detail)
    if noted.cancel_requested:
        return _close(noted, OperationState.CANCELLED, now_us, noted.reason or "cancelled between two tries")
    if noted.deadline_us is not None and due_us >= noted.deadline_us:
        return _close(noted, OperationState.DEAD, now_us, f"out of time: {detail}")
    return replace(noted, state=OperationState.QUEUED, lease=None, due_us=due_us)


def postpone(operation: Operation, *, token: int, now_us: int, due_us: int, detail: str) -> Operation:
    """Queues the operation again for `due_us`; the attempt does not count as a try."""
    later = retry(operation, token=token, now_us=now_us, due_us=due_us, detail=detail)
    return replace(later, attempts=operation.attempts - 1) if later.state is OperationState.QUEUED else later


def bury(operation: Operation, *, token: int, now_us: int, reason: str) -> Operation:
    """Ends the operation as a dead letter, which an administrator replays or discards."""
    lease = _held(operation, token)
    return _close(_note(operation, now_us, lease.owner, "died", reason), OperationState.DEAD, now_us, reason)


def abandon(operation: Operation, *, token: int, now_us: int) -> Operation:
    """Ends the operation as cancelled, after its runner stopped on request."""
    lease = _held(operation, token)
    reason = operation.reason or "cancelled"
    return _close(_note(operation, now_us, lease.owner, "stopped", reason), OperationState.CANCELLED, now_us, reason)


def cancel(operation: Operation, *, now_us: int, reason: str) -> Operation:
    """Cancels a queued operation and asks a running one to stop; an ended one stays as it is."""
    match operation.state:
        case OperationState.QUEUED:
            return _close(operation, OperationState.CANCELLED, now_us, reason)
        case OperationState.RUNNING:
            return replace(operation, cancel_requested=True, reason=reason)
        case _:
            return operation


def replay(operation: Operation, *, now_us: int, by: str) -> Operation:
    """Queues a dead letter again with all its tries, without a deadline, keeping its history. A cancelled or discarded
    operation may be replayed too, because a saga may depend on it.

    Raises:
        NotADeadLetter: it is open, or succeeded.
    """
    if operation.state not in (OperationState.CANCELLED, OperationState.DISCARDED):
        _refuse_unless_dead(operation)
    noted = _note(operation, now_us, by, "replayed", operation.reason or "")
    return replace(
        noted,
        state=OperationState.QUEUED,
        attempts=0,
        due_us=now_us,
        deadline_us=None,
        lease=None,
        reason=None,
        finished_us=None,
        cancel_requested=False,
    )


def discard(operation: Operation, *, now_us: int, by: str, reason: str) -> Operation:
    """Closes a dead letter that nobody needs; a replay can still queue it again.

    Raises:
        NotADeadLetter: it is in another state.
    """
    _refuse_unless_dead(operation)
    return _close(_note(operation, now_us, by, "discarded", reason), OperationState.DISCARDED, now_us, reason)


class NotADeadLetter(Rejection):
    """The operation is in a state that can be neither replayed nor discarded."""

    status = 409
    code = "not_a_dead_letter"
    title = "Not a dead letter"


def _obstacle(operation: Operation, now_us: int) -> Obstacle | None:
    if operation.state not in OPEN:
        return "closed"
    if operation.state is OperationState.QUEUED:
        return "early" if now_us < operation.due_us else None
    ensure(operation.lease is not None, "what runs has a lease")
    wake_us = operation.wake_us
    return "held" if wake_us is not None and now_us < wake_us else None


def _held(operation: Operation, token: int) -> Lease:
    lease = operation.lease
    ensure(holds(operation, token), "only the holder of the newest token moves a running operation")
    assert lease is not None
    return lease


def _holder(operation: Operation) -> str:
    return operation.lease.owner if operation.lease else ""


def _note(operation: Operation, at_us: int, owner: str, outcome: str, detail: str) -> Operation:
    line = PastAttempt(at_us, operation.attempts, owner, outcome, detail[:_DETAIL])
    return replace(operation, history=(*operation.history, line)[-HISTORY:])


def _close(operation: Operation, state: OperationState, now_us: int, reason: str | None) -> Operation:
    cut = reason[:_DETAIL] if reason else None
    return replace(operation, state=state, lease=None, finished_us=now_us, reason=cut)


def _refuse_unless_dead(operation: Operation) -> None:
    if operation.state is not OperationState.DEAD:
        raise NotADeadLetter("Only a dead letter can be replayed or discarded", state=operation.state.value)
