"""The commands on an account and their outcomes: typed values without behaviour.

A command that posts an entry has the entry's `key` (idempotency: one key, at most one effect) and a digest of its
input, which distinguishes a repeat from another request under the same key.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from app.credits.core.account import MAX_PAYMENT_ID, Account, AccountStatus, LotSource, Reservation
from app.credits.core.budgets import Spender
from app.credits.core.entry import Entry, EntryDraft, Kind, Reference
from app.kit.errors import ensure
from app.kit.money import MAX_MICRO


@dataclass(frozen=True, slots=True)
class Reserve:
    """Set aside up to `ceiling`, and not less than `at_least`.

    With `expected` it takes that much, and no more than one part in `share` of what is available, but `at_least`: it
    can be extended when it needs more.
    """

    id: str
    ceiling: int
    at_least: int
    purpose: str
    reference: Reference
    expires_in_us: int
    spender: Spender | None = None
    """The API key that asks, whose budgets bound it."""
    expected: int | None = None
    share: int = 1

    def __post_init__(self) -> None:
        ensure(0 < self.at_least <= self.ceiling <= MAX_MICRO, "a reservation asks for something")
        ensure(self.share > 0, "a share is a part of what there is")
        ensure(self.expires_in_us > 0, "a reservation lasts some time")

    @property
    def input(self) -> str:
        """Digest of what was asked for."""
        parts = (self.ceiling, self.at_least, self.purpose, self.reference.type, self.reference.id)
        return _digest("reserve", *parts, *(() if self.expected is None else (self.expected, self.share)))


@dataclass(frozen=True, slots=True)
class Extend:
    """Keep a reservation open until `expires_in_us` from now and, with `to_amount`, make it that large.

    With `at_least` it may become smaller, down to that, and takes no more than one part in `share` of what is available
    as long as that is enough. Amounts are what is held afterwards, so that the same command twice is one.
    """

    reservation_id: str
    expires_in_us: int
    to_amount: int = 0
    at_least: int | None = None
    share: int = 1

    def __post_init__(self) -> None:
        ensure(self.share > 0, "a share is a part of what there is")
        ensure(self.at_least is None or self.at_least <= self.to_amount, "an extension has bounds in order")


@dataclass(frozen=True, slots=True)
class Settle:
    """Charge a reservation, up to what it holds, and free the rest. An amount of 0 releases it."""

    reservation_id: str
    amount: int
    reference: Reference
    description: str = ""
    price_book: str | None = None
    usage: Mapping[str, object] | None = None
    reason: str = "completed"

    def __post_init__(self) -> None:
        ensure(0 <= self.amount <= MAX_MICRO, "a charge never gives credits (T-23)")

    @property
    def key(self) -> str:
        """The key of the entry that this makes."""
        return settle_key(self.reservation_id)

    @property
    def input(self) -> str:
        """Digest of what was asked for."""
        return _digest("settle", self.amount, self.reference.type, self.reference.id, self.reason)


@dataclass(frozen=True, slots=True)
class Release:
    """Give a reservation back unused."""

    reservation_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class SweepAccount:
    """Resolve what is overdue: reservations, lots, notices of lots that expire soon."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Give credits that nobody paid for: a bonus or a promotion."""

    key: str
    amount: int
    source: LotSource
    reason: str
    reference: Reference
    expires_at_us: int | None = None
    description: str = ""

    def __post_init__(self) -> None:
        ensure(0 < self.amount <= MAX_MICRO, "a grant gives something")
        ensure(self.source is not LotSource.PAID, "what is paid is a deposit")

    @property
    def input(self) -> str:
        """Digest of what was asked for."""
        return _digest("grant", self.amount, self.source, self.reason, self.expires_at_us)


@dataclass(frozen=True, slots=True)
class Deposit:
    """Add credits that were bought; `rail` names the payment provider. Paid credits never expire."""

    payment_id: str
    amount: int
    rail: str
    reference: Reference
    description: str = ""

    def __post_init__(self) -> None:
        ensure(0 < self.amount <= MAX_MICRO, "a deposit brings something")
        ensure(0 < len(self.payment_id.encode()) <= MAX_PAYMENT_ID, "a payment has an id of ordinary length")

    @property
    def key(self) -> str:
        """One per payment, so that a payment is deposited once (T-59)."""
        return deposit_key(self.payment_id)

    @property
    def input(self) -> str:
        """Digest of what was asked for."""
        return _digest("deposit", self.amount, self.rail)


@dataclass(frozen=True, slots=True)
class Clawback:
    """Take back what a payment bought; what is spent already becomes debt (T-67).

    `deposit` is what it bought, `later` is what may have undone that, and `returned` is how much of it is undone: the
    store reads the first two, and `decide` counts the last.
    """

    key: str
    payment_id: str
    amount: int
    rail: str
    reason: str
    reference: Reference
    unfreeze: bool = False
    """Whether this ends a dispute, so that what the payment still has left may be spent again."""
    deposit: EntryDraft | None = None
    later: tuple[EntryDraft, ...] = ()
    returned: int = 0

    def __post_init__(self) -> None:
        ensure(0 < self.amount <= MAX_MICRO, "a clawback takes something")

    @property
    def input(self) -> str:
        """Digest of what was asked for."""
        return clawback_input(self.payment_id, self.amount, self.rail, self.reason)


