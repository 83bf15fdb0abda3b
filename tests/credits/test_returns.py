"""Credits that come back: each state of a lot, and each way of returning (T-124). docs/decisions.md has the table."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.credits.core.account import MAX_DISPUTES, AccountStatus, LotSource, opened
from app.credits.core.commands import Adjust, Clawback, Command, FreezeLots, Grant, Refund, Reverse, SetStatus
from app.credits.core.decide import Rules, decide
from app.credits.core.entry import Entry, Kind, Reference
from app.credits.core.lots import RETURN_LASTS_US
from app.credits.core.rejections import NothingToReverse, PaymentNotDeposited, ReturnedAlready
from app.credits.ledger import document
from app.kit.errors import Rejection
from app.kit.money import credits
from app.kit.stores.documents import Replace
from support.credits_world import DAY, MESSAGE, CreditsWorld, deposit, promo, reserve, settle

STATES = ("open", "expired", "frozen", "spent", "clawed back", "in debt", "suspended")
WAYS = ("release", "refund", "reversal", "dispute won", "dispute lost")


@dataclass(frozen=True)
class After:
    """Whole credits after a return: all of them, what is owed, what can be spent now, what stays frozen."""

    balance: int
    debt: int = 0
    spendable: int = 0
    frozen: int = 0


TABLE: dict[tuple[str, str], After] = {
    ("open", "release"): After(90, spendable=90),
    ("open", "refund"): After(100, spendable=70),
    ("open", "reversal"): After(100, spendable=70),
    ("open", "dispute won"): After(90, spendable=60),
    ("open", "dispute lost"): After(-10, debt=40),
    ("expired", "release"): After(50, spendable=50),
    ("expired", "refund"): After(90, spendable=60),
    ("expired", "reversal"): After(90, spendable=60),
    ("expired", "dispute won"): After(80, spendable=50),
    ("expired", "dispute lost"): After(30),
    ("frozen", "release"): After(90, frozen=90),
    ("frozen", "refund"): After(100, frozen=100),
    ("frozen", "reversal"): After(100, frozen=100),
    ("frozen", "dispute won"): After(90, spendable=60),
    ("frozen", "dispute lost"): After(-10, debt=40),
    ("spent", "release"): After(30, spendable=30),
    ("spent", "refund"): After(10, spendable=10),
    ("spent", "reversal"): After(10, spendable=10),
    ("spent", "dispute won"): After(0),
    ("spent", "dispute lost"): After(-100, debt=100),
    ("clawed back", "release"): After(-10, debt=40),
    ("clawed back", "refund"): After(0, debt=30),
    ("clawed back", "reversal"): After(0, debt=30),
    ("clawed back", "dispute won"): After(-10, debt=40),
    ("clawed back", "dispute lost"): After(-10, debt=40),
    ("in debt", "release"): After(10, debt=20, spendable=10),
    ("in debt", "refund"): After(20, debt=10),
    ("in debt", "reversal"): After(20, debt=10),
    ("in debt", "dispute won"): After(10, debt=20),
    ("in debt", "dispute lost"): After(-90, debt=120),
    ("suspended", "release"): After(90),
    ("suspended", "refund"): After(100),
    ("suspended", "reversal"): After(100),
    ("suspended", "dispute won"): After(90),
    ("suspended", "dispute lost"): After(-10, debt=40),
}
"""A lot of 100 pays a charge of 10 and holds 30 for `r`. In "expired" it is a gift, beside 50 that were bought. A lost
dispute takes nothing of what was clawed back before.
"""


class TestEachCase:
    def test_is_in_the_table(self) -> None:
        assert set(TABLE) == {(state, way) for state in STATES for way in WAYS}

    @pytest.mark.parametrize(("state", "way"), sorted(TABLE))
    def test_gives_what_the_table_says_and_loses_nothing(self, state: str, way: str) -> None:
        """T-124"""
        world = CreditsWorld(bonus=0)
        charge = _bring_about(world, state, way)
        before = world.audit("alice")
        _return(world, way, charge, credits(50 if state == "expired" else 100))
        world.clock.advance(minutes=1)
        world.credits.sweep("alice")
        after = world.audit("alice")
        told = After(
            after.balance // credits(1),
            after.debt // credits(1),
            world.credits.reservable(after) // credits(1),
            sum(lot.remaining for lot in after.lots if lot.frozen) // credits(1),
        )
        assert told == TABLE[state, way]
        posted = sum(entry.amount for entry in world.entries("alice")[before.sequence :])
        assert after.balance - before.balance == posted


def _bring_about(world: CreditsWorld, state: str, way: str) -> Entry:
    """The account in that state, before anything returns; the charge of 10."""
    if state == "expired":
        world.credits.post("alice", promo("gift", credits(100), world.clock.now_us() + DAY))
    charge_of = credits(10)
    world.credits.post("alice", deposit("p", credits(50 if state == "expired" else 100)))
    world.credits.reserve("alice", reserve("c", charge_of))
    charge = world.credits.settle("alice", settle("c", charge_of)).entry
    assert charge is not None
    world.credits.reserve("alice", reserve("r", credits(30), minutes=5 * 24 * 60))
    match state:
        case "expired":
            world.clock.advance(minutes=2 * 24 * 60)
            world.credits.sweep("alice")
        case "frozen":
            world.credits.freeze_lots("alice", "p", frozen=True)
        case "spent":
            world.credits.reserve("alice", reserve("s", credits(60)))
            world.credits.settle("alice", settle("s", credits(60)))
            if way != "release":
                world.credits.settle("alice", settle("r", credits(30)))
        case "clawed back":
            world.credits.post("alice", _clawback("back", credits(100)))
        case "in debt":
            adjust = Adjust("a", -credits(80), "wrong", "root", "second", Reference("ticket", "t"))
            world.credits.post("alice", adjust)
        case "suspended":
            world.credits.set_status("alice", AccountStatus.SUSPENDED, "test")
    if way.startswith("dispute"):
        world.credits.freeze_lots("alice", "p", frozen=True)
    return charge


def _return(world: CreditsWorld, way: str, charge: Entry, bought: int) -> None:
    match way:
        case "release":
            world.credits.release("alice", "r", "test")
        case "refund":
            world.credits.post("alice", _refund("f", charge, -charge.amount))
        case "reversal":
            world.credits.post("alice", _reversal(charge))
        case "dispute won":
            world.credits.freeze_lots("alice", "p", frozen=False)
        case _:
            with contextlib.suppress(ReturnedAlready):
                world.credits.post("alice", _clawback("lost", bought, unfreeze=True))


def _spend(world: CreditsWorld, id: str, amount: int) -> Entry:
    world.credits.reserve("alice", reserve(id, amount))
    entry = world.credits.settle("alice", settle(id, amount)).entry
    assert entry is not None
    return entry


def _refund(key: str, charge: Entry, amount: int) -> Refund:
    return Refund(key, charge, amount, 0, "sorry", Reference("ticket", key))


def _reversal(entry: Entry) -> Reverse:
    return Reverse(entry, "wrong", "root", "second", Reference("entry", entry.id))


def _clawback(key: str, amount: int, *, unfreeze: bool = False) -> Clawback:
    return Clawback(key, "p", amount, "stripe", "refund", Reference("payment", "p"), unfreeze)


@pytest.fixture
def world() -> CreditsWorld:
    return CreditsWorld(bonus=0)


class TestOneCharge:
    """Of one charge no more comes back than it took, whoever asks in whatever way."""

    def test_gives_back_once_what_a_refund_and_a_reversal_ask_for(self, world: CreditsWorld) -> None:
        world.credits.post("alice", deposit("p", credits(100)))
        charge = _spend(world, "c", credits(10))
        world.credits.post("alice", _refund("f", charge, credits(4)))
        assert world.credits.post("alice", _reversal(charge)).entry.amount == credits(6)
        with pytest.raises(ReturnedAlready) as refused:
            world.credits.post("alice", _refund("g", charge, 1))
        assert refused.value.fields["left"] == "0"
        assert world.audit("alice").balance == credits(100)

    def test_gives_back_to_each_lot_what_it_paid(self, world: CreditsWorld) -> None:
        """A refund gave back first what was spent last, and the reversal after it gives back the rest."""
        world.credits.post("alice", promo("gift", credits(4), None))
        world.credits.post("alice", deposit("p", credits(100)))
        before = {lot.id: lot.remaining for lot in world.account("alice").lots}
        charge = _spend(world, "c", credits(10))
        world.credits.post("alice", _refund("f", charge, credits(6)))
        world.credits.post("alice", _reversal(charge))
        assert {lot.id: lot.remaining for lot in world.audit("alice").lots} == before

    def test_is_not_refunded_twice_under_two_keys(self, world: CreditsWorld) -> None:
        """The caller's own count says that nothing was returned before."""
        world.credits.post("alice", deposit("p", credits(100)))
        charge = _spend(world, "c", credits(10))
        world.credits.post("alice", _refund("f", charge, credits(7)))
        with pytest.raises(ReturnedAlready):
            world.credits.post("alice", _refund("g", charge, credits(7)))
        world.credits.post("alice", _refund("h", charge, credits(3)))
        with pytest.raises(NothingToReverse):
            world.credits.post("alice", _reversal(charge))
        assert world.audit("alice").balance == credits(100)

    def test_is_not_returned_twice_in_one_commit(self, world: CreditsWorld) -> None:
        world.credits.post("alice", deposit("p", credits(100)))
        charge = _spend(world, "c", credits(10))
        account, now = world.account("alice"), world.clock.now_us() + DAY
        asked: list[Command] = [_refund("f", charge, credits(8)), _refund("g", charge, credits(8)), _reversal(charge)]
        decision = decide(account, asked, now, Rules(credits(100)))
        assert [draft.amount for draft in decision.drafts] == [credits(8), credits(2)]
        assert isinstance(decision.outcomes[1], Rejection)

    def test_of_another_amount_or_reason_is_not_taken_for_it(self, world: CreditsWorld) -> None:
        world.credits.post("alice", deposit("p", credits(100)))
        first, second = _spend(world, "c", credits(10)), _spend(world, "d", credits(10))
        world.credits.post("alice", _refund("f", first, credits(10)))
        assert world.credits.post("alice", _refund("g", second, credits(10))).entry.amount == credits(10)


