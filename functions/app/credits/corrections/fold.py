"""An account from its entries: what the ledger alone says, at any sequence or time.

Reservations, disputes and statuses are not in the ledger; `rebuilt` takes those over from the stored account as far as
they fit. An entry is never changed here: a repair touches derived state only (T-58).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.credits.core.account import (
    GENESIS_HASH,
    MAX_OPEN,
    RECENT,
    Account,
    BalanceLevel,
    Closed,
    Lot,
    Reservation,
    ReservationState,
    check,
)
from app.credits.core.commands import settle_key
from app.credits.core.entry import Entry, Kind, LotLine
from app.credits.core.events import level_of
from app.credits.core.lots import Lots, freeze, hold, put
from app.credits.corrections.traces import remembered
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
    plain = tuple(replace(lot, held=0, frozen=False, noticed=0, others={}) for lot in account.lots)
    return Derived(account.sequence, account.head_hash, account.balance, account.debt, plain)


def agrees(account: Account, entries: Sequence[Entry]) -> bool:
    """Whether a stored account is what its entries say, and remembers what they settled."""
    if comparable(derived(account)) != comparable(fold(entries)):
        return False
    settled = _settled(entries)
    forgotten = settled.keys() - {closed.id for closed in remembered(account)}
    return not (forgotten and not account.forgot) and not any(open.id in settled for open in account.reservations)


def rebuilt(account: Account, entries: Sequence[Entry], at_us: int) -> Account:
    """The account as its entries say, with what only the stored one knows; reservations that no longer fit go.

    A reservation that an entry settled is closed, whatever the stored account says: it must not be charged again.
    """
    truth, settled = fold(entries), _settled(entries)
    known = {lot.id: lot for lot in account.lots}
    kept = freeze(tuple(_with_flags(lot, known.get(lot.id)) for lot in truth.lots), account.disputes)
    fitting: dict[str, Reservation] = {}
    for reservation in account.reservations[:MAX_OPEN]:
        if reservation.id not in {*settled, *fitting} and _fits(kept, reservation):
            kept = hold(kept, reservation.holds)
            fitting[reservation.id] = reservation
    recent = _recent(account, settled)
    after = replace(
        account,
        balance=truth.balance,
        debt=truth.debt,
        sequence=truth.sequence,
        head_hash=truth.head_hash,
        lots=kept,
        reservations=tuple(fitting.values()),
        reserved=sum(reservation.amount for reservation in fitting.values()),
        recent=recent[-RECENT:],
        # What the account does not remember is looked up by its entry's key from now on.
        forgot=account.forgot or bool(settled),
        level=BalanceLevel.OK,
        version=account.version + 1,
        updated_at_us=max([at_us, account.updated_at_us + 1, *(entry.draft.at_us for entry in entries[-1:])]),
    )
    after = replace(after, level=level_of(after))
    check(after)
    return after


def _settled(entries: Iterable[Entry]) -> dict[str, Closed]:
    """The reservations that entries settled. What was reserved beyond the charge is not in the ledger."""
    charges = [entry for entry in entries if entry.kind is Kind.SETTLE]
    return {id: _closed(id, charge) for charge in charges if (id := charge.key.removeprefix(settle_key("")))}


def _closed(id: str, charge: Entry) -> Closed:
    amount, draft = -charge.amount, charge.draft
    return Closed(id, ReservationState.SETTLED, amount, amount, charge.sequence, draft.at_us, draft.input)


def _recent(account: Account, settled: Mapping[str, Closed]) -> tuple[str, ...]:
    """The closed reservations to remember: the settled ones, and those of the account that no entry contradicts."""
    told = {one.id: one for one in remembered(account) if one.state is not ReservationState.SETTLED}
    told |= settled
    told |= {one.id: one for one in remembered(account) if _same_charge(one, settled.get(one.id))}
    return tuple(one.text() for one in sorted(told.values(), key=lambda one: one.closed_at_us))


def _same_charge(one: Closed, charge: Closed | None) -> bool:
    return charge is not None and one == replace(charge, amount=one.amount)


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
    return (
        lot
        if known is None
        else replace(lot, frozen=known.frozen, noticed=known.noticed, made=known.made, others=known.others)
    )


def _fits(lots: Lots, reservation: Reservation) -> bool:
    free = {lot.id: lot.free for lot in lots}
    parts = {part.lot_id: part.amount for part in reservation.holds}
    whole = len(parts) == len(reservation.holds) and sum(parts.values()) == reservation.amount
    return whole and all(0 < amount <= free.get(lot_id, 0) for lot_id, amount in parts.items())


def comparable(state: Derived) -> Derived:
    """The state without what is not money: the order of lots, and the age of one that was used up and came back."""
    lots = tuple(sorted((replace(lot, made=0) for lot in state.lots), key=lambda lot: lot.id))
    return replace(state, lots=lots)
