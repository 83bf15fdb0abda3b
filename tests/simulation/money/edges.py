"""Edges of undoing that a cashier seldom meets, each on a fresh account in calm days: a gift of which an answer still
holds a part, credits that came back and are over, refunds of entries that somebody altered, and an account with very
many gifts.

What must come out is known from what was paid, given and spent; `simulation.audit.money` looks at the rest.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from app.credits.core.account import MAX_LOTS, Lot, LotSource, opened
from app.credits.core.commands import Deposit, Grant, Refund, Reserve
from app.credits.core.entry import Entry, Kind, Reference, seal
from app.credits.ledger import document
from app.credits.proofs.signing import Signer
from app.kit.clock import minutes
from app.kit.errors import Failure
from app.kit.stores.documents import Create, Replace, Value, Write, int_field, list_field
from simulation.instance import Backend
from simulation.money.books import Act, Books
from simulation.money.cashier import DAY_US, Cashier
from simulation.money.drafts import gift
from simulation.money.office import Office
from simulation.money.restorer import Restorer

_CREDIT: Final = 1_000_000
_WEEK_US: Final = 8 * DAY_US
"""What comes back lasts for a week."""
_MOST_WRITES: Final = 260
"""A commit of 500 would be refused, and each event that somebody subscribes to makes it larger."""
_SWEEPS: Final = 5
_SIGNER: Final = Signer(bytes(range(32)))

Found = Iterator[str]


class Edges:
    """Plays them, each on an account of its own."""

    def __init__(self, books: Books, office: Office, restorer: Restorer) -> None:
        self._books, self._office, self._restorer = books, office, restorer
        self._world, self._kernel = books.world, books.world.kernel
        self._large = 0
        books.world.documents.tries.append(self._tried)

    def plays(self) -> Found:
        """Some of them. Must be called by a process."""
        books, office = self._books, self._office
        scenes: tuple[Callable[[], Found], ...] = (
            lambda: _Careful("edge-held", books, office).held(),
            lambda: _Careful("edge-over", books, office).over(),
            lambda: _Careful("edge-twice", books, office).twice(),
            lambda: _Careful("edge-forged", books, office).forged(),
            self._repaired,
        )
        for scene in self._kernel.random.sample(scenes, 3):
            yield from scene()
        if self._kernel.chance(0.3):
            yield from self._hoard("hoarder")

    def _repaired(self) -> Found:
        """A backup holds a reservation that was charged since, and its lot has room for it: it stays closed."""
        careful = _Careful("edge-backup", self._books, self._office, self._restorer)
        careful.spends(40)
        yield from self._restorer.works("edge-backup")

    def _hoard(self, uid: str) -> Found:
        """A full account: no gift more, but what was paid on its way; and all gifts end on one day."""
        ends_us = self._kernel.now_us + DAY_US
        self._make(uid, ends_us)
        more = Grant("promo:more", 10, LotSource.PROMO, "more", Reference("campaign", "more"), ends_us)
        told = self._books.surely("gives", lambda b: b.credits.post(uid, more).entry.id)
        if getattr(told, "code", None) != "too_many_lots":
            yield f"{uid} has {MAX_LOTS} lots, and one more gift was answered {told}"
        deposit = Deposit("on-its-way", 10, "sim", Reference("payment", "on-its-way"))
        paid = self._books.surely("pays", lambda b: b.credits.post(uid, deposit).entry.id)
        if isinstance(paid, Failure):
            yield f"{uid} has {MAX_LOTS} lots, and what it paid was answered {paid}"
        self._kernel.sleep(DAY_US + minutes(1))
        for _ in range(_SWEEPS):
            self._world.sweep()
            self._kernel.sleep(minutes(1))
        stored = self._world.documents.real.get(f"accounts/{uid}")
        if stored is None or len(list_field(stored.fields, "lots")) > 1:
            yield f"{uid} has {stored and len(list_field(stored.fields, 'lots'))} lots, all but one of which are over"
        if self._large > _MOST_WRITES:
            yield f"a commit of {self._large} writes was tried"

    def _make(self, uid: str, ends_us: int) -> None:
        """The account and its gifts as the ledger would have written them."""
        at_us, count = self._kernel.now_us, MAX_LOTS
        gifts = [gift(uid, number, at_us, ends_us) for number in range(1, count + 1)]
        entries = seal(gifts, "0" * 64, _SIGNER)
        lots = tuple(Lot(f"lot_{n}", LotSource.PROMO, 10, made=n, expires_at_us=ends_us) for n in range(1, count + 1))
        account = replace(
            opened(uid, at_us, 0),
            lots=lots,
            balance=10 * count,
            sequence=count,
            head_hash=entries[-1].hash,
            version=1,
            updated_at_us=at_us + count,
        )
        writes: list[Write] = [Create(document.entry_path(uid, one.sequence), one.fields()) for one in entries]
        self._world.documents.real.commit(writes)
        self._world.documents.real.commit([Create(f"accounts/{uid}", document.write(account))])

    def _tried(self, writes: Sequence[Write]) -> None:
        if any(write.path == "accounts/hoarder" for write in writes):
            self._large = max(self._large, len(writes))


class _Careful(Cashier):
    """A cashier who meets one edge at a time on an account of its own."""

    def __init__(self, uid: str, books: Books, office: Office, restorer: Restorer | None = None) -> None:
        super().__init__(books, office, uid, patient=True, held=restorer.backs_up if restorer else len)
        self._books.surely(f"{uid} opens", lambda b: b.credits.account(uid))

    def spends(self, credits: int) -> None:
        """Pays in so much and is charged for a part of it."""
        self._pays(credits)
        self._charge()

    def held(self) -> Found:
        """An answer holds a part of a gift that is to be taken back: that waits, and nobody owes anything."""
        given = self._give(30 * DAY_US)
        if given is None:
            return
        reserve = Reserve("answer", given.amount // 2, 1, "api", Reference("run", "x"), minutes(30))
        self._books.surely("reserves", lambda b: b.credits.reserve(self.uid, reserve))
        self._office.reverse(self.uid, given.entry)
        yield from self._owes("a gift was taken back under an answer that holds a part of it")
        self._books.surely("lets go", lambda b: b.credits.release(self.uid, "answer", "given up"))
        self._office.reverse(self.uid, given.entry)
        yield from self._keeps_what_it_pays()

    def over(self) -> Found:
        """A gift was spent, given back, and what came back is over when somebody undoes the gift; no sweep has come."""
        given = self._give(DAY_US)
        charge = self._charge(whole=True)
        if given is None or charge is None:
            return
        self._refund(charge, charge.amount)
        self._kernel.sleep(_WEEK_US)
        self._office.reverse(self.uid, given.entry)
        yield from self._owes("a gift was undone of which everything had come back")
        yield from self._keeps_what_it_pays()

    def twice(self) -> Found:
        """A gift expires, and that is undone; then the gift is undone, while another one stands beside it."""
        given = self._give(DAY_US)
        self._wait(240, days=3)
        ends = [one for one in self._entries() if one.kind is Kind.EXPIRY]
        if given is None or not ends or not self._office.reverse(self.uid, ends[-1].id):
            return
        other = self._give(3 * DAY_US)
        if other is None or not self._office.reverse(self.uid, given.entry):
            return
        if (there := self._balance()) != other.amount:
            yield f"{self.uid}: one gift was undone, and {there} are left of the other one of {other.amount}"
        entry = self._entries()[-1]
        named = {line.lot_id for line in self._entry(other.entry).draft.lots}
        if named & {line.lot_id for line in entry.draft.lots}:
            yield f"{self.uid}: a gift was undone with credits of another: {entry.draft.lots}"

    def forged(self) -> Found:
        """Somebody makes a charge larger in the store, or a refund smaller, and has it refunded."""
        self._pays(60)
        first, second = self._charges(10), self._charges(10)
        if first is None or second is None:
            return
        more: Mapping[str, Value] = {"amount": 4 * self._entry(first.entry).amount}
        yield from self._altered(first, first.entry, more, first.amount)
        refund = self._refund(second, second.amount - 1)
        if refund.entry:
            yield from self._altered(second, refund.entry, {"amount": 1}, second.amount - 1)

    def _altered(self, charge: Act, id: str, fields: Mapping[str, Value], amount: int) -> Found:
        """An entry says something else for as long as somebody asks for a refund of the charge."""
        real, altered = self._world.documents.real, self._entry(id)
        path = document.entry_path(self.uid, altered.sequence)
        stored = real.get(path)
        assert stored is not None
        real.commit([Replace(path, {**stored.fields, **fields})])
        key, before = f"forged-{id}", self._books.sequence(self.uid)
        told = self._books.surely("refunds", partial(self._refunds_what_is_read, key, charge.entry, amount))
        real.commit([Replace(path, stored.fields)])
        if not isinstance(told, Failure) or self._books.sequence(self.uid) != before:
            yield f"{self.uid}: {path} was altered in the store, and a refund of {amount} was answered {told}"

    def _refunds_what_is_read(self, key: str, id: str, amount: int, backend: Backend) -> str:
        read: Entry = backend.credits.entry(self.uid, id)
        refund = Refund(key, read, amount, 0, "sorry", Reference("ticket", key))
        return backend.credits.post(self.uid, refund).entry.id

    def _pays(self, credits: int) -> Act | None:
        payment = self._name("pay")
        act = self._act("deposit", payment, credits * _CREDIT)
        deposit = Deposit(payment, act.amount, "sim", Reference("payment", payment))
        paid = self._books.ask(act, lambda b: b.credits.post(self.uid, deposit).entry.id)
        return paid if paid.entry else None

    def _charges(self, credits: int) -> Act | None:
        """A charge of at least so much."""
        charge = self._charge()
        while charge is not None and charge.amount < credits * _CREDIT // 2:
            charge = self._charge()
        return charge

    def _keeps_what_it_pays(self) -> Found:
        """What is paid now stays, however long it lies there."""
        paid = self._pays(5)
        self._kernel.sleep(_WEEK_US)
        self._world.sweep()
        self._kernel.sleep(minutes(1))
        if paid is not None and (there := self._balance()) != paid.amount:
            yield f"{self.uid} paid {paid.amount}, and {there} are left of it, though nothing was spent"

    def _owes(self, when: str) -> Found:
        stored = self._world.documents.real.get(f"accounts/{self.uid}")
        if stored is not None and (debt := int_field(stored.fields, "debt")):
            yield f"{self.uid} owes {debt}, and has spent nothing: {when}"

    def _balance(self) -> int:
        stored = self._world.documents.real.get(f"accounts/{self.uid}")
        return 0 if stored is None else int_field(stored.fields, "balance")
