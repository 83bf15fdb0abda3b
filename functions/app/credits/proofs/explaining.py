"""Why the balance is what it is: the sum of its entries, term by term, and the balance at any earlier moment."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.credits.proofs.reading import HistoryFilter, LedgerReader
from app.kit.stores.documents import Fields, int_field


@dataclass(frozen=True, slots=True)
class Past:
    """The balance as it stood after `entry`, the last one at that time; None before the first."""

    balance: int
    sequence: int
    entry: Fields | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """`brought_forward` and the amounts of the terms sum to `balance` exactly."""

    balance: int
    brought_forward: int


def balance_at(reader: LedgerReader, uid: str, at_us: int) -> Past:
    """The balance at a time, which the last entry up to then names."""
    page = reader.newest(uid, HistoryFilter(to_us=at_us), 1)
    if not page:
        return Past(0, 0, None)
    return Past(int_field(page[0], "balance_after"), int_field(page[0], "sequence"), page[0])


def explain(terms: Sequence[Fields]) -> Explanation:
    """The balance after the first of these entries, which follow each other newest first, as their sum and one term
    for all before them. Without entries it is 0. Pure.
    """
    if not terms:
        return Explanation(0, 0)
    last, first = terms[0], terms[-1]
    before = int_field(first, "balance_after") - int_field(first, "amount")
    return Explanation(int_field(last, "balance_after"), before)
