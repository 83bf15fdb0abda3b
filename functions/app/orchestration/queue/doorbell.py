"""The Realtime Database's part of the queue: tickets, whose creation fires the trigger, and the slots of each lane.

Nothing here is authoritative: the sweeper creates lost tickets again, and a lost slot only lets one operation too many
run for a while. The claim in Firestore decides that no operation runs twice, and no two of a line at once (`line.py`).

No node is written by every start and end (T-112): each slot has its own, which one runner holds for several operations
after another, and who is free is read. The node of a slot is taken by a conditional write, so that its lane and vendor
never run more than their limit while the Realtime Database keeps what it was told.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from app.kit.clock import seconds
from app.kit.errors import Unavailable
from app.kit.stores.realtime import Json, Realtime
from app.orchestration.queue.admission import (
    DEPTH,
    Busy,
    Depth,
    LaneState,
    Slot,
    SlotTurns,
    Wanted,
    admit,
    busy,
    depth_of,
    free_for,
    free_slots,
    pick,
    read_lane,
    read_turns,
    slot_node,
    startable,
    turns_node,
    until_of,
)
from app.orchestration.queue.handler import Lane
from app.orchestration.queue.operation import SKEW_US, Priority
from app.orchestration.queue.retry import Draw
from app.orchestration.queue.ticket import (
    Ticket,
    behind,
    blocked_by_key,
    front,
    read_ticket,
    vendor_mark,
    wake_ticket,
)

QUEUE: Final = "orchestration/queue"
LANES: Final = "orchestration/lanes"
SLOTS: Final = "orchestration/slots"
"""Not below `LANES`: earlier deployments write a lane's node there whole, and would remove the slots in it."""
TURNS: Final = "orchestration/turns"
"""Whose turn it is in each slot. Not below `SLOTS`, because every admission reads those."""
WINDOW: Final = 64
"""Tickets in one read."""
PAGES: Final = 6
"""Further reads per priority and admission, when the lane has more than one window. A read steps over a whole vendor
that is busy, or over a sublane, so that few reach somebody who may start.
"""
CLUTTER: Final = 24
"""When one read finds so many tickets that must wait for another with their key, these are removed from the queue."""
STARTS: Final = 8
"""Operations that one holder of a slot starts before it looks at the queue again."""
LOOK_US: Final = seconds(1)
"""How old its look at the queue may be. A pause, or a new ticket of a higher priority, is noticed after it."""

TRIES: Final = 25
"""How often a runner tries to take a slot. At each try that it loses, another runner gets one."""

_AHEAD_MS: Final = 1000
_NO_TURN: Final = "other runners were faster at every slot of the lane"
_DEPTH_READS: Final = 10


@dataclass(frozen=True, slots=True)
class _Page:
    """One read of a queue; `full` when there may be tickets behind it."""

    tickets: Sequence[Ticket]
    full: bool

    @property
    def reaches(self) -> int:
        """The priority of its last ticket."""
        return self.tickets[-1].priority if self.tickets else -1


