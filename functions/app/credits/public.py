"""What other features may import of credits, beside `feature.py`, `settings.py` and the schemas of its routes.

Commands and their outcomes, the service that takes them, participants of a commit, and the refusals to expect.
"""

from app.credits.core.account import Account, LotSource, Reservation
from app.credits.core.budgets import Spender, Window, limits, line_of
from app.credits.core.commands import (
    Adjust,
    Clawback,
    Deposit,
    Extend,
    Grant,
    Outcome,
    Posted,
    Refund,
    Released,
    Reserve,
    Reserved,
    Settle,
    Settled,
    settle_key,
)
from app.credits.core.entry import Entry, Kind, Reference
from app.credits.core.events import NAMES as EVENT_NAMES
from app.credits.core.events import VERSION as EVENT_VERSION
from app.credits.core.rejections import (
    InsufficientCredits,
    ReservationClosed,
    ReservationSettled,
    ReservationUnknown,
    TooManyLots,
)
from app.credits.ledger.step import NO_PARTICIPANT, AccountOpening, OpeningGrants, Participant, Seen
from app.credits.service import Credits

__all__ = [
    "EVENT_NAMES",
    "EVENT_VERSION",
    "NO_PARTICIPANT",
    "Account",
    "AccountOpening",
    "Adjust",
    "Clawback",
    "Credits",
    "Deposit",
    "Entry",
    "Extend",
    "Grant",
    "InsufficientCredits",
    "Kind",
    "LotSource",
    "OpeningGrants",
    "Outcome",
    "Participant",
    "Posted",
    "Reference",
    "Refund",
    "Released",
    "Reservation",
    "ReservationClosed",
    "ReservationSettled",
    "ReservationUnknown",
    "Reserve",
    "Reserved",
    "Seen",
    "Settle",
    "Settled",
    "Spender",
    "TooManyLots",
    "Window",
    "limits",
    "line_of",
    "settle_key",
]
