"""The use cases of credits, on a store in memory."""

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.credits.core.account import RECENT, AccountStatus, ReservationState
from app.credits.core.commands import Adjust, Clawback, Extend, Outcome, Reserved, Settle, Settled
from app.credits.core.entry import Kind, Reference
from app.credits.core.rejections import (
    AccountNotActive,
    BalanceTooLarge,
    InsufficientCredits,
    ReservationExpired,
    ReservationReleased,
    ReservationSettled,
    ReservationTooLarge,
    ReservationUnknown,
)
from app.credits.ledger import document
from app.credits.ledger.step import Participant
from app.kit.errors import AlreadyExists, Conflict, InvariantViolation, KeyReused, Rejection
from app.kit.money import MAX_MICRO, credits
from app.kit.stores.documents import Create, Document, Merge, Replace, Value, Write, as_map, list_field
from support.credits_world import DAY, MESSAGE, CreditsWorld, deposit, promo, reserve, settle
from support.memory import MemoryDocuments

BONUS = credits(1000)


class TestFirstTouch:
    def test_opens_the_account_once_with_the_welcome_bonus(self, world: CreditsWorld) -> None:
        first, second = world.credits.account("alice"), world.credits.account("alice")
        assert first == second
        assert first.balance == BONUS
        assert [entry.kind for entry in world.entries("alice")] == [Kind.GRANT]

    @pytest.mark.parametrize("door", ["account", "reserve", "deposit", "sweep", "threshold", "status"])
    def test_is_the_same_through_every_door(self, world: CreditsWorld, door: str) -> None:
        """T-36: no entry point makes an account without its bonus."""
        touch: dict[str, Callable[[], object]] = {
            "account": lambda: world.credits.account("alice"),
            "reserve": lambda: world.credits.reserve("alice", reserve("r", credits(1))),
            "deposit": lambda: world.credits.post("alice", deposit("p", credits(1))),
            "sweep": lambda: world.credits.sweep("alice"),
            "threshold": lambda: world.credits.set_threshold("alice", credits(3)),
            "status": lambda: world.credits.set_status("alice", AccountStatus.FROZEN, "test"),
        }
        touch[door]()
        assert world.entries("alice")[0].key == "welcome"
        assert world.entries("alice")[0].amount == BONUS
        world.audit("alice")

    def test_by_many_at_once_opens_one_account(self, world: CreditsWorld) -> None:
        """T-33: there is no document to lock yet, and still one of them wins."""
        with ThreadPoolExecutor(20) as pool:
            sequences = set(pool.map(lambda _: world.credits.account("alice").sequence, range(100)))
        assert sequences == {1}
        world.audit("alice")

    def test_when_it_is_refused_opens_nothing_half(self, world: CreditsWorld) -> None:
        with pytest.raises(InsufficientCredits):
            world.credits.reserve("alice", reserve("r", credits(1000), credits(1000)))
            world.credits.reserve("alice", reserve("s", credits(1), credits(1)))
        world.audit("alice")


class TestReserving:
    def test_sets_credits_aside_without_posting(self, world: CreditsWorld) -> None:
        """T-28: posted, held and available are told apart."""
        reservation = world.credits.reserve("alice", reserve("r", credits(5)))
        account = world.audit("alice")
        assert (account.balance, account.reserved) == (BONUS, credits(5))
        assert world.credits.available(account) == BONUS - credits(5)
        assert reservation.amount == credits(5)

    def test_takes_what_is_there_when_that_is_enough(self, world: CreditsWorld) -> None:
        world.credits.reserve("alice", reserve("r", credits(990)))
        assert world.credits.reserve("alice", reserve("s", credits(50), credits(10))).amount == credits(10)

    def test_never_takes_more_than_the_cap(self, world: CreditsWorld) -> None:
        world.credits.post("alice", deposit("p", credits(5000)))
        assert world.credits.reserve("alice", reserve("r", credits(3000), credits(1))).amount == credits(1000)
        with pytest.raises(ReservationTooLarge):
            world.credits.reserve("alice", reserve("s", credits(1001)))

    def test_refuses_with_the_numbers_that_a_client_shows(self, world: CreditsWorld) -> None:
        world.credits.reserve("alice", reserve("r", credits(999)))
        with pytest.raises(InsufficientCredits) as refused:
            world.credits.reserve("alice", reserve("s", credits(3)))
        told = refused.value.fields
        assert (told["required"], told["available"], told["shortfall"]) == ("3", "1", "2")

    def test_again_answers_the_same_and_writes_nothing(self, world: CreditsWorld) -> None:
        first = world.credits.reserve("alice", reserve("r", credits(5)))
        writes = _writes(world)
        assert world.credits.reserve("alice", reserve("r", credits(5))) == first
        assert _writes(world) == writes

    def test_again_with_another_input_is_refused(self, world: CreditsWorld) -> None:
        world.credits.reserve("alice", reserve("r", credits(5)))
        with pytest.raises(KeyReused):
            world.credits.reserve("alice", reserve("r", credits(6)))

    def test_frees_what_is_overdue_first(self, world: CreditsWorld) -> None:
        world.credits.reserve("alice", reserve("r", credits(1000)))
        world.clock.advance(minutes=31)
        world.credits.reserve("alice", reserve("s", credits(1000)))
        with pytest.raises(ReservationExpired):
            world.credits.settle("alice", settle("r", 1))

    @pytest.mark.parametrize("status", [AccountStatus.FROZEN, AccountStatus.SUSPENDED, AccountStatus.CLOSED])
    def test_is_refused_unless_the_account_is_active(self, world: CreditsWorld, status: AccountStatus) -> None:
        world.credits.set_status("alice", status, "test")
        with pytest.raises(AccountNotActive):
            world.credits.reserve("alice", reserve("r", credits(5)))