class Doorbell:
    """Creates tickets and hands out the slots of lanes."""

    def __init__(self, realtime: Realtime, draw: Draw) -> None:
        self._realtime = realtime
        self._draw = draw

    def ring(self, lane: str, tickets: Sequence[Ticket]) -> None:
        """Creates tickets; the trigger fires for each that did not exist."""
        if tickets:
            self._realtime.update({f"{QUEUE}/{lane}/{ticket.name}": ticket.value for ticket in tickets})

    def wake(self, lane: str, now_us: int, marks: Iterable[str]) -> None:
        """Makes the lane's trigger fire once for each of `marks`, so that runners serve tickets that exist already."""
        self.ring(lane, [wake_ticket(lane, now_us, mark) for mark in marks])

    def find(self, lane: str, name: str) -> Ticket | None:
        """The ticket of this name; None when it is gone."""
        value = self._realtime.get(f"{QUEUE}/{lane}/{name}")
        return None if value is None else read_ticket(lane, name, value)

    def admit_one(self, lane: Lane, ticket: Ticket, *, now_us: int, until_us: int) -> "TakenSlot | None":
        """Takes a slot for the ticket of a trigger, while there is room for all. None when it must take turns with
        others: it may not start now, or others before it did not find a free slot.

        Raises:
            Unavailable: other runners were faster at every slot.
        """
        for _ in range(TRIES):
            state = self._lane(lane.name)
            if state.paused or ticket.due_ms <= state.refused_ms:
                return None
            free, beside = free_slots(lane, state, now_us), busy(lane, state, now_us)
            if not free or not startable([ticket], beside):
                self._refuse(lane.name, ticket.due_ms)
                return None
            name = free[self._draw(len(free))]
            if _take(self._realtime, f"{SLOTS}/{lane.name}/slots/{name}", now_us, until_us):
                look = _Look(lane, name, state, beside, now_us, [ticket])
                return TakenSlot(self._realtime, self._draw, look, None, until_us)
        raise Unavailable(_NO_TURN)

    def admit(self, lane: Lane, *, now_us: int, until_us: int, wanted: Wanted) -> "TakenSlot | None":
        """Takes a slot for some of the tickets that may start; None when none may, or all slots are taken.

        Raises:
            Unavailable: other runners were faster at every slot.
        """
        window = _page(self._realtime, lane.name, "")
        if not window.tickets:
            return None
        newest_ms = max(ticket.due_ms for ticket in window.tickets)
        # Also while nothing may start, or they pile up and hide the tickets behind them.
        self._remove(lane.name, [ticket for ticket in window.tickets if ticket.is_wake])
        for _ in range(TRIES):
            state = self._lane(lane.name)
            free, beside = free_slots(lane, state, now_us), busy(lane, state, now_us)
            if not free:
                if state.paused or newest_ms <= state.refused_ms:
                    return None
                self._refuse(lane.name, newest_ms)
                continue
            name = free[self._draw(len(free))]
            turns = read_turns(name, self._realtime.get(f"{TURNS}/{lane.name}/{name}"))
            search = _Search(self._realtime, lane.name, turns, beside)
            seen = [ticket for ticket in search.tickets(window) if wanted.has(ticket, state, now_us)]
            self._remove(lane.name, search.gone.values())
            if not startable(seen, beside):
                return None
            if _take(self._realtime, f"{SLOTS}/{lane.name}/slots/{name}", now_us, until_us):
                look = _Look(lane, name, state, beside, now_us, seen)
                return TakenSlot(self._realtime, self._draw, look, turns, until_us)
        raise Unavailable(_NO_TURN)

    def _refuse(self, lane: str, due_ms: int) -> None:
        """Notes that triggers of tickets that were due until then started nothing. Who leaves a slot looks for these.
        The caller must look at the lane again afterwards: somebody may have left before it was noted.
        """
        # Ahead, so that a full lane is told once a second and not by every trigger.
        _note_refused(self._realtime, f"{SLOTS}/{lane}", due_ms + _AHEAD_MS)

    def pause(self, lane: str, paused: bool) -> None:
        """Stops or allows new admissions; running operations go on. It is heard within `LOOK_US`."""
        self._realtime.update({f"{LANES}/{lane}/paused": True if paused else None})

    def is_paused(self, lane: str) -> bool:
        """Whether new admissions are stopped."""
        return self._realtime.get(f"{LANES}/{lane}/paused") is True

    def _lane(self, lane: str) -> LaneState:
        return read_lane(self._realtime.get(f"{SLOTS}/{lane}"), paused=self.is_paused(lane))

    def depth(self, lane: str, now_us: int) -> Depth:
        """What waits and runs in the lane, for administrators."""
        state, names = self._lane(lane), dict[str, Json]()
        for _ in range(_DEPTH_READS):
            page = self._realtime.first(f"{QUEUE}/{lane}", DEPTH + 1, start_at=max(names, default=""))
            names |= page
            depth = depth_of(lane, state, names, now_us, more=len(page) > DEPTH)
            if depth.tickets == DEPTH or not depth.more:
                break
        return depth

    def _remove(self, lane: str, tickets: Iterable[Ticket]) -> None:
        gone: dict[str, Json] = {f"{QUEUE}/{lane}/{ticket.name}": None for ticket in tickets}
        if gone:
            self._realtime.update(gone)


