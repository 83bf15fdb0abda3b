"""Broken chains as people see them: `breaches/{subject}`, from the alarm to the act that closes it.

The archive is the authority on which breaches are open (`archived.py`). A document that was deleted or changed here is
written again from there, and only a resolution that bears the ledger's signature closes a breach.
"""

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from app.credits.core.account import AccountStatus
from app.credits.core.entry import encode_bytes
from app.credits.proofs.archived import Breach, account_of, subject_of
from app.credits.proofs.judging import UNREADABLE
from app.credits.proofs.signing import KeyRing, Signer
from app.kit import telemetry
from app.kit.canonical import canonical
from app.kit.clock import Clock, from_rfc3339, minutes, to_rfc3339
from app.kit.errors import AlreadyExists, Conflict, NotFound, ensure
from app.kit.stores.documents import (
    Create,
    Document,
    Documents,
    Fields,
    Merge,
    Query,
    Replace,
    Value,
    Where,
    Write,
    int_field,
    map_field,
    optional_text,
    text_field,
)
from app.kit.stores.listing import Listing
from app.kit.stores.rows import GuardedRows

T = TypeVar("T")

_log: Final = telemetry.log("credits")
_TYPE: Final = "credits-breach-resolution"
_SAID: Final = ("type", "subject", "since", "accept", "by", "reason", "at", "approved_by", "sequence", "head_hash")

_TRIES: Final = 20
ACCEPTED_FOR_US: Final = minutes(60)
"""How long an accepted chain may take to be approved, and then to be sealed."""

OPEN: Final = "open"
SUSPECTED: Final = "suspected"
RESOLVED: Final = "resolved"


@dataclass(frozen=True, slots=True)
class Resolution:
    """What an administrator decided of a breach. With `accept` the chain counts as it stands now; without it the chain
    must extend what was sealed, as it does after its entries were restored.

    `sequence` and `head_hash` are the last entry of the chain that was accepted; no hash: there was no account.
    `approved_by` is the second administrator, without whom an accepted chain does not count.
    """

    by: str
    reason: str
    accept: bool
    sequence: int = 0
    head_hash: str = ""
    approved_by: str | None = None
    at_us: int = 0

    @property
    def stands(self) -> tuple[int, str]:
        """The chain that was accepted."""
        return self.sequence, self.head_hash


