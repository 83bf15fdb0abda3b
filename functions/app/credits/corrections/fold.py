"""An account from its entries: what the ledger alone says, at any sequence or time.

Reservations, disputes and statuses are not in the ledger; `rebuilt` takes those over from the stored account as far as
they fit. An entry is never changed here: a repair touches derived state only (T-58).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from app.credits.core.account import GENESIS_HASH, Account, BalanceLevel, Lot, Reservation, check, opened
from app.credits.core.entry import Entry, LotLine
from app.credits.core.events import level_of
from app.credits.core.lots import Lots, hold, put
from app.kit.errors import ensure


@dataclass(frozen=True, slots=True)
class Derived:
    """What entries say of an account."""

    sequence: int = 0
    head_hash: str = GENESIS_HASH
    balance: int = 0
    debt: int = 0
    lots: Lots = field(default=())


def fold(entries: Iterable[Entry], start: Derived | None = None) -> Derived:
    """Applies entries in their order.

    Raises:
        InvariantViolation: an entry does not follow from those before it.
    """
    state = start or Derived()
    for entry in entries:
        state = _apply(state, entry)
    return state


def derived(account: Account) -> Derived:
    """The part of a stored account that its entries determine."""
    plain = tuple(replace(lot, held=0, frozen=False, noticed=0) for lot in account.lots)
    return Derived(account.sequence, account.head_hash, account.balance, account.debt, plain)


def rebuilt(stored: Account | None, truth: Derived, uid: str, at_us: int) -> Account:
    """The account as its entries say, with what only the stored one knows; reservations that no longer fit go."""
    account = stored or opened(uid, at_us, 0)
    known = {lot.id: lot for lot in account.lots}
    kept = tuple(_with_flags(lot, known.get(lot.id)) for lot in truth.lots)
    fitting: list[Reservation] = []
    for reservation in account.reservations:
        if _fits(kept, reservation):
            kept = hold(kept, reservation.holds)
            fitting.append(reservation)
    after = replace(
        account,
        balance=truth.balance,
        debt=truth.debt,
        sequence=truth.sequence,
        head_hash=truth.head_hash,
        lots=kept,
        reservations=tuple(fitting),
        reserved=sum(reservation.amount for reservation in fitting),
        level=BalanceLevel.OK,
        version=account.version + 1,
        updated_at_us=max(at_us, account.updated_at_us + 1),
    )
    after = replace(after, level=level_of(after))
    check(after)
    return after


def _apply(state: Derived, entry: Entry) -> Derived:
    ensure(entry.sequence == state.sequence + 1, "entries follow each other without a gap")
    ensure(entry.prev_hash == state.head_hash, "an entry names the hash of the one before")
    lots = put(state.lots, _normal(entry.draft.lots), entry.sequence)
    after = Derived(entry.sequence, entry.hash, state.balance + entry.amount, state.debt + entry.draft.debt, lots)
    ensure(after.balance == entry.balance_after, "an entry's balance is the sum of all up to it")
    ensure(after.debt >= 0 and all(lot.remaining > 0 for lot in lots), "no lot and no debt below zero")
    ensure(after.balance == sum(lot.remaining for lot in lots) - after.debt, "balance = lots - debt")
    return after


def _normal(lines: Iterable[LotLine]) -> list[LotLine]:
    """Lines that add come first: a correction may take from a lot that it also makes."""
    return sorted(lines, key=lambda change: change.amount < 0)


def _with_flags(lot: Lot, known: Lot | None) -> Lot:
    return lot if known is None else replace(lot, frozen=known.frozen, noticed=known.noticed, made=known.made)


def _fits(lots: Lots, reservation: Reservation) -> bool:
    free = {lot.id: lot.free for lot in lots}
    return all(free.get(part.lot_id, 0) >= part.amount for part in reservation.holds)


def comparable(state: Derived) -> Derived:
    """The state without what is not money: the order of lots, and the age of one that was used up and came back."""
    lots = tuple(sorted((replace(lot, made=0) for lot in state.lots), key=lambda lot: lot.id))
    return replace(state, lots=lots)
