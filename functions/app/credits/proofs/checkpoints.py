"""Makes checkpoints. What is sealed was verified: a head only becomes one if its chain extends what was sealed before.

What was sealed is looked up in the archive, which also decides who made a checkpoint (`archived.py`). Readers have
copies of it in Firestore (`copies.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from app.credits.core.rejections import LedgerCheckFailed
from app.credits.ledger import document
from app.credits.proofs.archived import (
    CHECKPOINTS,
    Advance,
    ArchivedState,
    Breach,
    SealArchive,
    account_of,
    merged,
    subject_of,
)
from app.credits.proofs.breaches import Breaches, Resolution
from app.credits.proofs.copies import Copies
from app.credits.proofs.judging import ACCOUNT_UNREADABLE, NOT_JUDGED, Budget, Found, Judge, Judgement
from app.credits.proofs.sealing import Coverage, SealedLink
from app.credits.proofs.signed_record import Scan, SignedRecord, scan_fields, scan_of
from app.credits.proofs.verification import Link
from app.kit import telemetry
from app.kit.clock import Clock, minutes, seconds, to_rfc3339
from app.kit.errors import Forbidden, NotFound
from app.kit.optimistic import Pause
from app.kit.stores.documents import (
    Document,
    Documents,
    Fields,
    Query,
    Value,
    Where,
    text_field,
)

_log: Final = telemetry.log("credits")
RECORD: Final = "jobs/sealing"
PAGE: Final = 300
READ_AHEAD: Final = 50
"""Accounts whose seals, sealed entries and new ones are read in one call, or fewer if that makes `PAGE` documents."""
FEW: Final = 20
"""Most new entries of an account that are read with those of others, by their names; more are read with a query."""
BUDGET_US: Final = seconds(4)
"""A run begins no more work after this time, and seals what it has found. It has done at least one account, or 100
entries of a long chain, which are sealed as far as they were verified. Resolved breaches have a quarter of it besides.
With that, `LAST_US`, and one request to the archive for each group that is written whole, it stays within the eight
seconds that a chore has at least.
"""
LAST_US: Final = seconds(2)
"""What writing copies and alarms may take. It ends behind a page of copies or an alarm, and the next run goes on."""
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
class SealingParts:
    """Dependencies of `Checkpoints` and `Rotation`."""

    documents: Documents
    clock: Clock
    archive: SealArchive
    judge: Judge
    breaches: Breaches
    record: SignedRecord
    pause: Pause
    monotonic_us: Callable[[], int]


@dataclass(frozen=True, slots=True)
class _Known:
    """What was sealed of an account, and what Firestore holds of its entries and of the seal."""

    sealed: SealedLink | None
    found: Found
    seal: Document | None


class Checkpoints:
    """Makes checkpoints, and finds the one that covers an account."""

    def __init__(self, parts: SealingParts) -> None:
        self._parts = parts
        self._documents, self._archive, self.breaches = parts.documents, parts.archive, parts.breaches
        self.copies = Copies(parts.documents, parts.archive, parts.pause)

    def seal(self, limit: int = 5_000, for_us: int = BUDGET_US) -> Fields | None:
        """Verifies and seals what changed since the last checkpoint, at most `limit` accounts, in about `for_us`
        microseconds; None when nothing did, or another run was faster. The next run goes on where this one stopped.
        """
        ends = self.budget(for_us)
        scan = self._scan()
        state = self.current(scan)
        if state is None:
            return None
        if state.number == 0:
            self.copies.remove_beyond(0)
        # Resolved breaches have a time of their own: an acceptance counts for one hour, however many accounts change.
        advance, after = self._changed(state, scan, limit, ends)
        resolved, after = self._with_resolved(state, after, self.budget(for_us // 4))
        advance = merged([advance, resolved])
        made = self.advance(state, advance, after.began_us)
        if made is None:
            if not advance:
                self._save(replace(after, complete=state.number))
            return None
        sealed, whole = made
        self._save(replace(after, complete=sealed.number if whole else scan.complete))
        return sealed.sealed.checkpoint if sealed.sealed else None

    def budget(self, for_us: int) -> Budget:
        """So much time from now on."""
        return Budget.of(self._parts.monotonic_us, for_us)

    def current(self, scan: Scan | None = None) -> ArchivedState | None:
        """The archive's last checkpoint, with its copies in Firestore made whole and its breaches shown; None while
        copies are missing, because no checkpoint may follow before they stand.
        """
        scan = scan or self._scan()
        budget = self.budget(LAST_US)
        state = self._archive.tip(self._hint())
        if state.number > scan.complete and not self._complete(state, budget):
            return None
        for subject, breach in self.breaches.not_shown(self._some_of(state.broken)):
            self.breaches.show(subject, breach)
            if budget.spent():
                break
        return state

    def advance(self, state: ArchivedState, advance: Advance, through_us: int) -> tuple[ArchivedState, bool] | None:
        """Makes the next checkpoint and its copies, and says whether these are whole; None when there is nothing new,
        or another run was faster.
        """
        if not advance:
            return None
        after = self._archive.add(state, advance, self._parts.clock.now_us(), through_us)
        if after is None:
            return None
        # A crash from here on leaves copies and alarms that are missing; the next run makes them.
        budget = self.budget(LAST_US)
        for subject in advance.broken:
            self.breaches.show(subject, after.broken[subject])
            if budget.spent():
                break
        return after, self._complete(after, budget)

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

    def copy_advance(self, state: ArchivedState, uid: str, seal: Document | None) -> Advance:
        """Records that `seal`, the copy of this account's seal, differs; the account's own chain may be whole, and goes
        on.
        """
        sealed = self._archive.head(state, uid)
        known = CHECKPOINTS in state.broken or subject_of(uid) in state.broken
        if sealed is None or known or not self.copies.seal_differs(state, sealed, seal):
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

    def _changed(self, state: ArchivedState, scan: Scan, limit: int, budget: Budget) -> tuple[Advance, Scan]:
        """Verifies the accounts that changed, until one of the limits is reached."""
        began = scan.began_us if scan.after else self._parts.clock.now_us()
        after, entries, seen = scan.after, 0, 0
        found: list[Advance] = []
        for account, known in self._read_ahead(state, self._accounts(scan), budget):
            judgement = self._judgement(state, account, known, ENTRIES - entries, budget)
            entries += judgement.entries
            if advance := self.judged(state, account.id, judgement):
                found.append(advance)
                if advance.heads:
                    found.append(self.copy_advance(state, account.id, known.seal))
            if not judgement.whole and judgement.fault is None:
                break  # too long for this run: it is sealed so far, and looked at again
            after, seen = (text_field(account.fields, "updated_at"), account.id), seen + 1
            if len(found) >= limit or seen == SCANNED or entries >= ENTRIES or budget.spent():
                break
        else:
            return merged(found), replace(scan, since_us=max(0, began - OVERLAP_US), began_us=began, after=())
        return merged(found), replace(scan, began_us=began, after=after)

    def _read_ahead(
        self, state: ArchivedState, pages: Iterable[Sequence[Document]], budget: Budget
    ) -> Iterator[tuple[Document, _Known]]:
        """Each account with what is known of its seal, read for some at once."""
        for page in pages:
            rest = [*page]
            while rest:
                some: list[tuple[Document, SealedLink | None, list[str]]] = []
                paths: list[str] = []
                while rest and len(some) < READ_AHEAD and len(paths) < PAGE and not (some and budget.spent()):
                    account = rest.pop(0)
                    sealed = self._archive.head(state, account.id)
                    ahead = _ahead(account, sealed)
                    some.append((account, sealed, ahead))
                    if sealed is None or not _is_sealed(account.fields, sealed):
                        paths += [*(_paths(sealed) if sealed else ()), *ahead]
                read = dict(zip(paths, self._documents.get_all(paths))) if paths else {}
                for account, sealed, ahead in some:
                    entry, seal = map(read.get, _paths(sealed)) if sealed else (None, None)
                    yield account, _Known(sealed, Found(entry, tuple(map(read.get, ahead))), seal)

    def _judgement(
        self, state: ArchivedState, account: Document, known: _Known, limit: int, budget: Budget
    ) -> Judgement:
        if subject_of(account.id) in state.broken:
            return Judgement(Link(account.id), whole=True)
        sealed = known.sealed
        if sealed is not None and _is_sealed(account.fields, sealed):
            return Judgement(sealed.link, whole=True)
        return self._parts.judge.extends(account, sealed, known.found, limit, budget)

    def _with_resolved(self, state: ArchivedState, scan: Scan, budget: Budget) -> tuple[Advance, Scan]:
        """The breaches that an administrator resolved, and where the search stands then; an accepted chain is sealed
        anew, from its first entry.
        """
        found: list[Advance] = []
        some = self._some_of(state.broken)
        half = subject_of(scan.half.account) if scan.half else ""
        if half in state.broken:  # it is ended first, or two long chains would replace each other
            some = [(half, state.broken[half]), *(one for one in some if one[0] != half)]
        stored = self.breaches.stored([subject for subject, _ in some]) if some else {}
        for subject, breach in some:
            uid = account_of(subject)
            resolution = self.breaches.resolution(subject, breach, stored[subject])
            if uid is not None and (resolution is not None or breach.check == ACCOUNT_UNREADABLE):
                accepted = resolution if resolution and resolution.accept else None
                advance, scan = self._resolved(state, uid, accepted, scan, budget)
                found.append(advance)
                if budget.spent():
                    break
            elif resolution is not None:
                found.append(Advance(resolved=frozenset({subject})))
        return merged(found), scan

    def _some_of(self, broken: Mapping[str, Breach]) -> list[tuple[str, Breach]]:
        """The breaches whose turn it is in this minute; in each, another one is the first."""
        every = sorted(broken.items())
        step = SHOWN if len(every) > SHOWN else 1
        start = self._parts.clock.now_us() // minutes(1) * step % max(1, len(every))
        return [*every[start:], *every[:start]][:SHOWN]

    def _resolved(
        self, state: ArchivedState, uid: str, accepted: Resolution | None, scan: Scan, budget: Budget
    ) -> tuple[Advance, Scan]:
        """Closes the breach of an account whose chain extends what was sealed, or is the one that was accepted. A chain
        that is too long for this run is remembered as far as it was verified.
        """
        closed = frozenset({subject_of(uid)})
        stored = self._documents.get(f"accounts/{uid}")
        if stored is None:
            gone = accepted is not None and self.breaches.counts(accepted, (0, ""))
            return Advance(forgotten=frozenset({uid}), resolved=closed) if gone else Advance(), scan
        begun = scan.half is not None and (scan.half.account, scan.accepted) == (uid, accepted is not None)
        sealed = None if accepted else self._archive.head(state, uid)
        start = scan.half if begun and scan.half else Link(uid)
        judgement = self._parts.judge.whole(stored, sealed, start, WHOLE, budget)
        link = judgement.link
        if judgement.fault is None and not judgement.whole:
            return Advance(), replace(scan, half=link, accepted=accepted is not None)
        scan = replace(scan, half=None) if begun else scan
        if judgement.fault is not None:
            return Advance(), scan
        if accepted is not None and not self.breaches.counts(accepted, (link.sequence, link.head_hash)):
            return Advance(), scan
        if link.sequence == 0:
            return Advance(forgotten=frozenset({uid}), resolved=closed), scan
        return Advance({uid: link}, resolved=closed), scan

    def _complete(self, state: ArchivedState, budget: Budget) -> bool:
        """Writes the copies of a checkpoint that Firestore lacks, and closes what it closed; whether that was all."""
        if not self.copies.write(state, budget):
            return False
        for subject in state.resolved:
            self.breaches.close(subject)
        return True

    def _accounts(self, scan: Scan) -> Iterator[list[Document]]:
        """Accounts written since then, oldest change first, in pages."""
        after: tuple[Value, ...] = scan.after
        where = (Where("updated_at", ">", to_rfc3339(scan.since_us)),)
        while True:
            page = self._documents.query(
                Query("accounts", where, ("updated_at", "__name__"), limit=PAGE, start_after=after)
            )
            yield page
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
        return scan_of(fields) if fields else Scan()

    def _save(self, scan: Scan) -> None:
        self._parts.record.write(scan_fields(scan))


def _is_sealed(account: Fields, sealed: SealedLink) -> bool:
    """Whether the account stands where it was sealed last."""
    link = sealed.link
    stands = (account.get("sequence"), account.get("head_hash"), account.get("balance"), account.get("debt"))
    return stands == (link.sequence, link.head_hash, link.balance, link.debt)


def _paths(sealed: SealedLink) -> tuple[str, str]:
    """Where the sealed entry and the copy of the seal stand."""
    uid = sealed.link.account
    return document.entry_path(uid, sealed.sequence), f"sealed/{uid}"


def _ahead(account: Document, sealed: SealedLink | None) -> list[str]:
    """Where the entries behind the sealed one stand, if these are few, and where the next one would stand."""
    start, last = sealed.sequence if sealed else 0, account.fields.get("sequence")
    if not isinstance(last, int) or not start < last <= start + FEW:
        return []
    return [document.entry_path(account.id, sequence) for sequence in range(start + 1, last + 2)]
