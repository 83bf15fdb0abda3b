"""Brings back what was lost: rings for operations that should have moved by now, and does the chores of the features.

It only rings and never runs an operation, so that recovery and normal work meet in one claim, as in
https://github.com/dbos-inc/dbos-transact-py/blob/main/dbos/_recovery.py. A tick is bounded, goes on at a cursor where
the last one stopped, and may overlap another: to ring for an operation that has a ticket changes nothing.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from app.kit.clock import Clock, to_rfc3339
from app.kit.errors import Fault, InvariantViolation
from app.kit.ids import Ids
from app.kit.stores.documents import Document, Documents, Query, Where, text_field
from app.kit.stores.realtime import Json, Realtime
from app.kit.telemetry import log
from app.orchestration.queue.admission import Ticket, blocked_by_key, ticket_of
from app.orchestration.queue.doorbell import Doorbell
from app.orchestration.queue.handler import Lane
from app.orchestration.queue.operation_document import COLLECTION, from_document

CURSOR: Final = "orchestration/sweeper/cursor"
LAST: Final = "orchestration/sweeper/last"
PAGE: Final = 100
PAGES: Final = 10
"""Pages per tick: a tick rings for at most PAGE * PAGES operations, and the next one goes on from there."""

_log = log("orchestration")


@dataclass(frozen=True, slots=True)
class Chore:
    """A feature's work at every tick. `work` takes `limit`, the most items to handle, and returns how many it did."""

    name: str
    work: Callable[[int], int]
    limit: int = 100


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a tick did. `failed` names the chores that raised, and `rings` if ringing did; the next tick tries again.
    `complete` is False when overdue operations are left for the next tick.
    """

    rung: int = 0
    lanes: tuple[str, ...] = ()
    chores: dict[str, int] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class LastSweep:
    """When the last tick ended, and how many of its parts failed."""

    at_us: int
    failed: int


@dataclass(frozen=True, slots=True)
class SweeperDependencies:
    """Dependencies of a sweeper."""

    documents: Documents
    realtime: Realtime
    doorbell: Doorbell
    clock: Clock
    ids: Ids
    lanes: Mapping[str, Lane]


class Sweeper:
    """The scheduler calls `tick` once a minute."""

    def __init__(self, deps: SweeperDependencies, chores: Sequence[Chore] = ()) -> None:
        self._deps = deps
        self._chores = chores

    def tick(self) -> SweepReport:
        """One bounded sweep. A part that fails is named in the report and does not stop the others: reservations expire
        although the Realtime Database is unavailable.
        """
        rung, complete = 0, False
        lanes: tuple[str, ...] = ()
        done: dict[str, int] = {}
        failed: list[str] = []
        try:
            rung, lanes, complete = self._ring_overdue()
        except Exception as failure:  # noqa: BLE001  # an edge, as below
            _log.error("overdue_sweep_failed", exc_info=failure)
            failed.append("rings")
        for chore in self._chores:
            try:
                done[chore.name] = chore.work(chore.limit)
            except Exception as failure:  # noqa: BLE001  # an edge: a chore that fails must not stop the others
                _log.error("chore_failed", chore=chore.name, exc_info=failure)
                failed.append(chore.name)
        self._record_end(len(failed))
        return SweepReport(rung, lanes, done, tuple(failed), complete)

    def wake(self, lane: str, waiting: int, now_us: int) -> None:
        """Starts as many runners for a lane as may find work. A ticket that exists already fires no trigger, so that
        after an outage a whole backlog may have no runner.
        """
        known = self._deps.lanes.get(lane)
        runners = max(1, min(waiting, known.limit if known else 1))
        self._deps.doorbell.wake(lane, now_us, [self._deps.ids.new("w") for _ in range(runners)])

    def last(self) -> LastSweep | None:
        """The record of the last tick that ended; None when there was none, or its record is lost."""
        record = self._deps.realtime.get(LAST)
        if (
            isinstance(record, dict)
            and isinstance(at := record.get("at"), int)
            and isinstance(n := record.get("failed"), int)
        ):
            return LastSweep(at, n)
        return None

    def _record_end(self, failed: int) -> None:
        """Records in the Realtime Database when the tick ended: an old record shows that nobody sweeps (T-91)."""
        record: Json = {"at": self._deps.clock.now_us(), "failed": failed}
        try:
            self._deps.realtime.update({LAST: record})
        except Fault as fault:
            _log.warning("sweep_record_failed", reason=str(fault))

    def _ring_overdue(self) -> tuple[int, tuple[str, ...], bool]:
        """Rings for every operation that should have moved by now, and starts runners for their lanes."""
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
            self._save_cursor(cursor)
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
        for lane, overdue in tickets.items():
            # Only the first of each line: the others cannot start before it, and each would cost a query to find out.
            blocked = {ticket.name for ticket in blocked_by_key(overdue)}
            first = [ticket for ticket in overdue if ticket.name not in blocked]
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

    def _save_cursor(self, cursor: tuple[str, str] | None) -> None:
        value: Json = None if cursor is None else {"at": cursor[0], "id": cursor[1]}
        self._deps.realtime.update({CURSOR: value})