class TestAReversal:
    def test_of_a_gift_that_expired_makes_no_debt(self, world: CreditsWorld) -> None:
        gift = world.credits.post("alice", promo("k", credits(10), world.clock.now_us() + DAY)).entry
        _spend(world, "c", credits(4))
        world.clock.advance(minutes=2 * 24 * 60)
        world.credits.sweep("alice")
        assert world.credits.post("alice", _reversal(gift)).entry.amount == -credits(4)
        assert world.audit("alice").debt == credits(4)

    def test_of_a_purchase_takes_what_was_not_taken_back(self, world: CreditsWorld) -> None:
        bought = world.credits.post("alice", deposit("p", credits(10))).entry
        world.credits.post("alice", _clawback("back", credits(7)))
        world.credits.post("alice", _reversal(bought))
        assert (world.audit("alice").balance, world.account("alice").debt) == (0, 0)

    def test_of_an_expiry_gives_a_lot_that_lasts(self, world: CreditsWorld) -> None:
        world.credits.post("alice", promo("k", credits(10), world.clock.now_us() + DAY))
        world.clock.advance(minutes=2 * 24 * 60)
        expiry = world.credits.sweep("alice").entries[0]
        world.credits.post("alice", _reversal(expiry))
        world.clock.advance(minutes=6 * 24 * 60)
        world.credits.sweep("alice")
        assert world.audit("alice").balance == credits(10)
        world.clock.advance(minutes=2 * 24 * 60)
        world.credits.sweep("alice")
        assert world.audit("alice").balance == 0


