"""Tickets: what the Realtime Database shows of operations that are due. Pure: their names, and the order of these.

A ticket's name is its place in the order of the queue: priority, sublane, due time, operation. A *sublane* is all
tickets of one vendor and one account (without an account: of one ordering key; without both: of one of sixteen groups).
Because the name begins with priority and sublane, whoever reads the queue can begin at any sublane, and step over one,
or over a whole vendor, without reading its tickets (T-113).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from app.kit.stores.realtime import Json
from app.orchestration.queue.operation import Operation, Priority

_TICKET = re.compile(
    r"(?P<rank>[0-3])-(?:(?P<sublane>v[0-9a-f]{16})-)?(?P<due>[0-9]{13})-(?P<id>[A-Za-z0-9_]+)", re.ASCII
)
"""Earlier deployments named tickets without a sublane. Such names are read, and are no longer given."""
_WAKE: Final = "wake_"
_GROUPS: Final = 16
_BEHIND: Final = "~"
"""Sorts behind everything that a name contains."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """An operation that is due, as the lane's queue holds it."""

    name: str
    operation_id: str
    lane: str
    priority: Priority
    due_ms: int
    sublane: str
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

    @property
    def behind_sublane(self) -> str:
        """Where names begin that stand behind every ticket of this priority and sublane."""
        return behind(self.priority, self.sublane) if self.sublane in self.name else self.behind

    @property
    def behind_vendor(self) -> str:
        """Where names begin that stand behind every ticket of this priority and vendor."""
        vendor = self.sublane[: len("v") + 8]
        return behind(self.priority, vendor) if self.sublane in self.name else self.behind

    @property
    def behind(self) -> str:
        """Where names begin that stand behind this ticket."""
        return f"{self.name}{_BEHIND}"


def ticket_of(operation: Operation) -> Ticket:
    """The ticket of an operation. The name depends on nothing that changes while it is due: ringing twice makes one."""
    due_ms = operation.due_us // 1000
    sublane = sublane_of(operation.vendor, operation.account, operation.key, operation.id)
    return Ticket(
        name=f"{front(operation.priority)}{sublane}-{due_ms:013d}-{operation.id}",
        operation_id=operation.id,
        lane=operation.lane,
        priority=operation.priority,
        due_ms=due_ms,
        sublane=sublane,
        key=operation.key,
        vendor=operation.vendor,
        position=operation.position,
    )


def wake_ticket(lane: str, now_us: int, mark: str) -> Ticket:
    """A ticket without an operation, which only makes the trigger fire; `mark` makes its name unique."""
    due_ms = now_us // 1000
    identity = f"{_WAKE}{mark}"
    sublane = sublane_of(None, None, None, identity)
    name = f"{front(Priority.CRITICAL)}{sublane}-{due_ms:013d}-{identity}"
    return Ticket(name, identity, lane, Priority.CRITICAL, due_ms, sublane)


def read_ticket(lane: str, name: str, value: Json) -> Ticket | None:
    """The ticket stored under `name`; None when the name is not a ticket's."""
    found = _TICKET.fullmatch(name)
    if found is None:
        return None
    fields = value if isinstance(value, dict) else {}
    key, vendor, position = _text(fields.get("key")), _text(fields.get("vendor")), fields.get("position")
    return Ticket(
        name=name,
        operation_id=found["id"],
        lane=lane,
        priority=Priority(int(found["rank"])),
        due_ms=int(found["due"]),
        sublane=found["sublane"] or sublane_of(vendor, None, key, found["id"]),
        key=key,
        vendor=vendor,
        position=position if isinstance(position, int) else 0,
    )


def sublane_of(vendor: str | None, account: str | None, key: str | None, operation_id: str) -> str:
    """The sublane of an operation. An account has one for each vendor, however many ordering keys it uses."""
    if account is not None:
        owner = f"account/{account}"
    elif key is not None:
        owner = f"key/{key}"
    else:
        owner = f"group/{crc32(operation_id.encode()) % _GROUPS}"
    return f"{vendor_mark(vendor)}{crc32(owner.encode()):08x}"


def first_sublane(mark: str) -> str:
    """A place among the sublanes without a vendor that depends on `mark` alone: where to begin."""
    return f"{vendor_mark(None)}{crc32(mark.encode()):08x}"


def vendor_mark(vendor: str | None) -> str:
    """How a vendor is called in names and paths."""
    return f"v{crc32(vendor.encode()) if vendor is not None else 0:08x}"


def front(priority: Priority) -> str:
    """Where the names of a priority begin."""
    return f"{int(priority)}-"


def behind(priority: Priority, sublane: str) -> str:
    """Where names begin that stand behind every ticket whose sublane begins like this."""
    return f"{front(priority)}{sublane}{_BEHIND}"


def heads(tickets: Sequence[Ticket]) -> list[Ticket]:
    """Keeps, per ordering key, only the ticket with the lowest position; all tickets without a key stay."""
    first: dict[str, Ticket] = {}
    for ticket in tickets:
        if ticket.key is not None:
            known = first.get(ticket.key)
            if known is None or (ticket.position, ticket.operation_id) < (known.position, known.operation_id):
                first[ticket.key] = ticket
    return [ticket for ticket in tickets if ticket.key is None or first[ticket.key] is ticket]


def blocked_by_key(tickets: Sequence[Ticket]) -> list[Ticket]:
    """The tickets that another ticket with the same ordering key must precede."""
    first = {ticket.name for ticket in heads(tickets)}
    return [ticket for ticket in tickets if ticket.name not in first]


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None
