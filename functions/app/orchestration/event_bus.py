"""Events: published in the commit that caused them, and delivered as one operation per subscriber.

An event is delivered at least once, and its effect happens exactly once, because a subscriber's writes are committed
with the end of its operation. The operation's id is derived from (subscriber, event id), so that two subscribers of
one event do not hide each other (T-45). The bus knows subscriptions, not features.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from app.kit.clock import Clock, from_rfc3339, to_rfc3339
from app.kit.errors import AlreadyExists, NotFound, Unavailable, ensure
from app.kit.stores.documents import (
    Document,
    Documents,
    Fields,
    Query,
    Value,
    Where,
    Write,
    int_field,
    map_field,
    optional_text,
    text_field,
)
from app.kit.stores.listing import Listing, Place
from app.kit.stores.rows import GuardedRows
from app.orchestration.queue.handler import Handler, Run, RunOutcome
from app.orchestration.queue.operation import Priority, SecurityLevel
from app.orchestration.queue.operation_document import COLLECTION
from app.orchestration.queue.operation_queue import OperationQueue, Order
from app.orchestration.queue.retry import PATIENT, RetryPolicy


class PublishedEvent(Protocol):
    """What a feature publishes: a type of its own, or `Event`."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def account(self) -> str | None: ...
    @property
    def at(self) -> int: ...
    @property
    def data(self) -> Fields: ...


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, named in the past tense. `version` is that of the shape of `data`; `at` is in
    microseconds since 1970 and grows strictly per account.
    """

    id: str
    name: str
    version: int
    account: str | None
    at: int
    data: Fields


Reaction = Callable[[Event, Run], RunOutcome]


@dataclass(frozen=True, slots=True)
class Subscription:
    """`subscriber` reacts to `event`, in the `versions` of its data that it can read. With `ordered` it receives the
    events of one account one at a time, in the order of `at`.
    """

    subscriber: str
    event: str
    react: Reaction
    versions: frozenset[int] = frozenset({1})
    ordered: bool = False
    lane: str = "events"
    priority: Priority = Priority.NORMAL
    level: SecurityLevel = SecurityLevel.SYSTEM
    retry: RetryPolicy = PATIENT

    @property
    def operation(self) -> str:
        """Name of the operations that deliver to this subscription."""
        return f"{self.subscriber}.on.{self.event}"


class EventBus:
    """The table of subscriptions. Publishes events to them and replays past ones.

    Raises:
        InvariantViolation: a subscriber subscribes twice to one event.
    """

    def __init__(self, subscriptions: Iterable[Subscription]) -> None:
        self._subscriptions: dict[str, list[Subscription]] = {}
        for subscription in subscriptions:
            listeners = self._subscriptions.setdefault(subscription.event, [])
            twice = any(one.subscriber == subscription.subscriber for one in listeners)
            ensure(not twice, f"{subscription.subscriber} subscribes twice to {subscription.event}")
            listeners.append(subscription)
        self._queue: OperationQueue | None = None

    def bind_queue(self, queue: OperationQueue) -> None:
        """Sets the queue to publish through. It is built later, because it needs this bus's handlers."""
        self._queue = queue

    def handlers(self) -> list[Handler]:
        """Handlers of the operations that deliver events."""
        return [_handler(one) for listeners in self._subscriptions.values() for one in listeners]

    def rows(self, events: Sequence[PublishedEvent]) -> list[Write]:
        """Writes for the commit that causes the events: one operation for each event and subscriber."""
        orders = [
            _order(subscription, event, index)
            for index, event in enumerate(events)
            for subscription in self._subscriptions.get(event.name, ())
        ]
        return self._bound_queue().rows(orders) if orders else []

    def subscriptions(self) -> list[Subscription]:
        """All subscriptions, by event and subscriber."""
        return sorted(
            (one for all in self._subscriptions.values() for one in all), key=lambda o: (o.event, o.subscriber)
        )

    def subscription(self, subscriber: str, event: str) -> Subscription:
        """The subscription of `subscriber` to `event`.

        Raises:
            NotFound: there is none.
        """
        for one in self._subscriptions.get(event, ()):
            if one.subscriber == subscriber:
                return one
        raise NotFound("Nobody of this name subscribes to this event", subscriber=subscriber, event=event)

    def replay(self, question: "Replay", documents: Documents, clock: Clock) -> "ReplayPage":
        """Delivers the events of a range of time again to one subscriber, in order, one page per call.

        Events that the subscriber has handled are skipped, unless `again` is set: then they are delivered once more for
        each such text. An event is found by its deliveries to any subscriber; without a subscriber it was never stored.
        A delivery that cannot be read is passed over and listed.

        Raises:
            NotFound: there is no such subscription.
        """
        subscription = self.subscription(question.subscriber, question.event)
        listed = Listing(
            documents,
            GuardedRows(documents, clock),
            "event_replay",
            Query(
                COLLECTION,
                # All deliveries of an event have its position, also replayed ones. So deliveries of older events that
                # were replayed within the range are not found, and the pages come in the order of the events.
                where=(
                    Where("topic", "==", question.event),
                    Where("position", ">=", _position(question.from_us)),
                    Where("position", "<", _position(question.to_us)),
                ),
                order_by=("position", "__name__"),
            ),
            _delivered,
        ).page(question.limit, question.after or (), _is_place)
        orders: dict[str, Order] = {}
        for event, position in listed.items:
            order = _order(subscription, event, 0, again=question.again)
            orders.setdefault(event.id, replace(order, position=position))
        sent = self._send([*orders.values()], documents)
        if listed.after is None:
            return ReplayPage(sent, None)
        last, id = listed.after
        assert isinstance(last, int), "checked by _is_place"
        return ReplayPage(sent, (last, str(id)))

    def _send(self, orders: Sequence[Order], documents: Documents) -> int:
        """Creates the operations that do not exist yet, in one commit. Returns how many."""
        rows = self._bound_queue().rows(orders)
        there = documents.get_all([row.path for row in rows]) if rows else []
        missing = [row for row, stored in zip(rows, there) if stored is None]
        try:
            if missing:
                documents.commit(missing)
        except AlreadyExists:
            # Another replay creates the same ones now.
            return sum(self._send_one(row, documents) for row in missing)
        return len(missing)

    def _send_one(self, row: Write, documents: Documents) -> bool:
        try:
            documents.commit([row])
        except AlreadyExists:
            return False
        return True

    def _bound_queue(self) -> OperationQueue:
        ensure(self._queue is not None, "the event bus needs its queue before it publishes")
        assert self._queue is not None
        return self._queue