class TestAPayment:
    """What it brought is taken back once, in whatever order and in however many parts."""

    @pytest.mark.parametrize("first", ["reversal", "clawback"])
    @pytest.mark.parametrize("second", ["reversal", "clawback"])
    def test_that_was_taken_back_is_not_taken_back_again(self, world: CreditsWorld, first: str, second: str) -> None:
        bought = world.credits.post("alice", deposit("p", credits(10))).entry
        ways: dict[str, Callable[[str], Reverse | Clawback]] = {
            "reversal": lambda _: _reversal(bought),
            "clawback": lambda key: _clawback(key, credits(10)),
        }
        world.credits.post("alice", ways[first]("a"))
        if (first, second) == ("reversal", "reversal"):
            assert world.credits.post("alice", ways[second]("b")).replayed
        else:
            with pytest.raises((NothingToReverse, ReturnedAlready)):
                world.credits.post("alice", ways[second]("b"))
        after = world.audit("alice")
        assert (after.balance, after.debt) == (0, 0)

    def test_is_taken_back_in_parts_up_to_what_is_left(self, world: CreditsWorld) -> None:
        world.credits.post("alice", deposit("p", credits(10)))
        world.credits.post("alice", _clawback("a", credits(4)))
        with pytest.raises(ReturnedAlready) as refused:
            world.credits.post("alice", _clawback("b", credits(7)))
        assert refused.value.fields["left"] == "6"
        world.credits.post("alice", _clawback("c", credits(6)))
        assert (world.audit("alice").balance, world.account("alice").debt) == (0, 0)

    def test_is_not_taken_back_twice_in_one_commit(self, world: CreditsWorld) -> None:
        asked: list[Command] = [deposit("p", 10), _clawback("a", 7), _clawback("b", 7), _clawback("c", 3)]
        decision = decide(opened("alice", 1, 0), asked, 2, Rules(1))
        assert [draft.amount for draft in decision.drafts] == [10, -7, -3]

    def test_that_brought_nothing_is_not_taken_back(self, world: CreditsWorld) -> None:
        world.credits.post("alice", deposit("other", credits(10)))
        with pytest.raises(PaymentNotDeposited):
            world.credits.post("alice", _clawback("a", credits(10)))

    @pytest.mark.parametrize("again", ["reversal", "clawback"])
    def test_whose_clawback_was_reversed_can_be_taken_back_once_more(self, world: CreditsWorld, again: str) -> None:
        bought = world.credits.post("alice", deposit("p", credits(10))).entry
        back = world.credits.post("alice", _clawback("a", credits(10))).entry
        world.credits.post("alice", _reversal(back))
        assert world.audit("alice").balance == credits(10)
        world.credits.post("alice", _reversal(bought) if again == "reversal" else _clawback("b", credits(10)))
        with pytest.raises(ReturnedAlready):
            world.credits.post("alice", _clawback("c", 1))
        assert (world.audit("alice").balance, world.account("alice").debt) == (0, 0)


