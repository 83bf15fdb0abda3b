"""The Realtime Database's part of the queue: tickets, whose creation fires the trigger, and the slots of each lane.

Nothing here is authoritative: the sweeper creates lost tickets again, and a lost slot only lets one operation too many
run for a while. The claim in Firestore decides that no operation runs twice, and no two of a line at once (`line.py`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.kit.stores.realtime import Json, Realtime
from app.orchestration.queue.admission import (
    Ticket,
    admit,
    blocked_by_key,
    has_room,
    lane_node,
    pick,
    read_lane,
    read_ticket,
    wake_ticket,
)
from app.orchestration.queue.handler import Lane
from app.orchestration.queue.operation import Priority

QUEUE: Final = "orchestration/queue"
LANES: Final = "orchestration/lanes"
WINDOW: Final = 24
"""Tickets read per priority at each admission: enough to step over some busy keys and vendors."""
DEEP: Final = 500
"""Tickets per further page, read when none of the window may start though the lane has a free slot."""
PAGES: Final = 4
"""Further pages per admission. A bound, because thousands may wait for one vendor and every ticket is downloaded."""

_DEPTH: Final = 1000


@dataclass(frozen=True, slots=True)
class Depth:
    """What waits and runs in a lane. `tickets` counts what waits, up to 1000; `oldest_due_ms` is by priority."""

    tickets: int
    oldest_due_ms: Mapping[Priority, int]
    running: int
    paused: bool


class Doorbell:
    """Creates tickets and hands out the slots of lanes."""

    def __init__(self, realtime: Realtime) -> None:
        self._realtime = realtime

    def ring(self, lane: str, tickets: Sequence[Ticket]) -> None:
        """Creates tickets; the trigger fires for each that did not exist."""
        if tickets:
            self._realtime.update({f"{QUEUE}/{lane}/{ticket.name}": ticket.value for ticket in tickets})

    def wake(self, lane: str, now_us: int, marks: Iterable[str]) -> None:
        """Makes the lane's trigger fire once for each of `marks`, so that runners serve tickets that exist already."""
        self.ring(lane, [wake_ticket(lane, now_us, mark) for mark in marks])

    def admit(self, lane: Lane, *, now_us: int, until_us: int, skip: Collection[str]) -> Ticket | None:
        """Takes a slot for the ticket to start next; None when nothing may start now.

        Tickets whose names are in `skip` are left to other runners.
        """
        waiting: list[Ticket] = []
        for page in self._pages(lane.name):
            self._remove(lane.name, [ticket for ticket in page if ticket.is_wake])
            waiting += [ticket for ticket in page if not ticket.is_wake and ticket.name not in skip]
            chosen, room = self._choose(lane, waiting, now_us, until_us) if waiting else (None, True)
            if chosen is not None or not room:
                return chosen
            blocked = blocked_by_key(waiting)
            if len(blocked) >= WINDOW:
                # They need no tickets: each end of an operation rings for the next one with its key. Without this, a
                # long line would fill every page and hide the tickets behind it.
                self._remove(lane.name, blocked)
                removed = {ticket.name for ticket in blocked}
                waiting = [ticket for ticket in waiting if ticket.name not in removed]
        return None

    def _choose(self, lane: Lane, waiting: Sequence[Ticket], now_us: int, until_us: int) -> tuple[Ticket | None, bool]:
        """The ticket that got a slot, and whether the lane had room for one."""
        chosen: list[Ticket | None] = [None]
        room = [False]

        def decide(current: Json) -> Json:
            state = read_lane(current)
            room[0] = has_room(lane, state, now_us)
            ticket = chosen[0] = pick(lane, state, waiting, now_us)
            if ticket is None:
                return current if current is not None else lane_node(state)
            return lane_node(admit(state, ticket, now_us=now_us, until_us=until_us))

        self._realtime.transact(f"{LANES}/{lane.name}", decide)
        return chosen[0], room[0]

    def release(self, lane: str, ticket: Ticket, *, keep: bool = False) -> None:
        """Gives the slot back and removes the ticket; with `keep` the ticket stays for another runner."""
        values: dict[str, Json] = {f"{LANES}/{lane}/running/{ticket.operation_id}": None}
        if not keep:
            values[f"{QUEUE}/{lane}/{ticket.name}"] = None
        self._realtime.update(values)

    def extend(self, lane: str, operation_id: str, until_us: int) -> None:
        """Extends a slot until `until_us`."""
        self._realtime.update({f"{LANES}/{lane}/running/{operation_id}/until": until_us})

    def pause(self, lane: str, paused: bool) -> None:
        """Stops or allows new admissions; running operations go on."""
        self._realtime.update({f"{LANES}/{lane}/paused": True if paused else None})

    def depth(self, lane: str, now_us: int) -> Depth:
        """What waits and runs in the lane, for administrators."""
        state = read_lane(self._realtime.get(f"{LANES}/{lane}"))
        running = {identity for identity, slot in state.slots.items() if slot.until_us > now_us}
        oldest: dict[Priority, int] = {}
        count = 0
        for name, value in self._realtime.first(f"{QUEUE}/{lane}", _DEPTH).items():
            ticket = read_ticket(lane, name, value)
            # A running operation keeps its ticket until it ends.
            if ticket is not None and not ticket.is_wake and ticket.operation_id not in running:
                count += 1
                oldest.setdefault(ticket.priority, ticket.due_ms)
        return Depth(count, oldest, len(running), state.paused)

    def _pages(self, lane: str) -> Iterator[list[Ticket]]:
        """The first tickets of every priority, so that no priority hides another; then further pages in order of name,
        so that neither a long line nor a busy vendor hides what is behind it.
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
        """The first tickets of every priority, and whether the lane has no others."""
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
        """The first `size` names from `start_at` on, in order, and the tickets among them."""
        page = self._realtime.first(f"{QUEUE}/{lane}", size, start_at=start_at)
        return [*page], [ticket for name, value in page.items() if (ticket := read_ticket(lane, name, value))]

    def _remove(self, lane: str, tickets: Sequence[Ticket]) -> None:
        if tickets:
            self._realtime.update({f"{QUEUE}/{lane}/{ticket.name}": None for ticket in tickets})
