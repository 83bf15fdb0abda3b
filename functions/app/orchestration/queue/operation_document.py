"""How an operation is stored in Firestore: `operations/{id}`, times as RFC 3339 text.

`line` and `wake_at` exist for queries and are null once the operation has ended, so that these no longer find it.
`expire_at` is for the TTL policy; dead letters have none.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from app.kit.clock import from_rfc3339, optional_rfc3339, to_rfc3339
from app.kit.errors import InvariantViolation
from app.kit.stores.documents import (
    Document,
    Fields,
    Value,
    as_map,
    int_field,
    list_field,
    map_field,
    optional_text,
    optional_time,
    text_field,
    unknown,
)
from app.orchestration.queue.operation import Lease, Operation, OperationState, PastAttempt, Priority, SecurityLevel

COLLECTION: Final = "operations"
KEEP: Final = timedelta(days=30)
"""How long ended operations are kept, and so how far back events can be replayed."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def path_of(operation_id: str) -> str:
    """The path of an operation's document."""
    return f"{COLLECTION}/{operation_id}"


def to_fields(operation: Operation) -> dict[str, Value]:
    """The document's fields."""
    return {
        "name": operation.name,
        "lane": operation.lane,
        "payload": operation.payload,
        "priority": int(operation.priority),
        "level": operation.level.value,
        "source": operation.source,
        "created_at": to_rfc3339(operation.created_us),
        "due_at": to_rfc3339(operation.due_us),
        "account": operation.account,
        "key": operation.key,
        "line": operation.line,
        "position": operation.position,
        "vendor": operation.vendor,
        "topic": operation.topic,
        "deadline_at": optional_rfc3339(operation.deadline_us),
        "state": operation.state.value,
        "attempts": operation.attempts,
        "token": operation.token,
        "lease": _lease_fields(operation.lease),
        "cancel_requested": operation.cancel_requested,
        "reason": operation.reason,
        "finished_at": optional_rfc3339(operation.finished_us),
        "result": operation.result,
        "history": [_attempt_fields(attempt) for attempt in operation.history],
        "wake_at": optional_rfc3339(operation.wake_us),
        "expire_at": _expiry(operation),
    }


def from_document(document: Document) -> Operation:
    """The operation stored in `document`.

    Raises:
        InvariantViolation: it is malformed, or was written by a later version of this code.
    """
    try:
        return _read(document)
    except ValueError as error:
        raise InvariantViolation(f"{document.path} cannot be read: {error}") from error


def _read(document: Document) -> Operation:
    fields = document.fields
    lease, result = fields.get("lease"), fields.get("result")
    return Operation(
        id=document.id,
        name=text_field(fields, "name"),
        lane=text_field(fields, "lane"),
        payload=map_field(fields, "payload"),
        priority=Priority(int_field(fields, "priority")),
        level=SecurityLevel(text_field(fields, "level")),
        source=text_field(fields, "source"),
        created_us=from_rfc3339(text_field(fields, "created_at")),
        due_us=from_rfc3339(text_field(fields, "due_at")),
        account=optional_text(fields, "account"),
        key=optional_text(fields, "key"),
        position=int_field(fields, "position"),
        vendor=optional_text(fields, "vendor"),
        topic=optional_text(fields, "topic"),
        deadline_us=optional_time(fields, "deadline_at"),
        state=OperationState(text_field(fields, "state")),
        attempts=int_field(fields, "attempts"),
        token=int_field(fields, "token"),
        lease=_lease(map_field(fields, "lease")) if lease is not None else None,
        cancel_requested=fields.get("cancel_requested") is True,
        reason=optional_text(fields, "reason"),
        finished_us=optional_time(fields, "finished_at"),
        result=map_field(fields, "result") if result is not None else None,
        history=tuple(_attempt(as_map(line)) for line in list_field(fields, "history")),
    )


def _lease(fields: Fields) -> Lease:
    return Lease(
        owner=text_field(fields, "owner"),
        token=int_field(fields, "token"),
        expires_us=from_rfc3339(text_field(fields, "expires_at")),
        others=unknown(fields, _LEASE),
    )


def _lease_fields(lease: Lease | None) -> dict[str, Value] | None:
    if lease is None:
        return None
    return {
        **lease.others,
        "owner": lease.owner,
        "token": lease.token,
        "expires_at": to_rfc3339(lease.expires_us),
    }


def _attempt(fields: Fields) -> PastAttempt:
    return PastAttempt(
        at_us=from_rfc3339(text_field(fields, "at")),
        number=int_field(fields, "attempt"),
        owner=text_field(fields, "owner"),
        outcome=text_field(fields, "outcome"),
        detail=text_field(fields, "detail"),
        others=unknown(fields, _ATTEMPT),
    )


def _attempt_fields(attempt: PastAttempt) -> dict[str, Value]:
    return {
        **attempt.others,
        "at": to_rfc3339(attempt.at_us),
        "attempt": attempt.number,
        "owner": attempt.owner,
        "outcome": attempt.outcome,
        "detail": attempt.detail,
    }


def _expiry(operation: Operation) -> datetime | None:
    if operation.finished_us is None or operation.state is OperationState.DEAD:
        return None
    return _EPOCH + timedelta(microseconds=operation.finished_us) + KEEP


_LEASE: Final = frozenset({"owner", "token", "expires_at"})
_ATTEMPT: Final = frozenset(_attempt_fields(PastAttempt(0, 0, "", "")))
