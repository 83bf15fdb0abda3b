"""Decides which ticket of a lane starts next. Pure: takes tickets and the lane's state, returns a ticket and a state.

Fair shares use stride scheduling (Waldspurger and Weihl, 1995, "Stride Scheduling: Deterministic Proportional-Share
Resource Management"): each priority has a pass; the priority with the smallest pass starts next, and its pass grows
by its stride. A priority that was idle resumes at the lane's current pass, so it cannot save up turns. Low priorities
run seldom and are never starved.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from app.kit.stores.realtime import Json
from app.orchestration.queue.handler import Lane
from app.orchestration.queue.operation import Operation, Priority

SHARES: Final[Mapping[Priority, int]] = {
    Priority.CRITICAL: 8,
    Priority.HIGH: 4,
    Priority.NORMAL: 2,
    Priority.LOW: 1,
}
"""Starts of each priority, relative to the others, while all of them have tickets."""
_STRIDE: Final = 8

_TICKET = re.compile(r"(?P<rank>[0-3])-(?P<due>[0-9]{13})-(?P<id>[A-Za-z0-9_]+)", re.ASCII)
_WAKE: Final = "wake_"


@dataclass(frozen=True, slots=True)
class Ticket:
    """An operation that is due, as the lane's queue holds it. Names sort by priority, then by due time."""

    name: str
    operation_id: str
    lane: str
    priority: Priority
    due_ms: int
    key: str | None = None
    vendor: str | None = None
    position: int = 0

    @property
    def value(self) -> Json:
        """The JSON stored under the name."""
        return {"id": self.operation_id, "key": self.key, "vendor": self.vendor, "position": self.position}

    @property
    def is_wake(self) -> bool:
        """Whether the ticket stands for no operation and only makes the trigger fire."""
        return self.operation_id.startswith(_WAKE)


def ticket_of(operation: Operation) -> Ticket:
    """The ticket of an operation. The name depends on nothing that changes while it is due: ringing twice makes one."""
    due_ms = operation.due_us // 1000
    return Ticket(
        name=f"{int(operation.priority)}-{due_ms:013d}-{operation.id}",
        operation_id=operation.id,
        lane=operation.lane,
        priority=operation.priority,
        due_ms=due_ms,
        key=operation.key,
        vendor=operation.vendor,
        position=operation.position,
    )


def wake_ticket(lane: str, now_us: int, mark: str) -> Ticket:
    """A ticket without an operation, which only makes the trigger fire; `mark` makes its name unique."""
    due_ms = now_us // 1000
    identity = f"{_WAKE}{mark}"
    return Ticket(f"0-{due_ms:013d}-{identity}", identity, lane, Priority.CRITICAL, due_ms)


def read_ticket(lane: str, name: str, value: Json) -> Ticket | None:
    """The ticket stored under `name`; None when the name is not a ticket's."""
    found = _TICKET.fullmatch(name)
    if found is None:
        return None
    fields = value if isinstance(value, dict) else {}
    key, vendor, position = fields.get("key"), fields.get("vendor"), fields.get("position")
    return Ticket(
        name=name,
        operation_id=found["id"],
        lane=lane,
        priority=Priority(int(found["rank"])),
        due_ms=int(found["due"]),
        key=key if isinstance(key, str) else None,
        vendor=vendor if isinstance(vendor, str) else None,
        position=position if isinstance(position, int) else 0,
    )


@dataclass(frozen=True, slots=True)
class Slot:
    """Counts one running operation against the limits of its lane, until `until_us` at most."""

    until_us: int
    key: str | None
    vendor: str | None


@dataclass(frozen=True, slots=True)
class LaneState:
    """The node `/orchestration/lanes/{lane}`. Not authoritative: lost slots only let more operations run for a while.

    `passes` are those of the priorities, `turn` is the pass of the last start.
    """

    paused: bool
    slots: Mapping[str, Slot]
    passes: Mapping[Priority, int]
    turn: int