class TestResolving:
    def test_a_settlement_charges_what_was_used_and_returns_the_rest(self, world: CreditsWorld) -> None:
        world.credits.reserve("alice", reserve("r", credits(5)))
        settled = world.credits.settle("alice", settle("r", 1_234_567))
        assert settled.entry is not None
        assert settled.entry.amount == -1_234_567
        assert settled.entry.draft.usage == {"input_tokens": 5, "output_tokens": 7}
        account = world.audit("alice")
        assert (account.balance, account.reserved) == (BONUS - 1_234_567, 0)

    def test_a_settlement_never_charges_more_than_was_reserved(self, world: CreditsWorld) -> None:
        """T-2"""
        world.credits.reserve("alice", reserve("r", credits(5)))
        assert world.credits.settle("alice", settle("r", credits(6))).reservation.captured == credits(5)
        assert world.audit("alice").balance == BONUS - credits(5)

    def test_a_settlement_of_nothing_is_a_release_without_an_entry(self, world: CreditsWorld) -> None:
        """T-3"""
        world.credits.reserve("alice", reserve("r", credits(5)))
        settled = world.credits.settle("alice", settle("r", 0))
        assert settled.entry is None
        assert settled.reservation.state is ReservationState.RELEASED
        assert world.credits.settle("alice", settle("r", 0)).replayed
        assert world.audit("alice").sequence == 1

    def test_a_settlement_again_answers_the_same_and_writes_nothing(self, world: CreditsWorld) -> None:
        """T-6"""
        world.credits.reserve("alice", reserve("r", credits(5)))
        first = world.credits.settle("alice", settle("r", 7))
        writes = _writes(world)
        again = world.credits.settle("alice", settle("r", 7))
        assert (again.entry, again.replayed) == (first.entry, True)
        assert _writes(world) == writes

    def test_many_settlements_at_once_make_one_entry(self, world: CreditsWorld) -> None:
        """T-6: the abort path and the normal path may both arrive."""
        world.credits.reserve("alice", reserve("r", credits(5)))
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _: world.credits.settle("alice", settle("r", 7)), range(40)))
        assert len({settled.entry and settled.entry.id for settled in made}) == 1
        assert world.audit("alice").sequence == 2

    @pytest.mark.parametrize(
        ("first", "refusal"),
        [("settle", ReservationSettled), ("release", ReservationReleased), ("expire", ReservationExpired)],
    )
    @pytest.mark.parametrize("second", ["settle", "release", "extend", "reserve"])
    def test_happens_once_and_later_attempts_are_told_how(
        self, world: CreditsWorld, first: str, refusal: type[Rejection], second: str
    ) -> None:
        """T-40: in any order exactly one of them happens."""
        world.credits.reserve("alice", reserve("r", credits(5)))
        _resolve(world, first)
        before = world.audit("alice")
        if (first, second) == ("release", "release"):
            assert world.credits.release("alice", "r", "again").state is ReservationState.RELEASED
        else:
            with pytest.raises(refusal):
                _resolve(world, second)
        assert world.audit("alice") == before

    def test_is_remembered_for_ever_when_it_charged(self, world: CreditsWorld) -> None:
        world.credits.reserve("alice", reserve("r", credits(5)))
        first = world.credits.settle("alice", settle("r", 7))
        for index in range(RECENT + 1):
            world.credits.reserve("alice", reserve(f"other{index}", 1))
            world.credits.release("alice", f"other{index}", "test")
        assert world.account("alice").forgot
        assert world.credits.settle("alice", settle("r", 7)).entry == first.entry
        with pytest.raises(ReservationSettled):
            world.credits.settle("alice", settle("r", 8))
        with pytest.raises(ReservationSettled):
            world.credits.release("alice", "r", "late")
        with pytest.raises(ReservationSettled):
            world.credits.reserve("alice", reserve("r", credits(5)))

    def test_of_what_never_was_is_not_found(self, world: CreditsWorld) -> None:
        with pytest.raises(ReservationUnknown):
            world.credits.settle("alice", settle("r", 1))

    def test_is_not_accepted_from_another_account(self, world: CreditsWorld) -> None:
        world.credits.reserve("alice", reserve("r", credits(5)))
        with pytest.raises(ReservationUnknown):
            world.credits.release("mallory", "r", "theft")

    def test_stays_possible_while_a_status_forbids_spending(self, world: CreditsWorld) -> None:
        world.credits.reserve("alice", reserve("r", credits(5)))
        world.credits.set_status("alice", AccountStatus.SUSPENDED, "test")
        assert world.credits.settle("alice", settle("r", 7)).reservation.captured == 7

    def test_can_be_put_off(self, world: CreditsWorld) -> None:
        world.credits.reserve("alice", reserve("r", credits(5)))
        world.clock.advance(minutes=29)
        longer = world.credits.extend("alice", Extend("r", 30 * 60_000_000, to_amount=credits(8)))
        assert longer.amount == credits(8)
        world.clock.advance(minutes=2)
        assert world.credits.expire_due().reservations == 0
        assert world.credits.settle("alice", settle("r", credits(8))).reservation.captured == credits(8)
        world.audit("alice")

    def test_that_is_extended_keeps_what_another_version_wrote_into_it(self, world: CreditsWorld) -> None:
        """T-105"""
        world.credits.reserve("alice", reserve("r", credits(5)))
        stored = world.documents.get("accounts/alice")
        assert stored is not None
        (open_one,) = list_field(stored.fields, "reservations")
        (hold,) = list_field(as_map(open_one), "holds")
        marked: Value = {**as_map(open_one), "holds": [{**as_map(hold), "theirs": 1}]}
        world.documents.commit([Merge("accounts/alice", {"reservations": [marked]})])
        world.instance().extend("alice", Extend("r", 1, to_amount=credits(8)))
        after = world.documents.get("accounts/alice")
        assert after is not None
        assert '"theirs": 1' in json.dumps(after.fields["reservations"])

    def test_a_charge_below_nothing_stops_everything(self) -> None:
        """T-23"""
        with pytest.raises(InvariantViolation):
            settle("r", -1)

    def test_usage_of_any_kind_can_be_hashed(self, world: CreditsWorld) -> None:
        """T-41, T-54: a vendor's fractions become text before they are signed."""
        world.credits.reserve("alice", reserve("r", credits(5)))
        odd = {"cost": 0.1, "n": 2**60, "zero": 0, "none": None, "nested": {"list": [1, [2.5]]}, "ż\ud800": "\ud800"}
        world.credits.settle("alice", Settle("r", 7, MESSAGE, usage=odd))
        entry = world.entries("alice")[-1]
        assert entry.draft.usage is not None
        assert entry.draft.usage["cost"] == "0.1"
        assert entry.draft.usage["zero"] == 0
        assert entry.draft.usage["none"] is None
        world.audit("alice")


