"""The Realtime Database's side of the queue: tickets that make triggers fire, and the slots of each lane.

Nothing here is authoritative. A lost ticket is rung again by the sweeper, a lost slot only lets one more run for a
while; that nothing runs twice, and no two of a line at once, is decided by the claim on the operation's document.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.kit.realtime import Json, Realtime
from app.orchestration.queue.admission import (
    Ticket,
    admit,
    has_room,
    lane_node,
    pick,
    read_lane,
    read_ticket,
    waiters,
    wake_ticket,
)
from app.orchestration.queue.handler import Lane
from app.orchestration.queue.operation import Priority

QUEUE: Final = "orchestration/queue"
LANES: Final = "orchestration/lanes"
WINDOW: Final = 24
"""Tickets looked at per admission and priority: enough to step over keys and vendors that are busy."""
DEEP: Final = 500
"""Tickets looked at per page when the window held nothing that may start, though a slot is free."""
PAGES: Final = 4
"""Such pages per admission: what waits for one vendor may be thousands, and each of them is downloaded."""

_DEPTH: Final = 1000


@dataclass(frozen=True, slots=True)
class Depth:
    """What waits in a lane. `tickets` stops counting at a thousand; ages are of the oldest, by priority."""

    tickets: int
    oldest_due_ms: Mapping[Priority, int]
    running: int
    paused: bool


class Doorbell:
    """Rings lanes and hands out their slots."""

    def __init__(self, realtime: Realtime) -> None:
        self._realtime = realtime

    def ring(self, lane: str, tickets: Sequence[Ticket]) -> None:
        """Put tickets up; the trigger fires for each that was not there."""
        if tickets:
            self._realtime.update({f"{QUEUE}/{lane}/{ticket.name}": ticket.value for ticket in tickets})

    def wake(self, lane: str, now_us: int, marks: Iterable[str]) -> None:
        """Make the lane's trigger fire, once for each of `marks`, for whatever waits there already."""
        self.ring(lane, [wake_ticket(lane, now_us, mark) for mark in marks])

    def admit(self, lane: Lane, *, now_us: int, until_us: int, passing: Collection[str]) -> Ticket | None:
        """Take a slot for the ticket whose turn it is; None when nothing may start now.

        Tickets whose names are in `passing` are left for others.
        """
        asleep: list[Ticket] = []
        for page in self._pages(lane.name):
            self._take_down(lane.name, [ticket for ticket in page if ticket.is_wake])
            asleep += [ticket for ticket in page if not ticket.is_wake and ticket.name not in passing]
            chosen, room = self._choose(lane, asleep, now_us, until_us) if asleep else (None, True)
            if chosen is not None or not room:
                return chosen
            behind = waiters(asleep)
            if len(behind) >= WINDOW:
                # Who waits in a line needs no ticket: the one before it rings when it ends. So a line hides nobody.
                self._take_down(lane.name, behind)
                gone = {ticket.name for ticket in behind}
                asleep = [ticket for ticket in asleep if ticket.name not in gone]
        return None

    def _choose(self, lane: Lane, asleep: Sequence[Ticket], now_us: int, until_us: int) -> tuple[Ticket | None, bool]:
        """The ticket that got a slot; and whether the lane had room for one."""
        chosen: list[Ticket | None] = [None]
        room = [False]

        def decide(current: Json) -> Json:
            state = read_lane(current)
            room[0] = has_room(lane, state, now_us)
            ticket = chosen[0] = pick(lane, state, asleep, now_us)
            if ticket is None:
                return current if current is not None else lane_node(state)
            return lane_node(admit(state, ticket, now_us=now_us, until_us=until_us))

        self._realtime.transact(f"{LANES}/{lane.name}", decide)
        return chosen[0], room[0]

    def release(self, lane: str, ticket: Ticket, *, keep: bool = False) -> None:
        """Give the slot back and take the ticket down; `keep` leaves it up for whoever comes next."""
        values: dict[str, Json] = {f"{LANES}/{lane}/running/{ticket.operation_id}": None}
        if not keep:
            values[f"{QUEUE}/{lane}/{ticket.name}"] = None
        self._realtime.update(values)

    def extend(self, lane: str, operation_id: str, until_us: int) -> None:
        """Keep a slot for longer."""
        self._realtime.update({f"{LANES}/{lane}/running/{operation_id}/until": until_us})

    def pause(self, lane: str, paused: bool) -> None:
        """Stop or allow new admissions. What runs goes on."""
        self._realtime.update({f"{LANES}/{lane}/paused": True if paused else None})

    def depth(self, lane: str, now_us: int) -> Depth:
        """How much waits and runs, for people."""
        state = read_lane(self._realtime.get(f"{LANES}/{lane}"))
        running = {identity for identity, slot in state.slots.items() if slot.until_us > now_us}
        oldest: dict[Priority, int] = {}
        waiting = 0
        for name, value in self._realtime.first(f"{QUEUE}/{lane}", _DEPTH).items():
            ticket = read_ticket(lane, name, value)
            # What runs keeps its ticket until it ends.
            if ticket is not None and not ticket.is_wake and ticket.operation_id not in running:
                waiting += 1
                oldest.setdefault(ticket.priority, ticket.due_ms)
        return Depth(waiting, oldest, len(running), state.paused)

    def _pages(self, lane: str) -> Iterator[list[Ticket]]:
        """The first tickets of every priority, so that no class hides another; then some pages of what stands behind
        them, so that a long line or a busy vendor does not.
        """
        window, whole = self._window(lane)
        yield window
        known = {ticket.name for ticket in window}
        start_at = ""
        for _ in range(0 if whole else PAGES):
            names, tickets = self._page(lane, DEEP, start_at)
            yield [ticket for ticket in tickets if ticket.name not in known]
            if len(names) < DEEP:
                return
            known.update(names)
            start_at = names[-1]

    def _window(self, lane: str) -> tuple[list[Ticket], bool]:
        """The first tickets of every priority; and whether that is all there are."""
        found: list[Ticket] = []
        rank, whole = 0, True
        while rank <= Priority.LOW:
            names, tickets = self._page(lane, WINDOW, f"{rank}-")
            found += tickets
            if len(names) < WINDOW:
                return found, whole
            whole = False
            rank = tickets[-1].priority + 1 if tickets else rank + 1
        return found, whole

    def _page(self, lane: str, size: int, start_at: str) -> tuple[list[str], list[Ticket]]:
        """Names in order from `start_at` on, and the tickets among them."""
        page = self._realtime.first(f"{QUEUE}/{lane}", size, start_at=start_at)
        return [*page], [ticket for name, value in page.items() if (ticket := read_ticket(lane, name, value))]

    def _take_down(self, lane: str, tickets: Sequence[Ticket]) -> None:
        if tickets:
            self._realtime.update({f"{QUEUE}/{lane}/{ticket.name}": None for ticket in tickets})
