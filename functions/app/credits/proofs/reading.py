"""Reads and verifies the ledger: history, one entry, whole chains. Writes nothing.

Entries are verified as any outsider would verify them: the store is not trusted.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from app.credits.core import entry as ledger
from app.credits.core.account import Account
from app.credits.core.entry import Entry, Kind
from app.credits.core.rejections import LedgerCheckFailed
from app.credits.ledger import document
from app.credits.proofs.sealing import Coverage, SealedLink
from app.credits.proofs.signing import KeyRing
from app.credits.proofs.verification import ChainFault, Link, Verified, verify_chain, verify_entry
from app.kit.clock import to_rfc3339
from app.kit.errors import InvariantViolation, NotFound
from app.kit.money import MAX_MICRO
from app.kit.stores.documents import Document, Documents, Fields, Query, Where, int_field, text_field

PAGE: Final = 300
"""Entries per round trip: about 300 kB."""


_ENDLESS: Final = 2**53


class EntryUnreadable(LedgerCheckFailed):
    """An entry that something is computed from cannot be read."""

    def __init__(self, sequence: str) -> None:
        super().__init__("An entry of this ledger cannot be read.", checks=["unreadable"], entry=sequence)


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """Which entries; times are inclusive, microseconds."""

    kind: Kind | None = None
    from_us: int | None = None
    to_us: int | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """One entry, and the result of each of its checks."""

    entry: Fields
    checks: dict[str, bool]
    public_key: dict[str, str] | None

    @property
    def valid(self) -> bool:
        """Whether every check holds."""
        return all(self.checks.values())


@dataclass(frozen=True, slots=True)
class ChainReport:
    """Of a chain, from its first entry (or a link) on; `after` is the link to go on from, None when it is whole."""

    verified: Verified
    head_hash: str
    balance: int
    after: Link | None

    @property
    def valid(self) -> bool:
        """Whether everything verified so far holds."""
        return self.verified.valid


class LedgerReader:
    """Reads one ledger with the public keys of its signers."""

    def __init__(self, documents: Documents, keys: KeyRing) -> None:
        self._documents = documents
        self.keys = keys

    def history(self, uid: str, chosen: HistoryFilter) -> Query:
        """Entries of one account, newest first, by sequence and never by time (T-53)."""
        where = [*self._bounds(uid, chosen)]
        if chosen.kind is not None:
            where.append(Where("kind", "==", chosen.kind.value))
        if chosen.reference is not None:
            where.append(Where("reference.id", "==", chosen.reference))
        return Query(document.entries_path(uid), tuple(where), ("-sequence",))

    def newest(self, uid: str, chosen: HistoryFilter, limit: int, after: int | None = None) -> list[Fields]:
        """The first `limit` entries of a history, those below `after`, for what is added up of them.

        Raises:
            EntryUnreadable: one cannot be read. To leave it out would make the sum wrong.
        """
        place = () if after is None else (after,)
        query = replace(self.history(uid, chosen), limit=limit, start_after=place)
        return [readable(stored) for stored in self._documents.query(query)]

    def entries(self, uid: str, after: int = 0, through: int | None = None) -> Iterator[Fields]:
        """Entries in the order of the chain, page by page."""
        for stored in self.documents(uid, after, through):
            yield stored.fields

    def documents(self, uid: str, after: int = 0, through: int | None = None) -> Iterator[Document]:
        """As `entries`, with the documents that hold them."""
        while through is None or after < through:
            where = (Where("sequence", ">", after),)
            limit = PAGE if through is None else min(PAGE, through - after)
            page = self._documents.query(
                Query(document.entries_path(uid), where=where, order_by=("sequence",), limit=limit)
            )
            for stored in page:
                after = int_field(stored.fields, "sequence")
                if through is not None and after > through:
                    return
                yield stored
            if len(page) < limit:
                return

    def verify(self, uid: str, transaction_id: str) -> Proof:
        """One entry, with its links to the entry before and the entry (or the account's head) after."""
        query = Query(document.entries_path(uid), where=(Where("id", "==", transaction_id),), limit=1)
        found = self._documents.query(query)
        if not found:
            raise NotFound("There is no such transaction", transaction_id=transaction_id)
        entry, place = dict(found[0].fields), found[0].id
        sequence = int(place) if place.isascii() and place.isdecimal() else 0
        checks = verify_entry(entry, self.keys)
        checks["account"] = entry.get("account") == uid
        checks["sequence"] = entry.get("sequence") == sequence
        paths = (document.entry_path(uid, sequence - 1), document.entry_path(uid, sequence + 1))
        before, after, account = self._documents.get_all((*paths, document.account_path(uid)))
        if sequence == 1:
            checks["previous"] = entry.get("prev_hash") == Link(uid).head_hash
        else:
            checks["previous"] = before is not None and before.fields.get("hash") == entry.get("prev_hash")
        if after is not None:
            checks["next"] = after.fields.get("prev_hash") == entry.get("hash")
        else:
            checks["next"] = account is not None and account.fields.get("head_hash") == entry.get("hash")
        kid = entry.get("key_id")
        return Proof(entry, checks, next((key for key in self.keys.jwks()["keys"] if key["kid"] == kid), None))

    def genuine(self, entry: Entry) -> bool:
        """Whether an entry is what was signed. Needs no look at the store."""
        return all(verify_entry(entry.fields(), self.keys).values())

    def validate_chain(
        self,
        account: Account,
        coverage: Coverage | None,
        after: Link | None = None,
        limit: int = 2_000,
        archived: SealedLink | None = None,
    ) -> ChainReport:
        """Verifies up to `limit` entries behind `after`, a link of this account.

        At the end the account must name the last entry, and the chain must hold the entries that `coverage` (which
        stands in Firestore) and `archived` say were sealed, so that a cut tail is found even when the account and its
        seal were changed with it. Both are read before the account.
        """
        start = after or Link(account.uid)
        through = min(start.sequence + limit, account.sequence)
        stored = (dict(fields) for fields in self.entries(account.uid, start.sequence, through))
        verified = verify_chain(stored, self.keys, start)
        link = verified.link
        if verified.valid:
            fault = self._end(account, link, through)
            if fault is None and through == account.sequence:
                fault = self.sealed_fault(account, coverage, archived)
            verified = replace(verified, fault=fault)
        more = verified.valid and through < account.sequence
        return ChainReport(verified, link.head_hash, link.balance, link if more else None)

    def sealed_fault(
        self, account: Account, coverage: Coverage | None, archived: SealedLink | None
    ) -> ChainFault | None:
        """What is wrong with the entries that were sealed; None when they stand in the store."""
        sealed: list[tuple[int, str]] = []
        if archived is not None:
            sealed.append((archived.sequence, archived.link.head_hash))
        if coverage is not None:
            if not coverage.holds(self.keys) or coverage.seal["account"] != account.uid:
                return ChainFault(coverage.sequence, "checkpoint")
            sealed.append((coverage.sequence, coverage.head_hash))
        for sequence, hashed in dict.fromkeys(sealed):
            if sequence > account.sequence:
                return ChainFault(account.sequence + 1, "checkpoint")
            seen = self._documents.get(document.entry_path(account.uid, sequence))
            if seen is None or seen.fields.get("hash") != hashed:
                return ChainFault(sequence, "checkpoint")
        return None

    def _end(self, account: Account, link: Link, through: int) -> ChainFault | None:
        if link.sequence < through:
            return ChainFault(link.sequence + 1, "missing")
        if through == account.sequence and not heads(account, link):
            return ChainFault(max(1, link.sequence), "head")
        return None

    def span(self, uid: str, chosen: HistoryFilter) -> tuple[int, int]:
        """First and last sequence of a period; empty when the last is before the first."""
        first = 1 if chosen.from_us is None else self._first(uid, ">=", chosen.from_us)
        last = _ENDLESS if chosen.to_us is None else self._first(uid, ">", chosen.to_us) - 1
        return first, last

    def link_before(self, uid: str, sequence: int) -> Link:
        """What entry `sequence` must follow, as the stored entry before it says; debt counts from there."""
        stored = self._documents.get(document.entry_path(uid, sequence - 1)) if sequence > 1 else None
        if stored is None:
            return Link(uid)
        entry = stored.fields
        return Link(
            account=uid,
            sequence=sequence - 1,
            head_hash=text_field(entry, "hash"),
            balance=int_field(entry, "balance_after"),
            debt=MAX_MICRO,
            created_at=text_field(entry, "created_at"),
        )

    def _bounds(self, uid: str, chosen: HistoryFilter) -> Iterator[Where]:
        """Turns times into sequences: an account's times grow with its sequence."""
        if chosen.from_us is not None:
            yield Where("sequence", ">=", self._first(uid, ">=", chosen.from_us))
        if chosen.to_us is not None:
            yield Where("sequence", "<", self._first(uid, ">", chosen.to_us))

    def _first(self, uid: str, op: str, at_us: int) -> int:
        condition = Where("created_at", ">=" if op == ">=" else ">", to_rfc3339(at_us))
        query = Query(document.entries_path(uid), (condition,), ("created_at",), limit=1)
        found = self._documents.query(query)
        return int_field(found[0].fields, "sequence") if found else _ENDLESS


def heads(account: Account, link: Link) -> bool:
    """Whether the account stands where the chain ends."""
    stands = (account.sequence, account.head_hash, account.balance, account.debt)
    return stands == (link.sequence, link.head_hash, link.balance, link.debt)


def readable(stored: Document) -> Fields:
    """The fields of an entry that can be read.

    Raises:
        EntryUnreadable: it cannot.
    """
    try:
        ledger.read(stored.fields)
    except (InvariantViolation, ValueError, TypeError, LookupError) as error:
        raise EntryUnreadable(stored.id) from error
    return stored.fields