def pick(lane: Lane, state: LaneState, tickets: Sequence[Ticket], now_us: int) -> Ticket | None:
    """The ticket to start now; None when the lane is paused or full, or a key or vendor blocks every ticket."""
    if not has_room(lane, state, now_us):
        return None
    live = _live(state, now_us)
    keys = {slot.key for slot in live if slot.key is not None}
    running = {identity for identity, slot in state.slots.items() if slot.until_us > now_us}
    best: dict[Priority, Ticket] = {}
    for ticket in _heads(tickets):
        if ticket.operation_id in running or ticket.key in keys or _vendor_full(lane, live, ticket.vendor):
            continue
        known = best.get(ticket.priority)
        if known is None or ticket.name < known.name:
            best[ticket.priority] = ticket
    if not best:
        return None
    return best[min(best, key=lambda priority: (_pass(state, priority), priority))]


def blocked_by_key(tickets: Sequence[Ticket]) -> list[Ticket]:
    """The tickets that another ticket with the same ordering key must precede."""
    heads = {ticket.name for ticket in _heads(tickets)}
    return [ticket for ticket in tickets if ticket.name not in heads]


def has_room(lane: Lane, state: LaneState, now_us: int) -> bool:
    """Whether the lane may start anything: it is not paused, and below its limit."""
    return not state.paused and len(_live(state, now_us)) < lane.limit


def admit(state: LaneState, ticket: Ticket, *, now_us: int, until_us: int) -> LaneState:
    """The lane's state after `ticket` took a slot; expired slots are dropped."""
    turn = _pass(state, ticket.priority)
    slots = {identity: slot for identity, slot in state.slots.items() if slot.until_us > now_us}
    slots[ticket.operation_id] = Slot(until_us, ticket.key, ticket.vendor)
    passes = {**state.passes, ticket.priority: turn + _STRIDE // SHARES[ticket.priority]}
    return replace(state, slots=slots, passes=passes, turn=turn)


def read_lane(value: Json) -> LaneState:
    """The lane's state from its node; missing or malformed parts count as empty."""
    node = value if isinstance(value, dict) else {}
    slots, passes, turn = node.get("running"), node.get("passes"), node.get("turn")
    return LaneState(
        paused=node.get("paused") is True,
        slots={identity: _slot(slot) for identity, slot in slots.items()} if isinstance(slots, dict) else {},
        passes=_passes(passes),
        turn=turn if isinstance(turn, int) else 0,
    )


def lane_node(state: LaneState) -> Json:
    """The node that stores this state."""
    return {
        "paused": state.paused,
        "turn": state.turn,
        "passes": {f"p{int(priority)}": value for priority, value in state.passes.items()},
        "running": {
            identity: {"until": slot.until_us, "key": slot.key, "vendor": slot.vendor}
            for identity, slot in state.slots.items()
        },
    }


def _heads(tickets: Sequence[Ticket]) -> list[Ticket]:
    """Keeps, per ordering key, only the ticket with the lowest position; all tickets without a key stay."""
    first: dict[str, Ticket] = {}
    for ticket in tickets:
        if ticket.key is not None:
            known = first.get(ticket.key)
            if known is None or (ticket.position, ticket.operation_id) < (known.position, known.operation_id):
                first[ticket.key] = ticket
    return [ticket for ticket in tickets if ticket.key is None or first[ticket.key] is ticket]


def _live(state: LaneState, now_us: int) -> list[Slot]:
    return [slot for slot in state.slots.values() if slot.until_us > now_us]


def _vendor_full(lane: Lane, live: Sequence[Slot], vendor: str | None) -> bool:
    limit = lane.vendor_limits.get(vendor) if vendor is not None else None
    return limit is not None and sum(slot.vendor == vendor for slot in live) >= limit


def _pass(state: LaneState, priority: Priority) -> int:
    return max(state.passes.get(priority, 0), state.turn)


def _passes(value: Json) -> dict[Priority, int]:
    if not isinstance(value, dict):
        return {}
    named = {priority: value.get(f"p{int(priority)}") for priority in Priority}
    return {priority: known for priority, known in named.items() if isinstance(known, int)}


def _slot(value: Json) -> Slot:
    fields = value if isinstance(value, dict) else {}
    until, key, vendor = fields.get("until"), fields.get("key"), fields.get("vendor")
    return Slot(
        until_us=until if isinstance(until, int) else 0,
        key=key if isinstance(key, str) else None,
        vendor=vendor if isinstance(vendor, str) else None,
    )
