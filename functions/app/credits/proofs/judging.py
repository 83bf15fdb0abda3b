"""Whether an account, as it is stored, extends what was sealed of it. Reads; decides nothing about what follows.

Whatever is wrong comes back as a fault and never as an exception: one account that nobody can read keeps no other
waiting. Only `Unavailable` is raised.
"""

import contextlib
from collections.abc import Callable, Sequence
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

Agrees = Callable[[Account, Sequence[Fields]], bool]
"""Whether the lots of an account are what its entries, all of them, add up to."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How far a chain holds, whether that is its end, and what is wrong with it."""

    link: Link
    whole: bool
    fault: ChainFault | None = None
    entries: int = 0


class Judge:
    """Verifies accounts against their last sealed entries."""

    def __init__(self, documents: Documents, reader: LedgerReader, agrees: Agrees) -> None:
        self._documents, self._reader, self._agrees = documents, reader, agrees

    def extends(self, stored: Document, sealed: SealedLink | None, limit: int) -> Judgement:
        """Verifies what came after the sealed entry, at most `limit` entries, and that this entry still stands."""
        start = sealed.link if sealed else Link(stored.id)
        account = _account(stored)
        if account is None:
            return Judgement(start, False, ChainFault(max(1, start.sequence), self._unread(stored)))
        try:
            if sealed is not None:
                if account.sequence < sealed.sequence:
                    return Judgement(start, False, ChainFault(account.sequence + 1, "checkpoint"))
                if not self._stands(sealed):
                    return Judgement(start, False, ChainFault(sealed.sequence, "checkpoint"))
            return self._from(stored, account, start, limit, [])
        except UNREADABLE:
            return Judgement(start, False, ChainFault(start.sequence + 1, "shape"))

    def whole(self, stored: Document, sealed: SealedLink | None, start: Link, limit: int) -> Judgement:
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
                return self._from(stored, account, start, limit, [])
            seen: list[Fields] = []
            link, fault = self._follow(start, min(sealed.sequence, start.sequence + limit), seen)
            if fault is None and link.sequence == sealed.sequence and link.head_hash != sealed.link.head_hash:
                fault = ChainFault(link.sequence, "checkpoint")
            if fault is not None or link.sequence < sealed.sequence:
                return Judgement(link, False, fault, len(seen))
            return self._from(stored, account, link, limit - len(seen), seen)
        except UNREADABLE:
            return Judgement(start, False, ChainFault(start.sequence + 1, "shape"))

    def _from(self, stored: Document, account: Account, start: Link, limit: int, seen: list[Fields]) -> Judgement:
        through = min(account.sequence, start.sequence + limit)
        link, fault = self._follow(start, through, seen)
        if fault is not None or through < account.sequence:
            return Judgement(link, False, fault, len(seen))
        if not heads(account, link):
            return Judgement(link, False, ChainFault(max(1, link.sequence), "head"), len(seen))
        if self._goes_on(stored, account):
            return Judgement(link, False, ChainFault(account.sequence + 1, "head"), len(seen))
        complete = len(seen) == account.sequence <= FOLDED_AT_MOST
        if complete and (check := self._lots(account, seen)) is not None:
            return Judgement(link, False, ChainFault(max(1, link.sequence), check), len(seen))
        return Judgement(link, True, None, len(seen))

    def _follow(self, link: Link, through: int, seen: list[Fields]) -> tuple[Link, ChainFault | None]:
        """Follows the stored entries up to `through`; each must stand in the document of its sequence."""
        for stored in self._reader.documents(link.account, link.sequence, through):
            if stored.id != f"{link.sequence + 1:012d}":
                return link, ChainFault(link.sequence + 1, "sequence")
            after = follow(dict(stored.fields), self._reader.keys, link)
            if isinstance(after, ChainFault):
                ours = after.check == "shape" and signed_here(dict(stored.fields), self._reader.keys, link)
                return link, ChainFault(after.sequence, NOT_JUDGED) if ours else after
            link = after
            seen.append(stored.fields)
        return link, None if link.sequence == through else ChainFault(link.sequence + 1, "missing")

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

    def _stands(self, sealed: SealedLink) -> bool:
        found = self._documents.get(document.entry_path(sealed.link.account, sealed.sequence))
        if found is None or found.fields.get("hash") != sealed.link.head_hash:
            return False
        return all(verify_entry(dict(found.fields), self._reader.keys).values())

    def _goes_on(self, stored: Document, account: Account) -> bool:
        """Whether there are entries that the account, which did not move meanwhile, does not know."""
        if next(self._reader.documents(account.uid, account.sequence), None) is None:
            return False
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
