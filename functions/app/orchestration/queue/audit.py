"""The audit log: one line for every end of an operation of level `money` or `system`, and for every act of an
administrator on operations, lanes, sagas and events.

A line says who did what, from where and with what result. It is created in the commit that it records where there is
one, and never changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.kit.clock import Clock, to_rfc3339
from app.kit.ids import derived
from app.kit.stores.documents import (
    Create,
    Document,
    Documents,
    Fields,
    Query,
    Value,
    Where,
    Write,
    optional_text,
    text_field,
)
from app.kit.stores.listing import Listing
from app.kit.stores.rows import GuardedRows
from app.orchestration.queue.operation import Operation
from app.orchestration.queue.security import AUDITED

COLLECTION: Final = "audit_log"


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One line. `source` is what caused the operation; `actor` the administrator who acted, if one did."""

    id: str
    at: str
    action: str
    operation_id: str
    operation: str
    level: str
    account: str | None
    actor: str | None
    source: str
    result: str
    reason: str | None


def audit_rows(
    operation: Operation, *, now_us: int, action: str = "ended", actor: str | None = None
) -> Sequence[Write]:
    """The line for `action` on `operation`; none for a level that is not audited, unless an `actor` did it."""
    if operation.level not in AUDITED and actor is None:
        return ()
    line = derived("aud", operation.id, action, str(operation.token), str(len(operation.history)), str(now_us))
    fields: dict[str, Value] = {
        "at": to_rfc3339(now_us),
        "action": action,
        "operation_id": operation.id,
        "operation": operation.name,
        "level": operation.level.value,
        "account": operation.account,
        "actor": actor,
        "source": operation.source,
        "result": operation.state.value,
        "reason": operation.reason,
        "attempts": operation.attempts,
    }
    return (Create(f"{COLLECTION}/{line}", fields),)


def lane_row(*, lane: str, action: str, actor: str, now_us: int) -> Write:
    """The line for a lane that `actor` paused or resumed."""
    return _admin_row(f"lane {lane}", action, actor, now_us)


def saga_row(*, saga: str, actor: str, now_us: int, reason: str) -> Write:
    """The line for a saga that `actor` cancelled."""
    return _admin_row(f"saga {saga}", "cancelled", actor, now_us, reason)


def replay_row(*, delivery: str, actor: str, now_us: int, reason: str) -> Write:
    """The line for a replay of events; `delivery` is the name of the operations that deliver them."""
    return _admin_row(delivery, "events_replayed", actor, now_us, reason)


def _admin_row(target: str, action: str, actor: str, now_us: int, reason: str | None = None) -> Write:
    line = derived("aud", target, action, actor, str(now_us), reason or "")
    fields: Fields = {
        "at": to_rfc3339(now_us),
        "action": action,
        "operation_id": "",
        "operation": target,
        "level": "system",
        "account": None,
        "actor": actor,
        "source": "admin",
        "result": action,
        "reason": reason,
        "attempts": 0,
    }
    return Create(f"{COLLECTION}/{line}", fields)


def audit_lines(
    documents: Documents, clock: Clock, *, account: str | None = None, operation: str | None = None
) -> Listing[AuditLine]:
    """The lines of an account or an operation, or all, newest first."""
    named = (("account", account), ("operation", operation))
    where = tuple(Where(field, "==", value) for field, value in named if value is not None)
    query = Query(COLLECTION, where, ("-at", "-__name__"))
    return Listing(documents, GuardedRows(documents, clock), "audit_list", query, _line)


def _line(document: Document) -> AuditLine:
    fields = document.fields
    return AuditLine(
        id=document.id,
        at=text_field(fields, "at"),
        action=text_field(fields, "action"),
        operation_id=text_field(fields, "operation_id"),
        operation=text_field(fields, "operation"),
        level=text_field(fields, "level"),
        account=optional_text(fields, "account"),
        actor=optional_text(fields, "actor"),
        source=text_field(fields, "source"),
        result=text_field(fields, "result"),
        reason=optional_text(fields, "reason"),
    )
