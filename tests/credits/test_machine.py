"""The core and the store against a model, by Hypothesis: whatever is asked in whatever order, the money adds up."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.credits.core.account import Account, AccountStatus, LotSource, check, opened
from app.credits.core.commands import (
    Adjust,
    Clawback,
    Command,
    Deposit,
    Extend,
    FreezeLots,
    Grant,
    Refund,
    Release,
    Reserve,
    Reverse,
    SetStatus,
    Settle,
    SweepAccount,
)
from app.credits.core.decide import Rules, decide
from app.credits.core.entry import Entry, EntryDraft, Kind, Reference, seal
from app.credits.core.returns import undone
from app.credits.corrections import fold
from app.credits.proofs.signing import KeyRing, Signer, thumbprint
from app.credits.proofs.verification import Link, verify_chain
from app.kit.errors import Conflict, Rejection
from app.kit.stores.documents import Write
from support.credits_world import DAY, MESSAGE, MINUTE, SEED, CreditsWorld, deposit, promo, reserve, settle
from support.memory import MemoryDocuments

AMOUNTS = st.integers(1, 1000)
RULES = Rules(max_reservation=1500)
SIGNER = Signer(SEED)
KEYS = KeyRing({thumbprint(SIGNER.public): SIGNER.public})


@dataclass
class Books:
    """The model: what should be true, in the simplest form."""

    posted: int = 0
    open: dict[str, int] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    debt: int = 0
    undone: dict[str, int] = field(default_factory=dict)
    """How much of each entry refunds, clawbacks and reversals undid, less what reversals of those put right again."""
    undoes: dict[str, str] = field(default_factory=dict)
    """Which entry a refund or a clawback undoes."""
    bought: dict[str, str] = field(default_factory=dict)
    """The entry that credited each payment."""
    disputes: set[str] = field(default_factory=set)


class CoreMachine(RuleBasedStateMachine):
    """Batches of commands on one account, with time passing; T-32, T-39, T-40, T-48, T-67, T-68."""

    @initialize()
    def start(self) -> None:
        self.now = 1_800_000_000_000_000
        self.account: Account = opened("alice", self.now, 300)
        self.entries: list[Entry] = []
        self.books = Books()
        self.serial = 0

    def fresh(self, kind: str) -> str:
        self.serial += 1
        return f"{kind}{self.serial}"

    def decide(self, commands: Sequence[Command]) -> None:
        before = self.account
        self.now = max(self.now, before.updated_at_us + 1)
        decision = decide(before, commands, self.now, RULES)
        sealed = seal(decision.drafts, before.head_hash, SIGNER)
        self.entries.extend(sealed)
        head = sealed[-1].hash if sealed else before.head_hash
        self.account = replace(decision.account, head_hash=head)
        assert len(decision.outcomes) == len(commands)
        for command, outcome in zip(commands, decision.outcomes):
            if isinstance(outcome, Rejection):
                continue
            self.keep(command, outcome.drafts, outcome.replayed)
        for draft in decision.drafts:
            assert draft.key not in self.books.keys, "each key has one effect at most"
            self.books.keys.add(draft.key)
            self.books.posted += draft.amount
            self.books.debt += draft.debt
            if draft.kind is Kind.EXPIRY:
                assert draft.amount == 0 or self.books.debt == 0, "what expires pays debt first"

    def keep(self, command: Command, drafts: tuple[EntryDraft, ...], replayed: bool) -> None:
        match command:
            case Reserve(id=id) if not replayed:
                assert id not in self.books.closed, "a resolved reservation never opens again"
                self.books.open[id] = 1
            case Settle(reservation_id=id) | Release(reservation_id=id) if not replayed:
                assert id not in self.books.closed, "exactly one resolution per reservation"
                self.books.closed.add(id)
                self.books.open.pop(id, None)
            case _:
                self.keep_returns(command, drafts)

    def keep_returns(self, command: Command, drafts: tuple[EntryDraft, ...]) -> None:
        match command:
            case Deposit(payment_id=id):
                self.books.bought[id] = drafts[0].id
            case Refund(charge=entry):
                self.undo(drafts[0], entry.id)
            case Reverse(entry=entry):
                self.undo(drafts[0], entry.id)
                if entry.kind is Kind.DEPOSIT:
                    self.books.disputes.discard(entry.draft.reference.id)
            case Clawback(payment_id=id, unfreeze=thaws):
                self.undo(drafts[0], self.books.bought[id])
                if thaws or self.gone(id):
                    self.books.disputes.discard(id)
            case FreezeLots(payment_id=id, frozen=False):
                self.books.disputes.discard(id)
            case FreezeLots(payment_id=id, frozen=True) if not self.gone(id):
                self.books.disputes.add(id)
            case _:
                pass

    def undo(self, draft: EntryDraft, entry: str) -> None:
        """An entry undoes another; what that one had undone counts no more, as far as it is undone itself."""
        books = self.books
        books.undone[entry] = books.undone.get(entry, 0) + abs(draft.amount)
        if (first := books.undoes.get(entry)) is not None:
            books.undone[first] -= abs(draft.amount)
        if draft.kind is not Kind.REVERSAL:
            books.undoes[draft.id] = entry

    def gone(self, payment_id: str) -> bool:
        """Whether nothing is left of what a payment bought."""
        bought = [entry for entry in self.entries if entry.id == self.books.bought.get(payment_id)]
        return any(self.books.undone.get(entry.id, 0) == entry.amount for entry in bought)

    def later(self) -> tuple[EntryDraft, ...]:
        """All entries: the store finds those among them that matter."""
        return tuple(entry.draft for entry in self.entries)

    def bought(self, payment_id: str) -> EntryDraft | None:
        """What a payment bought, as the store finds it."""
        return next((draft for draft in self.later() if draft.id == self.books.bought.get(payment_id)), None)

    def some_reservation(self, data: st.DataObject) -> str:
        known = sorted({*self.books.open, *list(self.books.closed)[-5:], "never"})
        return str(data.draw(st.sampled_from(known)))

    def draw_command(self, data: st.DataObject) -> Command:
        kind = data.draw(
            st.sampled_from(["reserve"] * 4 + ["settle"] * 4 + ["release", "extend", "gift", "pay", "sweep"])
        )
        amount = data.draw(AMOUNTS)
        match kind:
            case "reserve":
                at_least = data.draw(st.integers(1, amount))
                id = self.fresh("r") if data.draw(st.integers(0, 5)) else self.some_reservation(data)
                return Reserve(id, amount, at_least, "test", MESSAGE, data.draw(st.integers(1, 40)) * MINUTE)
            case "settle":
                return settle(self.some_reservation(data), data.draw(st.integers(0, 1200)))
            case "release":
                return Release(self.some_reservation(data), "test")
            case "extend":
                return Extend(self.some_reservation(data), MINUTE, data.draw(st.integers(0, 1200)))
            case "gift":
                expires = data.draw(st.none() | st.integers(1, 40 * 24 * 60).map(lambda m: self.now + m * MINUTE))
                source = data.draw(st.sampled_from([LotSource.BONUS, LotSource.PROMO]))
                return Grant(self.fresh("g"), amount, source, "test", MESSAGE, expires)
            case "pay":
                return deposit(self.fresh("p"), amount)
            case _:
                return SweepAccount()

    @rule(data=st.data())
    def one(self, data: st.DataObject) -> None:
        self.decide([self.draw_command(data)])

    @rule(data=st.data(), count=st.integers(2, 6))
    def several_in_one_commit(self, data: st.DataObject, count: int) -> None:
        self.decide([self.draw_command(data) for _ in range(count)])

    @rule(minutes=st.integers(1, 50_000))
    def time_passes(self, minutes: int) -> None:
        self.now += minutes * MINUTE

    @precondition(lambda self: any(entry.kind is Kind.DEPOSIT for entry in self.entries))
    @rule(data=st.data(), amount=AMOUNTS, thaw=st.booleans())
    def money_goes_back(self, data: st.DataObject, amount: int, thaw: bool) -> None:
        paid = [entry for entry in self.entries if entry.kind is Kind.DEPOSIT]
        bought = data.draw(st.sampled_from(paid))
        payment = bought.draft.reference.id
        part = bought.amount if data.draw(st.booleans()) else min(amount, bought.amount)
        key, reference = self.fresh("c"), Reference("payment", payment)
        back = Clawback(key, payment, part, "stripe", "refund", reference, thaw, bought.draft, self.later())
        self.decide([back])

    @rule(data=st.data(), frozen=st.booleans())
    def a_dispute(self, data: st.DataObject, frozen: bool) -> None:
        paid = [entry.draft.reference.id for entry in self.entries if entry.kind is Kind.DEPOSIT]
        coming = [f"p{self.serial + number}" for number in (1, 2)]
        payment = data.draw(st.sampled_from([*paid, *coming]))
        self.decide([FreezeLots(payment, frozen, self.bought(payment), self.later())])

    @precondition(lambda self: any(entry.kind is Kind.SETTLE for entry in self.entries))
    @rule(data=st.data())
    def a_charge_is_refunded(self, data: st.DataObject) -> None:
        charge = data.draw(st.sampled_from([entry for entry in self.entries if entry.kind is Kind.SETTLE]))
        later = self.later()
        assert undone(charge.draft, later) == self.books.undone.get(charge.id, 0)
        parts = data.draw(st.lists(st.integers(1, -charge.amount), min_size=1, max_size=3))
        reference = Reference("ticket", "t")
        self.decide([Refund(self.fresh("f"), charge, part, 0, "test", reference, later=later) for part in parts])

    @rule(amount=st.integers(-500, 500).filter(bool))
    def an_adjustment(self, amount: int) -> None:
        self.decide([Adjust(self.fresh("a"), amount, "test", "root", "second", Reference("ticket", "t"))])

    @precondition(lambda self: bool(self.entries))
    @rule(data=st.data())
    def a_reversal(self, data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from(sorted({entry.kind for entry in self.entries})))
        entry = data.draw(st.sampled_from([entry for entry in self.entries if entry.kind is kind][-8:]))
        if f"reversal:{entry.id}" not in self.books.keys:
            reference = Reference("entry", entry.id)
            self.decide([Reverse(entry, "test", "root", "second", reference, later=self.later())])

    @rule(status=st.sampled_from(AccountStatus))
    def a_status(self, status: AccountStatus) -> None:
        self.decide([SetStatus(status, "test")])
        self.decide([SetStatus(AccountStatus.ACTIVE, "test")])

    @invariant()
    def everything_adds_up(self) -> None:
        check(self.account)
        assert self.account.balance == self.books.posted
        assert self.account.debt == self.books.debt
        assert self.account.available(self.now) >= 0
        assert all(lot.frozen == (lot.payment_id in self.books.disputes) for lot in self.account.lots)
        for entry in self.entries[-6:]:
            assert sum(leg.amount for leg in entry.draft.legs) == 0

    @invariant()
    def nothing_is_undone_beyond_itself(self) -> None:
        """Whatever undoes what in whatever order: nobody owes what they did not spend, or has what nobody gave."""
        spent = given = lapsed = 0
        kinds = {entry.sequence: entry.draft for entry in self.entries}
        for entry in self.entries:
            undone = self.books.undone.get(entry.id, 0)
            assert 0 <= undone <= abs(entry.amount)
            if entry.kind is Kind.SETTLE or (entry.kind is Kind.ADJUST and entry.amount < 0):
                spent += -entry.amount - undone
            elif entry.kind in (Kind.DEPOSIT, Kind.GRANT, Kind.ADJUST):
                given += entry.amount
            elif entry.kind is Kind.EXPIRY and (lot := entry.draft.reference.id).endswith("_returned"):
                # What came back of a charge and expired in a lot of its own was given and left unused.
                back = kinds[int(lot.split("_")[1])]
                lapsed += -entry.amount if back.counterpart == "platform:revenue" else 0
        assert -(spent + lapsed) <= self.account.balance <= given

    @invariant()
    def entries_alone_give_the_account(self) -> None:
        assert fold.comparable(fold.fold(self.entries)) == fold.comparable(fold.derived(self.account))

    def teardown(self) -> None:
        if hasattr(self, "entries"):
            stored = [entry.fields() for entry in self.entries]
            assert verify_chain(stored, KEYS, Link("alice")).valid
            self.now += 60 * DAY
            self.decide([SweepAccount()])
            assert self.account.reserved == 0, "nothing stays reserved after the sweep"
            assert not any(lot.expired(self.now) for lot in self.account.lots), "nothing expired lives on"


class StoreMachine(RuleBasedStateMachine):
    """Two instances on one store that loses commits, dies at them, and repeats what it was asked; T-7, T-38, T-43."""

    @initialize()
    def start(self) -> None:
        self.store = MemoryDocuments()
        self.world = CreditsWorld(self.store, bonus=0)
        self.instances = [self.world.credits, self.world.instance()]
        self.fate: list[str] = []
        self.store.before_commit.append(self.before)
        self.store.after_commit.append(self.after)
        self.reserved: dict[str, int] = {}
        self.paid: set[str] = set()
        self.charges: dict[str, Entry] = {}
        """The charge that each correction gives back."""
        self.serial = 0
        self.instances[0].account("alice")

    def before(self, _: Sequence[Write]) -> None:
        if self.fate and self.fate[0] != "crash after":
            fate = self.fate.pop(0)
            if fate == "lose":
                raise Conflict("another was faster")
            if fate == "crash before":
                raise Crash

    def after(self, _: object) -> None:
        if self.fate and self.fate.pop(0) == "crash after":
            raise Crash

    def ask(self, data: st.DataObject, times: int, command: str, id: str, amount: int) -> None:
        """Repeats a request through any instance until it is answered, as a client with retries does."""
        self.fate = data.draw(st.lists(st.sampled_from(["ok", "lose", "crash before", "crash after"]), max_size=3))
        for _ in range(times):
            instance = data.draw(st.sampled_from(self.instances))
            while True:
                try:
                    match command:
                        case "reserve":
                            instance.reserve("alice", reserve(id, amount))
                        case "settle":
                            instance.settle("alice", settle(id, amount))
                        case "release":
                            instance.release("alice", id, "test")
                        case "refund":
                            instance.post("alice", Refund(id, self.charges[id], amount, 0, "test", MESSAGE))
                        case "reverse":
                            instance.post("alice", Reverse(self.charges[id], "test", "root", "second", MESSAGE))
                        case _:
                            instance.post("alice", deposit(id, amount))
                except Crash:
                    continue
                except Rejection:
                    pass
                break
        self.fate = []

    @rule(data=st.data(), amount=AMOUNTS, times=st.integers(1, 3))
    def pay(self, data: st.DataObject, amount: int, times: int) -> None:
        self.serial += 1
        self.ask(data, times, "deposit", f"p{self.serial}", amount)
        assert sum(entry.key == f"deposit:p{self.serial}" for entry in self.world.entries("alice")) == 1

    @rule(data=st.data(), amount=AMOUNTS, times=st.integers(1, 3))
    def hold(self, data: st.DataObject, amount: int, times: int) -> None:
        self.serial += 1
        self.reserved[f"r{self.serial}"] = amount
        self.ask(data, times, "reserve", f"r{self.serial}", amount)

    @precondition(lambda self: bool(self.reserved))
    @rule(data=st.data(), amount=AMOUNTS, times=st.integers(1, 3), how=st.sampled_from(["settle", "release"]))
    def resolve(self, data: st.DataObject, amount: int, times: int, how: str) -> None:
        id = data.draw(st.sampled_from(sorted(self.reserved)))
        self.ask(data, times, how, id, amount)
        assert self.world.account("alice").reservation(id) is None

    @precondition(lambda self: any(entry.kind is Kind.SETTLE for entry in self.world.entries("alice")))
    @rule(data=st.data(), times=st.integers(1, 3), how=st.sampled_from(["refund", "reverse"]))
    def give_back(self, data: st.DataObject, times: int, how: str) -> None:
        charge = data.draw(st.sampled_from([x for x in self.world.entries("alice") if x.kind is Kind.SETTLE]))
        self.serial += 1
        self.charges[f"f{self.serial}"] = charge
        self.ask(data, times, how, f"f{self.serial}", data.draw(st.integers(1, -charge.amount)))
        back = [x for x in self.world.entries("alice") if x.key in self.charges and self.charges[x.key] == charge]
        reversal = [x for x in self.world.entries("alice") if x.key == f"reversal:{charge.id}"]
        assert sum(entry.amount for entry in (*back, *reversal)) <= -charge.amount

    @rule(minutes=st.integers(1, 45))
    def time_passes(self, minutes: int) -> None:
        self.world.clock.advance(minutes=minutes)

    @rule(instance=st.integers(0, 1))
    def sweep(self, instance: int) -> None:
        self.instances[instance].expire_due()

    @invariant()
    def the_stored_account_is_what_its_entries_say(self) -> None:
        if not hasattr(self, "world"):
            return
        account = self.world.audit("alice")
        assert account.balance >= 0
        assert fold.comparable(fold.fold(self.world.entries("alice"))) == fold.comparable(fold.derived(account))


class Crash(Exception):
    """The process dies here."""


TestCore = CoreMachine.TestCase
TestCore.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=50, stateful_step_count=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("expires_in_days", [1, 8, 40])
def test_lots_that_expire_are_announced_before(expires_in_days: int) -> None:
    """T-49: 30, 7 and 1 days before, once each, and never for paid credits."""
    now = 1_800_000_000_000_000
    gift = promo("k", 100, now + expires_in_days * DAY)
    account = decide(opened("alice", now, 0), [gift, deposit("p", 50)], now, RULES).account
    told = []
    for day in range(expires_in_days + 2):
        decision = decide(account, [SweepAccount()], now + day * DAY + 1 + day, RULES)
        account = decision.account
        told += [(event.name, event.data.get("days")) for event in decision.events if event.name != "BalanceDepleted"]
    notices = [days for days in (30, 7, 1) if days <= expires_in_days]
    if expires_in_days == 8:
        notices = [30, 7, 1]
    assert [days for name, days in told if name == "LotExpiring"] == notices
    assert [name for name, _ in told if name == "CreditsExpired"] == ["CreditsExpired"]
    assert account.balance == 50
