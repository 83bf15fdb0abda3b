"""An operator who repairs an account after its document was lost, put back from an old backup, or its tail was cut.

Everything else rests meanwhile. Clients then repeat what they had asked for before: nothing may be charged twice.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Final

from app.credits.core.account import AccountStatus, opened
from app.credits.core.commands import Reserve, Settle, Settled
from app.credits.core.entry import EntryDraft, Kind, LotLine, Reference, seal
from app.credits.core.rejections import ReservationSettled
from app.credits.ledger import document
from app.credits.proofs.signing import Signer
from app.kit.errors import Failure
from app.kit.stores.documents import Create, Delete, Document, Fields, Replace, Value, Write
from simulation.instance import Backend
from simulation.money.books import Books
from simulation.money.office import Office

OLD: Final = "oldtimer"
"""An account with many charges, made before anybody looks."""
_CHARGES: Final = 36
"""More than an account remembers."""
_DISPUTES: Final = 100
_SIGNER: Final = Signer(bytes(range(32)))

Found = Iterator[str]


class Restorer:
    """Writes documents by hand, and asks for repairs over HTTP."""

    def __init__(self, books: Books, office: Office) -> None:
        self._books, self._office, self._world = books, office, books.world
        self._real, self._random = self._world.documents.real, self._world.kernel.random
        self._backups: dict[str, list[Document]] = {}

    def backs_up(self, uid: str) -> None:
        """Keeps the account's document, as some backup has it."""
        if (stored := self._real.get(f"accounts/{uid}")) is not None:
            self._backups.setdefault(uid, []).append(stored)

    def works(self, uid: str) -> Found:
        """Everything that may happen to the document of one account. Must be called by a process."""
        if self._real.get(f"accounts/{uid}") is None:
            return
        # What no checkpoint has sealed yet can be cut off without a trace.
        self._world.sweep()
        self._world.kernel.sleep(60_000_000)
        yield from self._put_back(uid)
        yield from self._cut(uid)
        yield from self._lost_status(uid)

    def old_account(self) -> Found:
        """An account of long standing loses its document, and remembers a hundred disputes."""
        self._make_old()
        self._erase(OLD)
        yield from self._lost(OLD)
        yield from self._repeated(OLD, {f"old-{number}": "" for number in range(0, _CHARGES, 5)})
        yield from self._one_dispute_more()

    def _put_back(self, uid: str) -> Found:
        """An old backup of the document, over entries that go on behind it."""
        now = self._stored(uid)
        older = [one for one in self._backups.get(uid, []) if one.fields["sequence"] != now["sequence"]]
        if not older:
            return
        self._put(uid, self._random.choice([one for one in older if one.fields["reservations"]] or older).fields)
        told = self._repair(uid)
        if told != 200:
            yield f"{uid}: a document that was put back cannot be repaired: {told}"
        yield from self._same(uid, now, ("balance", "debt", "sequence", "head_hash", "reserved"))
        yield from self._repeated(uid, self._books.charged.get(uid, {}))
        self._put(uid, now)

    def _cut(self, uid: str) -> Found:
        """The end of the chain is gone, and the document is as it was before: a repair must not make that the truth."""
        now = self._stored(uid)
        older = [one.fields for one in self._backups.get(uid, []) if one.fields["sequence"] != now["sequence"]]
        if not older:
            return
        before = self._random.choice(older)
        sequence, last = _number(before, "sequence"), _number(now, "sequence")
        entries = [self._real.get(document.entry_path(uid, one)) for one in range(sequence + 1, last + 1)]
        gone = [one for one in entries if one is not None]
        self._real.commit([Delete(one.path) for one in gone])
        self._put(uid, {**before, "reserved": 77})
        told = self._repair(uid)
        if told != 409:
            yield f"{uid}: {len(gone)} entries were cut off, and the repair was answered {told}"
        self._real.commit([*[Create(one.path, one.fields) for one in gone], Replace(f"accounts/{uid}", now)])

    def _lost_status(self, uid: str) -> Found:
        """A suspended account whose document is gone, or says an unknown status, does not come back by itself."""
        now = self._stored(uid)
        if self._random.random() < 0.5:
            self._erase(uid)
        else:
            self._put(uid, {**now, "status": "unheard of"})
        yield from self._lost(uid, AccountStatus.SUSPENDED)
        yield from self._same(uid, now, ("balance", "debt", "sequence", "head_hash"))
        self._put(uid, now)

    def _lost(self, uid: str, status: AccountStatus = AccountStatus.ACTIVE) -> Found:
        if (told := self._repair(uid)) != 409:
            yield f"{uid} was repaired, although nobody knows its status: {told}"
        if (told := self._repair(uid, status)) != 200:
            yield f"{uid} cannot be repaired as {status}: {told}"
        if self._stored(uid)["status"] != status:
            yield f"{uid} was repaired as {self._stored(uid)['status']}, asked was {status}"

    def _same(self, uid: str, now: Fields, names: tuple[str, ...]) -> Found:
        after = self._stored(uid)
        if any(after[name] != now[name] for name in names):
            yield f"{uid} was repaired to {[after[name] for name in names]}, it was {[now[name] for name in names]}"

    def _repeated(self, uid: str, charged: dict[str, str]) -> Found:
        """A client repeats requests that were charged: it gets the same charge, and no new reservation."""
        reference = Reference("run", "x")
        for name, entry in charged.items():
            again = Reserve(name, 1, 1, "api", reference, 60_000_000)
            reserved = self._books.surely("again", partial(_reserved, uid, again))
            if not isinstance(reserved, ReservationSettled):
                yield f"{uid}: {name} was charged before the repair, and is reserved again: {reserved}"
            if not entry:
                continue
            amount = -next(one.amount for one in self._books.entries(uid) if one.id == entry)
            settle = Settle(name, amount, reference)
            settled = self._books.surely("again", partial(_settled, uid, settle))
            if isinstance(settled, Failure) or settled.entry is None or settled.entry.id != entry:
                yield f"{uid}: {name} was charged by {entry}, and after the repair by {settled}"

    def _one_dispute_more(self) -> Found:
        """It remembers a hundred disputes; one more, and the account is frozen rather than open to that payment."""
        self._put(OLD, {**self._stored(OLD), "disputes": [f"old-dispute-{one}" for one in range(_DISPUTES - 1)]})
        for payment in ("another", "one-too-many"):
            self._books.surely("disputes", partial(_disputed, OLD, payment))
        stored = self._stored(OLD)
        if stored["status"] != AccountStatus.FROZEN.value:
            yield f"{OLD} cannot remember another dispute, and is {stored['status']}"

    def _repair(self, uid: str, status: AccountStatus | None = None) -> int | None:
        body: dict[str, object] = {"uid": uid} if status is None else {"uid": uid, "status": status.value}
        told = self._office.send("root", "/v1/credits/repair", body)
        return None if told is None else told.status

    def _make_old(self) -> None:
        """Entries as the ledger would have written them."""
        at_us = self._world.kernel.now_us
        line = LotLine("lot_1", 1000, "paid", None, "long-ago")
        first = EntryDraft(
            account=OLD,
            sequence=1,
            kind=Kind.DEPOSIT,
            amount=1000,
            counterpart="rail:sim",
            lots=(line,),
            debt=0,
            balance_after=1000,
            key="deposit:long-ago",
            input="",
            reference=Reference("payment", "long-ago"),
            at_us=at_us,
        )
        spent = (replace(line, amount=-1),)
        charge = replace(first, kind=Kind.SETTLE, amount=-1, counterpart="platform:revenue", lots=spent)
        charges = [
            replace(charge, sequence=2 + one, key=f"settle:old-{one}", balance_after=999 - one, at_us=at_us + one)
            for one in range(_CHARGES)
        ]
        entries = seal([first, *charges], "0" * 64, _SIGNER)
        writes: list[Write] = [Create(document.entry_path(OLD, one.sequence), one.fields()) for one in entries]
        account = document.write(opened(OLD, at_us, 0))
        self._real.commit([Create(f"accounts/{OLD}", account), *writes])

    def _stored(self, uid: str) -> Fields:
        stored = self._real.get(f"accounts/{uid}")
        assert stored is not None
        return stored.fields

    def _put(self, uid: str, fields: Fields) -> None:
        self._real.commit([Replace(f"accounts/{uid}", fields)])

    def _erase(self, uid: str) -> None:
        self._real.commit([Delete(f"accounts/{uid}")])


def _reserved(uid: str, reserve: Reserve, backend: Backend) -> object:
    return backend.credits.reserve(uid, reserve)


def _settled(uid: str, settle: Settle, backend: Backend) -> Settled:
    return backend.credits.settle(uid, settle)


def _disputed(uid: str, payment: str, backend: Backend) -> object:
    return backend.credits.freeze_lots(uid, payment, frozen=True)


def _number(fields: Fields, name: str) -> int:
    value: Value = fields[name]
    assert isinstance(value, int)
    return value
