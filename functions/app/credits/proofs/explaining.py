"""Why the balance is what it is: the sum of its entries, term by term, and the balance at any earlier moment."""

from dataclasses import dataclass

from app.credits.core.account import Account
from app.credits.proofs.reading import HistoryFilter, LedgerReader
from app.kit.documents import Fields, int_field


@dataclass(frozen=True, slots=True)
class Past:
    """The balance as it stood after `entry`, the last one at that time; None before the first."""

    balance: int
    sequence: int
    entry: Fields | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """`brought_forward` and the amounts of `terms` sum to `balance` exactly; earlier terms come with the cursor."""

    balance: int
    brought_forward: int
    terms: tuple[Fields, ...]
    next_cursor: str | None


def balance_at(reader: LedgerReader, uid: str, at_us: int) -> Past:
    """The balance at a time, which the last entry up to then names."""
    page = reader.history(uid, HistoryFilter(to_us=at_us), 1).entries
    if not page:
        return Past(0, 0, None)
    return Past(int_field(page[0], "balance_after"), int_field(page[0], "sequence"), page[0])


def explain(reader: LedgerReader, account: Account, limit: int, cursor: str | None = None) -> Explanation:
    """The newest terms of the sum that is the balance, and one term for all before them."""
    page = reader.history(account.uid, HistoryFilter(), limit, cursor)
    if not page.entries:
        return Explanation(0, 0, (), None)
    first, last = page.entries[-1], page.entries[0]
    before = int_field(first, "balance_after") - int_field(first, "amount")
    return Explanation(int_field(last, "balance_after"), before, page.entries, page.next_cursor)
