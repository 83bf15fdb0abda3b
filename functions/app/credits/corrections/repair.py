"""Putting derived state right from the entries. Entries themselves are never touched (T-58).

What is derived: the account's balance, debt, lots and head. A wrong entry is corrected by another entry
(`corrections.py`); entries that do not verify repair nothing, they are evidence.
"""

from dataclasses import dataclass

from app.credits.core import entry as ledger
from app.credits.core.account import Account, check
from app.credits.corrections import fold
from app.credits.ledger import document
from app.credits.proofs.reading import LedgerReader
from app.credits.proofs.verification import Link, verify_chain
from app.kit.clock import Clock
from app.kit.errors import InvariantViolation, NotFound
from app.kit.stores.documents import Create, Document, Documents, Replace


@dataclass(frozen=True, slots=True)
class AccountRepair:
    """What an account was, what it should be, and whether it had to be written."""

    was: Account | None
    now: Account
    repaired: bool


class Repairs:
    """Rebuilds accounts."""

    def __init__(self, documents: Documents, reader: LedgerReader, clock: Clock) -> None:
        self._documents, self._reader, self._clock = documents, reader, clock

    def account(self, uid: str, *, write: bool = True) -> AccountRepair:
        """Replays the account's entries and, with `write`, brings the stored account to what they say.

        Raises:
            NotFound: there is neither an account nor an entry.
            InvariantViolation: the entries do not verify.
            Conflict: the account moved meanwhile; ask again.
        """
        stored = self._documents.get(document.account_path(uid))
        truth = self._replay(uid, opened=stored is not None)
        was = _readable(stored)
        if was is not None and _same(fold.derived(was), truth) and _whole(was):
            return AccountRepair(was, was, repaired=False)
        now = fold.rebuilt(was, truth, uid, self._clock.now_us())
        if write:
            path, fields = document.account_path(uid), document.write(now)
            self._documents.commit([Replace(path, fields, stored.version) if stored else Create(path, fields)])
        return AccountRepair(was, now, repaired=True)

    def _replay(self, uid: str, *, opened: bool) -> fold.Derived:
        stored = [dict(fields) for fields in self._reader.entries(uid)]
        if not stored and not opened:
            raise NotFound("There is no such account", uid=uid)
        verified = verify_chain(stored, self._reader.keys, Link(uid))
        if not verified.valid:
            raise InvariantViolation(f"the entries of {uid} do not verify: {verified.fault}")
        return fold.fold(ledger.read(fields) for fields in stored)


def _readable(stored: Document | None) -> Account | None:
    if stored is None:
        return None
    try:
        return document.read(stored.fields)
    except (InvariantViolation, ValueError):
        return None


def _same(stored: fold.Derived, truth: fold.Derived) -> bool:
    """Lots may stand in another order, and one that was used up and came back may count as older."""
    return fold.comparable(stored) == fold.comparable(truth)


def _whole(account: Account) -> bool:
    """Whether what is held fits together."""
    try:
        check(account)
    except InvariantViolation:
        return False
    return True
