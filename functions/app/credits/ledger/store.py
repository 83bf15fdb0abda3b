"""The only writer of accounts and entries: read, decide purely, commit account and entries at once.

Optimistic. The account's version is the commit's precondition and entries are creates, so a lost race writes nothing
and is decided again on the new state. No lock is held and no transaction is open.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from app.credits.core import entry as ledger
from app.credits.core import events
from app.credits.core.account import Account
from app.credits.core.commands import Clawback, Command, FreezeLots, Outcome, Refund, Reverse, deposit_key
from app.credits.core.decide import Rules
from app.credits.core.entry import Entry, EntryDraft, Kind, Signs
from app.credits.core.rejections import LedgerCheckFailed
from app.credits.core.returns import UNDONE_BY, undone
from app.credits.ledger import document
from app.credits.ledger.replays import answered
from app.credits.ledger.step import (
    NO_PARTICIPANT,
    AccountHead,
    AccountOpening,
    Deciding,
    Participant,
    PendingCommand,
    PlannedCommit,
    take_step,
    touch,
)
from app.kit.clock import Clock
from app.kit.errors import AlreadyExists, Conflict, Failure, InvariantViolation, Unavailable
from app.kit.optimistic import Contended, Pause, optimistic
from app.kit.stores.documents import Document, Documents, Query, Version, Where, text_field

ATTEMPTS: Final = 60
"""Many more than elsewhere: one account may be written by every instance at once, and a refusal costs a message."""
_IN: Final = 30


class AccountContended(Contended):
    """Other writers of one account were faster too many times in a row."""

    code = "account_contended"


@dataclass(frozen=True, slots=True)
class StoreParts:
    """What a store is made of."""

    documents: Documents
    clock: Clock
    signer: Signs
    rules: Rules
    opening: Callable[[str], AccountOpening]
    publish: events.Publish
    pause: Pause
    genuine: Callable[[Entry], bool]
    """Whether an entry is what was signed. Asked of each that decides about credits: the store is not trusted."""


class Store:
    """Accounts and their entries."""

    def __init__(self, parts: StoreParts) -> None:
        self._parts = parts
        self._deciding = Deciding(parts.rules, parts.signer, parts.publish, self.entry)

    def load(self, uid: str) -> Account | None:
        """The account as it stands, or None before first touch."""
        stored = self._parts.documents.get(document.account_path(uid))
        return None if stored is None else document.read(stored.fields)

    def entry(self, uid: str, sequence: int) -> Entry | None:
        """One entry."""
        stored = self._parts.documents.get(document.entry_path(uid, sequence))
        return None if stored is None else ledger.read(stored.fields)

    def entry_with(self, uid: str, name: str, value: str) -> Entry | None:
        """The entry whose field `name` (`key` or `id`) holds `value`: both are unique in an account."""
        query = Query(document.entries_path(uid), where=(Where(name, "==", value),), limit=1)
        found = self._parts.documents.query(query)
        return ledger.read(found[0].fields) if found else None

    def returned(self, uid: str, entry: Entry) -> int:
        """How much of an entry is undone: by its reversal, its refunds, ... Reads the ledger, not the account.

        Raises:
            LedgerCheckFailed: the entry, or one that may have undone it, is not what was signed.
        """
        return undone(entry.draft, self._later(uid, entry))

    def _later(self, uid: str, entry: Entry) -> tuple[EntryDraft, ...]:
        """The entries after `entry` that may have undone it, and the reversals that may have undone those."""
        self._check(uid, entry)
        path, since = document.entries_path(uid), Where("sequence", ">", entry.sequence)
        kinds = [Kind.REVERSAL, *([UNDONE_BY[entry.kind]] if entry.kind in UNDONE_BY else [])]
        queries = [Query(path, (Where("kind", "==", kind.value), since), ("-sequence",)) for kind in kinds]
        found = [self._checked(uid, stored) for query in queries for stored in self._parts.documents.query(query)]
        return tuple(one.draft for one in found)

    def _checked(self, uid: str, stored: Document) -> Entry:
        """An entry of this account as it was signed for this place; raises LedgerCheckFailed for any other."""
        try:
            entry = ledger.read(stored.fields)
        except (InvariantViolation, ValueError, TypeError, LookupError) as error:
            raise LedgerCheckFailed("An entry of this ledger cannot be read", checks=["unreadable"]) from error
        if stored.path != document.entry_path(uid, entry.sequence):
            raise LedgerCheckFailed("An entry of this ledger is out of its place", checks=["sequence"])
        self._check(uid, entry)
        return entry

    def _check(self, uid: str, entry: Entry) -> None:
        if entry.draft.account != uid or not self._parts.genuine(entry):
            raise LedgerCheckFailed("An entry of this ledger is not what was signed", checks=["entry"])

    def apply(self, uid: str, command: Command, participant: Participant = NO_PARTICIPANT) -> Outcome:
        """One command, decided and committed; opens the account when it is new.

        Raises:
            Rejection: the core, or a participant, refused. Nothing was written.
            AlreadyExists: a participant's create met a document, and the account had not moved.
            AccountContended: no turn after many attempts.
        """
        work = PendingCommand(command, participant)
        self.run(uid, [work])
        return work.outcome()

    def open(self, uid: str) -> Account:
        """The account, opened in a commit of its own when nobody touched it before."""
        head = self.read_head(uid, ())
        if head.account is None:
            head = self.run(uid, (), head)
        if head.account is None:
            raise AccountContended("This account could not be opened; try again in a moment", retry_after_s=1)
        return head.account

    def run(self, uid: str, works: Sequence[PendingCommand], head: AccountHead | None = None) -> AccountHead:
        """Decides and commits `works` in one step, sets each one's result, and returns the head left behind."""
        try:
            after = self._until_committed(uid, works, head)
        except Contended:
            for work in works:
                work.result = AccountContended("This account is very busy; try again in a moment", retry_after_s=1)
            return AccountHead(None, None)
        later = [work for work in works if work.result is None]
        return self.run(uid, later, after) if later else after

    def read_head(self, uid: str, works: Sequence[PendingCommand]) -> AccountHead:
        """The account, and what the participants of `works` want to see, in one round trip."""
        path = document.account_path(uid)
        paths = list(dict.fromkeys([path, *(read for work in works for read in work.participant.reads)]))
        stored = self._parts.documents.get_all(paths)
        account = stored[0]
        return AccountHead(
            None if account is None else document.read(account.fields),
            None if account is None else account.version,
            dict(zip(paths, stored)),
        )

    def _until_committed(self, uid: str, works: Sequence[PendingCommand], head: AccountHead | None) -> AccountHead:
        """Commits once, on `head` if there is one, and on what is read then as long as others are faster."""
        if head is not None and not head.fresh:
            try:
                return self._attempt(uid, works, self._complete(head, works), None)
            except Conflict:
                # A stale remembered head is not contention: the account is read again at once, without a pause.
                head = None
        opening_of = functools.cache(self._parts.opening)

        def attempt() -> AccountHead:
            nonlocal head
            seen = self._complete(head, works) if head else self.read_head(uid, works)
            head = None
            if seen.account is not None:
                return self._attempt(uid, works, seen, None)
            opening = opening_of(uid)
            return self._attempt(uid, works, self._read_guards(seen, opening), opening)

        return optimistic(attempt, pause=self._parts.pause, tries=ATTEMPTS)

    def _entries_of(self, uid: str, keys: Sequence[str]) -> dict[str, Entry | Failure]:
        """The entries that bear one of these keys, 30 to a query: Firestore's limit for `in`. One that is not what was
        signed answers no command.
        """
        found: dict[str, Entry | Failure] = {}
        for start in range(0, len(keys), _IN):
            some = keys[start : start + _IN]
            where = Where("key", "in", list(some)) if len(some) > 1 else Where("key", "==", some[0])
            for stored in self._parts.documents.query(Query(document.entries_path(uid), where=(where,))):
                key = text_field(stored.fields, "key")
                try:
                    found[key] = self._checked(uid, stored)
                except (LedgerCheckFailed, Unavailable) as failed:
                    found[key] = failed
        return found

    def _counted(self, uid: str, command: Command) -> Command:
        """The command, with what may have undone its entry. Like `answered`, later than the head, so a race loses.

        Raises:
            LedgerCheckFailed: one of these entries is not what was signed.
        """
        match command:
            case Refund(charge=entry) | Reverse(entry=entry):
                return replace(command, later=self._later(uid, entry))
            case Clawback(payment_id=payment_id) | FreezeLots(payment_id=payment_id, frozen=True):
                deposit = self._entries_of(uid, [deposit_key(payment_id)]).get(deposit_key(payment_id))
                if isinstance(deposit, Failure):
                    raise deposit
                if deposit is not None:
                    return replace(command, deposit=deposit.draft, later=self._later(uid, deposit))
        return command

    def _complete(self, head: AccountHead, works: Sequence[PendingCommand]) -> AccountHead:
        """A remembered head, with what the participants want to see."""
        paths = list(dict.fromkeys(read for work in works for read in work.participant.reads))
        if not paths:
            return head
        return replace(head, seen=dict(zip(paths, self._parts.documents.get_all(paths))))

    def _attempt(
        self, uid: str, works: Sequence[PendingCommand], head: AccountHead, opening: AccountOpening | None
    ) -> AccountHead:
        """Commits once, and tells a participant's create that failed from a lost race.

        Raises:
            Conflict: another writer was faster; or a remembered head led to no write: it is read before a rejection
                counts (T-34).
        """
        try:
            return self._decide_and_commit(uid, works, head, opening)
        except AlreadyExists as error:
            if self._moved(uid, head, opening):
                raise
            return self._blame(uid, works, error, head)

    def _decide_and_commit(
        self, uid: str, works: Sequence[PendingCommand], head: AccountHead, opening: AccountOpening | None
    ) -> AccountHead:
        known = answered(works, head, lambda keys: self._entries_of(uid, keys))
        for work in works:
            if work not in known:
                try:
                    work.command = self._counted(uid, work.command)
                except (LedgerCheckFailed, Unavailable) as failed:
                    known[work] = failed
        left = [work for work in works if work not in known]
        if left or head.account is None:
            step = take_step(touch(uid, head, opening, self._parts.clock.now_us()), left, self._deciding)
            if not step.changed and not head.fresh:
                raise Conflict("a remembered account may have moved", path=document.account_path(uid))
            head = self._commit(step, head)
            known.update(step.results)
        for work, result in known.items():
            work.result = result
        return head

    def _commit(self, step: PlannedCommit, head: AccountHead) -> AccountHead:
        if not step.changed:
            return head
        versions = self._parts.documents.commit(step.writes)
        return AccountHead(step.account, versions[0])

    def _read_guards(self, head: AccountHead, opening: AccountOpening) -> AccountHead:
        if not opening.reads:
            return head
        guards = dict(zip(opening.reads, self._parts.documents.get_all(opening.reads)))
        return AccountHead(None, None, {**head.seen, **guards})

    def _moved(self, uid: str, head: AccountHead, opening: AccountOpening | None) -> bool:
        """Whether the account, or a document that guards its opening, is not what this attempt saw any more."""
        paths = [document.account_path(uid), *(opening.reads if opening and head.account is None else ())]
        now = [_version(stored) for stored in self._parts.documents.get_all(paths)]
        return now != [head.version, *(_version(head.seen.get(path)) for path in paths[1:])]

    def _blame(self, uid: str, works: Sequence[PendingCommand], error: AlreadyExists, head: AccountHead) -> AccountHead:
        """A participant's create failed: that fails a single command, and several are tried again one by one."""
        if len(works) == 1:
            works[0].result = error
            return head
        if not works:
            raise InvariantViolation("an opening creates nothing but what it read") from error
        for work in works:
            head = self.run(uid, [work])
        return head


def _version(stored: Document | None) -> Version | None:
    return None if stored is None else stored.version