@dataclass(frozen=True, slots=True)
class Replay:
    """Which events to deliver again, by when they happened (from `from_us` on, before `to_us`), and to whom. `again`
    names a replay that repeats handled events. `after` is where the previous page ended.
    """

    subscriber: str
    event: str
    from_us: int
    to_us: int
    again: str | None = None
    limit: int = 100
    after: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class ReplayPage:
    """How many deliveries were made, and where the next page starts; None at the end."""

    sent: int
    after: tuple[int, str] | None


_PER_MICROSECOND: Final = 64
"""Positions per microsecond, so that the events of one commit keep their order."""
_LAST: Final = 2**63 - 1
"""The largest integer that Firestore holds."""


def _order(subscription: Subscription, event: PublishedEvent, index: int, *, again: str | None = None) -> Order:
    once = event.id if again is None else f"{event.id} again {again}"
    return Order(
        name=subscription.operation,
        payload=_write(event),
        source="event",
        account=event.account,
        key=event.account if subscription.ordered else None,
        position=event.at * _PER_MICROSECOND + min(index, _PER_MICROSECOND - 1),
        once=once,
        topic=event.name,
    )


def _position(at_us: int) -> int:
    """The first position of a microsecond, at most `_LAST`."""
    return min(at_us * _PER_MICROSECOND, _LAST)


def _handler(subscription: Subscription) -> Handler:
    def work(run: Run) -> RunOutcome:
        event = _read(run.operation.payload)
        if event.version not in subscription.versions:
            # During a deploy an instance that knows this version may start later; the operation is retried until then.
            raise Unavailable(f"{subscription.subscriber} does not know version {event.version} of {event.name}")
        return subscription.react(event, run)

    return Handler(
        name=subscription.operation,
        work=work,
        lane=subscription.lane,
        level=subscription.level,
        priority=subscription.priority,
        retry=subscription.retry,
    )


def _write(event: PublishedEvent) -> Fields:
    fields: dict[str, Value] = {
        "id": event.id,
        "name": event.name,
        "version": event.version,
        "account": event.account,
        "at": to_rfc3339(event.at),
        "data": event.data,
    }
    return fields


def _is_place(place: Place) -> bool:
    return type(place[0]) is int


def _delivered(document: Document) -> tuple[Event, int]:
    """The event of a delivery, and its position."""
    return _read(map_field(document.fields, "payload")), int_field(document.fields, "position")


def _read(fields: Fields) -> Event:
    return Event(
        id=text_field(fields, "id"),
        name=text_field(fields, "name"),
        version=int_field(fields, "version"),
        account=optional_text(fields, "account"),
        at=from_rfc3339(text_field(fields, "at")),
        data=map_field(fields, "data"),
    )
