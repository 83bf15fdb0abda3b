"""A cashier: payments that come late, twice and in odd order, disputes, clawbacks, refunds, gifts, and their undoing.

Each habit is a chain of acts with chances in it, on one account whose owner spends in between. The cashier writes down
what was asked and answered; `simulation.audit.money` judges it together with the ledger.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from app.credits.core.account import LotSource
from app.credits.core.commands import Clawback, Deposit, Grant, Refund, Reserve, Settle
from app.credits.core.entry import Entry, Reference
from app.credits.core.rejections import InsufficientCredits
from app.kit.clock import minutes
from app.kit.errors import Failure, Rejection
from simulation.audit.records import Records
from simulation.instance import Backend
from simulation.money.books import GIFT, Act, Books, Way
from simulation.money.office import Office

_HELD_US: Final = minutes(30)
_CREDIT: Final = 1_000_000
DAY_US: Final = minutes(24 * 60)
REASONS: Final = (
    "sorry",
    "wrong amount",
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    " =1",
    "\N{NO-BREAK SPACE}=1",
    "\N{ZERO WIDTH SPACE}=1+1",
    "\N{ZERO WIDTH NO-BREAK SPACE}@x",
    "\N{SOFT HYPHEN}=1",
    "\N{HANGUL FILLER}=1",
    "\N{BRAILLE PATTERN BLANK}-1",
    "\N{FULLWIDTH EQUALS SIGN}1+1",
)
"""What people write as a reason; most of it is no accident."""


class Cashier:
    """Acts on one account. `patient`: days may pass in between, and nobody else is waiting."""

    def __init__(
        self, books: Books, office: Office, uid: str, *, patient: bool = False, held: Callable[[str], object] = len
    ) -> None:
        """`held` hears of the account while a reservation is open."""
        self._books, self._office, self.uid, self._patient, self._held = books, office, uid, patient, held
        self._world, self._kernel = books.world, books.world.kernel
        self._records = Records(self._world.documents.real)
        self._count = 0
        self._disputed = books.disputed.setdefault(uid, set())
        self._paid: dict[str, Act] = {}

    def habits(self) -> list[Callable[[], None]]:
        """All that it does."""
        return [
            self._wrong_refund,
            self._many_refunds,
            self._taken_back,
            self._dispute,
            self._dispute,
            self._spent_and_disputed,
            self._gift,
            self._debt,
        ]

    def works(self, times: int) -> None:
        """Some habits, one after another; with patience a gift, which only days bring to its end, among them."""
        self._books.surely(f"{self.uid} opens", lambda b: b.credits.account(self.uid))
        random = self._kernel.random
        for habit in [*random.sample(self.habits(), times - self._patient), *[self._gift] * self._patient]:
            habit()
            self._kernel.sleep(random.randrange(60_000_000))

    def _wrong_refund(self) -> None:
        """Somebody refunds the wrong amount, takes that back, and does it right."""
        charge = self._charged()
        if charge is None:
            return
        refund = self._refund(charge, self._part(charge.amount))
        if refund.entry:
            self._office.reverse(self.uid, refund.entry)
        self._refund(charge, self._part(charge.amount))
        self._refund(charge, charge.amount)
        if self._chance(0.5):
            self._office.reverse(self.uid, charge.entry)

    def _many_refunds(self) -> None:
        """Several people give the same charge back at once, and some of them reach one instance."""
        charge = self._charged()
        if charge is None:
            return
        shares = [self._kernel.random.choice((0.3, 0.4, 0.6)) for _ in range(4)]
        acts = [self._act("refund", charge.entry, int(charge.amount * share)) for share in shares]
        entry = self._entry(charge.entry)
        bodies = [partial(self._refunding, self._name("refund"), entry, act.amount) for act in acts]
        self._at_once(acts, bodies)
        if self._chance(0.3):
            self._office.reverse(self.uid, charge.entry)

    def _taken_back(self) -> None:
        """A payment goes back in parts, wrongly, and once more."""
        paid = self._pay()
        if paid is None:
            return
        payment = paid.about
        if self._chance(0.5):
            self._charge()
        first = self._claw(payment, self._part(paid.amount))
        if first.entry and self._chance(0.6):
            self._office.reverse(self.uid, first.entry)
        self._claw(payment, self._part(paid.amount))
        self._claw(payment, paid.amount)
        if self._chance(0.6):
            self._reverse_payment(paid)
        if (left := self._left(payment)) > 0:
            self._claw(payment, left)
        if self._chance(0.7):
            self._disputes(payment)

    def _dispute(self) -> None:
        """A dispute that may come before its deposit, and ends in one of five ways, or not yet."""
        payment = self._name("pay")
        early = self._chance(0.4)
        if early:
            self._disputes(payment)
        paid = self._pay(payment)
        if paid is None:
            return
        if not early:
            if self._chance(0.5):
                self._charge()
            self._disputes(payment)
        self._charge(whole=True)
        self._end_of_dispute(payment, paid)
        if self._chance(0.3):
            self._disputes(payment)

    def _end_of_dispute(self, payment: str, paid: Act) -> None:
        ends: tuple[Callable[[], object], ...] = (
            partial(self._disputes, payment, frozen=False),
            partial(self._claw, payment, paid.amount, unfreeze=True),
            partial(self._claw, payment, self._part(paid.amount), unfreeze=True),
            partial(self._claw, payment, paid.amount),
            partial(self._reverse_payment, paid),
            bool,
        )
        self._kernel.random.choice(ends)()

    def _spent_and_disputed(self) -> None:
        """What was spent before its payment is disputed comes back meanwhile."""
        paid = self._pay()
        charge = self._charge(whole=True)
        if paid is None or charge is None:
            return
        self._disputes(paid.about)
        self._refund(charge, charge.amount)
        self._charge(whole=True)
        if self._chance(0.5):
            self._disputes(paid.about, frozen=False)

    def _gift(self) -> None:
        """A gift that ends soon: a part is spent, comes back around its end, and somebody undoes the rest."""
        gift = self._give(DAY_US if self._patient else self._kernel.random.randrange(60_000_000, 200_000_000))
        if gift is None:
            return
        charge = self._charge() if self._chance(0.6) else None
        back_before = self._chance(0.5)
        if charge is not None and back_before:
            self._refund(charge, self._part(charge.amount))
        self._wait(240, days=2)
        if charge is not None and not back_before:
            self._refund(charge, self._part(charge.amount))
        ends = [one for one in self._entries() if one.kind == "expiry"]
        again = bool(ends) and self._chance(0.7)
        if again:
            self._office.reverse(self.uid, ends[-1].id)
        if again and self._patient:
            self._wait(240, days=9)
        self._office.reverse(self.uid, gift.entry)

    def _debt(self) -> None:
        """What was spent goes back to the payer, while a gift lies there and ends."""
        paid = self._pay()
        if paid is None:
            return
        self._charge(whole=True)
        self._give(DAY_US if self._patient else self._kernel.random.randrange(60_000_000, 200_000_000))
        self._claw(paid.about, paid.amount)
        self._wait(240, days=2)

    def _charged(self) -> Act | None:
        """A charge, after a payment if there is nothing to spend."""
        charge = self._charge()
        if charge is None and self._pay() is not None:
            charge = self._charge()
        return charge

    def _pay(self, payment: str = "") -> Act | None:
        payment = payment or self._name("pay")
        act = self._act("deposit", payment, self._kernel.random.randrange(2, 40) * _CREDIT)
        deposit = Deposit(payment, act.amount, "sim", Reference("payment", payment))
        if self._books.ask(act, lambda b: b.credits.post(self.uid, deposit).entry.id).entry:
            self._paid[payment] = act
            return act
        return None

    def _give(self, lasts_us: int) -> Act | None:
        key, random = self._name(GIFT), self._kernel.random
        act = self._act("gift", key, random.randrange(2, 20) * _CREDIT)
        act.ends_us = self._kernel.now_us + lasts_us
        reason = random.choice(REASONS)
        grant = Grant(key, act.amount, LotSource.PROMO, reason, Reference("campaign", reason), act.ends_us)
        return act if self._books.ask(act, lambda b: b.credits.post(self.uid, grant).entry.id).entry else None

    def _charge(self, *, whole: bool = False) -> Act | None:
        """Reserves up to an amount and charges what was reserved; None when there is nothing."""
        name, reference = self._name("work"), Reference("run", "x")
        most = 900 * _CREDIT if whole else self._kernel.random.randrange(1, 9) * _CREDIT
        act = self._act("charge", name, most)
        made = self._books.surely(
            f"{self.uid} reserves",
            lambda b: b.credits.reserve(self.uid, Reserve(name, most, 1, "api", reference, _HELD_US)),
        )
        if isinstance(made, Failure):
            self._nothing_there(made)
            return None
        self._held(self.uid)
        act.amount = made.amount
        settle = Settle(name, made.amount, reference)
        self._books.ask(act, partial(self._settled, settle))
        if act.entry:
            self._books.charged.setdefault(self.uid, {})[name] = act.entry
        return act if act.entry else None

    def _settled(self, settle: Settle, backend: Backend) -> str:
        entry = backend.credits.settle(self.uid, settle).entry
        if entry is None:
            raise Rejection("nothing was charged")
        return entry.id

    def _nothing_there(self, refusal: Failure) -> None:
        """A refusal of a reservation of anything at all: there is nothing but what is disputed, or ends."""
        sure = isinstance(refusal, InsufficientCredits)
        lots = [line for entry in self._entries() for line in entry.draft.lots]
        paid = {line.lot_id for line in lots if line.expires_at_us is None and line.payment_id not in self._disputed}
        there = sum(line.amount for line in lots if line.lot_id in paid)
        debt = sum(entry.draft.debt for entry in self._entries())
        if sure and there > 0 and not debt and not self._records.account(self.uid).reserved:
            self._books.found.append(f"{self.uid} may spend nothing, and has {there} that nobody disputes")

    def _refund(self, charge: Act, amount: int) -> Act:
        act = self._act("refund", charge.entry, amount)
        return self._books.ask(act, partial(self._refunding, self._name("refund"), self._entry(charge.entry), amount))

    def _refunding(self, key: str, entry: Entry, amount: int, backend: Backend) -> str:
        # Whoever refunds does not know what others gave back.
        reason = REASONS[len(key) * amount % len(REASONS)]
        refund = Refund(key, entry, amount, 0, reason, Reference("ticket", key))
        return backend.credits.post(self.uid, refund).entry.id

    def _claw(self, payment: str, amount: int, *, unfreeze: bool = False) -> Act:
        act = self._act("clawback", payment, amount)
        command = Clawback(
            self._name("claw"), payment, amount, "sim", "refund", Reference("payment", payment), unfreeze
        )
        self._books.ask(act, lambda b: b.credits.post(self.uid, command).entry.id)
        if act.entry and (unfreeze or self._left(payment) <= 0):
            self._disputed.discard(payment)
        return act

    def _disputes(self, payment: str, *, frozen: bool = True) -> None:
        told = self._books.surely(
            f"{self.uid} disputes", lambda b: b.credits.freeze_lots(self.uid, payment, frozen=frozen)
        )
        if isinstance(told, Failure):
            return
        if frozen and (payment not in self._paid or self._left(payment) > 0):
            self._disputed.add(payment)
        elif not frozen:
            self._disputed.discard(payment)

    def _reverse_payment(self, paid: Act) -> None:
        if self._office.reverse(self.uid, paid.entry):
            self._disputed.discard(paid.about)

    def _left(self, payment: str) -> int:
        """What a payment has still brought, by what was told of it."""
        amounts = {entry.id: entry.amount for entry in self._entries()}
        about = {act.entry for act in self._books.of(self.uid) if act.about == payment and act.entry}
        undone = {act.entry for act in self._books.of(self.uid) if act.about in about and act.way == "reversal"}
        return sum(amounts.get(id, 0) for id in about | undone)

    def _at_once(self, acts: list[Act], bodies: Sequence[Callable[[Backend], str]]) -> None:
        """All at the same instance at the same time; whoever is told nothing asks again later."""
        outcomes: dict[int, str | Failure] = {}

        def one(number: int, backend: Backend) -> None:
            try:
                outcomes[number] = bodies[number](backend)
            except Failure as failure:
                outcomes[number] = failure

        def all_of_them(backend: Backend) -> None:
            concurrency = backend.system.ports.concurrency
            for task in [concurrency.start("at once", partial(one, number, backend)) for number in range(len(bodies))]:
                task.join()

        self._world.request(f"{self.uid} at once", all_of_them)
        for act, body in zip(acts, bodies):
            self._books.ask(act, body)

    def _act(self, way: Way, about: str, amount: int) -> Act:
        return Act(self.uid, way, about, amount, self._books.sequence(self.uid), disputed=frozenset(self._disputed))

    def _wait(self, most_s: int, *, days: int = 0) -> None:
        """Lets time pass, with the sweep at its end where days pass."""
        if not (days and self._patient):
            self._kernel.sleep(self._kernel.random.randrange(1_000_000, most_s * 1_000_000))
            return
        self._kernel.sleep(days * DAY_US)
        self._world.sweep()
        self._kernel.sleep(60_000_000)

    def _entries(self) -> list[Entry]:
        return self._books.entries(self.uid)

    def _entry(self, id: str) -> Entry:
        return next(entry for entry in self._entries() if entry.id == id)

    def _part(self, amount: int) -> int:
        """All of it, or some."""
        share = self._kernel.random.choice((1.0, 1.0, 0.75, 0.5, 0.3))
        return max(1, int(amount * share))

    def _chance(self, probability: float) -> bool:
        return self._kernel.chance(probability)

    def _name(self, kind: str) -> str:
        self._count += 1
        late = "late" if self._patient else "till"
        return f"{kind}{late}-{self.uid}-{self._count}"