@dataclass(frozen=True, slots=True)
class Refund:
    """Give a charge back, wholly or in part, into the lots that paid it (`lots.lasting` where they expire)."""

    key: str
    charge: Entry
    amount: int
    returned: int
    """What is given back of the charge already. `decide` counts it from `later`, whatever the caller says."""
    reason: str
    reference: Reference
    by: str = ""
    later: tuple[EntryDraft, ...] = ()
    """Entries that may have undone the charge, and those that may have undone them; the store reads them."""

    def __post_init__(self) -> None:
        ensure(self.charge.kind is Kind.SETTLE, "only a charge is refunded")
        ensure(0 < self.amount <= MAX_MICRO, "a refund gives something")

    @property
    def input(self) -> str:
        """Digest of what was asked for."""
        return refund_input(self.charge.id, self.amount, self.reason)


@dataclass(frozen=True, slots=True)
class Adjust:
    """Correct the balance, up or down: by an administrator, approved by a second one."""

    key: str
    amount: int
    reason: str
    by: str
    approved_by: str
    reference: Reference

    def __post_init__(self) -> None:
        ensure(0 < abs(self.amount) <= MAX_MICRO, "an adjustment changes something")

    @property
    def input(self) -> str:
        """Digest of what was asked for."""
        return _digest("adjust", self.amount, self.reason, self.by, self.approved_by)


@dataclass(frozen=True, slots=True)
class Reverse:
    """Undo what is left of one entry by its opposite; the entry itself stays (T-58)."""

    entry: Entry
    reason: str
    by: str
    approved_by: str
    reference: Reference
    returned: int = 0
    later: tuple[EntryDraft, ...] = ()
    """Both as in `Refund`."""

    @property
    def key(self) -> str:
        """One per entry, so that an entry is reversed once."""
        return reversal_key(self.entry.id)

    @property
    def input(self) -> str:
        """Digest of what was asked for."""
        return _digest("reversal", self.entry.id)


@dataclass(frozen=True, slots=True)
class FreezeLots:
    """Freeze what a disputed payment bought or will have bought, or unfreeze it when the dispute was won (T-68).

    The other fields are as in `Clawback`: of a payment of which all is undone there is nothing to freeze.
    """

    payment_id: str
    frozen: bool
    deposit: EntryDraft | None = None
    later: tuple[EntryDraft, ...] = ()


@dataclass(frozen=True, slots=True)
class SetStatus:
    """Move the account to another status."""

    status: AccountStatus
    reason: str


@dataclass(frozen=True, slots=True)
class SetThreshold:
    """Set the balance below which the user is warned."""

    amount: int


Posting = Grant | Deposit | Clawback | Refund | Adjust | Reverse
"""Commands that always make one entry, under a key of their own."""

Change = FreezeLots | SetStatus | SetThreshold
Command = Reserve | Extend | Settle | Release | SweepAccount | Posting | Change


@dataclass(frozen=True, slots=True)
class Reserved:
    """Outcome of a Reserve or an Extend. `most` is what it could have taken, in micro-credits."""

    reservation: Reservation
    account: Account
    replayed: bool = False
    most: int = 0


@dataclass(frozen=True, slots=True)
class Settled:
    """Outcome of a Settle; without an entry when nothing was charged."""

    reservation: Reservation
    account: Account
    entry: Entry | None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Released:
    """Outcome of a Release."""

    reservation: Reservation
    account: Account
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Posted:
    """Outcome of a `Posting`."""

    entry: Entry
    account: Account
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class AccountSwept:
    """Outcome of a SweepAccount: what it resolved."""

    account: Account
    reservations: tuple[Reservation, ...] = ()
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Changed:
    """Outcome of a `Change`."""

    account: Account


Outcome = Reserved | Settled | Released | Posted | AccountSwept | Changed


@dataclass(frozen=True, slots=True)
class CommandVerdict:
    """The decision on one command, before its entries are sealed."""

    kind: Literal["reserved", "settled", "released", "posted", "swept", "changed"]
    reservation: Reservation | None = None
    drafts: tuple[EntryDraft, ...] = ()
    sequence: int = 0
    """Sequence of the entry that an earlier, equal command made."""
    replayed: bool = False
    closed: tuple[Reservation, ...] = ()
    most: int = 0


def settle_key(reservation_id: str) -> str:
    """The key of the entry that settles a reservation."""
    return f"settle:{reservation_id}"


def deposit_key(payment_id: str) -> str:
    """The key of the entry that a payment makes."""
    return f"deposit:{payment_id}"


def reversal_key(transaction_id: str) -> str:
    """The key of the entry that reverses another."""
    return f"reversal:{transaction_id}"


def refund_input(transaction_id: str, amount: int, reason: str) -> str:
    """The `input` of an entry that refunds this charge."""
    return _digest("refund", transaction_id, amount, reason)


def clawback_input(payment_id: str, amount: int, rail: str, reason: str) -> str:
    """The `input` of an entry that takes back what this payment bought."""
    return _digest("clawback", payment_id, amount, rail, reason)


def _digest(*parts: object) -> str:
    # Each part follows its length, so that different lists of parts give different texts.
    text = "".join(f"{len(word)}:{word}" for word in map(str, parts))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