class TakenSlot:
    """A slot while a runner holds it. It starts tickets of one look at the queue, one after another, and costs one
    write for each: that removes the ticket and says in the slot's node what runs. Not thread-safe, but for `extend`.
    """

    def __init__(self, realtime: Realtime, draw: Draw, look: "_Look", turns: SlotTurns | None, until_us: int) -> None:
        """`turns` is None for the ticket of a trigger: it takes no turn, and the stored turns stay as they are."""
        self._realtime = realtime
        self._draw = draw
        self._look = look
        self._path = f"{SLOTS}/{look.lane.name}"
        self._node = f"{self._path}/slots/{look.name}"
        self._turns = turns
        self._slot = Slot(until_us)
        self._at_vendor: str | None = None
        """The path of the vendor's slot that it holds."""
        self._left = STARTS
        self.used_up = False
        """Whether it has tried every ticket of its look that may start."""

    def next(self, *, now_us: int, until_us: int) -> Ticket | None:
        """Removes the ticket to start next from the queue, and keeps the slot for it until `until_us`. None when the
        slot should be left: none of the tickets may start, or the look is too old.

        Whoever removes a ticket must look at its operation afterwards: what is rung for later has a new ticket.
        """
        look = self._look
        while self._may_go_on(now_us):
            ticket = pick(self._turns or _ANY, look.tickets, look.beside, self._draw)
            if ticket is None:
                self.used_up = True
                return None
            look.tickets.remove(ticket)
            vendor = ticket.vendor if ticket.vendor in look.lane.vendor_limits else None
            if vendor is None or self._take_at_vendor(vendor, now_us, until_us):
                self._left -= 1
                self._start(ticket, until_us)
                return ticket
            look.beside = replace(look.beside, vendors=look.beside.vendors | {vendor})
            _note_refused(self._realtime, self._path, ticket.due_ms)
        return None

    def extend(self, *, now_us: int, until_us: int) -> None:
        """Extends the slot until `until_us`, for the heartbeat. One that is over is left to whoever took it (T-72)."""
        if self._is_lost(now_us):
            return
        paths = [self._node, *([self._at_vendor] if self._at_vendor else [])]
        self._realtime.update({f"{path}/until": until_us for path in paths})
        # Only what is written counts: a slot whose extension failed is another's when its time is over.
        self._slot = replace(self._slot, until_us=until_us)

    def leave(self, now_us: int) -> None:
        """Gives the slot back, unless its time is over and another runner may hold it."""
        if self._is_lost(now_us):
            return
        values: dict[str, Json] = {self._node: None}
        if self._at_vendor is not None:
            values[self._at_vendor] = None
        self._realtime.update(values)

    def _may_go_on(self, now_us: int) -> bool:
        """Whether it may start another ticket of its look. After an operation with a key, or of a vendor with a limit,
        it must look again: the end of that operation let others start, which this look shows as blocked.
        """
        if self._is_lost(now_us):
            return False
        freed = self._slot.key is not None or self._at_vendor is not None
        fresh = self._left == STARTS or now_us < self._look.at_us + LOOK_US
        return self._left > 0 and fresh and not freed

    def _start(self, ticket: Ticket, until_us: int) -> None:
        lane = self._look.lane.name
        self._slot = Slot(until_us, ticket.operation_id, ticket.key, ticket.vendor)
        values: dict[str, Json] = {f"{QUEUE}/{lane}/{ticket.name}": None, self._node: slot_node(self._slot)}
        if self._turns is not None:
            self._turns = admit(self._turns, ticket)
            values[f"{TURNS}/{lane}/{self._look.name}"] = turns_node(self._turns)
        self._realtime.update(values)

    def _take_at_vendor(self, vendor: str, now_us: int, until_us: int) -> bool:
        """Takes a slot of the vendor; whether there was one."""
        free = free_for(self._look.lane, self._look.state, vendor, now_us)
        while free:
            path = f"{self._path}/vendors/{vendor_mark(vendor)}/{free.pop(self._draw(len(free)))}"
            if _take(self._realtime, path, now_us, until_us):
                self._at_vendor = path
                return True
        return False

    def _is_lost(self, now_us: int) -> bool:
        """Whether another runner, whose clock may be ahead, may have taken the slot."""
        return now_us >= self._slot.until_us - SKEW_US