class TestARefund:
    def test_that_was_reversed_leaves_room_for_the_right_one(self, world: CreditsWorld) -> None:
        world.credits.post("alice", deposit("p", credits(100)))
        charge = _spend(world, "c", credits(100))
        wrong = world.credits.post("alice", _refund("f", charge, credits(100))).entry
        world.credits.post("alice", _reversal(wrong))
        world.credits.post("alice", _refund("g", charge, credits(50)))
        assert world.credits.post("alice", _reversal(charge)).entry.amount == credits(50)
        with pytest.raises(ReturnedAlready):
            world.credits.post("alice", _refund("h", charge, 1))
        assert world.audit("alice").balance == credits(100)

    @pytest.mark.parametrize("days", [5, 30], ids=["into a lot of its own", "into the lot that paid"])
    def test_that_expired_is_not_taken_again(self, world: CreditsWorld, days: int) -> None:
        gift = world.credits.post("alice", promo("k", credits(100), world.clock.now_us() + days * DAY)).entry
        charge = _spend(world, "c", credits(100))
        refund = world.credits.post("alice", _refund("f", charge, credits(100))).entry
        world.clock.advance(minutes=31 * 24 * 60)
        world.credits.sweep("alice")
        with pytest.raises(NothingToReverse):
            world.credits.post("alice", _reversal(refund))
        if days == 30:
            with pytest.raises(NothingToReverse):
                world.credits.post("alice", _reversal(gift))
        assert (world.audit("alice").balance, world.account("alice").debt) == (0, 0)

    def test_that_expired_in_part_is_reversed_for_the_rest(self, world: CreditsWorld) -> None:
        world.credits.post("alice", promo("k", credits(100), world.clock.now_us() + 30 * DAY))
        charge = _spend(world, "c", credits(100))
        refund = world.credits.post("alice", _refund("f", charge, credits(100))).entry
        _spend(world, "d", credits(60))
        world.clock.advance(minutes=31 * 24 * 60)
        world.credits.sweep("alice")
        assert world.credits.post("alice", _reversal(refund)).entry.amount == -credits(60)
        with pytest.raises(ReturnedAlready):
            world.credits.post("alice", _refund("g", charge, credits(61)))
        world.credits.post("alice", _refund("h", charge, credits(60)))


