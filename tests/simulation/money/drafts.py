"""Entries as the ledger would write them, for accounts with a past."""

from app.credits.core.account import LotSource
from app.credits.core.entry import EntryDraft, Kind, LotLine, Reference
from simulation.money.books import GIFT


def gift(uid: str, number: int, at_us: int, ends_us: int) -> EntryDraft:
    """The gift of ten that is the entry of this number in an account of nothing else."""
    return EntryDraft(
        account=uid,
        sequence=number,
        kind=Kind.GRANT,
        amount=10,
        counterpart="platform:promotions",
        lots=(LotLine(f"lot_{number}", 10, LotSource.PROMO.value, ends_us),),
        debt=0,
        balance_after=10 * number,
        key=f"{GIFT}old-{number}",
        input="",
        reference=Reference("campaign", "old"),
        at_us=at_us + number,
        reason="old",
    )
