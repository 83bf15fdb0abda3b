"""Makes checkpoints. What is sealed was verified: a head only becomes one if its chain extends what was sealed before.

What was sealed is looked up in the archive, which also decides who made a checkpoint (`archived.py`). Readers have
copies of it in Firestore (`copies.py`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from app.credits.core.rejections import LedgerCheckFailed
from app.credits.proofs.archived import (
    CHECKPOINTS,
    Advance,
    ArchivedState,
    Breach,
    SealArchive,
    account_of,
    subject_of,
)
from app.credits.proofs.breaches import Breaches, Resolution
from app.credits.proofs.copies import Copies
from app.credits.proofs.judging import ACCOUNT_UNREADABLE, NOT_JUDGED, Judge, Judgement
from app.credits.proofs.sealing import Coverage, SealedLink
from app.credits.proofs.signed_record import SignedRecord
from app.credits.proofs.verification import Link
from app.kit import telemetry
from app.kit.clock import Clock, from_rfc3339, minutes, to_rfc3339
from app.kit.errors import Forbidden, NotFound
from app.kit.optimistic import Pause
from app.kit.stores.documents import (
    Document,
    Documents,
    Fields,
    Query,
    Value,
    Where,
    int_field,
    text_field,
)

_log: Final = telemetry.log("credits")
RECORD: Final = "jobs/sealing"
PAGE: Final = 300
SCANNED: Final = 20_000
"""Most accounts that one run looks at; the next one goes on where it stopped."""
ENTRIES: Final = 20_000
"""Most entries that one run verifies."""
WHOLE: Final = 2**53
"""What somebody asked for is verified whole, however long the chain is."""
SHOWN: Final = 100
"""Most open breaches that one run looks at; with more of them each run takes the next ones."""
OVERLAP_US: Final = minutes(10)
"""A run looks this far behind the start of the last whole one: writers' clocks differ, and a commit may land after one
with a later time. What comes later still is found by the verification in turn."""


@dataclass(frozen=True, slots=True)
class Scan:
    """Where the search for changed accounts stands. `since`: changes from then on; `after`: the last account that the
    present search saw; `began_us`: when this search began; `complete`: number of the last checkpoint whose seals stand.
    """

    since_us: int = 0
    began_us: int = 0
    after: tuple[str, ...] = ()
    complete: int = 0


@dataclass(frozen=True, slots=True)
class SealingParts:
    """Dependencies of `Checkpoints` and `Rotation`."""

    documents: Documents
    clock: Clock
    archive: SealArchive
    judge: Judge
    breaches: Breaches
    record: SignedRecord
    pause: Pause


class Checkpoints:
    """Makes checkpoints, and finds the one that covers an account."""

    def __init__(self, parts: SealingParts) -> None:
        self._parts = parts
        self._documents, self._archive, self.breaches = parts.documents, parts.archive, parts.breaches
        self.copies = Copies(parts.documents, parts.archive, parts.pause)

    def seal(self, limit: int = 5_000) -> Fields | None:
        """Verifies and seals what changed since the last checkpoint, at most `limit` accounts; None when nothing did,
        or another run was faster.
        """
        scan = self._scan()
        state = self.current(scan)
        if state.number == 0:
            self.copies.remove_beyond(0)
        advance, after = self._changed(state, scan, limit)
        advance = self._with_resolved(state, advance)
        made = self.advance(state, advance, after.began_us)
        if made is None:
            if not advance:
                self._save(replace(after, complete=state.number))
            return None
        self._save(replace(after, complete=made.number))
        return made.sealed.checkpoint if made.sealed else None

    def current(self, scan: Scan | None = None) -> ArchivedState:
        """The archive's last checkpoint, with its copies in Firestore made whole and its breaches shown."""
        scan = scan or self._scan()
        state = self._archive.tip(self._hint())
        if state.number > scan.complete:
            self._complete(state)
        for subject, breach in self._some_of(state.broken):
            self.breaches.show(subject, breach)
        return state

    def advance(self, state: ArchivedState, advance: Advance, through_us: int) -> ArchivedState | None:
        """Makes the next checkpoint and its copies; None when there is nothing new, or another run was faster."""
        if not advance:
            return None
        after = self._archive.add(state, advance, self._parts.clock.now_us(), through_us)
        if after is None:
            return None
        # A crash from here on leaves copies that are missing; the next run makes them.
        self._complete(after)
        for subject in advance.broken:
            self.breaches.show(subject, after.broken[subject])
        return after

    def resolve(self, subject: str, resolution: Resolution) -> Fields:
        """Records an administrator's decision; the next checkpoint acts on it.

        Raises:
            NotFound: no breach of this subject is open.
            Forbidden: an administrator accepts the chain of the own account.
            LedgerCheckFailed: a chain that does not even verify by itself cannot be accepted.
        """
        breach = self._archive.tip(self._hint()).broken.get(subject)
        if breach is None:
            raise NotFound("There is no such breach", subject=subject)
        uid = account_of(subject)
        if uid is not None and resolution.accept:
            if uid == resolution.by:
                raise Forbidden("Somebody else must accept the chain of your account")
            sequence, head_hash = self._stands(uid)
            resolution = replace(resolution, sequence=sequence, head_hash=head_hash)
        return self.breaches.resolve(subject, breach, resolution)

    def _stands(self, uid: str) -> tuple[int, str]:
        """Where the chain ends that is stored; no hash when there is no account."""
        stored = self._documents.get(f"accounts/{uid}")
        if stored is None:
            return 0, ""
        judgement = self._parts.judge.whole(stored, None, Link(uid), WHOLE)
        if (fault := judgement.fault) is not None or not judgement.whole:
            checks = [fault.check] if fault else []
            raise LedgerCheckFailed("A chain that does not verify by itself cannot count", checks=checks)
        return judgement.link.sequence, judgement.link.head_hash

    def evidence(self, uid: str) -> SealedLink | None:
        """The last sealed entry of this account, as the archive has it."""
        return self._archive.head(self._archive.tip(self._hint()), uid)

    def sealed(self, state: ArchivedState, uid: str) -> SealedLink | None:
        """The last sealed entry of one account."""
        return self._archive.head(state, uid)

    def group(self, state: ArchivedState, name: str) -> Mapping[str, SealedLink]:
        """The last sealed entries of one group of accounts."""
        return self._archive.group(state, name)

    def coverage(self, uid: str) -> Coverage | None:
        """The last checkpoint that covers this account, and its place there."""
        sealed = self.evidence(uid)
        return self.copies.coverage(sealed) if sealed else None

    def copy_advance(self, state: ArchivedState, uid: str) -> Advance:
        """Records that the copy of this account's seal differs; the account's own chain may be whole, and goes on."""
        sealed = self._archive.head(state, uid)
        known = CHECKPOINTS in state.broken or subject_of(uid) in state.broken
        if sealed is None or known or not self.copies.seal_differs(state, sealed):
            return Advance()
        return Advance(broken={CHECKPOINTS: Breach(sealed.number, "seal")})

    def judged(self, state: ArchivedState, uid: str, judgement: Judgement) -> Advance:
        """What a judgement means for the next checkpoint."""
        subject = subject_of(uid)
        if subject in state.broken:
            return Advance()
        if judgement.fault is not None and judgement.fault.check == NOT_JUDGED:
            _log.warning("chain_not_judged", account=uid, sequence=judgement.fault.sequence)
            return Advance()
        if judgement.fault is not None:
            return Advance(broken={subject: Breach(judgement.fault.sequence, judgement.fault.check)})
        sealed = self._archive.head(state, uid)
        known = sealed.sequence if sealed else 0
        return Advance(heads={uid: judgement.link}) if judgement.link.sequence > known else Advance()

    def _changed(self, state: ArchivedState, scan: Scan, limit: int) -> tuple[Advance, Scan]:
        """Verifies the accounts that changed, until one of the limits is reached."""
        began = scan.began_us if scan.after else self._parts.clock.now_us()
        after, entries, seen = scan.after, 0, 0
        found: list[Advance] = []
        for account in self._accounts(scan):
            judgement = self._judgement(state, account, ENTRIES - entries)
            entries += judgement.entries
            if advance := self.judged(state, account.id, judgement):
                found.append(advance)
                if advance.heads:
                    found.append(self.copy_advance(state, account.id))
            if not judgement.whole and judgement.fault is None:
                break  # too long for this run: it is looked at again
            after, seen = (text_field(account.fields, "updated_at"), account.id), seen + 1
            if len(found) >= limit or seen == SCANNED or entries >= ENTRIES:
                break
        else:
            return merged(found), Scan(max(0, began - OVERLAP_US), began)
        return merged(found), Scan(scan.since_us, began, after)

    def _judgement(self, state: ArchivedState, account: Document, limit: int) -> Judgement:
        if subject_of(account.id) in state.broken:
            return Judgement(Link(account.id), whole=True)
        sealed = self._archive.head(state, account.id)
        if sealed is not None and _is_sealed(account.fields, sealed):
            return Judgement(sealed.link, whole=True)
        return self._parts.judge.extends(account, sealed, limit)

    def _with_resolved(self, state: ArchivedState, advance: Advance) -> Advance:
        """Adds the breaches that an administrator resolved; an accepted chain is sealed anew, from its first entry."""
        found = [advance]
        for subject, breach in self._some_of(state.broken):
            uid = account_of(subject)
            resolution = self.breaches.resolution(subject, breach)
            if uid is not None and (resolution is not None or breach.check == ACCOUNT_UNREADABLE):
                found.append(self._resolved(state, uid, resolution if resolution and resolution.accept else None))
            elif resolution is not None:
                found.append(Advance(resolved=frozenset({subject})))
        return merged(found)

    def _some_of(self, broken: Mapping[str, Breach]) -> list[tuple[str, Breach]]:
        """The breaches whose turn it is in this minute."""
        every = sorted(broken.items())
        if len(every) <= SHOWN:
            return every
        start = self._parts.clock.now_us() // minutes(1) * SHOWN % len(every)
        return [*every[start:], *every[:start]][:SHOWN]

    def _resolved(self, state: ArchivedState, uid: str, accepted: Resolution | None) -> Advance:
        """Closes the breach of an account whose chain extends what was sealed, or is the one that was accepted."""
        closed = frozenset({subject_of(uid)})
        stored = self._documents.get(f"accounts/{uid}")
        if stored is None:
            gone = accepted is not None and self.breaches.counts(accepted, (0, ""))
            return Advance(forgotten=frozenset({uid}), resolved=closed) if gone else Advance()
        sealed = None if accepted else self._archive.head(state, uid)
        judgement = self._parts.judge.whole(stored, sealed, Link(uid), WHOLE)
        link = judgement.link
        if judgement.fault is not None or not judgement.whole:
            return Advance()
        if accepted is not None and not self.breaches.counts(accepted, (link.sequence, link.head_hash)):
            return Advance()
        return (
            Advance({uid: link}, resolved=closed) if link.sequence else Advance({}, frozenset({uid}), resolved=closed)
        )

    def _complete(self, state: ArchivedState) -> None:
        """Writes the copies of a checkpoint that Firestore lacks, and closes what it closed."""
        self.copies.write(state)
        for subject in state.resolved:
            self.breaches.close(subject)

    def _accounts(self, scan: Scan) -> Iterator[Document]:
        """Accounts written since then, oldest change first."""
        after: tuple[Value, ...] = scan.after
        where = (Where("updated_at", ">", to_rfc3339(scan.since_us)),)
        while True:
            page = self._documents.query(
                Query("accounts", where, ("updated_at", "__name__"), limit=PAGE, start_after=after)
            )
            yield from page
            if len(page) < PAGE:
                return
            after = (text_field(page[-1].fields, "updated_at"), page[-1].id)

    def _hint(self) -> int:
        """The number of the last checkpoint in Firestore; only a hint, because anybody may have written it."""
        found = self._documents.query(Query("checkpoints", order_by=("-number",), limit=1))
        number = found[0].fields.get("number") if found else 0
        return number if isinstance(number, int) and 0 <= number < 10**12 else 0

    def _scan(self) -> Scan:
        fields = self._parts.record.read()
        if fields is None:
            return Scan()
        at = fields.get("after")
        after = (text_field(fields, "after"), text_field(fields, "after_id")) if at is not None else ()
        since_us, began_us = (from_rfc3339(text_field(fields, name)) for name in ("since", "began"))
        return Scan(since_us, began_us, after, int_field(fields, "complete"))

    def _save(self, scan: Scan) -> None:
        fields: dict[str, Value] = {
            "since": to_rfc3339(scan.since_us),
            "began": to_rfc3339(scan.began_us),
            "after": scan.after[0] if scan.after else None,
            "after_id": scan.after[1] if scan.after else None,
            "complete": scan.complete,
        }
        self._parts.record.write(fields)


def merged(advances: Iterable[Advance]) -> Advance:
    """All of them in one checkpoint."""
    heads: dict[str, Link] = {}
    broken: dict[str, Breach] = {}
    forgotten: frozenset[str] = frozenset()
    resolved: frozenset[str] = frozenset()
    for one in advances:
        heads |= one.heads
        broken |= one.broken
        forgotten, resolved = forgotten | one.forgotten, resolved | one.resolved
    return Advance(heads, forgotten, broken, resolved)


def _is_sealed(account: Fields, sealed: SealedLink) -> bool:
    """Whether the account stands where it was sealed last."""
    link = sealed.link
    stands = (account.get("sequence"), account.get("head_hash"), account.get("balance"), account.get("debt"))
    return stands == (link.sequence, link.head_hash, link.balance, link.debt)