class TestAnExpiry:
    @pytest.mark.parametrize(("expires_again", "taken"), [(False, 10), (True, 0)])
    def test_that_was_reversed_counts_no_more_unless_that_expired_too(
        self, world: CreditsWorld, expires_again: bool, taken: int
    ) -> None:
        gift = world.credits.post("alice", promo("k", credits(10), world.clock.now_us() + DAY)).entry
        world.clock.advance(minutes=2 * 24 * 60)
        expiry = world.credits.sweep("alice").entries[0]
        world.credits.post("alice", _reversal(expiry))
        if expires_again:
            world.clock.advance(minutes=8 * 24 * 60)
            world.credits.sweep("alice")
            with pytest.raises(NothingToReverse):
                world.credits.post("alice", _reversal(gift))
        else:
            assert world.credits.post("alice", _reversal(gift)).entry.amount == -credits(taken)
        assert world.audit("alice").balance == 0

    @pytest.mark.parametrize("what", ["gift", "refund"])
    def test_that_was_reversed_left_credits_which_a_reversal_takes_and_which_expire_no_more(
        self, world: CreditsWorld, what: str
    ) -> None:
        """Who buys afterwards keeps all of it: what was undone once does not expire as well."""
        given = world.credits.post("alice", promo("k", credits(10), world.clock.now_us() + DAY)).entry
        if what == "refund":
            charge = _spend(world, "c", credits(10))
            given = world.credits.post("alice", _refund("f", charge, credits(10))).entry
        for _ in range(2):
            world.clock.advance(minutes=8 * 24 * 60)
            expiry = world.credits.sweep("alice").entries[0]
            world.credits.post("alice", _reversal(expiry))
        assert world.credits.post("alice", _reversal(given)).entry.amount == -credits(10)
        assert (world.account("alice").debt, world.audit("alice").lots) == (0, ())
        world.credits.post("alice", deposit("p", credits(30)))
        world.clock.advance(minutes=8 * 24 * 60)
        world.credits.sweep("alice")
        assert world.audit("alice").balance == credits(30)


class TestAReturnedLot:
    @pytest.mark.parametrize(("left_us", "lasts_us"), [(DAY, RETURN_LASTS_US), (30 * DAY, 30 * DAY)])
    def test_lasts_a_week_at_least_and_as_long_as_its_own(
        self, world: CreditsWorld, left_us: int, lasts_us: int
    ) -> None:
        made_us = world.clock.now_us()
        world.credits.post("alice", promo("k", credits(10), made_us + left_us))
        charge = _spend(world, "c", credits(10))
        entry = world.credits.post("alice", _refund("f", charge, credits(10))).entry
        lot = world.audit("alice").lots[0]
        since = entry.draft.at_us if lasts_us == RETURN_LASTS_US else made_us
        assert lot.expires_at_us == since + lasts_us


class TestDebt:
    def test_is_paid_out_of_credits_before_they_expire(self, world: CreditsWorld) -> None:
        world.credits.post("alice", promo("k", credits(50), world.clock.now_us() + DAY))
        world.credits.post("alice", deposit("p", credits(30)))
        world.credits.reserve("alice", reserve("r", credits(50)))
        world.credits.reserve("alice", reserve("c", credits(30)))
        world.credits.settle("alice", settle("c", credits(30)))
        world.credits.post("alice", _clawback("back", credits(30)))
        world.credits.release("alice", "r", "test")
        assert (world.account("alice").balance, world.account("alice").debt) == (credits(20), credits(30))
        world.clock.advance(minutes=2 * 24 * 60)
        expiry = world.credits.sweep("alice").entries[0]
        assert (expiry.amount, expiry.draft.debt) == (-credits(20), -credits(30))
        after = world.audit("alice")
        assert (after.balance, after.debt, after.lots) == (0, 0, ())


