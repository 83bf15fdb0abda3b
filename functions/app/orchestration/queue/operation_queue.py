"""Turns orders into operations, as writes for the commit that causes them; reads and cancels operations."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from app.kit.clock import Clock, to_rfc3339
from app.kit.errors import AlreadyExists, Conflict, Fault, InvariantViolation, NotFound
from app.kit.ids import Ids, derived
from app.kit.optimistic import Pause, optimistic
from app.kit.stores.documents import Create, Document, Documents, Fields, Query, Replace, Where, Write
from app.kit.telemetry import log
from app.orchestration.queue.audit import audit_rows
from app.orchestration.queue.handler import Handlers
from app.orchestration.queue.operation import Operation, OperationState, Priority, cancel
from app.orchestration.queue.operation_document import COLLECTION, from_document, path_of, to_fields
from app.orchestration.queue.outbox import Outbox
from app.orchestration.queue.security import Origin, refuse_source

_log = log("orchestration")


@dataclass(frozen=True, slots=True)
class Order:
    """A request for one operation. `key` is its ordering key, `position` its place in the line (None: by creation).
    `once` deduplicates: orders of one name and `once` make one operation for as long as it is kept; without it every
    order makes a new one.
    """

    name: str
    payload: Fields = field(default_factory=dict)
    source: Origin = "system"
    account: str | None = None
    key: str | None = None
    position: int | None = None
    once: str | None = None
    priority: Priority | None = None
    due_us: int | None = None
    deadline_us: int | None = None
    topic: str | None = None


class TooEarly(Fault):
    """An alarm fired before its operation was due: the local emulator does not wait, and clocks differ."""

    code = "too_early"


class OperationQueue:
    """Takes orders and acts on single operations; `runner.py` runs them."""

    def __init__(self, outbox: Outbox, handlers: Handlers, clock: Clock, ids: Ids, pause: Pause) -> None:
        self._outbox = outbox
        self._handlers = handlers
        self._clock = clock
        self._ids = ids
        self._pause = pause

    def rows(self, orders: Sequence[Order]) -> list[Write]:
        """Writes for the commit that causes the orders. The commit must go through the `Outbox`, which rings.

        Raises:
            LevelForbidden: an order's source may not cause it.
        """
        now_us = self._clock.now_us()
        made = [self._operation(order, now_us, index) for index, order in enumerate(orders)]
        return [Create(path_of(operation.id), to_fields(operation)) for operation in made]

    def enqueue(self, order: Order) -> str:
        """Commits one order by itself and returns the operation's id. A repeated order (`once`) changes nothing."""
        [row] = self.rows([order])
        with suppress(AlreadyExists):
            self._outbox.commit([row])
        return row.path.rpartition("/")[2]

    def id_of(self, name: str, once: str) -> str:
        """The id of the operation that an order with this `once` makes."""
        return derived("op", name, once)

    def get(self, operation_id: str) -> Operation:
        """The stored operation.

        Raises:
            NotFound: there is none.
        """
        return from_document(_existing(self._outbox, operation_id))

    def cancel(self, operation_id: str, reason: str, *, by: str | None = None) -> Operation:
        """Cancels a queued operation and asks a running one to stop; an ended one stays as it is. `by` names the
        administrator who acts, if one does.

        Raises:
            NotFound: there is no such operation.
        """
        handler_for = self._handlers.find

        def decide(operation: Operation) -> tuple[Operation, Sequence[Write]]:
            now_us = self._clock.now_us()
            stopped = cancel(operation, now_us=now_us, reason=reason)
            handler = handler_for(operation.name)
            ended = stopped.state is OperationState.CANCELLED and operation.state is not OperationState.CANCELLED
            line = audit_rows(stopped, now_us=now_us, action="cancelled", actor=by) if ended or by else ()
            return stopped, (*line, *(handler.on_death(stopped, reason) if handler and ended else ()))

        return self.change(operation_id, decide)

    def ring(self, operation_id: str) -> None:
        """Called when an alarm fires: creates the operation's ticket if it is still queued.

        Raises:
            TooEarly: it is not due yet; the alarm must fire again.
        """
        stored = self._outbox.get(path_of(operation_id))
        operation = from_document(stored) if stored else None
        if operation is None or operation.state is not OperationState.QUEUED:
            return
        if operation.due_us > self._clock.now_us():
            raise TooEarly("the operation is not due yet", retry_after_s=1)
        self._outbox.ring([operation])

    def change(self, operation_id: str, decide: Callable[[Operation], tuple[Operation, Sequence[Write]]]) -> Operation:
        """Commits what `decide` makes of the stored operation, with its other writes; decides again after a conflict.

        Raises:
            NotFound: there is no such operation.
            Contended: it conflicted too often.
        """

        def attempt() -> Operation:
            stored = _existing(self._outbox, operation_id)
            operation = from_document(stored)
            changed, participant = decide(operation)
            if changed != operation:
                over = Replace(stored.path, to_fields(changed), stored.version, keep_others=True)
                self._outbox.commit([over, *participant])
            return changed

        return optimistic(attempt, pause=self._pause)

    def _operation(self, order: Order, now_us: int, index: int) -> Operation:
        handler = self._handlers.get(order.name)
        refuse_source(order.name, handler.level, order.source)
        return Operation(
            id=self.id_of(order.name, order.once) if order.once is not None else self._ids.new("op"),
            name=order.name,
            lane=handler.lane,
            payload=order.payload,
            priority=handler.priority if order.priority is None else order.priority,
            level=handler.level,
            source=order.source,
            created_us=now_us,
            due_us=max(now_us, order.due_us or 0),
            account=order.account,
            key=order.key,
            position=order.position if order.position is not None else now_us * 64 + min(index, 63),
            vendor=handler.vendor,
            topic=order.topic,
            deadline_us=order.deadline_us,
        )


def head_of_line(documents: Documents, clock: Clock, line: str) -> Document | None:
    """The open operation with the lowest position in `line` (`{lane}/{key}`), if any; one query of one document.

    One that cannot be read becomes a dead letter, and the next one is the first: nobody could run it, and all behind it
    would wait for ever.
    """
    query = Query(COLLECTION, where=(Where("line", "==", line),), order_by=("position",), limit=1)
    while found := documents.query(query):
        [head] = found
        try:
            from_document(head)
        except InvariantViolation as error:
            with suppress(Conflict):
                documents.commit([_unreadable(head, clock.now_us(), error)])
                _log.error("operation_dead_lettered", operation=head.id, reason=str(error))
            continue
        return head
    return None


def _unreadable(stored: Document, now_us: int, error: InvariantViolation) -> Write:
    """Makes a dead letter of an operation that cannot be read, in which all else stays as it is.

    Who can read it, such as a later version of the code, may replay it.
    """
    fields: Fields = {
        "state": OperationState.DEAD.value,
        "line": None,
        "wake_at": None,
        "expire_at": None,
        "lease": None,
        "finished_at": to_rfc3339(now_us),
        "reason": f"unreadable: {error}"[:300],
    }
    return Replace(stored.path, fields, stored.version, keep_others=True)


def _existing(documents: Documents, operation_id: str) -> Document:
    stored = documents.get(path_of(operation_id))
    if stored is None:
        raise NotFound("There is no such operation", operation_id=operation_id)
    return stored
