"""Broken chains as people see them: `breaches/{subject}`, from the alarm to the act that closes it.

The archive is the authority on which breaches are open (`archived.py`). A document that was deleted or changed here is
written again from there, and only a resolution that bears the ledger's signature closes a breach.
"""

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from app.credits.core.account import AccountStatus
from app.credits.core.entry import encode_bytes
from app.credits.proofs.archived import Breach, account_of, subject_of
from app.credits.proofs.judging import UNREADABLE
from app.credits.proofs.signing import KeyRing, Signer
from app.kit import telemetry
from app.kit.canonical import canonical
from app.kit.clock import Clock, to_rfc3339
from app.kit.errors import Conflict, NotFound, ensure
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
    map_field,
    text_field,
)
from app.kit.stores.listing import Listing
from app.kit.stores.rows import Rows

T = TypeVar("T")

_log: Final = telemetry.log("credits")
_TYPE: Final = "credits-breach-resolution"
_SAID: Final = ("type", "subject", "since", "accept", "by", "reason", "at")

_TRIES: Final = 20

OPEN: Final = "open"
SUSPECTED: Final = "suspected"
RESOLVED: Final = "resolved"


@dataclass(frozen=True, slots=True)
class Resolution:
    """What an administrator decided of a breach. With `accept` the chain counts as it stands now; without it the chain
    must extend what was sealed, as it does after its entries were restored.
    """

    by: str
    reason: str
    accept: bool


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
            self._documents.commit([Replace(path_of(subject), self._fields(subject, breach))])
        uid = account_of(subject)
        if uid is not None and self._moved(uid, AccountStatus.ACTIVE, AccountStatus.FROZEN):
            self._documents.commit([Merge(path_of(subject), {"stopped": True})])

    def resolution(self, subject: str, breach: Breach) -> Resolution | None:
        """The signed resolution of this very breach."""
        stored = self._documents.get(path_of(subject))
        try:
            said = map_field(stored.fields, "resolution") if stored else {}
            if said.get("subject") != subject or said.get("since") != breach.since:
                return None
            digest = hashlib.sha256(canonical({name: said[name] for name in _SAID})).digest()
            if not self._keys.verifies(text_field(said, "key_id"), text_field(said, "signature"), digest):
                return None
            return Resolution(text_field(said, "by"), text_field(said, "reason"), said["accept"] is True)
        except UNREADABLE:
            return None

    def resolve(self, subject: str, breach: Breach, resolution: Resolution) -> Fields:
        """Records what an administrator decided; the next checkpoint acts on it."""
        self.show(subject, breach)
        said: dict[str, Value] = {
            "type": _TYPE,
            "subject": subject,
            "since": breach.since,
            "accept": resolution.accept,
            "by": resolution.by,
            "reason": resolution.reason,
            "at": self._now(),
        }
        signature = encode_bytes(self._signer.sign(hashlib.sha256(canonical(said)).digest()))
        said |= {"key_id": self._signer.kid, "signature": signature}
        self._documents.commit([Merge(path_of(subject), {"resolution": said})])
        _log.warning("breach_resolved", subject=subject, by=resolution.by, accept=resolution.accept)
        return self.read(subject)

    def close(self, subject: str) -> None:
        """The checkpoint is made that closed this breach: its account may spend again, if we stopped it."""
        stored = self._documents.get(path_of(subject))
        if stored is None or stored.fields.get("state") != OPEN:
            return
        uid = account_of(subject)
        if uid is not None and stored.fields.get("stopped") is True:
            self._moved(uid, AccountStatus.FROZEN, AccountStatus.ACTIVE)
        self._documents.commit([Merge(stored.path, {"state": RESOLVED})])

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
        return Listing(self._documents, Rows(self._documents, self._clock), job, query, read)

    def _fields(self, subject: str, breach: Breach) -> dict[str, Value]:
        return {
            "subject": subject,
            "account": account_of(subject),
            "state": OPEN,
            "sequence": breach.sequence,
            "check": breach.check,
            "since": breach.since,
            "found_at": self._now(),
            "stopped": False,
        }

    def _moved(self, uid: str, was: AccountStatus, now: AccountStatus) -> bool:
        """Moves an account from one status to another; whether it was in the first.

        Written past the ledger's own writer, because that cannot write an account that was put back or cannot be read:
        its events and entries exist already. A writer that is faster for long is met again by the next sweep.
        """
        for _ in range(_TRIES):
            stored = self._documents.get(f"accounts/{uid}")
            if stored is None or stored.fields.get("status") != was.value:
                return False
            with contextlib.suppress(Conflict):
                fields = {**stored.fields, "status": now.value}
                self._documents.commit([Replace(stored.path, fields, stored.version)])
                return True
        return False

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