class TestADispute:
    def test_that_comes_before_its_deposit_holds_once_that_comes(self, world: CreditsWorld) -> None:
        """T-62, T-68"""
        world.credits.account("alice")
        world.credits.freeze_lots("alice", "p", frozen=True)
        world.credits.post("alice", deposit("p", credits(100)))
        assert world.credits.available(world.audit("alice")) == 0
        world.credits.freeze_lots("alice", "p", frozen=False)
        assert world.credits.available(world.audit("alice")) == credits(100)

    def test_keeps_what_comes_back_to_a_lot_that_was_used_up(self, world: CreditsWorld) -> None:
        world.credits.post("alice", deposit("p", credits(10)))
        charge = _spend(world, "c", credits(10))
        world.credits.freeze_lots("alice", "p", frozen=True)
        world.credits.post("alice", _refund("f", charge, credits(10)))
        assert world.credits.available(world.audit("alice")) == 0
        world.credits.post("alice", _clawback("lost", credits(4), unfreeze=True))
        assert world.credits.available(world.audit("alice")) == credits(6)
        assert world.account("alice").disputes == ()

    def test_of_an_account_written_before_disputes_were_kept_still_holds(self, world: CreditsWorld) -> None:
        world.credits.post("alice", deposit("p", credits(100)))
        world.credits.freeze_lots("alice", "p", frozen=True)
        stored = world.documents.get(document.account_path("alice"))
        assert stored is not None
        old = {name: value for name, value in stored.fields.items() if name != "disputes"}
        world.documents.commit([Replace(stored.path, old)])
        world.instance().post("alice", promo("k", 1, None))
        assert world.account("alice").disputes == ("p",)

    @pytest.mark.parametrize("last", ["clawback", "reversal", "dispute lost"])
    def test_ends_when_nothing_of_its_payment_is_left(self, world: CreditsWorld, last: str) -> None:
        bought = world.credits.post("alice", deposit("p", credits(10))).entry
        world.credits.freeze_lots("alice", "p", frozen=True)
        world.credits.post("alice", _clawback("a", credits(4)))
        assert world.account("alice").disputes == ("p",)
        rest = _reversal(bought) if last == "reversal" else _clawback("b", credits(6), unfreeze=last != "clawback")
        world.credits.post("alice", rest)
        assert world.account("alice").disputes == ()
        world.credits.freeze_lots("alice", "p", frozen=True)
        assert world.audit("alice").disputes == ()

    @pytest.mark.parametrize("status", AccountStatus)
    def test_of_which_the_account_cannot_remember_more_freezes_the_account(self, status: AccountStatus) -> None:
        many: list[Command] = [FreezeLots(f"p{number}", frozen=True) for number in [*range(MAX_DISPUTES), 0]]
        paid = decide(opened("alice", 1, 0), [deposit("last", 10)], 2, Rules(1)).account
        full = decide(paid, [*many, SetStatus(status, "test")], 3, Rules(1)).account
        assert full.status is status
        decision = decide(full, [FreezeLots("last", frozen=True)], 4, Rules(1))
        frozen = status is AccountStatus.ACTIVE
        assert decision.account.status is (AccountStatus.FROZEN if frozen else status)
        assert [event.name for event in decision.events] == ["AccountStatusChanged"] * frozen
        assert decision.account.available(5) == 0
        thawed = decide(decision.account, [FreezeLots("last", frozen=False)], 6, Rules(1)).account
        assert thawed.available(7) == 10


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(["refund", "reverse"]), st.integers(1, 12)), max_size=8), st.data())
def test_the_returns_of_a_charge_never_exceed_it(asked: list[tuple[str, int]], data: st.DataObject) -> None:
    world = CreditsWorld(bonus=0)
    days = data.draw(st.integers(1, 20))
    world.credits.post("alice", Grant("g", 7, LotSource.BONUS, "test", MESSAGE, world.clock.now_us() + days * DAY))
    world.credits.post("alice", deposit("p", 5))
    charge, left = _spend(world, "c", 12), 12
    for number, (way, amount) in enumerate(asked):
        world.clock.advance(minutes=data.draw(st.integers(0, 4)) * 24 * 60)
        part = left if way == "reverse" else amount
        command = _reversal(charge) if way == "reverse" else _refund(f"f{number}", charge, amount)
        if any(entry.key == command.key for entry in world.entries("alice")):
            assert world.instance().post("alice", command).replayed
        elif 0 < part <= left:
            assert world.instance().post("alice", command).entry.amount == part
            left -= part
        else:
            with pytest.raises((ReturnedAlready, NothingToReverse)):
                world.instance().post("alice", command)
    world.audit("alice")
    back = [entry.amount for entry in world.entries("alice") if entry.kind in (Kind.REFUND, Kind.REVERSAL)]
    assert sum(back) == 12 - left
