"""Brings back what was lost: rings that nobody heard, leases that are over, chores of the features.

It only rings again and never runs anything, so exactly one runner claims (the habit of dbos' recovery). Bounded per
tick, resumable by a cursor, and safe to run twice at once: ringing an operation that is up already changes nothing.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from app.kit.clock import Clock, to_rfc3339
from app.kit.documents import Document, Documents, Query, Where, text_field
from app.kit.errors import Fault, InvariantViolation
from app.kit.ids import Ids
from app.kit.realtime import Json, Realtime
from app.kit.telemetry import log
from app.orchestration.queue.admission import Ticket, blocked_by_key, ticket_of
from app.orchestration.queue.doorbell import Doorbell
from app.orchestration.queue.handler import Lane
from app.orchestration.queue.operation_document import COLLECTION, from_document

CURSOR: Final = "orchestration/sweeper/cursor"
LAST: Final = "orchestration/sweeper/last"
PAGE: Final = 100
PAGES: Final = 10
"""A tick looks at no more than a thousand operations; the next one goes on where it stopped."""

_log = log("orchestration")


@dataclass(frozen=True, slots=True)
class Chore:
    """Something a feature wants done at every tick: at most `limit` of them; returns how many it did."""

    name: str
    work: Callable[[int], int]
    limit: int = 100


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a tick did. `failed` names what raised, chores or `rings`; it is tried again at the next tick."""

    rung: int = 0
    lanes: tuple[str, ...] = ()
    chores: dict[str, int] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class LastSweep:
    """When a tick came to its end, and how many of its parts failed."""

    at_us: int
    failed: int


@dataclass(frozen=True, slots=True)
class SweeperDependencies:
    """What a sweeper works with."""

    documents: Documents
    realtime: Realtime
    doorbell: Doorbell
    clock: Clock
    ids: Ids
    lanes: Mapping[str, Lane]


class Sweeper:
    """Ticks once a minute."""

    def __init__(self, deps: SweeperDependencies, chores: Sequence[Chore] = ()) -> None:
        self._deps = deps
        self._chores = chores

    def tick(self) -> SweepReport:
        """One bounded sweep. Whatever fails is named, and keeps nothing else from being done: credits that must go back
        do not wait for a doorbell.
        """
        rung, complete = 0, False
        lanes: tuple[str, ...] = ()
        done: dict[str, int] = {}
        failed: list[str] = []
        try:
            rung, lanes, complete = self._ring_overdue()
        except Exception as failure:  # noqa: BLE001  # the same edge as below
            _log.error("overdue_sweep_failed", exc_info=failure)
            failed.append("rings")
        for chore in self._chores:
            try:
                done[chore.name] = chore.work(chore.limit)
            except Exception as failure:  # noqa: BLE001  # an edge: one chore must not keep the others from being done
                _log.error("chore_failed", chore=chore.name, exc_info=failure)
                failed.append(chore.name)
        self._leave_mark(len(failed))
        return SweepReport(rung, lanes, done, tuple(failed), complete)

    def wake(self, lane: str, waiting: int, now_us: int) -> None:
        """Have as many runners look at a lane as may find something. A ticket that is up already fires no trigger, so
        after an outage a whole backlog may wait with nobody on the way to it.
        """
        known = self._deps.lanes.get(lane)
        runners = max(1, min(waiting, known.limit if known else 1))
        self._deps.doorbell.wake(lane, now_us, [self._deps.ids.new("w") for _ in range(runners)])

    def last(self) -> LastSweep | None:
        """The mark of the last tick that came to its end; None when there was none, or its mark is lost."""
        mark = self._deps.realtime.get(LAST)
        if (
            isinstance(mark, dict)
            and isinstance(at := mark.get("at"), int)
            and isinstance(n := mark.get("failed"), int)
        ):
            return LastSweep(at, n)
        return None

    def _leave_mark(self, failed: int) -> None:
        """A mark that grows old says that nobody sweeps any more (T-91). It costs no document and stops nothing."""
        mark: Json = {"at": self._deps.clock.now_us(), "failed": failed}
        try:
            self._deps.realtime.update({LAST: mark})
        except Fault as fault:
            _log.warning("sweep_mark_failed", reason=str(fault))

    def _ring_overdue(self) -> tuple[int, tuple[str, ...], bool]:
        """Ring every operation that should have moved by now, and wake the lanes they are in."""
        now_us = self._deps.clock.now_us()
        cursor = began = self._cursor()
        rung, lanes = 0, Counter[str]()
        for _ in range(PAGES):
            page = self._overdue(now_us, cursor)
            rung += self._ring(page, lanes)
            if len(page) < PAGE:
                cursor = None
                break
            cursor = (text_field(page[-1].fields, "wake_at"), page[-1].id)
        for lane, waiting in sorted(lanes.items()):
            self.wake(lane, waiting, now_us)
        if cursor != began:
            self._keep(cursor)
        return rung, tuple(sorted(lanes)), cursor is None

    def _overdue(self, now_us: int, cursor: tuple[str, str] | None) -> list[Document]:
        return self._deps.documents.query(
            Query(
                COLLECTION,
                where=(Where("wake_at", "<=", to_rfc3339(now_us)),),
                order_by=("wake_at", "__name__"),
                limit=PAGE,
                start_after=cursor or (),
            )
        )

    def _ring(self, page: Sequence[Document], lanes: Counter[str]) -> int:
        tickets: dict[str, list[Ticket]] = {}
        for document in page:
            try:
                operation = from_document(document)
            except InvariantViolation as broken:
                _log.error("unreadable_operation_skipped", operation=document.id, reason=str(broken))
                continue
            tickets.setdefault(operation.lane, []).append(ticket_of(operation))
        for lane, up in tickets.items():
            # Of a line only the first: the others wait for it, and each ring of theirs would only ask who goes first.
            behind = {ticket.name for ticket in blocked_by_key(up)}
            first = [ticket for ticket in up if ticket.name not in behind]
            self._deps.doorbell.ring(lane, first)
            lanes[lane] += len(first)
        return len(page)

    def _cursor(self) -> tuple[str, str] | None:
        try:
            value = self._deps.realtime.get(CURSOR)
        except Fault:
            return None
        if isinstance(value, dict) and isinstance(at := value.get("at"), str) and isinstance(i := value.get("id"), str):
            return at, i
        return None

    def _keep(self, cursor: tuple[str, str] | None) -> None:
        value: Json = None if cursor is None else {"at": cursor[0], "id": cursor[1]}
        self._deps.realtime.update({CURSOR: value})
