"""Events: facts in the past tense, published in the commit that made them true, delivered as one operation per
subscriber.

Delivered at least once; the effect is exactly once, because a subscriber's writes are committed with the end of its
operation. The id of that operation is derived from (subscriber, event id): two subscribers of one event never hide
each other (T-45). The bus knows subscriptions, never features.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from app.kit.clock import from_rfc3339, to_rfc3339
from app.kit.documents import Documents, Fields, Query, Value, Where, Write, int_field, map_field, text_field
from app.kit.errors import AlreadyExists, NotFound, Unavailable, ensure
from app.orchestration.queue.handler import Handler, Run, RunOutcome
from app.orchestration.queue.operation import Priority, SecurityLevel
from app.orchestration.queue.operation_document import COLLECTION, optional_text
from app.orchestration.queue.operation_queue import OperationQueue, Order
from app.orchestration.queue.retry import PATIENT, RetryPolicy


class Fact(Protocol):
    """What a feature publishes: its own event type, or `Event`."""

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
    """Something that happened. `version` is that of the shape of `data`; `at` are microseconds since 1970, and strictly
    grow per account.
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
    """`subscriber` wants `event`. `ordered`: one at a time per account, in the order of `at`."""

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
        """Name of the operations that deliver to it."""
        return f"{self.subscriber}.on.{self.event}"


class EventBus:
    """The one table of who listens to what."""

    def __init__(self, subscriptions: Iterable[Subscription]) -> None:
        self._subscriptions: dict[str, list[Subscription]] = {}
        for subscription in subscriptions:
            listeners = self._subscriptions.setdefault(subscription.event, [])
            twice = any(one.subscriber == subscription.subscriber for one in listeners)
            ensure(not twice, f"{subscription.subscriber} subscribes twice to {subscription.event}")
            listeners.append(subscription)
        self._queue: OperationQueue | None = None

    def deliver_through(self, queue: OperationQueue) -> None:
        """Names the queue, which knows this bus's handlers and is therefore built after it."""
        self._queue = queue

    def handlers(self) -> list[Handler]:
        """What runs the deliveries."""
        return [_handler(one) for listeners in self._subscriptions.values() for one in listeners]

    def listened_to(self, event: str) -> bool:
        """Whether anybody wants events of this name."""
        return event in self._subscriptions

    def rows(self, events: Sequence[Fact]) -> list[Write]:
        """Writes for the commit that causes the events: one for each event and subscriber."""
        orders = [
            _order(subscription, event, index)
            for index, event in enumerate(events)
            for subscription in self._subscriptions.get(event.name, ())
        ]
        return self._through().rows(orders) if orders else []

    def subscriptions(self) -> list[Subscription]:
        """All of them, by event and subscriber."""
        return sorted(
            (one for all in self._subscriptions.values() for one in all), key=lambda o: (o.event, o.subscriber)
        )

    def subscription(self, subscriber: str, event: str) -> Subscription:
        """The one of that name to that event.

        Raises:
            NotFound: there is none.
        """
        for one in self._subscriptions.get(event, ()):
            if one.subscriber == subscriber:
                return one
        raise NotFound("Nobody of this name subscribes to this event", subscriber=subscriber, event=event)

    def replay(self, question: "Replay", documents: Documents) -> "Replayed":
        """Deliver again what happened in a range of time, to one subscriber, in order and a page at a time.

        What the subscriber has handled stays handled. With `again` it is delivered as new, once for each such text.
        An event is found by its deliveries, whoever they were for: one that nobody listened to was never written.

        Raises:
            NotFound: there is no such subscription.
        """
        subscription = self.subscription(question.subscriber, question.event)
        found = documents.query(
            Query(
                COLLECTION,
                # By the position, which is the event's and that of all its deliveries: an earlier replay of something
                # older is no event of this range, and whoever hears in order is given the pages in order.
                where=(
                    Where("topic", "==", question.event),
                    Where("position", ">=", _position(question.from_us)),
                    Where("position", "<", _position(question.to_us)),
                ),
                order_by=("position", "__name__"),
                limit=question.limit + 1,
                start_after=question.after or (),
            )
        )
        page = found[: question.limit]
        orders: dict[str, Order] = {}
        for document in page:
            event = _read(map_field(document.fields, "payload"))
            order = _order(subscription, event, 0, again=question.again)
            orders.setdefault(event.id, replace(order, position=int_field(document.fields, "position")))
        sent = self._send([*orders.values()], documents)
        if len(found) == len(page):
            return Replayed(sent, None)
        return Replayed(sent, (int_field(page[-1].fields, "position"), page[-1].id))

    def _send(self, orders: Sequence[Order], documents: Documents) -> int:
        """Commit those that are not there yet, in one commit; how many."""
        rows = self._through().rows(orders)
        there = documents.get_all([row.path for row in rows]) if rows else []
        missing = [row for row, stored in zip(rows, there) if stored is None]
        try:
            if missing:
                documents.commit(missing)
        except AlreadyExists:
            # Another replay is sending the same ones.
            return sum(self._sent_alone(row, documents) for row in missing)
        return len(missing)

    def _sent_alone(self, row: Write, documents: Documents) -> bool:
        try:
            documents.commit([row])
        except AlreadyExists:
            return False
        return True

    def _through(self) -> OperationQueue:
        ensure(self._queue is not None, "the event bus needs its queue before it publishes")
        assert self._queue is not None
        return self._queue


@dataclass(frozen=True, slots=True)
class Replay:
    """Which events, by when they happened, for whom. `again` marks a replay that also repeats what was handled.
    `after`: where the last page ended.
    """

    subscriber: str
    event: str
    from_us: int
    to_us: int
    again: str | None = None
    limit: int = 100
    after: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many deliveries were made, and where to go on; None at the end."""

    sent: int
    after: tuple[int, str] | None


_PER_MICROSECOND: Final = 64
"""Positions within one microsecond: the events of one commit keep their order."""
_LAST: Final = 2**63 - 1


def _order(subscription: Subscription, event: Fact, index: int, *, again: str | None = None) -> Order:
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
    """The first position of a microsecond; the last that the database can hold for times beyond."""
    return min(at_us * _PER_MICROSECOND, _LAST)


def _handler(subscription: Subscription) -> Handler:
    def work(run: Run) -> RunOutcome:
        event = _read(run.operation.payload)
        if event.version not in subscription.versions:
            # During a deploy the subscriber of the newer shape may be a minute away.
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


def _write(event: Fact) -> Fields:
    fields: dict[str, Value] = {
        "id": event.id,
        "name": event.name,
        "version": event.version,
        "account": event.account,
        "at": to_rfc3339(event.at),
        "data": event.data,
    }
    return fields


def _read(fields: Fields) -> Event:
    return Event(
        id=text_field(fields, "id"),
        name=text_field(fields, "name"),
        version=int_field(fields, "version"),
        account=optional_text(fields, "account"),
        at=from_rfc3339(text_field(fields, "at")),
        data=map_field(fields, "data"),
    )
