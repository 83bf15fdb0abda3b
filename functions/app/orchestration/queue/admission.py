"""Decides which ticket of a lane starts next. Pure: takes tickets and what runs, returns a ticket and a slot's state.

A lane has as many slots as operations may run in it at once, and each slot decides for itself.
Between the priorities
it uses stride scheduling (Waldspurger and Weihl, 1995, "Stride Scheduling: Deterministic Proportional-Share Resource
Management"): each priority has a pass; the priority with the smallest pass starts next, and its pass grows by its
stride. A priority that was idle resumes at the slot's current pass, so it cannot save up turns. Low priorities run
seldom and are never starved. Within a priority the sublanes take turns (round robin), in the order of their names from
the one that started last, so that nobody waits for all orders of another account.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.kit.clock import seconds
from app.kit.stores.realtime import Json
from app.orchestration.queue.handler import Lane
from app.orchestration.queue.operation import Priority
from app.orchestration.queue.ticket import Ticket, first_sublane, heads, read_ticket, vendor_mark

SHARES: Final[Mapping[Priority, int]] = {
    Priority.CRITICAL: 8,
    Priority.HIGH: 4,
    Priority.NORMAL: 2,
    Priority.LOW: 1,
}
"""Starts of each priority, relative to the others, while all of them have tickets."""
_STRIDE: Final = 8
LATE_US: Final = seconds(2)
"""A ticket that has been due for longer may be served by every runner: its trigger is lost or late."""


DEPTH: Final = 1_000
"""Where the count of what waits in a lane stops."""


@dataclass(frozen=True, slots=True)
class Slot:
    """The node of a slot, in which one operation runs at a time: until when it is taken, and what runs."""

    until_us: int
    operation_id: str | None = None
    key: str | None = None
    vendor: str | None = None


@dataclass(frozen=True, slots=True)
class SlotTurns:
    """Whose turn it is in a slot; it stays when the slot is left. `passes` are those of the priorities, `turn` is the
    pass of the last start, and `last` is the sublane of each priority's last start.
    """

    passes: Mapping[Priority, int]
    turn: int
    last: Mapping[Priority, str]


@dataclass(frozen=True, slots=True)
class LaneState:
    """The node `/orchestration/slots/{lane}`, and whether the lane is paused. Not authoritative: lost slots only let
    more operations run for a while.

    `vendors` holds, per mark of a vendor, its slots and until when each is taken. Tickets that were due until
    `refused_ms` may have had triggers that found every slot taken.
    """

    paused: bool
    slots: Mapping[str, Slot]
    vendors: Mapping[str, Mapping[str, int]]
    refused_ms: int = 0


@dataclass(frozen=True, slots=True)
class Depth:
    """What waits and runs in a lane. `tickets` counts what waits. With `more` it may be more: the count stopped, at
    1,000 or after 10,000 names most of which stand for nothing that waits. `oldest_due_ms` by priority is of those
    that were counted.
    """

    tickets: int
    more: bool
    oldest_due_ms: Mapping[Priority, int]
    running: int
    paused: bool


@dataclass(frozen=True, slots=True)
class Busy:
    """What nothing may start beside: operations, ordering keys and vendors; `runs` is how many operations run."""

    operations: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    vendors: frozenset[str] = frozenset()
    runs: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """The tickets that a runner serves beside that of its own trigger.

    While there is room each ticket is served by its own trigger, and runners do not meet at it. `everything` is for
    triggers that stand for no ticket. `skip` are names that are left to other runners.
    """

    everything: bool
    skip: Collection[str] = ()

    def has(self, ticket: Ticket, state: LaneState, now_us: int) -> bool:
        """Whether the ticket is one of them: its trigger found no room, or should have come by now."""
        return ticket.name not in self.skip and (
            self.everything or ticket.due_ms <= state.refused_ms or ticket.due_ms < (now_us - LATE_US) // 1000
        )


def busy(lane: Lane, state: LaneState, now_us: int) -> Busy:
    """What runs in the lane, and the vendors whose limit is reached."""
    live = [slot for slot in state.slots.values() if slot.until_us > now_us]
    return Busy(
        operations=frozenset(slot.operation_id for slot in live if slot.operation_id is not None),
        keys=frozenset(slot.key for slot in live if slot.key is not None),
        vendors=frozenset(vendor for vendor in lane.vendor_limits if not free_for(lane, state, vendor, now_us)),
        runs=len(live),
    )


def free_slots(lane: Lane, state: LaneState, now_us: int) -> list[str]:
    """Names of the lane's free slots; none while it is paused."""
    if state.paused:
        return []
    names = (slot_name(number) for number in range(lane.limit))
    return [name for name in names if name not in state.slots or state.slots[name].until_us <= now_us]


def free_for(lane: Lane, state: LaneState, vendor: str, now_us: int) -> list[str]:
    """Names of a vendor's free slots."""
    taken = state.vendors.get(vendor_mark(vendor), {})
    names = (slot_name(number) for number in range(lane.vendor_limits[vendor]))
    return [name for name in names if taken.get(name, 0) <= now_us]


