"""How much of an entry was undone, as later entries tell: one rule for all ways of undoing, in every order.

A refund, a clawback, a reversal and an expiry undo an entry. What undid it may be reversed, and counts no more then. Of
no entry more is undone than its amount, and never less than nothing.

An entry does not name the charge that it refunds, but its `input` is a digest of that charge's id, of the amount and of
the reason, and the last two stand in it. So the ledger alone tells what was undone, for entries of any age.
"""

from collections.abc import Sequence
from dataclasses import replace

from app.credits.core.commands import (
    Clawback,
    FreezeLots,
    Posting,
    Refund,
    Reverse,
    clawback_input,
    deposit_key,
    refund_input,
    reversal_key,
)
from app.credits.core.entry import Entry, EntryDraft, Kind
from app.credits.core.rejections import NothingToReverse

UNDONE_BY = {
    Kind.SETTLE: Kind.REFUND,
    Kind.DEPOSIT: Kind.CLAWBACK,
    Kind.GRANT: Kind.EXPIRY,
    Kind.REFUND: Kind.EXPIRY,
}
"""The entries, beside a reversal, that undo an entry of a kind. An expiry undoes what gave the credits that expired."""


def undone(entry: EntryDraft, later: Sequence[EntryDraft]) -> int:
    """How much of `entry` is undone by entries after it: those of `UNDONE_BY` and the reversals among them."""
    by_others = sum(_left(draft, later) for draft in later if _undoes(draft, entry))
    return max(0, min(abs(entry.amount), by_others + _expired(entry, later)))


def counted(command: Posting, before: Sequence[EntryDraft]) -> Posting:
    """The command with what is undone of its entry; `before` is what the same commit posts before it."""
    match command:
        case Refund(charge=entry) | Reverse(entry=entry):
            later = (*command.later, *before)
            return replace(command, later=later, returned=undone(entry.draft, later))
        case Clawback():
            deposit = _bought(command, before)
            returned = 0 if deposit is None else undone(deposit, (*command.later, *before))
            return replace(command, deposit=deposit, returned=returned)
        case _:
            return command


def nothing_to_freeze(command: FreezeLots, before: Sequence[EntryDraft]) -> bool:
    """Whether all that a payment bought is undone, so that a dispute of it has no object."""
    deposit = _bought(command, before)
    return deposit is not None and undone(deposit, (*command.later, *before)) == deposit.amount


def finished_payment(command: Posting) -> str | None:
    """The payment whose dispute a counted command ends: by its own word, or because nothing is left to dispute."""
    match command:
        case Clawback(payment_id=payment_id, deposit=deposit):
            whole = deposit is not None and command.returned + command.amount == deposit.amount
            return payment_id if command.unfreeze or whole else None
        case Reverse(entry=entry) if entry.kind is Kind.DEPOSIT:
            return _payment_of(entry.draft)
        case _:
            return None


def left_to_reverse(entry: Entry, undone: int) -> int:
    """How much of an entry a reversal would undo.

    Raises:
        NothingToReverse: nothing, or it is a reversal itself.
    """
    if entry.kind is Kind.REVERSAL:
        raise NothingToReverse("A reversal is not reversed; adjust instead", transaction_id=entry.id)
    left = abs(entry.amount) - undone
    if left <= 0:
        raise NothingToReverse("All of this entry was undone before", transaction_id=entry.id)
    return left


def lots_of(entry: EntryDraft, later: Sequence[EntryDraft]) -> set[str]:
    """The lots in which credits of an entry may be: those that it names, and those into which later reversals of
    expiries brought back what had expired there.
    """
    named = {line.lot_id for line in entry.lots}
    ends = {reversal_key(draft.id): draft for draft in later if draft.kind is Kind.EXPIRY}
    for draft in sorted(later, key=lambda one: one.sequence):
        end = ends.get(draft.key) if draft.kind is Kind.REVERSAL else None
        if end is not None and end.reference.id in named:
            named |= {line.lot_id for line in draft.lots if line.amount > 0}
    return named


def _bought(command: Clawback | FreezeLots, before: Sequence[EntryDraft]) -> EntryDraft | None:
    key = deposit_key(command.payment_id)
    return command.deposit or next((draft for draft in before if draft.key == key), None)


def _undoes(draft: EntryDraft, entry: EntryDraft) -> bool:
    if draft.kind is Kind.REVERSAL:
        return draft.key == reversal_key(entry.id)
    if draft.kind is not UNDONE_BY.get(entry.kind):
        return False
    match draft.kind:
        case Kind.REFUND:
            return draft.input == refund_input(entry.id, draft.amount, draft.reason)
        case Kind.CLAWBACK:
            rail = draft.counterpart.removeprefix("rail:")
            return draft.input == clawback_input(_payment_of(entry), -draft.amount, rail, draft.reason)
        case _:
            return False


def _left(draft: EntryDraft, later: Sequence[EntryDraft]) -> int:
    """What an entry still does after its reversal. Where that gave credits that expired, it gave them in vain."""
    key = reversal_key(draft.id)
    reversals = [other for other in later if other.kind is Kind.REVERSAL and other.key == key]
    return abs(draft.amount) - sum(abs(other.amount) - _expired(other, later) for other in reversals)


def _expired(entry: EntryDraft, later: Sequence[EntryDraft]) -> int:
    """How much expired of the lots that an entry put credits into, at most what it put there.

    Several entries may have put credits into one lot. What expires there counts for each of them: which credits those
    were is nowhere written, and nobody shall owe what has expired.
    """
    total = 0
    for line in entry.lots:
        if line.amount > 0 and line.expires_at_us is not None:
            ends = [draft for draft in later if draft.kind is Kind.EXPIRY and draft.sequence > entry.sequence]
            total += min(line.amount, sum(_left(end, later) for end in ends if end.reference.id == line.lot_id))
    return total


def _payment_of(deposit: EntryDraft) -> str:
    return deposit.key.removeprefix(deposit_key(""))
