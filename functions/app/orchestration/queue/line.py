"""Who of a line runs: operations of one lane and key go one at a time, whatever the Realtime Database has lost.

`lines/{lane and key}` exists while one of them runs and names it with its token. It is created in the commit of the
claim and deleted in the commit of the end, so the usual way costs no read: a create that meets a document is how a
runner learns that the line is held. Slots and tickets in the Realtime Database only make such meetings rare.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.kit.documents import Create, Delete, Document, Replace, Version, Write, int_field, text_field
from app.kit.ids import derived
from app.orchestration.queue.operation import Operation, OperationState, holds

COLLECTION: Final = "lines"


@dataclass(frozen=True, slots=True)
class Holder:
    """The attempt that the line belongs to."""

    operation_id: str
    token: int


def path_of(operation: Operation) -> str | None:
    """Where the line of an operation stands; None for one that waits for nobody."""
    return None if operation.key is None else f"{COLLECTION}/{derived('line', operation.lane, operation.key)}"


def holder_of(stored: Document) -> Holder:
    """Who holds it."""
    return Holder(text_field(stored.fields, "operation"), int_field(stored.fields, "token"))


def is_ours(stored: Document | None, operation: Operation, token: int) -> bool:
    """Whether this attempt holds the line."""
    return stored is not None and holder_of(stored) == Holder(operation.id, token)


def is_held(holder: Holder, by: Operation | None, now_us: int) -> bool:
    """Whether the holder still lives: it runs under the token that took the line, and its lease is not over."""
    if by is None or not holds(by, holder.token):
        return False
    return by.wake_us is not None and now_us < by.wake_us


def keeping(operation: Operation, known: Version | None) -> Sequence[Write]:
    """Writes for the commit that leaves `operation` in this state. `known` is the version of the line's document that
    is ours to replace; None when there is none.
    """
    path = path_of(operation)
    if path is None:
        return ()
    if operation.state is not OperationState.RUNNING:
        return () if known is None else (Delete(path, known),)
    fields = {"lane": operation.lane, "key": operation.key, "operation": operation.id, "token": operation.token}
    return (Create(path, fields) if known is None else Replace(path, fields, known),)