def startable(tickets: Sequence[Ticket], beside: Busy) -> list[Ticket]:
    """The tickets that may start now: first of their line, and neither their key nor their vendor is busy."""
    return [
        ticket
        for ticket in heads([one for one in tickets if not one.is_wake])
        if ticket.operation_id not in beside.operations
        and ticket.key not in beside.keys
        and ticket.vendor not in beside.vendors
    ]


def pick(turns: SlotTurns, tickets: Sequence[Ticket], beside: Busy, draw: Callable[[int], int]) -> Ticket | None:
    """The ticket that a slot starts next; None when nothing may start.

    Of its sublane it is the oldest while nothing runs; otherwise one of as many as operations run, so that slots that
    decide at once seldom decide for the same.
    """
    able = startable(tickets, beside)
    if not able:
        return None
    ranks = {ticket.priority for ticket in able}
    priority = min(ranks, key=lambda rank: (_pass(turns, rank), rank))
    of_rank = [ticket for ticket in able if ticket.priority is priority]
    last = turns.last[priority]
    sublane = min({ticket.sublane for ticket in of_rank}, key=lambda one: (one <= last, one))
    line = sorted((ticket for ticket in of_rank if ticket.sublane == sublane), key=lambda one: one.name)
    return line[draw(min(len(line), beside.runs + 1))]


def admit(turns: SlotTurns, ticket: Ticket) -> SlotTurns:
    """Whose turn it is after `ticket` started."""
    turn = _pass(turns, ticket.priority)
    return SlotTurns(
        passes={**turns.passes, ticket.priority: turn + _STRIDE // SHARES[ticket.priority]},
        turn=turn,
        last={**turns.last, ticket.priority: ticket.sublane},
    )


def depth_of(lane: str, state: LaneState, names: Mapping[str, Json], now_us: int, *, more: bool) -> Depth:
    """The depth of a lane whose queue holds these names; `more`: and perhaps others behind them."""
    live = [slot for slot in state.slots.values() if slot.until_us > now_us]
    running = {slot.operation_id for slot in live}
    tickets = [one for name, value in names.items() if (one := read_ticket(lane, name, value)) and not one.is_wake]
    waiting = [ticket for ticket in tickets if ticket.operation_id not in running]
    oldest: dict[Priority, int] = {}
    for ticket in waiting:
        oldest[ticket.priority] = min(ticket.due_ms, oldest.get(ticket.priority, ticket.due_ms))
    return Depth(min(len(waiting), DEPTH), more or len(waiting) > DEPTH, oldest, len(live), state.paused)


def slot_name(number: int) -> str:
    """The name of a slot. It has a letter, because a node whose keys are numbers comes back as an array."""
    return f"s{number}"


def read_lane(value: Json, *, paused: bool = False) -> LaneState:
    """The lane's state from its node; missing or malformed parts count as empty."""
    node = _members(value)
    refused = node.get("refused")
    return LaneState(
        paused=paused,
        slots={name: _slot(_members(slot)) for name, slot in _members(node.get("slots")).items()},
        vendors={
            mark: {name: until_of(slot) for name, slot in _members(slots).items()}
            for mark, slots in _members(node.get("vendors")).items()
        },
        refused_ms=refused if isinstance(refused, int) else 0,
    )


def slot_node(slot: Slot) -> Json:
    """The node that stores a slot that is taken."""
    return {"until": slot.until_us, "operation": slot.operation_id, "key": slot.key, "vendor": slot.vendor}


def read_turns(name: str, value: Json) -> SlotTurns:
    """The turns of the slot of this name. One without a node begins at a sublane of its own, so that slots spread."""
    node = _members(value)
    passes, last, turn = _members(node.get("passes")), _members(node.get("last")), node.get("turn")
    known = {rank: passes.get(f"p{int(rank)}") for rank in Priority}
    began = {rank: last.get(f"p{int(rank)}") for rank in Priority}
    return SlotTurns(
        passes={rank: one for rank, one in known.items() if isinstance(one, int)},
        turn=turn if isinstance(turn, int) else 0,
        last={rank: one if isinstance(one, str) else first_sublane(name) for rank, one in began.items()},
    )


def turns_node(turns: SlotTurns) -> Json:
    """The node that stores whose turn it is."""
    return {
        "passes": {f"p{int(rank)}": one for rank, one in turns.passes.items()},
        "turn": turns.turn,
        "last": {f"p{int(rank)}": one for rank, one in turns.last.items()},
    }


def until_of(value: Json) -> int:
    """Until when the slot of a node is taken, in microseconds since 1970."""
    return _until(_members(value))


def _pass(turns: SlotTurns, priority: Priority) -> int:
    return max(turns.passes.get(priority, 0), turns.turn)


def _until(node: Mapping[str, Json]) -> int:
    until = node.get("until")
    return until if isinstance(until, int) else 0


def _slot(node: Mapping[str, Json]) -> Slot:
    operation, key, vendor = node.get("operation"), node.get("key"), node.get("vendor")
    return Slot(
        until_us=_until(node),
        operation_id=operation if isinstance(operation, str) else None,
        key=key if isinstance(key, str) else None,
        vendor=vendor if isinstance(vendor, str) else None,
    )


def _members(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}
