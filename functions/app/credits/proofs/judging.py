"""Whether an account, as it is stored, extends what was sealed of it. Reads; decides nothing about what follows.

Whatever is wrong comes back as a fault and never as an exception: one account that nobody can read keeps no other
waiting. Only `Unavailable` is raised.
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from app.credits.core.account import Account, LotSource, check
from app.credits.ledger import document
from app.credits.proofs.reading import LedgerReader, heads
from app.credits.proofs.sealing import SealedLink
from app.credits.proofs.verification import ChainFault, Link, follow, signed_here, verify_entry
from app.kit.errors import InvariantViolation
from app.kit.stores.documents import Document, Documents, Fields, as_map, int_field, list_field, text_field

FOLDED_AT_MOST: Final = 5_000
"""Entries of which lots are computed again; of longer accounts only sums are compared."""
UNREADABLE: Final = (InvariantViolation, ValueError, TypeError, KeyError, AttributeError, IndexError)
"""What reading a document raises that somebody spoiled."""

ACCOUNT_UNREADABLE: Final = "unreadable"
"""The check that an account's document fails which cannot be read. Nothing that was signed is wrong then, so the breach
closes by itself when the account stands again where its chain ends.
"""

NOT_JUDGED: Final = "unknown"
"""The check of a chain that holds what we signed and this version does not know, as a later version writes while both
run: the chain is neither broken nor sealed by us.
"""
_SOURCES: Final = frozenset(LotSource)
TIMED: Final = 100
"""The time is looked at after so many entries; a run verifies no fewer of a chain that it begins, so that each makes
progress.
"""

Agrees = Callable[[Account, Sequence[Fields]], bool]
"""Whether the lots of an account are what its entries, all of them, add up to."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Time that a run has, on a clock that nobody sets."""

    now_us: Callable[[], int]
    ends_us: int

    @staticmethod
    def of(now_us: Callable[[], int], for_us: int) -> "Budget":
        """From now on."""
        return Budget(now_us, now_us() + for_us)

    def spent(self) -> bool:
        """Whether it is over."""
        return self.now_us() >= self.ends_us


ENDLESS: Final = Budget(lambda: 0, 1)
"""For somebody who waits for the answer."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How far a chain holds, whether that is its end, and what is wrong with it."""

    link: Link
    whole: bool
    fault: ChainFault | None = None
    entries: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """What was read of an account before it is judged: the sealed entry, and what stands in the places of all entries
    since then and of the next one. `ahead` is empty if these are many.
    """

    entry: Document | None
    ahead: tuple[Document | None, ...] = ()


