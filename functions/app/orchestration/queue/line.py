"""The lock of a line, which holds whatever the Realtime Database has lost.

A *line* is all open operations of one lane with one ordering key (`Operation.key`). They run one at a time, by
`position`. While one runs, the lock `lines/{id}` exists and names it and its fencing token. The commit of the claim
creates the lock and the commit of the end deletes it, so the common case costs no read: when the create fails, another
operation of the line runs. Slots and tickets in the Realtime Database only make that rare.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.kit.errors import InvariantViolation
from app.kit.ids import derived
from app.kit.stores.documents import Create, Delete, Document, Replace, Version, Write, int_field, text_field
from app.orchestration.queue.operation import Operation, OperationState, holds

COLLECTION: Final = "lines"


@dataclass(frozen=True, slots=True)
class Holder:
    """The attempt that holds a lock."""

    operation_id: str
    token: int


def path_of(operation: Operation) -> str | None:
    """Path of an operation's lock; None for an operation without an ordering key."""
    return None if operation.key is None else f"{COLLECTION}/{derived('line', operation.lane, operation.key)}"


def holder_of(stored: Document) -> Holder | None:
    """The attempt that a lock names; None for a lock that cannot be read, which stops nobody."""
    try:
        return Holder(text_field(stored.fields, "operation"), int_field(stored.fields, "token"))
    except InvariantViolation:
        return None


def is_held_by(lock: Document | None, operation: Operation, token: int) -> bool:
    """Whether the attempt at `operation` with this token holds the lock."""
    return lock is not None and holder_of(lock) == Holder(operation.id, token)


def is_alive(holder: Holder, operation: Operation | None, now_us: int) -> bool:
    """Whether the holder of a lock still runs. `operation` is the stored one that the lock names: it must run under the
    holder's token, with a lease that has not expired.
    """
    if operation is None or not holds(operation, holder.token):
        return False
    return operation.wake_us is not None and now_us < operation.wake_us


def lock_writes(operation: Operation, known: Version | None) -> Sequence[Write]:
    """Creates, replaces or deletes the lock in the commit that stores `operation`. `known` is the version of the lock
    that this attempt may overwrite; None when it has none.
    """
    path = path_of(operation)
    if path is None:
        return ()
    if operation.state is not OperationState.RUNNING:
        return () if known is None else (Delete(path, known),)
    fields = {"lane": operation.lane, "key": operation.key, "operation": operation.id, "token": operation.token}
    return (Create(path, fields) if known is None else Replace(path, fields, known),)
