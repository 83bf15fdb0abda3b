"""How much of an entry was undone before, as later entries tell: never more comes back than was taken.

An entry does not name the charge that it refunds, but its `input` is a digest of that charge's id, of the amount and of
the reason, and the last two stand in it. So the ledger alone tells what was returned, for entries of any age.
"""

from collections.abc import Iterable

from app.credits.core.commands import clawback_input, refund_input, reversal_key
from app.credits.core.entry import Entry, EntryDraft, Kind
from app.credits.core.lots import made_lots
from app.credits.core.rejections import NothingToReverse

UNDONE_BY = {
    Kind.SETTLE: Kind.REFUND,
    Kind.DEPOSIT: Kind.CLAWBACK,
    Kind.GRANT: Kind.EXPIRY,
    Kind.REFUND: Kind.EXPIRY,
}
"""The entries, beside a reversal, that undo an entry of a kind. An expiry undoes what gave the credits that expired."""


def undone(entry: Entry, later: Iterable[EntryDraft]) -> int:
    """How much of `entry` was undone by entries after it, at most all of it."""
    return min(abs(entry.amount), sum(abs(draft.amount) for draft in later if _undoes(draft, entry)))


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


def _undoes(draft: EntryDraft, entry: Entry) -> bool:
    if draft.kind is Kind.REVERSAL:
        return draft.key == reversal_key(entry.id)
    if draft.kind is not UNDONE_BY.get(entry.kind):
        return False
    match draft.kind:
        case Kind.REFUND:
            return draft.input == refund_input(entry.id, draft.amount, draft.reason)
        case Kind.CLAWBACK:
            payment, rail = entry.key.removeprefix("deposit:"), draft.counterpart.removeprefix("rail:")
            return draft.input == clawback_input(payment, -draft.amount, rail, draft.reason)
        case _:
            return draft.reference.id in made_lots(entry.sequence)