class TestSpendingAtOnce:
    def test_a_thousand_spends_on_a_balance_for_k(self, world: CreditsWorld) -> None:
        """T-32, T-34, T-37: exactly k succeed, the balance stays at zero or above, no spend is refused wrongly."""
        world.credits.account("alice")
        granted = 0
        lock = threading.Lock()

        def spend(index: int) -> None:
            nonlocal granted
            try:
                world.credits.reserve("alice", reserve(f"r{index}", credits(7)))
            except InsufficientCredits:
                return
            world.credits.settle("alice", settle(f"r{index}", credits(7)))
            with lock:
                granted += 1

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(spend, range(1000)))
        account = world.audit("alice")
        assert granted == 1000 // 7
        assert account.balance == BONUS - granted * credits(7)

    def test_a_hundred_postings_make_one_chain(self, world: CreditsWorld) -> None:
        """T-51: the chain never forks, not even at the very first entry."""
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda i: world.credits.post("alice", deposit(f"p{i}", credits(1))), range(100)))
        assert world.audit("alice").balance == BONUS + credits(100)

    def test_a_contended_commit_is_tried_again_with_a_pause(self, world: CreditsWorld) -> None:
        """T-43"""
        failures = 3

        def lose(writes: Sequence[Write]) -> None:
            nonlocal failures
            if failures:
                failures -= 1
                raise Conflict("another was faster")

        world.credits.account("alice")
        _memory(world).before_commit.append(lose)
        world.credits.reserve("alice", reserve("r", credits(5)))
        assert world.pauses == 3
        assert world.audit("alice").reserved == credits(5)


