"""In which order lots are spent, and how parts of them are held, consumed, given back and expire.

Pure arithmetic over tuples of lots; `decide.py` decides what is allowed.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final

from app.credits.core.account import Hold, Lot, LotSource
from app.credits.core.entry import LotLine, Reference
from app.kit.clock import minutes
from app.kit.errors import ensure

Lots = tuple[Lot, ...]

RETURN_LASTS_US: Final = minutes(7 * 24 * 60)
"""What comes back of a charge can be spent for a week at least, whenever the lot that paid it expires."""

_NEVER: Final = 2**63
_RANK: Final = {LotSource.BONUS: 0, LotSource.PROMO: 0, LotSource.REFUND: 0, LotSource.PAID: 1}


def burn_order(lot: Lot) -> tuple[int, int, int, str]:
    """The sort key of spending: soonest expiry first, then given before paid, then oldest (T-48)."""
    return (lot.expires_at_us or _NEVER, _RANK[lot.source], lot.made, lot.id)


def pick(lots: Lots, amount: int, at_us: int) -> tuple[Hold, ...]:
    """Which lots pay `amount`, in burn order. The caller has made sure that there is enough."""
    holds = []
    for lot in sorted(lots, key=burn_order):
        part = min(amount, lot.spendable(at_us))
        if part > 0:
            holds.append(Hold(lot.id, part))
            amount -= part
    ensure(amount == 0, "what is available can be picked from lots")
    return tuple(holds)


def hold(lots: Lots, holds: Iterable[Hold]) -> Lots:
    """The lots, which now hold these parts as well."""
    parts = {part.lot_id: part.amount for part in holds}
    return tuple(replace(lot, held=lot.held + parts[lot.id]) if lot.id in parts else lot for lot in lots)


def resolve(lots: Lots, holds: Sequence[Hold], charge: int) -> tuple[Lots, tuple[LotLine, ...]]:
    """Ends all `holds` and consumes `charge` of them in their order; the rest becomes free in its lots again."""
    by_id = {lot.id: lot for lot in lots}
    lines = []
    for part in holds:
        lot = by_id[part.lot_id]
        used = min(charge, part.amount)
        charge -= used
        by_id[lot.id] = replace(lot, held=lot.held - part.amount, remaining=lot.remaining - used)
        if used:
            lines.append(line(lot, -used))
    ensure(charge == 0, "a charge is covered by its holds")
    return _kept(by_id.values()), tuple(lines)


def take_free(lots: Lots, amount: int, chosen: Iterable[Lot]) -> tuple[Lots, tuple[LotLine, ...], int]:
    """Takes up to `amount` of what is free from the `chosen` lots in turn; also returns the amount that was missing."""
    by_id = {lot.id: lot for lot in lots}
    lines = []
    for lot in chosen:
        part = min(amount, lot.free)
        if part > 0:
            by_id[lot.id] = replace(lot, remaining=lot.remaining - part)
            lines.append(line(lot, -part))
            amount -= part
    return _kept(by_id.values()), tuple(lines), amount


def put(lots: Lots, lines: Iterable[LotLine], sequence: int) -> Lots:
    """Adds lines to the lots that they name; a lot that is used up is made again from its line."""
    by_id = {lot.id: lot for lot in lots}
    for added in lines:
        lot = by_id.get(added.lot_id)
        if lot is None:
            source = LotSource(added.source)
            lot = Lot(added.lot_id, source, 0, sequence, 0, added.expires_at_us, added.payment_id)
        by_id[lot.id] = replace(lot, remaining=lot.remaining + added.amount)
    return _kept(by_id.values())


def give_back(charged: Sequence[LotLine], skip: int, amount: int) -> tuple[LotLine, ...]:
    """The lines that return `amount` of a charge after `skip` of it was returned before: last spent, first returned."""
    lines = []
    for spent in reversed(charged):
        left = -spent.amount
        passed = min(skip, left)
        skip -= passed
        part = min(amount, left - passed)
        amount -= part
        if part > 0:
            lines.append(replace(spent, amount=part))
    ensure(amount == 0, "no more returns than was charged")
    return tuple(lines)


def lasting(lines: Sequence[LotLine], at_us: int, new_lot: str) -> tuple[LotLine, ...]:
    """The lines of a return, with those whose lot is expired, or nearly so, gathered in a lot that lasts a while."""
    until_us = at_us + RETURN_LASTS_US
    short = [back for back in lines if back.expires_at_us is not None and back.expires_at_us < until_us]
    kept = tuple(back for back in lines if back not in short)
    amount = sum(back.amount for back in short)
    return (LotLine(new_lot, amount, LotSource.REFUND.value, until_us), *kept) if amount else kept


def trim(lines: Sequence[LotLine], off: int) -> tuple[LotLine, ...]:
    """The lines without their first `off` micro-credits, which pay a debt."""
    kept = []
    for added in lines:
        cut = min(off, added.amount)
        off -= cut
        if added.amount > cut:
            kept.append(replace(added, amount=added.amount - cut))
    return tuple(kept)


def freeze(lots: Lots, payments: Collection[str]) -> Lots:
    """The lots, with those of disputed payments frozen."""
    return tuple(replace(lot, frozen=lot.frozen or lot.payment_id in payments) for lot in lots) if payments else lots


def thaw(lots: Lots, payment_id: str) -> Lots:
    """The lots, with those of one payment no longer frozen."""
    return tuple(replace(lot, frozen=False) if lot.payment_id == payment_id else lot for lot in lots)


def made_lots(sequence: int) -> tuple[str, str]:
    """The names of the lots that an entry makes: for new credits, and for those that return from lots that expire."""
    return f"lot_{sequence}", f"lot_{sequence}_returned"


def expiry_reference(lot_id: str) -> Reference:
    """What an expiry entry refers to."""
    return Reference("lot", lot_id)


def line(lot: Lot, amount: int) -> LotLine:
    """A line that changes `lot` by `amount`, with the lot's provenance."""
    return LotLine(lot.id, amount, lot.source.value, lot.expires_at_us, lot.payment_id)


def _kept(lots: Iterable[Lot]) -> Lots:
    return tuple(lot for lot in lots if lot.remaining > 0)
