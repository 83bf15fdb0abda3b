"""The account as a frozen value: lots, open reservations, debt and status, and its invariants.

Knows no clock, database or key. Amounts are integer micro-credits, times are microseconds since 1970 in UTC.
`decide.py` makes the next account out of this one; nothing else may.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from app.credits.core.budgets import Lines
from app.kit.clock import minutes
from app.kit.errors import ensure
from app.kit.money import MAX_MICRO
from app.kit.stores.documents import Fields

GENESIS_HASH: Final = "0" * 64
"""The predecessor's hash in the first entry of every chain."""

RECENT: Final = 32
"""Closed reservations that the account itself remembers; older settled ones are found by their entry's key."""

MAX_OPEN: Final = 200
"""Open reservations per account: keeps the document far below Firestore's megabyte."""

MAX_LOTS: Final = 400
"""Open lots with which an account is full: no gift is given and no payment should be begun. See `MOST_LOTS`."""

MOST_LOTS: Final = 800
"""Open lots at most. Between `MAX_LOTS` and these there is room for payments that were taken meanwhile, and for what
returns. The event of a write carries the document before and after it, and Eventarc takes 512 KB: 800 lots that
reservations hold are 250 kB twice.
"""

MAX_PAYMENT_ID: Final = 96
"""Bytes of a payment's id, which every lot that it bought repeats. A transaction's hash with its place has 70."""

MAX_DISPUTES: Final = 100
"""Disputed payments per account, those included whose deposit has not come yet."""

NOTICE_DAYS: Final = (30, 7, 1)
"""A lot that expires is announced this many days before (T-49)."""

SET_ASIDE: Final = "reservation"
"""The `reference_type` of what a user has set aside, and not of an answer that is being given."""

_SEPARATOR: Final = "\x1f"
_DAY_US: Final = minutes(24 * 60)


class AccountStatus(StrEnum):
    """Whether the account may spend; `decide.ALLOWED` says what each status permits."""

    ACTIVE = "active"
    FROZEN = "frozen"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class LotSource(StrEnum):
    """Where the credits of a lot came from."""

    PAID = "paid"
    BONUS = "bonus"
    PROMO = "promo"
    REFUND = "refund"


class ReservationState(StrEnum):
    """A reservation is open, or was resolved in one of three ways, exactly once."""

    OPEN = "open"
    SETTLED = "settled"
    RELEASED = "released"
    EXPIRED = "expired"


class BalanceLevel(StrEnum):
    """The warning level of the balance, with hysteresis: each crossing publishes one event."""

    OK = "ok"
    LOW = "low"
    DEPLETED = "depleted"


@dataclass(frozen=True, slots=True)
class Lot:
    """Credits of one origin. Reservations hold `held` of the `remaining` ones."""

    id: str
    source: LotSource
    remaining: int
    made: int
    """Sequence of the entry that made the lot; the order of age."""
    held: int = 0
    expires_at_us: int | None = None
    payment_id: str | None = None
    frozen: bool = False
    """Under dispute: what no reservation holds yet may not be spent (T-68)."""
    noticed: int = 0
    """Expiry notices published so far, an index into `NOTICE_DAYS`."""
    others: Fields = field(default_factory=dict)
    """What is stored with the lot and is not known here: another version of the code wrote it. It is kept."""

    @property
    def free(self) -> int:
        """What no reservation holds."""
        return self.remaining - self.held

    def spendable(self, at_us: int) -> int:
        """What a new reservation may take at that time."""
        return 0 if self.frozen or self.expired(at_us) else self.free

    def expired(self, at_us: int) -> bool:
        """Whether the lot has expired; what a reservation holds of it then stays usable for that one (T-39)."""
        return self.expires_at_us is not None and self.expires_at_us <= at_us

    def due_at_us(self) -> int | None:
        """When the sweeper must look at the lot: at its next notice or its expiry; None when there is nothing to do."""
        if self.expires_at_us is None or self.free == 0:
            return None
        if self.noticed < len(NOTICE_DAYS):
            return self.expires_at_us - NOTICE_DAYS[self.noticed] * _DAY_US
        return self.expires_at_us


