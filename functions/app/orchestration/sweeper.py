"""Brings back what was lost: rings for operations that should have moved by now, and does the chores of the features.

It only rings and never runs an operation, so that recovery and normal work meet in one claim, as in
https://github.com/dbos-inc/dbos-transact-py/blob/main/dbos/_recovery.py. A tick is bounded, goes on at a cursor where
the last one stopped, and may overlap another: to ring for an operation that has a ticket changes nothing.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from app.kit.clock import Clock, seconds, to_rfc3339
from app.kit.concurrency import Concurrency, Signal
from app.kit.errors import Fault
from app.kit.ids import Ids
from app.kit.stores.documents import Documents, Query, Where
from app.kit.stores.realtime import Json, Realtime
from app.kit.stores.rows import MOST_READ, GuardedRows
from app.kit.telemetry import log
from app.orchestration.queue.doorbell import Doorbell
from app.orchestration.queue.handler import Lane
from app.orchestration.queue.operation import Operation
from app.orchestration.queue.operation_document import COLLECTION, from_document
from app.orchestration.queue.ticket import Ticket, blocked_by_key, ticket_of

LAST: Final = "orchestration/sweeper/last"
TICK_US: Final = seconds(90)
"""What the parts of a tick share. The scheduled function is stopped after 120 s."""
RINGS: Final = "rings"

_log = log("orchestration")


@dataclass(frozen=True, slots=True)
class Chore:
    """A feature's work at every tick. `work` takes `limit`, the most items to handle, and returns how many it did.

    With `realtime` it waits for the Realtime Database, which may hang, and is done after those that do not. So does one
    that orders operations, because a commit rings for them.
    """

    name: str
    work: Callable[[int], int]
    limit: int = 100
    realtime: bool = False


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a tick did. `failed` names the chores that raised or took too long, and `rings` if ringing did; the next
    tick tries again. `complete` is False when overdue operations are left for the next tick.
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
    concurrency: Concurrency


@dataclass(slots=True)
class _Rung:
    """What ringing did so far."""

    operations: int = 0
    lanes: Counter[str] = field(default_factory=Counter)
    complete: bool = False


@dataclass(slots=True)
class _Part:
    """A part of a tick that was started. `end` holds what it returned or raised."""

    over: Signal
    end: int | BaseException | None = None


class Sweeper:
    """The scheduler calls `tick` once a minute."""

    def __init__(self, deps: SweeperDependencies, chores: Sequence[Chore] = ()) -> None:
        self._deps = deps
        self._chores = chores
        self._rows = GuardedRows(deps.documents, deps.clock)
        self._late: dict[str, _Part] = {}
        """Parts of earlier ticks that took too long and may still run."""

    def tick(self) -> SweepReport:
        """One bounded sweep. A part that fails is named in the report and does not stop the others: reservations expire
        although the Realtime Database is unavailable.

        Each part has a fair share of the time that is left. One that takes longer is left alone, and the others begin.
        """
        rung = _Rung()
        parts = [
            *(chore for chore in self._chores if not chore.realtime),
            Chore(RINGS, lambda _: self._ring_overdue(rung)),
            *(chore for chore in self._chores if chore.realtime),
        ]
        now_us = self._deps.concurrency.monotonic_us
        ends_us = now_us() + TICK_US
        done: dict[str, int] = {}
        failed: list[str] = []
        for left, part in zip(range(len(parts), 0, -1), parts):
            count = self._run(part, max(seconds(1), (ends_us - now_us()) // left))
            if count is None:
                failed.append(part.name)
            elif part.name != RINGS:
                done[part.name] = count
        self._record_end(len(failed))
        return SweepReport(rung.operations, tuple(sorted(rung.lanes)), done, tuple(failed), rung.complete)

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

    def _run(self, chore: Chore, share_us: int) -> int | None:
        """Runs a part beside this thread and waits for its share of the time; None when it failed or is not over."""
        late = self._late.pop(chore.name, None)
        if late is not None and not late.over.is_set():
            # It would hang again, and every tick would leave another thread behind.
            self._late[chore.name] = late
            return None
        part = _Part(self._deps.concurrency.signal())

        def work() -> None:
            try:
                part.end = chore.work(chore.limit)
            except BaseException as failure:  # noqa: BLE001  # raised again or logged below, in the thread of the tick
                part.end = failure
            finally:
                part.over.set()

        self._deps.concurrency.start(f"chore {chore.name}", work)
        if not part.over.wait(share_us / 1_000_000):
            _log.error("chore_overran", chore=chore.name, seconds=share_us // 1_000_000)
            self._late[chore.name] = part
            return None
        if isinstance(part.end, Exception):
            _log.error("chore_failed", chore=chore.name, exc_info=part.end)
            return None
        if isinstance(part.end, BaseException):
            raise part.end
        return part.end

    def _ring_overdue(self, rung: _Rung) -> int:
        """Rings for every operation that should have moved by now, and starts runners for their lanes."""
        now_us = self._deps.clock.now_us()
        overdue: list[Operation] = []
        query = Query(COLLECTION, (Where("wake_at", "<=", to_rfc3339(now_us)),), ("wake_at", "__name__"))
        batch = self._rows.due(
            "overdue_operations", query, lambda row: overdue.append(from_document(row)), limit=MOST_READ
        )
        tickets: dict[str, list[Ticket]] = {}
        for operation in overdue:
            tickets.setdefault(operation.lane, []).append(ticket_of(operation))
        for lane, waiting in sorted(tickets.items()):
            # Only the first of each line: the others cannot start before it, and each would cost a query to find out.
            blocked = {ticket.name for ticket in blocked_by_key(waiting)}
            first = [ticket for ticket in waiting if ticket.name not in blocked]
            self._deps.doorbell.ring(lane, first)
            if not self._deps.doorbell.is_paused(lane):
                self.wake(lane, len(first), now_us)
            rung.lanes[lane] += len(first)
        rung.operations, rung.complete = len(overdue), batch.complete
        return rung.operations
