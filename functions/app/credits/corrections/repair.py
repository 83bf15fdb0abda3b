"""Putting derived state right from the entries. Entries themselves are never touched (T-58).

What is derived: the account's balance, debt, lots and head, and which reservations were settled. A wrong entry is
corrected by another entry (`corrections.py`). Entries that do not verify, or that are not all there ever were, repair
nothing: they are evidence.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from app.credits.core import entry as ledger
from app.credits.core.account import Account, AccountStatus, check, opened
from app.credits.core.entry import Entry
from app.credits.corrections import fold
from app.credits.corrections.traces import LastSealed, Traces
from app.credits.ledger import document
from app.credits.proofs.reading import LedgerReader
from app.credits.proofs.verification import Link, verify_chain
from app.kit import telemetry
from app.kit.clock import Clock
from app.kit.errors import InvariantViolation, NotFound, Rejection
from app.kit.stores.documents import Create, Document, Documents, Replace, Value

_UID: Final = re.compile(r"(?!__)(?!\.{1,2}$)[^/]{1,128}")
"""One segment of a path: anything else would name another document than an account."""

_NOT_DERIVED: Final = ("status", "low_threshold", "reservations", "recent", "disputes")
"""What no entry tells; a document that lacks one, or holds what cannot be read, has lost it."""


class RepairRefused(Rejection):
    """The entries are not a ground to rebuild the account on."""

    status = 409
    code = "not_repairable"
    title = "Not repairable"


@dataclass(frozen=True, slots=True)
class AccountRepair:
    """What an account was, what it should be, whether it had to be written, and what could not be kept."""

    was: Account | None
    now: Account
    repaired: bool
    lost: tuple[str, ...] = ()


class Repairs:
    """Rebuilds accounts. `sealed` tells the last sealed head of an account."""

    def __init__(self, documents: Documents, reader: LedgerReader, clock: Clock, sealed: LastSealed) -> None:
        self._documents, self._reader, self._clock = documents, reader, clock
        self._traces = Traces(documents, sealed)

    def account(self, uid: str, *, write: bool = True, status: AccountStatus | None = None) -> AccountRepair:
        """Replays the account's entries and, with `write`, brings the stored account to what they say.

        Status, threshold, disputes and what is reserved are kept from the stored account. `status` is what the account
        gets when its own is lost; without it such a one is not repaired, so that no suspended account comes back.

        Raises:
            NotFound: there is neither an account nor an entry.
            RepairRefused: the entries do not verify, were more once, or the status is lost and none is given.
            Conflict: the account moved meanwhile; ask again.
        """
        stored = self._documents.get(document.account_path(uid)) if _UID.fullmatch(uid) else None
        entries = self._verified(uid) if _UID.fullmatch(uid) else []
        if stored is None and not entries:
            raise NotFound("There is no such account", uid=uid)
        was = _readable(stored)
        kept, lost = (was, ()) if was is not None else _salvaged(uid, stored, entries, self._clock.now_us())
        if (trace := self._traces.missing(uid, kept, entries)) is not None:
            raise RepairRefused(f"The chain was longer than its {len(entries)} entries: {trace}", uid=uid)
        if was is not None and was.uid == uid and fold.agrees(was, entries) and _whole(was):
            return AccountRepair(was, was, repaired=False)
        if "status" in lost:
            if status is None:
                raise RepairRefused("The account's status is lost: say which one it gets", uid=uid, lost=list(lost))
            kept = replace(kept, status=status)
        now = fold.rebuilt(replace(kept, uid=uid), entries, self._clock.now_us())
        if write:
            path, fields = document.account_path(uid), document.write(now)
            over = Replace(path, fields, stored.version, keep_others=True) if stored else Create(path, fields)
            self._documents.commit([over])
            telemetry.log("credits").warning("account_repaired", uid=uid, sequence=now.sequence, lost=list(lost))
        return AccountRepair(was, now, repaired=True, lost=lost)

    def _verified(self, uid: str) -> list[Entry]:
        stored = [dict(fields) for fields in self._reader.entries(uid)]
        verified = verify_chain(stored, self._reader.keys, Link(uid))
        if verified.fault is not None:
            fault = f"entry {verified.fault.sequence} fails the check of its {verified.fault.check}"
            raise RepairRefused(f"The entries do not verify: {fault}", uid=uid)
        entries = [ledger.read(fields) for fields in stored]
        try:
            fold.fold(entries)
        except InvariantViolation as error:
            raise RepairRefused(f"The entries contradict each other: {error}", uid=uid) from error
        return entries


def _readable(stored: Document | None) -> Account | None:
    if stored is None:
        return None
    try:
        return document.read(stored.fields)
    except (InvariantViolation, ValueError):
        return None


def _salvaged(
    uid: str, stored: Document | None, entries: Sequence[Entry], now_us: int
) -> tuple[Account, tuple[str, ...]]:
    """Each field of an unreadable document that can be read alone, and the names of those lost for good."""
    opened_us = entries[0].draft.at_us if entries else now_us
    fields: dict[str, Value] = document.write(opened(uid, opened_us, 0))
    fields["status"] = AccountStatus.FROZEN.value
    lost = set(_NOT_DERIVED)
    for name, value in (stored.fields if stored else {}).items():
        try:
            document.read({**fields, name: value})
        except (InvariantViolation, ValueError):
            continue
        fields[name] = value
        lost.discard(name)
    return document.read(fields), tuple(name for name in _NOT_DERIVED if name in lost)


def _whole(account: Account) -> bool:
    """Whether what is held fits together."""
    try:
        check(account)
    except InvariantViolation:
        return False
    return True