@dataclass(frozen=True, slots=True)
class Hold:
    """A part of a lot that a reservation took."""

    lot_id: str
    amount: int
    others: Fields = field(default_factory=dict)
    """As of a lot."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Credits set aside for one purpose, with the lots they come from; resolves exactly once."""

    id: str
    amount: int
    holds: tuple[Hold, ...]
    purpose: str
    reference_type: str
    reference_id: str
    created_at_us: int
    expires_at_us: int
    state: ReservationState = ReservationState.OPEN
    captured: int = 0
    closed_at_us: int | None = None
    input: str = ""
    """Digest of the request: it distinguishes a repeat from another request with the same id."""
    others: Fields = field(default_factory=dict)
    reference_others: Fields = field(default_factory=dict)
    """As of a lot: of the reservation, and of its reference."""
    api_key: str = ""
    """The id of the API key whose budgets the charge counts in; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Closed:
    """What an account remembers of a resolved reservation."""

    id: str
    state: ReservationState
    amount: int
    captured: int
    sequence: int
    """Sequence of the entry that settled it; 0 when there is none."""
    closed_at_us: int
    input: str

    def text(self) -> str:
        """All fields in one text: 32 of these cost a document less than 32 maps, and are parsed only when needed."""
        amounts = (self.amount, self.captured, self.sequence, self.closed_at_us)
        return _SEPARATOR.join(str(part) for part in (self.id, self.state.value, *amounts, self.input))

    def reservation(self) -> Reservation:
        """The reservation as far as it is remembered."""
        return Reservation(
            id=self.id,
            amount=self.amount,
            holds=(),
            purpose="",
            reference_type="",
            reference_id="",
            created_at_us=self.closed_at_us,
            expires_at_us=self.closed_at_us,
            state=self.state,
            captured=self.captured,
            closed_at_us=self.closed_at_us,
        )

    @classmethod
    def parse(cls, text: str) -> "Closed":
        """The inverse of `text`."""
        id, state, amount, captured, sequence, at_us, asked = text.split(_SEPARATOR)
        return cls(id, ReservationState(state), int(amount), int(captured), int(sequence), int(at_us), asked)


@dataclass(frozen=True, slots=True)
class Account:
    """One user's credits. `balance` is the sum of all entries and of the lots less `debt`."""

    uid: str
    opened_at_us: int
    updated_at_us: int
    status: AccountStatus = AccountStatus.ACTIVE
    balance: int = 0
    reserved: int = 0
    debt: int = 0
    sequence: int = 0
    head_hash: str = GENESIS_HASH
    lots: tuple[Lot, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    recent: tuple[str, ...] = ()
    """The last closed reservations, each a `Closed.text()`."""
    forgot: bool = False
    """Whether a closed reservation ever fell out of `recent`."""
    level: BalanceLevel = BalanceLevel.OK
    low_threshold: int = 0
    version: int = 0
    disputes: tuple[str, ...] = ()
    """Payments under dispute: whatever they bought, or will have bought once they are deposited, is frozen (T-68)."""
    budgets: Lines = ()
    """What API keys have spent of their budgets."""

    def available(self, at_us: int) -> int:
        """What can be spent at that time. No other function may compute this (T-37)."""
        spendable = sum(lot.spendable(at_us) for lot in self.lots)
        return max(0, min(spendable, self.balance - self.reserved))

    def held_by_answers(self, at_us: int) -> int:
        """How much more could be spent at that time if all running answers ended without a charge.

        What its user has set aside is not of it, and neither is what would be frozen or expired when it is free.
        """
        answers = [open for open in self.reservations if open.reference_type != SET_ASIDE]
        spendable = {lot.id for lot in self.lots if not lot.frozen and not lot.expired(at_us)}
        back = sum(hold.amount for open in answers for hold in open.holds if hold.lot_id in spendable)
        free = sum(lot.spendable(at_us) for lot in self.lots) + back
        left = self.balance - self.reserved + sum(open.amount for open in answers)
        return max(0, min(free, left) - self.available(at_us))

    def held_by(self, api_key: str) -> int:
        """What running calls of an API key hold."""
        return sum(open.amount for open in self.reservations if open.api_key == api_key)

    def reservation(self, id: str) -> Reservation | None:
        """The open reservation of that id."""
        return next((open for open in self.reservations if open.id == id), None)

    def closed(self, id: str) -> Closed | None:
        """The remembered resolution of that id."""
        start = id + _SEPARATOR
        return next((Closed.parse(text) for text in reversed(self.recent) if text.startswith(start)), None)

    @property
    def next_expiry_at_us(self) -> int | None:
        """When the sweeper must look at this account again."""
        due = [open.expires_at_us for open in self.reservations]
        due += [at_us for lot in self.lots if (at_us := lot.due_at_us()) is not None]
        return min(due, default=None)


def opened(uid: str, at_us: int, low_threshold: int) -> Account:
    """A new account without credits."""
    return Account(uid, opened_at_us=at_us, updated_at_us=at_us, low_threshold=low_threshold)


def check(account: Account) -> None:
    """Checks the invariants of an account that is about to be written.

    Raises:
        InvariantViolation: one does not hold; nothing may be written.
    """
    ensure(account.debt >= 0 and account.sequence >= 0, "debt and sequence are never negative")
    ensure(account.balance == sum(lot.remaining for lot in account.lots) - account.debt, "balance = lots - debt")
    ensure(account.reserved == sum(open.amount for open in account.reservations), "reserved = open reservations")
    ensure(abs(account.balance) <= MAX_MICRO and account.debt <= MAX_MICRO, "amounts stay within 2^53")
    held: dict[str, int] = {}
    for reservation in account.reservations:
        ensure(reservation.amount == sum(hold.amount for hold in reservation.holds), "a reservation is its holds")
        for hold in reservation.holds:
            ensure(hold.amount > 0, "a hold takes something")
            held[hold.lot_id] = held.get(hold.lot_id, 0) + hold.amount
    for lot in account.lots:
        ensure(0 <= lot.held <= lot.remaining and lot.remaining > 0, "a lot holds no more than it has")
        ensure(held.pop(lot.id, 0) == lot.held, "what a lot holds is what reservations name")
    ensure(not held, "every hold names a lot of the account")
    ensure(all(lot.frozen for lot in account.lots if lot.payment_id in account.disputes), "disputed lots are frozen")
    ensure(len({open.id for open in account.reservations}) == len(account.reservations), "reservation ids are unique")
    ensure(len({lot.id for lot in account.lots}) == len(account.lots), "lot ids are unique")