@dataclass(slots=True)
class _Look:
    """What a runner saw of a lane at `at_us`, and the name of the slot with which it looked."""

    lane: Lane
    name: str
    state: LaneState
    beside: Busy
    at_us: int
    tickets: list[Ticket]


class _Search:
    """Reads the tickets among which a slot chooses. `gone` collects those that nobody needs."""

    def __init__(self, realtime: Realtime, lane: str, turns: SlotTurns, beside: Busy) -> None:
        self._realtime = realtime
        self._lane = lane
        self._turns = turns
        self._beside = beside
        self._seen: dict[str, Ticket] = {}
        self.gone: dict[str, Ticket] = {}

    def tickets(self, window: _Page) -> list[Ticket]:
        """The lane's first window, and when there is more, for each priority its first tickets and those behind the
        sublane that the slot served last.
        """
        page = window
        self._note(window)
        for priority in Priority:
            if page.full and page.reaches < priority:
                page = self.page(front(priority))
                self._note(page)
            if not page.full:
                break
            if page.reaches == priority:
                self._go_round(priority, page)
        return [ticket for name, ticket in self._seen.items() if name not in self.gone]

    def _go_round(self, priority: Priority, first: _Page) -> None:
        """Reads on behind the sublane that the slot served last, and from the front again, until two sublanes may
        start: whoever starts several of one look does not start them all for one account.
        """
        start_at, wrapped = behind(priority, self._turns.last[priority]), False
        for _ in range(PAGES):
            page = self.page(start_at)
            self._note(page)
            if self._has_enough(priority):
                return
            if page.full and page.reaches == priority:
                start_at = self._beyond(page)
            elif wrapped:
                return
            else:
                start_at, wrapped = self._beyond(first), True

    def page(self, start_at: str) -> _Page:
        """The first tickets from the name `start_at` on, in order."""
        return _page(self._realtime, self._lane, start_at)

    def _note(self, page: _Page) -> None:
        self._seen |= {ticket.name: ticket for ticket in page.tickets}
        blocked = blocked_by_key(page.tickets)
        # They need no tickets: each end of an operation rings for the next one with its key. Without this, a long line
        # would hide the tickets behind it.
        clutter = blocked if len(blocked) >= CLUTTER else []
        self.gone |= {ticket.name: ticket for ticket in [*clutter, *(one for one in page.tickets if one.is_wake)]}

    def _has_enough(self, priority: Priority) -> bool:
        of_it = [one for one in self._seen.values() if one.priority is priority and one.name not in self.gone]
        return len({ticket.sublane for ticket in startable(of_it, self._beside)}) > 1

    def _beyond(self, page: _Page) -> str:
        """Where to read on: behind a busy vendor, behind a line that was removed, or else behind a sublane."""
        last = page.tickets[-1]
        if last.vendor in self._beside.vendors:
            return last.behind_vendor
        return last.behind if last.name in self.gone else last.behind_sublane


def _note_refused(realtime: Realtime, path: str, until_ms: int) -> None:
    """Never back: who came before may have been refused a later ticket."""
    realtime.transact(f"{path}/refused", lambda now: max(until_ms, now) if isinstance(now, int) else until_ms)


def _take(realtime: Realtime, path: str, now_us: int, until_us: int) -> bool:
    """Takes the slot at `path`, of a lane or a vendor; False when somebody was faster."""
    taken = [False]

    def decide(current: Json) -> Json:
        taken[0] = until_of(current) <= now_us
        return slot_node(Slot(until_us)) if taken[0] else current

    realtime.transact(path, decide)
    return taken[0]


_ANY: Final = read_turns("", None)


def _page(realtime: Realtime, lane: str, start_at: str) -> _Page:
    found = realtime.first(f"{QUEUE}/{lane}", WINDOW, start_at=start_at)
    tickets = [ticket for name, value in found.items() if (ticket := read_ticket(lane, name, value))]
    return _Page(tickets, len(found) == WINDOW)