class TestCompanions:
    def test_are_read_and_written_with_the_account(self, world: CreditsWorld) -> None:
        world.documents.commit([Create("turns/t", {"state": "new"})])
        seen: list[Document | None] = []

        def writes(outcome: Outcome, documents: tuple[Document | None, ...]) -> Sequence[Write]:
            seen.extend(documents)
            assert isinstance(outcome, Reserved)
            turn = documents[0]
            assert turn is not None
            return [Replace("turns/t", {"reserved": outcome.reservation.amount}, turn.version)]

        world.credits.reserve("alice", reserve("r", credits(5)), Participant(("turns/t",), writes))
        turn = world.documents.get("turns/t")
        assert turn is not None
        assert turn.fields == {"reserved": credits(5)}

    def test_see_the_entry_that_will_be_committed(self, world: CreditsWorld) -> None:
        world.credits.reserve("alice", reserve("r", credits(5)))

        def writes(outcome: Outcome, _: tuple[Document | None, ...]) -> Sequence[Write]:
            assert isinstance(outcome, Settled)
            assert outcome.entry is not None
            return [Create("turns/t", {"transaction": outcome.entry.id, "balance": outcome.account.balance})]

        settled = world.credits.settle("alice", settle("r", 7), Participant(writes=writes))
        turn = world.documents.get("turns/t")
        assert turn is not None
        assert settled.entry is not None
        assert turn.fields == {"transaction": settled.entry.id, "balance": BONUS - 7}

    def test_may_refuse_and_then_nothing_is_written(self, world: CreditsWorld) -> None:
        world.credits.account("alice")
        before = world.account("alice")

        def writes(_: Outcome, __: tuple[Document | None, ...]) -> Sequence[Write]:
            raise KeyReused("taken")

        with pytest.raises(KeyReused):
            world.credits.reserve("alice", reserve("r", credits(5)), Participant(writes=writes))
        assert world.account("alice") == before

    def test_that_meet_a_document_say_so_and_nothing_is_written(self, world: CreditsWorld) -> None:
        world.documents.commit([Create("turns/t", {})])
        world.credits.account("alice")
        before = world.account("alice")
        with pytest.raises(AlreadyExists):
            world.credits.reserve("alice", reserve("r", 1), Participant(writes=lambda _, __: [Create("turns/t", {})]))
        assert world.account("alice") == before

    def test_are_decided_again_when_the_account_moved(self, world: CreditsWorld) -> None:
        world.credits.account("alice")
        other = world.instance()
        raced = False

        def race(writes: Sequence[Write]) -> None:
            nonlocal raced
            if not raced:
                raced = True
                other.reserve("alice", reserve("first", credits(999)))

        _memory(world).before_commit.append(race)
        with pytest.raises(InsufficientCredits):
            world.credits.reserve("alice", reserve("r", credits(5)), Participant(writes=lambda _, __: []))
        assert world.audit("alice").reserved == credits(999)


