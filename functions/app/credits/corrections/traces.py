"""What else names an entry of an account, so that a chain whose tail was cut is known to have been longer.

Entries that are left after a cut verify. But the account, its seal, its rollups and the corrections that were posted
name entries by sequence, hash or id; where one names an entry that is not there, the entries are not the whole chain.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.credits.core.account import Account, Closed, ReservationState
from app.credits.core.entry import Entry
from app.kit.stores.documents import Documents, Fields, Query, Where


class NamesHead(Protocol):
    """The last entry of an account, as a seal says it."""

    @property
    def sequence(self) -> int: ...

    @property
    def head_hash(self) -> str: ...


LastSealed = Callable[[str], NamesHead | None]
"""The last head of an account that was sealed."""


@dataclass(frozen=True, slots=True)
class Traces:
    """Reads what names entries of one account."""

    documents: Documents
    sealed: LastSealed

    def missing(self, uid: str, account: Account | None, entries: Sequence[Entry]) -> str | None:
        """The first trace of an entry that is not among `entries`, in words for an administrator; None without one."""
        traces = (*_of_account(account, entries), *self._of_seals(uid, entries), *self._of_others(uid, entries))
        return next(iter(traces), None)

    def _of_seals(self, uid: str, entries: Sequence[Entry]) -> Iterator[str]:
        seal, copy = self.sealed(uid), self.documents.get(f"sealed/{uid}")
        heads = [(seal.sequence, seal.head_hash)] if seal is not None else []
        if copy is not None:
            heads.append((_number(copy.fields, "sequence"), str(copy.fields.get("head_hash"))))
        for sequence, head_hash in heads:
            if sequence > len(entries):
                yield f"entry {sequence} was sealed"
            elif sequence > 0 and entries[sequence - 1].hash != head_hash:
                yield f"another entry {sequence} was sealed"

    def _of_others(self, uid: str, entries: Sequence[Entry]) -> Iterator[str]:
        cursor = self.documents.get(f"accounts/{uid}/rollups/cursor")
        counted = _number(cursor.fields, "sequence") if cursor is not None else 0
        if counted > len(entries):
            yield f"the rollups counted entry {counted}"
        ids = {entry.id for entry in entries}
        for correction in self.documents.query(Query("corrections", where=(Where("account", "==", uid),))):
            posted = correction.fields.get("transaction_id")
            if posted is not None and posted not in ids:
                yield f"correction {correction.id} posted {posted}"


def _of_account(account: Account | None, entries: Sequence[Entry]) -> Iterator[str]:
    if account is None:
        return
    last = len(entries)
    if account.sequence > last and account.head_hash not in {entry.hash for entry in entries}:
        yield f"the account names entry {account.sequence}"
    made = max((lot.made for lot in account.lots), default=0)
    if made > last:
        yield f"a lot was made by entry {made}"
    for closed in remembered(account):
        if closed.state is ReservationState.SETTLED and closed.sequence > last:
            yield f"reservation {closed.id} was settled by entry {closed.sequence}"


def remembered(account: Account) -> Iterator[Closed]:
    """The closed reservations that an account remembers; passes over texts that are none."""
    for text in account.recent:
        try:
            yield Closed.parse(text)
        except ValueError:
            continue


def _number(fields: Fields, name: str) -> int:
    value = fields.get(name)
    return value if type(value) is int else 0
