"""The events that the credit system publishes, and the warning level of a balance.

Events are written in the commit that causes them; their ids are derived, so that a retried commit repeats none.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.credits.core.account import NOTICE_DAYS, Account, BalanceLevel, Lot, Reservation
from app.credits.core.entry import EntryDraft, Kind
from app.kit.clock import to_rfc3339
from app.kit.stores.documents import Value, Write

VERSION: Final = 1

NAMES: Final = {
    Kind.GRANT: "CreditsGranted",
    Kind.DEPOSIT: "CreditsDeposited",
    Kind.SETTLE: "CreditsSettled",
    Kind.REFUND: "CreditsRefunded",
    Kind.CLAWBACK: "CreditsClawedBack",
    Kind.EXPIRY: "CreditsExpired",
    Kind.ADJUST: "CreditsAdjusted",
    Kind.REVERSAL: "EntryReversed",
}


@dataclass(frozen=True, slots=True)
class AccountEvent:
    """Something that happened to an account."""

    id: str
    name: str
    version: int
    account: str
    at: int
    data: Mapping[str, Value]


Publish = Callable[[Sequence[AccountEvent]], Sequence[Write]]
"""Makes the writes that publish events; they go into the commit that causes the events."""


def publish_nothing(_: Sequence[AccountEvent]) -> Sequence[Write]:
    """A `Publish` without subscribers."""
    return ()


def level_of(account: Account) -> BalanceLevel:
    """The level of the posted balance: a reservation, which may be released, causes no warning (T-28, T-94).

    It is LOW below `low_threshold`, and rises again a fifth above it; DEPLETED below a hundredth of the threshold, and
    rises at a twentieth.
    """
    threshold, balance = account.low_threshold, account.balance
    if balance <= 0 or balance * 100 < threshold:
        return BalanceLevel.DEPLETED
    if account.level is BalanceLevel.DEPLETED and balance * 20 < threshold:
        return BalanceLevel.DEPLETED
    if balance < threshold or (account.level is not BalanceLevel.OK and balance * 5 < threshold * 6):
        return BalanceLevel.LOW
    return BalanceLevel.OK


def account_opened(account: Account) -> AccountEvent:
    return _event(account, "AccountOpened", "", {})


def entry_posted(account: Account, draft: EntryDraft) -> AccountEvent:
    data: dict[str, Value] = {
        "transaction_id": draft.id,
        "sequence": draft.sequence,
        "amount": draft.amount,
        "balance_after": draft.balance_after,
        "reference": {"type": draft.reference.type, "id": draft.reference.id},
        "reason": draft.reason,
    }
    return _event(account, NAMES[draft.kind], str(draft.sequence), data)


def level_changed(account: Account, was: BalanceLevel) -> list[AccountEvent]:
    """The warning for a fall to a worse level; nothing for a rise."""
    order = (BalanceLevel.OK, BalanceLevel.LOW, BalanceLevel.DEPLETED)
    if order.index(account.level) <= order.index(was):
        return []
    name = "BalanceLow" if account.level is BalanceLevel.LOW else "BalanceDepleted"
    data: dict[str, Value] = {"balance": account.balance, "threshold": account.low_threshold}
    return [_event(account, name, str(account.sequence), data)]


def debt_grew(account: Account, draft: EntryDraft) -> AccountEvent:
    """More was taken back than the account had left."""
    return _event(account, "DebtIncurred", str(draft.sequence), {"debt": account.debt, "grew_by": draft.debt})


def lot_expiring(account: Account, lot: Lot) -> AccountEvent:
    """Credits will expire soon (T-49)."""
    days = NOTICE_DAYS[lot.noticed - 1]
    data: dict[str, Value] = {
        "lot_id": lot.id,
        "amount": lot.free,
        "days": days,
        "expires_at": to_rfc3339(lot.expires_at_us or 0),
    }
    # A refund may make a used-up lot again, whose notices start over: the version gives them new ids.
    return _event(account, "LotExpiring", f"{lot.id}:{days}:{account.version + 1}", data)


def reservation_expired(account: Account, reservation: Reservation) -> AccountEvent:
    """A reservation was not resolved in time."""
    data: dict[str, Value] = {
        "reservation_id": reservation.id,
        "amount": reservation.amount,
        "purpose": reservation.purpose,
        "reference": {"type": reservation.reference_type, "id": reservation.reference_id},
    }
    return _event(account, "ReservationExpired", f"{reservation.id}:{reservation.created_at_us}", data)


def status_changed(account: Account, reason: str) -> AccountEvent:
    return _event(account, "AccountStatusChanged", str(account.version + 1), {"status": account.status, "why": reason})


def _event(account: Account, name: str, discriminator: str, data: Mapping[str, Value]) -> AccountEvent:
    seed = f"{len(account.uid)}:{account.uid}{name}:{discriminator}"
    id = f"evt_{hashlib.sha256(seed.encode()).hexdigest()[:32]}"
    return AccountEvent(id, name, VERSION, account.uid, account.updated_at_us, {**data})