class TestOverdue:
    def test_reservations_are_released_by_the_sweeper(self, world: CreditsWorld) -> None:
        """T-9: after any crash and one sweep nothing is held."""
        for index in range(5):
            world.credits.reserve(f"user{index}", reserve("r", credits(5)))
        assert world.credits.expire_due().reservations == 0
        world.clock.advance(minutes=31)
        swept = world.credits.expire_due()
        assert (swept.accounts, swept.reservations, swept.failed) == (5, 5, ())
        assert all(world.audit(f"user{index}").reserved == 0 for index in range(5))
        assert world.credits.expire_due().accounts == 0

    def test_lots_expire_unless_a_reservation_holds_them(self, world: CreditsWorld) -> None:
        """T-39: a hold names the lots that it took, and only these outlive their time."""
        soon = world.clock.now_us() + 20 * 60_000_000
        world.credits.post("alice", promo("k1", credits(10), soon))
        world.credits.post("alice", promo("k2", credits(10), soon + 1))
        world.credits.reserve("alice", reserve("r", credits(10)))
        world.clock.advance(minutes=21)
        world.credits.expire_due()
        assert world.audit("alice").balance == BONUS + credits(10)
        world.credits.settle("alice", settle("r", credits(4)))
        world.credits.expire_due()
        assert world.audit("alice").balance == BONUS

    def test_what_expired_is_not_available_before_the_sweep(self, world: CreditsWorld) -> None:
        world.credits.post("alice", promo("k", credits(10), world.clock.now_us() + DAY))
        world.clock.advance(minutes=24 * 60)
        assert world.credits.available(world.account("alice")) == BONUS

    def test_one_account_that_fails_does_not_stop_the_others(self, world: CreditsWorld) -> None:
        world.credits.reserve("alice", reserve("r", credits(5)))
        world.credits.reserve("bob", reserve("r", credits(5)))
        world.clock.advance(minutes=31)
        stored = world.documents.get(document.account_path("alice"))
        assert stored is not None
        world.documents.commit([Replace(stored.path, {**stored.fields, "reserved": 1})])
        swept = world.credits.expire_due()
        assert (swept.failed, swept.reservations) == (("alice",), 1)


class TestABalance:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_beyond_what_a_number_holds_is_refused(self, sign: int) -> None:
        world = CreditsWorld(bonus=0)
        reference = Reference("ticket", "t")
        world.credits.post("alice", Adjust("a", sign * MAX_MICRO, "test", "root", "second", reference))
        more = deposit("p", 1) if sign > 0 else Adjust("b", -1, "test", "root", "second", reference)
        with pytest.raises(BalanceTooLarge, match="at most"):
            world.credits.post("alice", more)
        assert world.audit("alice").balance == sign * MAX_MICRO


class TestTakingBack:
    def test_a_clawback_takes_the_lots_of_its_payment_and_the_rest_becomes_debt(self, world: CreditsWorld) -> None:
        """T-67"""
        world = CreditsWorld(bonus=0)
        world.credits.post("alice", deposit("p", credits(100)))
        world.credits.reserve("alice", reserve("r", credits(30)))
        world.credits.settle("alice", settle("r", credits(30)))
        back = Clawback("clawback:re_1", "p", credits(100), "stripe", "refund", Reference("payment", "p"))
        world.credits.post("alice", back)
        account = world.audit("alice")
        assert (account.balance, account.debt) == (-credits(30), credits(30))
        assert world.credits.available(account) == 0
        world.credits.post("alice", deposit("p2", credits(50)))
        account = world.audit("alice")
        assert (account.balance, account.debt, account.lots[0].remaining) == (credits(20), 0, credits(20))

    def test_a_dispute_keeps_its_lots_from_being_spent(self, world: CreditsWorld) -> None:
        """T-68"""
        world.credits.post("alice", deposit("p", credits(100)))
        world.credits.freeze_lots("alice", "p", frozen=True)
        assert world.credits.available(world.audit("alice")) == BONUS
        world.credits.freeze_lots("alice", "p", frozen=False)
        assert world.credits.available(world.audit("alice")) == BONUS + credits(100)


def _resolve(world: CreditsWorld, how: str) -> None:
    match how:
        case "settle":
            world.credits.settle("alice", settle("r", 7 + world.account("alice").sequence))
        case "release":
            world.credits.release("alice", "r", "test")
        case "extend":
            world.credits.extend("alice", Extend("r", 1))
        case "reserve":
            world.credits.reserve("alice", reserve("r", credits(5)))
        case _:
            world.clock.advance(minutes=31)
            world.credits.sweep("alice")


def _memory(world: CreditsWorld) -> MemoryDocuments:
    assert isinstance(world.documents, MemoryDocuments)
    return world.documents


def _writes(world: CreditsWorld) -> int:
    return _memory(world).writes