class Breaches:
    """The documents of breaches."""

    def __init__(self, documents: Documents, clock: Clock, signer: Signer, keys: KeyRing) -> None:
        self._documents, self._clock, self._signer, self._keys = documents, clock, signer, keys

    def suspect(self, uid: str) -> None:
        """Asks for a verification of this account's chain before all others."""
        subject = subject_of(uid)
        stored = self._documents.get(path_of(subject))
        if stored is not None and stored.fields.get("state") != RESOLVED:
            return
        fields: dict[str, Value] = {"subject": subject, "account": uid, "state": SUSPECTED, "found_at": self._now()}
        with contextlib.suppress(Conflict):
            path = path_of(subject)
            self._documents.commit([Replace(path, fields, stored.version) if stored else Create(path, fields)])

    def suspected(self, limit: int) -> list[str]:
        """Accounts that wait for a verification."""
        query = Query("breaches", (Where("state", "==", SUSPECTED),))
        return self._listing("suspected_breaches", query, _suspect).first(limit)

    def unfounded(self, uid: str) -> None:
        """The chain of a suspected account holds."""
        self._documents.commit([Merge(path_of(subject_of(uid)), {"state": RESOLVED})])

    def show(self, subject: str, breach: Breach) -> None:
        """Makes the breach visible and stops its account; the same again changes nothing."""
        stored = self._documents.get(path_of(subject))
        if stored is None or not _shows(stored.fields, subject, breach):
            _log.error("chain_broken", subject=subject, sequence=breach.sequence, check=breach.check)
        self._together(subject, lambda there: self._shown(there, subject, breach))

    def not_shown(self, breaches: Sequence[tuple[str, Breach]]) -> list[tuple[str, Breach]]:
        """Those whose document or account is not as `show` leaves it, read all at once."""
        if not breaches:
            return []
        subjects = [subject for subject, _ in breaches]
        shown = self.stored(subjects)
        uids = [uid for subject in subjects if (uid := account_of(subject)) is not None]
        accounts = self._documents.get_all([f"accounts/{uid}" for uid in uids])
        active = {
            subject_of(one.id) for one in accounts if one and one.fields.get("status") == AccountStatus.ACTIVE.value
        }
        return [
            (subject, breach)
            for subject, breach in breaches
            if subject in active or (there := shown[subject]) is None or not _shows(there.fields, subject, breach)
        ]

    def stored(self, subjects: Sequence[str]) -> Mapping[str, Document | None]:
        """The documents of these subjects."""
        return dict(zip(subjects, self._documents.get_all([path_of(subject) for subject in subjects])))

    def _shown(self, stored: Document | None, subject: str, breach: Breach) -> list[Write]:
        stop = self._move(subject, AccountStatus.ACTIVE, AccountStatus.FROZEN)
        if stored is not None and _shows(stored.fields, subject, breach):
            return [*stop, Replace(stored.path, {**stored.fields, "stopped": True}, stored.version)] if stop else []
        before = stored.fields if stored else {}
        stopped = bool(stop) or (before.get("since") == breach.since and before.get("stopped") is True)
        fields = {**self._fields(subject, breach), "stopped": stopped}
        return [*stop, Replace(stored.path, fields, stored.version) if stored else Create(path_of(subject), fields)]

    def status_decided(self, uid: str) -> None:
        """Somebody decided of the account's status while a breach is open: closing the breach leaves it alone."""

        def writes(stored: Document | None) -> list[Write]:
            if stored is None or stored.fields.get("stopped") is not True:
                return []
            return [Replace(stored.path, {**stored.fields, "stopped": False}, stored.version)]

        self._together(subject_of(uid), writes)

    def resolution(self, subject: str, breach: Breach, stored: Document | None) -> Resolution | None:
        """The signed resolution of this very breach in its stored document."""
        try:
            said = map_field(stored.fields, "resolution") if stored else {}
            if said.get("subject") != subject or said.get("since") != breach.since:
                return None
            digest = hashlib.sha256(canonical({name: said[name] for name in _SAID})).digest()
            if not self._keys.verifies(text_field(said, "key_id"), text_field(said, "signature"), digest):
                return None
            return Resolution(
                by=text_field(said, "by"),
                reason=text_field(said, "reason"),
                accept=said["accept"] is True,
                sequence=int_field(said, "sequence"),
                head_hash=text_field(said, "head_hash"),
                approved_by=optional_text(said, "approved_by"),
                at_us=from_rfc3339(text_field(said, "at")),
            )
        except UNREADABLE:
            return None

    def resolve(self, subject: str, breach: Breach, resolution: Resolution) -> Fields:
        """Records what an administrator decided; the next checkpoint acts on it. An accepted chain needs a second
        administrator, who accepts the same chain within the hour.
        """
        self.show(subject, breach)
        actor = resolution.by
        stored = self._documents.get(path_of(subject))
        resolution = self._approved(self.resolution(subject, breach, stored), resolution)
        said: dict[str, Value] = {
            "type": _TYPE,
            "subject": subject,
            "since": breach.since,
            "accept": resolution.accept,
            "by": resolution.by,
            "reason": resolution.reason,
            "at": self._now(),
            "approved_by": resolution.approved_by,
            "sequence": resolution.sequence,
            "head_hash": resolution.head_hash,
        }
        signature = encode_bytes(self._signer.sign(hashlib.sha256(canonical(said)).digest()))
        said |= {"key_id": self._signer.kid, "signature": signature}
        self._documents.commit([Merge(path_of(subject), {"resolution": said})])
        _log.warning("breach_resolved", subject=subject, by=actor, accept=resolution.accept)
        return self.read(subject)

    def counts(self, resolution: Resolution, stands: tuple[int, str]) -> bool:
        """Whether two administrators accepted, not long ago, the chain that ends there."""
        return resolution.approved_by is not None and self._fresh(resolution) and resolution.stands == stands

    def _approved(self, before: Resolution | None, now: Resolution) -> Resolution:
        if before is None or not (now.accept and before.accept and self._fresh(before)):
            return now
        if before.stands != now.stands:
            return now
        return before if now.by == before.by else replace(before, approved_by=now.by)

    def _fresh(self, resolution: Resolution) -> bool:
        return self._clock.now_us() - resolution.at_us <= ACCEPTED_FOR_US

    def close(self, subject: str) -> None:
        """The checkpoint is made that closed this breach: its account may spend again, if we stopped it."""

        def writes(stored: Document | None) -> list[Write]:
            if stored is None or stored.fields.get("state") != OPEN:
                return []
            stopped = stored.fields.get("stopped") is True
            freed = self._move(subject, AccountStatus.FROZEN, AccountStatus.ACTIVE) if stopped else []
            _log.warning("breach_closed", subject=subject, freed=bool(freed))
            return [*freed, Replace(stored.path, {**stored.fields, "state": RESOLVED}, stored.version)]

        self._together(subject, writes)

    def read(self, subject: str) -> Fields:
        """One breach; raises NotFound."""
        stored = self._documents.get(path_of(subject))
        if stored is None:
            raise NotFound("There is no such breach", subject=subject)
        return stored.fields

    def open(self) -> Listing[Document]:
        """Breaches that nobody resolved yet."""
        return self._listing("breaches_list", Query("breaches", (Where("state", "==", OPEN),)), lambda row: row)

    def subjects(self) -> Sequence[str]:
        """Subjects of at most ten open breaches."""
        return [one.id for one in self.open().first(10)]

    def _listing(self, job: str, query: Query, read: Callable[[Document], T]) -> Listing[T]:
        return Listing(self._documents, GuardedRows(self._documents, self._clock), job, query, read)

    def _fields(self, subject: str, breach: Breach) -> dict[str, Value]:
        return {
            "subject": subject,
            "account": account_of(subject),
            "state": OPEN,
            "sequence": breach.sequence,
            "check": breach.check,
            "since": breach.since,
            "found_at": self._now(),
        }

    def _together(self, subject: str, writes: Callable[[Document | None], list[Write]]) -> None:
        """Commits what `writes` makes of the stored breach, with its account's status or not at all. A writer that is
        faster for long is met again by the next sweep.
        """
        for _ in range(_TRIES):
            with contextlib.suppress(Conflict, AlreadyExists):
                if made := writes(self._documents.get(path_of(subject))):
                    self._documents.commit(made)
                return

    def _move(self, subject: str, was: AccountStatus, now: AccountStatus) -> list[Write]:
        """Moves the breach's account from one status to another; nothing when it is not in the first.

        Written past the ledger's own writer, because that cannot write an account that was put back or cannot be read:
        its events and entries exist already.
        """
        uid = account_of(subject)
        stored = self._documents.get(f"accounts/{uid}") if uid is not None else None
        if stored is None or stored.fields.get("status") != was.value:
            return []
        return [Replace(stored.path, {**stored.fields, "status": now.value}, stored.version)]

    def _now(self) -> str:
        return to_rfc3339(self._clock.now_us())


def _suspect(stored: Document) -> str:
    """The account that a document of a suspicion names, which stands under its own subject."""
    uid = text_field(stored.fields, "account")
    ensure(stored.id == subject_of(uid), "a suspicion stands under its subject")
    return uid


def path_of(subject: str) -> str:
    """Where the breach of a subject stands."""
    return f"breaches/{subject}"


def _shows(fields: Fields, subject: str, breach: Breach) -> bool:
    said = (fields.get("subject"), fields.get("state"), fields.get("sequence"), fields.get("check"))
    return (*said, fields.get("since")) == (subject, OPEN, breach.sequence, breach.check, breach.since)