class Judge:
    """Verifies accounts against their last sealed entries."""

    def __init__(self, documents: Documents, reader: LedgerReader, agrees: Agrees) -> None:
        self._documents, self._reader, self._agrees = documents, reader, agrees

    def extends(
        self, stored: Document, sealed: SealedLink | None, found: Found, limit: int, budget: Budget
    ) -> Judgement:
        """Verifies what came after the sealed entry, at most `limit` entries in the time of `budget`, and that the
        sealed entry still stands. A chain that `found` does not show to be whole is judged by a query, which finds
        every fault and any entry that has no place in it.
        """
        start = sealed.link if sealed else Link(stored.id)
        account = _account(stored)
        if account is None:
            return Judgement(start, False, ChainFault(max(1, start.sequence), self._unread(stored)))
        try:
            if sealed is not None:
                if account.sequence < sealed.sequence:
                    return Judgement(start, False, ChainFault(account.sequence + 1, "checkpoint"))
                if not self._stands(sealed, found.entry):
                    return Judgement(start, False, ChainFault(sealed.sequence, "checkpoint"))
            return self._shown(stored, start, limit, found.ahead) or self._from(stored, start, limit, [], budget)
        except UNREADABLE:
            return Judgement(start, False, ChainFault(start.sequence + 1, "shape"))

    def whole(
        self, stored: Document, sealed: SealedLink | None, start: Link, limit: int, budget: Budget = ENDLESS
    ) -> Judgement:
        """Verifies at most `limit` entries behind `start`, which is the first entry or where an earlier call stopped.

        The chain must pass through the sealed entry; lots are computed again when the chain is read in one call.
        """
        account = _account(stored)
        if account is None:
            return Judgement(start, False, ChainFault(max(1, start.sequence), self._unread(stored)))
        try:
            if sealed is not None and account.sequence < sealed.sequence:
                return Judgement(start, False, ChainFault(account.sequence + 1, "checkpoint"))
            if sealed is None or start.sequence >= sealed.sequence:
                return self._from(stored, start, limit, [], budget)
            seen: list[Fields] = []
            through = min(sealed.sequence, start.sequence + limit)
            read = self._reader.documents(start.account, start.sequence, through)
            link, fault, _ = self._follow(start, through, seen, budget, read)
            if fault is None and link.sequence == sealed.sequence and link.head_hash != sealed.link.head_hash:
                fault = ChainFault(link.sequence, "checkpoint")
            if fault is not None or link.sequence < sealed.sequence:
                return Judgement(link, False, fault, len(seen))
            return self._from(stored, link, limit - len(seen), seen, budget)
        except UNREADABLE:
            return Judgement(start, False, ChainFault(start.sequence + 1, "shape"))

    def _shown(self, stored: Document, start: Link, limit: int, ahead: Sequence[Document | None]) -> Judgement | None:
        """The judgement that a chain is whole, from what was read of it; None if it needs another look."""
        entries = [one for one in ahead[:-1] if one is not None]
        if not ahead or ahead[-1] is not None or len(entries) < len(ahead) - 1 or len(entries) > limit:
            return None
        with contextlib.suppress(*UNREADABLE):
            account, seen = document.read(stored.fields), list[Fields]()
            followed = self._follow(start, account.sequence, seen, ENDLESS, entries)
            judgement = self._ended(stored, account, followed, seen)
            return judgement if judgement.whole else None
        return None

    def _from(self, stored: Document, start: Link, limit: int, seen: list[Fields], budget: Budget) -> Judgement:
        account = document.read(stored.fields)
        through = min(account.sequence, start.sequence + limit)
        end = through == account.sequence
        read = self._reader.documents(start.account, start.sequence, None if end else through)
        return self._ended(stored, account, self._follow(start, through, seen, budget, read), seen)

    def _ended(
        self, stored: Document, account: Account, followed: tuple[Link, ChainFault | None, bool], seen: list[Fields]
    ) -> Judgement:
        link, fault, more = followed
        if fault is not None or link.sequence < account.sequence:
            return Judgement(link, False, fault, len(seen))
        if not heads(account, link):
            return Judgement(link, False, ChainFault(max(1, link.sequence), "head"), len(seen))
        if more and self._still(stored):
            return Judgement(link, False, ChainFault(account.sequence + 1, "head"), len(seen))
        complete = len(seen) == account.sequence <= FOLDED_AT_MOST
        if complete and (check := self._lots(account, seen)) is not None:
            return Judgement(link, False, ChainFault(max(1, link.sequence), check), len(seen))
        return Judgement(link, True, None, len(seen))

    def _follow(
        self, link: Link, through: int, seen: list[Fields], budget: Budget, entries: Iterable[Document]
    ) -> tuple[Link, ChainFault | None, bool]:
        """Follows `entries` up to `through`, or until the budget is spent; each must stand in the document of its
        sequence. Also whether there are entries behind `through` among them.
        """
        for stored in entries:
            if link.sequence == through:
                return link, None, True
            if seen and len(seen) % TIMED == 0 and budget.spent():
                return link, None, False
            if stored.id != f"{link.sequence + 1:012d}":
                return link, ChainFault(link.sequence + 1, "sequence"), False
            after = follow(dict(stored.fields), self._reader.keys, link)
            if isinstance(after, ChainFault):
                ours = after.check == "shape" and signed_here(dict(stored.fields), self._reader.keys, link)
                return link, ChainFault(after.sequence, NOT_JUDGED) if ours else after, False
            link = after
            seen.append(stored.fields)
        return link, None if link.sequence == through else ChainFault(link.sequence + 1, "missing"), False

    def _lots(self, account: Account, seen: list[Fields]) -> str | None:
        try:
            return None if self._agrees(account, seen) else "lots"
        except ValueError:  # a word that we signed and do not know
            return NOT_JUDGED

    def _unread(self, stored: Document) -> str:
        """The check that fails when the account cannot be read: none, if an entry that we signed made a lot of a source
        that this version does not know.
        """
        with contextlib.suppress(*UNREADABLE):
            for lot in map(as_map, list_field(stored.fields, "lots")):
                if lot["source"] in _SOURCES:
                    continue
                made = self._documents.get(document.entry_path(stored.id, int_field(lot, "made")))
                entry = dict(made.fields) if made else {}
                if entry.get("account") != stored.id or not all(verify_entry(entry, self._reader.keys).values()):
                    continue
                lines = map(as_map, list_field(entry, "lots"))
                if (lot["id"], lot["source"]) in {(line["id"], line["source"]) for line in lines}:
                    return NOT_JUDGED
        return ACCOUNT_UNREADABLE

    def _stands(self, sealed: SealedLink, found: Document | None) -> bool:
        if found is None or found.fields.get("hash") != sealed.link.head_hash:
            return False
        return all(verify_entry(dict(found.fields), self._reader.keys).values())

    def _still(self, stored: Document) -> bool:
        """Whether the account did not move meanwhile: then entries that it does not know are none of its own."""
        now = self._documents.get(stored.path)
        return now is not None and now.version == stored.version


def _account(stored: Document) -> Account | None:
    """The account; None when it cannot be read, is another one's, or contradicts itself."""
    try:
        account = document.read(stored.fields)
        if text_field(stored.fields, "uid") != stored.id:
            return None
        check(account)
    except UNREADABLE:
        return None
    return account
