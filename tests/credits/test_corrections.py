"""Corrections, repairs, replay and the scheduled comparison of mirrors."""

from dataclasses import replace

import pytest

from app.credits.core.account import RECENT, Account, AccountStatus, Lot, LotSource
from app.credits.core.commands import Refund
from app.credits.core.entry import Reference
from app.credits.core.lots import burn_order, give_back, pick
from app.credits.core.rejections import NothingToReverse, ReservationSettled
from app.credits.corrections.corrections import (
    CorrectionClosed,
    CorrectionForged,
    Corrections,
    Proposal,
    SecondApproverNeeded,
)
from app.credits.corrections.repair import RepairRefused, Repairs
from app.credits.corrections.traces import LastSealed
from app.credits.ledger import document
from app.credits.proofs.explaining import Explanation, balance_at, explain
from app.credits.proofs.reading import HistoryFilter
from app.kit.clock import to_rfc3339
from app.kit.errors import Invalid, NotFound
from app.kit.money import credits
from app.kit.stores.documents import Create, Delete, Replace, Value, int_field
from support.clock import SeededIds
from support.credits_world import DAY, CreditsWorld, deposit, promo, reserve, settle


@pytest.fixture
def corrections(world: CreditsWorld) -> Corrections:
    return Corrections(world.documents, world.clock, SeededIds(), world.credits, world.archive)


@pytest.fixture
def repairs(world: CreditsWorld) -> Repairs:
    return Repairs(world.documents, world.credits.ledger, world.clock, world.credits.checkpoints.coverage)


def _spend(world: CreditsWorld, id: str, amount: int) -> str:
    world.credits.reserve("alice", reserve(id, amount))
    entry = world.credits.settle("alice", settle(id, amount)).entry
    assert entry is not None
    return entry.id


class TestCorrections:
    @pytest.mark.parametrize("action", ["approve", "reject"])
    @pytest.mark.parametrize(
        "changed",
        [
            {"account": "mallory"},
            {"amount": credits(1000)},
            {"amount": "5"},
            {"reverses": "txn_0"},
            {"reason": "another"},
            {"proposed_by": "somebody_else"},
            {"proposed_at": "2026-11-21T08:30:00.000000Z"},
            {"key_id": "none"},
            {"signature": None},
        ],
    )
    def test_are_decided_as_they_were_proposed(
        self, world: CreditsWorld, corrections: Corrections, changed: dict[str, Value], action: str
    ) -> None:
        for uid in ("alice", "mallory"):
            world.credits.account(uid)
        real = corrections.propose(Proposal("alice", "goodwill", credits(5)), "root")
        id = str(real["id"])
        world.documents.commit([Replace(f"corrections/{id}", {**real, **changed})])
        decide = corrections.approve if action == "approve" else corrections.reject
        with pytest.raises(CorrectionForged):
            decide(id, "second")
        assert corrections.read(id)["state"] == "proposed"
        assert [world.account(uid).balance for uid in ("alice", "mallory")] == [credits(1000)] * 2

    def test_that_nobody_proposed_are_refused_and_alarmed(
        self, world: CreditsWorld, corrections: Corrections, capfd: pytest.CaptureFixture[str]
    ) -> None:
        world.credits.account("alice")
        real = corrections.propose(Proposal("alice", "goodwill", credits(5)), "root", "cor_real")
        bare = {name: value for name, value in real.items() if name not in ("key_id", "signature")}
        copied = {**real, "id": "cor_copied"}
        moved = dict(real)
        for id, fields in (("cor_bare", {**bare, "id": "cor_bare"}), ("cor_copied", copied), ("cor_moved", moved)):
            world.documents.commit([Create(f"corrections/{id}", fields)])
            with pytest.raises(CorrectionForged):
                corrections.approve(id, "second")
            with pytest.raises(CorrectionForged):
                corrections.propose(Proposal("alice", "goodwill", credits(5)), "root", id)
        assert capfd.readouterr().out.count("correction_forged") == 6
        assert world.account("alice").sequence == 1

    def test_need_a_second_administrator(self, world: CreditsWorld, corrections: Corrections) -> None:
        world.credits.account("alice")
        id = str(corrections.propose(Proposal("alice", "goodwill", credits(5)), "root")["id"])
        with pytest.raises(SecondApproverNeeded):
            corrections.approve(id, "root")
        assert world.account("alice").balance == credits(1000)
        posted = corrections.approve(id, "second")
        assert (posted.entry.draft.by, posted.entry.draft.approved_by) == ("root", "second")
        assert world.audit("alice").balance == credits(1005)

    def test_are_posted_once_whoever_approves_again(self, world: CreditsWorld, corrections: Corrections) -> None:
        world.credits.account("alice")
        id = str(corrections.propose(Proposal("alice", "goodwill", credits(5)), "root")["id"])
        first = corrections.approve(id, "second")
        assert corrections.approve(id, "third").entry == first.entry
        assert corrections.read(id)["decided_by"] == "second"
        assert world.audit("alice").sequence == 2

    def test_that_were_rejected_stay_so(self, world: CreditsWorld, corrections: Corrections) -> None:
        world.credits.account("alice")
        id = str(corrections.propose(Proposal("alice", "goodwill", credits(5)), "root")["id"])
        corrections.reject(id, "root")
        with pytest.raises(CorrectionClosed):
            corrections.approve(id, "second")
        with pytest.raises(CorrectionClosed):
            corrections.reject(id, "second")

    def test_reverse_an_entry_once_and_leave_it_in_place(self, world: CreditsWorld, corrections: Corrections) -> None:
        """T-58"""
        charged = _spend(world, "r", credits(7))
        stored = list(world.credits.ledger.entries("alice"))
        proposal = Proposal("alice", "wrong", transaction_id=charged)
        first, second = (str(corrections.propose(proposal, by)["id"]) for by in ("root", "second"))
        posted = corrections.approve(first, "third")
        with pytest.raises(NothingToReverse):
            corrections.approve(second, "third")
        assert corrections.read(second)["state"] == "proposed"
        assert corrections.approve(first, "third").entry == posted.entry
        with pytest.raises(NothingToReverse):
            corrections.propose(proposal, "root")
        assert world.audit("alice").balance == credits(1000)
        assert list(world.credits.ledger.entries("alice"))[:2] == stored

    def test_reverse_what_a_refund_left(self, world: CreditsWorld, corrections: Corrections) -> None:
        charged = _spend(world, "r", credits(7))
        charge = world.entries("alice")[-1]
        id = str(corrections.propose(Proposal("alice", "wrong", transaction_id=charged), "root")["id"])
        world.credits.post("alice", Refund("f", charge, credits(3), 0, "sorry", Reference("entry", charged)))
        assert corrections.approve(id, "second").entry.amount == credits(4)
        assert world.audit("alice").balance == credits(1000)

    def test_do_not_reverse_what_somebody_altered(self, world: CreditsWorld, corrections: Corrections) -> None:
        """T-120"""
        charged = _spend(world, "r", credits(7))
        id = str(corrections.propose(Proposal("alice", "wrong", transaction_id=charged), "root")["id"])
        stored = world.documents.get(document.entry_path("alice", 2))
        assert stored is not None
        world.documents.commit([Replace(stored.path, {**stored.fields, "amount": -credits(900)})])
        with pytest.raises(NothingToReverse):
            corrections.approve(id, "second")
        with pytest.raises(NothingToReverse):
            corrections.propose(Proposal("alice", "wrong", transaction_id=charged), "root")

    def test_do_not_reverse_a_reversal(self, world: CreditsWorld, corrections: Corrections) -> None:
        charged = _spend(world, "r", credits(7))
        first = corrections.propose(Proposal("alice", "wrong", transaction_id=charged), "root")
        reversal = corrections.approve(str(first["id"]), "second").entry.id
        with pytest.raises(NothingToReverse):
            corrections.propose(Proposal("alice", "wrong", transaction_id=reversal), "root")

    def test_are_for_accounts_and_entries_that_exist(self, world: CreditsWorld, corrections: Corrections) -> None:
        with pytest.raises(NotFound):
            corrections.propose(Proposal("nobody", "goodwill", 5), "root")
        world.credits.account("alice")
        with pytest.raises(NotFound):
            corrections.propose(Proposal("alice", "wrong", transaction_id="txn_0"), "root")

    def test_adjust_or_reverse_and_never_both(self, world: CreditsWorld, corrections: Corrections) -> None:
        world.credits.account("alice")
        charged = _spend(world, "r", credits(10))
        for proposal in (Proposal("alice", "wrong"), Proposal("alice", "wrong", 5, charged)):
            with pytest.raises(Invalid, match="either an amount or the transaction"):
                corrections.propose(proposal, "root")

    def test_may_take_more_than_is_there_and_leave_a_debt(self, world: CreditsWorld, corrections: Corrections) -> None:
        world.credits.account("alice")
        id = str(corrections.propose(Proposal("alice", "fraud", -credits(1200)), "root")["id"])
        corrections.approve(id, "second")
        assert world.audit("alice").debt == credits(200)


class TestRepair:
    def test_finds_nothing_to_do_on_a_sound_account(self, world: CreditsWorld, repairs: Repairs) -> None:
        _spend(world, "r", credits(7))
        world.credits.post("alice", promo("k", credits(5), world.clock.now_us() + DAY))
        world.credits.reserve("alice", reserve("s", credits(3)))
        assert not repairs.account("alice").repaired

    @pytest.mark.parametrize(
        "damage",
        [
            {"balance": 5},
            {"lots": []},
            {"sequence": 1},
            {"head_hash": "0" * 64},
            {"reserved": 0},
            {"debt": 4},
            {"status": "unheard of"},
            {"uid": "bob"},
            {"recent": [], "forgot": False},
            {"level": 5, "low_threshold": 7},
        ],
    )
    def test_rebuilds_what_is_derived_and_changes_no_entry(
        self, world: CreditsWorld, repairs: Repairs, damage: dict[str, Value]
    ) -> None:
        """T-58: bytes of the entries before and after."""
        _spend(world, "r", credits(7))
        world.credits.reserve("alice", reserve("s", credits(3)))
        entries = list(world.credits.ledger.entries("alice"))
        sound = world.account("alice")
        _damage(world, damage)
        active = AccountStatus.ACTIVE
        assert repairs.account("alice", write=False, status=active).repaired
        assert repairs.account("alice", status=active).repaired
        assert not repairs.account("alice").repaired
        after = world.audit("alice")
        assert (after.balance, after.lots[0].remaining) == (sound.balance, sound.lots[0].remaining)
        assert (after.reserved, after.status) == (credits(3), active)
        assert list(world.credits.ledger.entries("alice")) == entries
        assert world.instance().settle("alice", settle("r", credits(7))).replayed
        assert world.instance().settle("alice", settle("s", 1)).entry is not None
        world.audit("alice")

    def test_rebuilds_an_account_that_is_gone(self, world: CreditsWorld, repairs: Repairs) -> None:
        _spend(world, "r", credits(7))
        world.documents.commit([Delete("accounts/alice")])
        done = repairs.account("alice", status=AccountStatus.ACTIVE)
        assert done.was is None
        assert done.lost == ("status", "low_threshold", "reservations", "recent", "disputes")
        assert world.audit("alice").balance == credits(993)

    def test_repairs_nothing_from_entries_that_do_not_verify(self, world: CreditsWorld, repairs: Repairs) -> None:
        _spend(world, "r", credits(7))
        stored = world.documents.get(document.entry_path("alice", 2))
        assert stored is not None
        world.documents.commit([Replace(stored.path, {**stored.fields, "amount": 0})])
        with pytest.raises(RepairRefused, match="entry 2 fails the check of its hash"):
            repairs.account("alice")

    @pytest.mark.parametrize("uid", ["alice/entries/000000000001", "..", ".", "__alice__", ""])
    def test_reaches_no_document_but_an_account(self, world: CreditsWorld, repairs: Repairs, uid: str) -> None:
        """T-103"""
        _spend(world, "r", credits(7))
        entries = list(world.credits.ledger.entries("alice"))
        with pytest.raises(NotFound):
            repairs.account(uid, status=AccountStatus.ACTIVE)
        assert list(world.credits.ledger.entries("alice")) == entries

    def test_keeps_what_entries_do_not_tell(self, world: CreditsWorld, repairs: Repairs) -> None:
        world.credits.post("alice", deposit("p", credits(50)))
        world.credits.freeze_lots("alice", "p", frozen=True)
        world.credits.freeze_lots("alice", "later", frozen=True)
        world.credits.set_threshold("alice", credits(3))
        world.credits.set_status("alice", AccountStatus.SUSPENDED, "test")
        sound = world.account("alice")
        _damage(world, {"lots": "none", "balance": 7, "debt": None})
        repairs.account("alice")
        after = world.audit("alice")
        assert (after.status, after.low_threshold) == (sound.status, sound.low_threshold)
        assert (after.disputes, after.debt) == (("p", "later"), 0)
        assert [lot.frozen for lot in after.lots if lot.payment_id == "p"] == [True]

    def test_writes_an_account_that_is_newer_than_the_one_it_was(self, world: CreditsWorld, repairs: Repairs) -> None:
        """T-46: another instance's clock was ahead; mirrors take nothing that is not newer."""
        _spend(world, "r", credits(7))
        ahead = to_rfc3339(world.clock.now_us() + DAY)
        _damage(world, {"balance": 5, "updated_at": ahead})
        repairs.account("alice")
        assert to_rfc3339(world.audit("alice").updated_at_us) > ahead

    @pytest.mark.parametrize("damage", [{"status": "unheard of"}, None])
    def test_brings_no_suspended_account_back(
        self, world: CreditsWorld, repairs: Repairs, damage: dict[str, Value] | None
    ) -> None:
        _spend(world, "r", credits(7))
        world.credits.set_status("alice", AccountStatus.SUSPENDED, "test")
        _damage(world, damage) if damage else world.documents.commit([Delete("accounts/alice")])
        with pytest.raises(RepairRefused, match="status is lost"):
            repairs.account("alice")
        assert repairs.account("alice", status=AccountStatus.SUSPENDED).now.status is AccountStatus.SUSPENDED


class TestARepairedAccount:
    """It forgets no key: nothing is charged a second time."""

    def test_does_not_open_again_what_was_settled(self, world: CreditsWorld, repairs: Repairs) -> None:
        world.credits.reserve("alice", reserve("r", credits(7)))
        before = world.documents.get("accounts/alice")
        assert before is not None
        world.credits.settle("alice", settle("r", credits(7)))
        world.documents.commit([Replace("accounts/alice", before.fields)])
        repairs.account("alice")
        instance = world.instance()
        assert instance.settle("alice", settle("r", credits(7))).replayed
        with pytest.raises(ReservationSettled):
            instance.reserve("alice", reserve("r", credits(7)))
        assert world.audit("alice").balance == credits(993)

    @pytest.mark.parametrize("spends", [1, RECENT + 3])
    def test_that_was_gone_knows_every_charge(self, world: CreditsWorld, repairs: Repairs, spends: int) -> None:
        for number in range(spends):
            _spend(world, f"r{number}", credits(1))
        world.documents.commit([Delete("accounts/alice")])
        repairs.account("alice", status=AccountStatus.ACTIVE)
        instance = world.instance()
        for number in range(spends):
            with pytest.raises(ReservationSettled):
                instance.reserve("alice", reserve(f"r{number}", credits(1)))
            assert instance.settle("alice", settle(f"r{number}", credits(1))).replayed
        assert world.audit("alice").balance == credits(1000 - spends)


class TestAChainThatWasLonger:
    """T-102: a repair never makes a cut tail the truth."""

    @pytest.fixture(autouse=True)
    def cut(self, world: CreditsWorld) -> Account:
        """The account as it stood before its last entry."""
        world.credits.account("alice")
        before = world.account("alice")
        _spend(world, "r", credits(7))
        return before

    def _cut(self, world: CreditsWorld, cut: Account, *, put_back: bool = True) -> None:
        world.documents.commit([Delete(document.entry_path("alice", 2))])
        if put_back:
            world.documents.commit([Replace("accounts/alice", {**document.write(cut), "reserved": 9})])

    def test_is_known_by_its_account(self, world: CreditsWorld, repairs: Repairs, cut: Account) -> None:
        self._cut(world, cut, put_back=False)
        with pytest.raises(RepairRefused, match="the account names entry 2"):
            repairs.account("alice")

    def test_is_known_by_what_the_account_remembers(self, world: CreditsWorld, repairs: Repairs, cut: Account) -> None:
        recent = world.account("alice").recent
        self._cut(world, replace(cut, recent=recent))
        with pytest.raises(RepairRefused, match="was settled by entry 2"):
            repairs.account("alice")

    @pytest.mark.parametrize("place", ["seal", "copy"])
    def test_is_known_by_its_seal(self, world: CreditsWorld, cut: Account, place: str) -> None:
        world.credits.checkpoints.seal()
        coverage = world.credits.checkpoints.coverage("alice")
        if place == "seal":
            world.documents.commit([Delete("sealed/alice")])
        self._cut(world, cut)
        sealed: LastSealed = (lambda _: coverage) if place == "seal" else (lambda _: None)
        repairs = Repairs(world.documents, world.credits.ledger, world.clock, sealed)
        with pytest.raises(RepairRefused, match="entry 2 was sealed"):
            repairs.account("alice")

    def test_with_another_entry_in_the_sealed_ones_place(
        self, world: CreditsWorld, repairs: Repairs, cut: Account
    ) -> None:
        world.credits.checkpoints.seal()
        self._cut(world, cut)
        world.documents.commit([Replace("accounts/alice", document.write(cut))])
        world.instance().post("alice", promo("k", 1, None))
        _damage(world, {"reserved": 9})
        with pytest.raises(RepairRefused, match="another entry 2 was sealed"):
            repairs.account("alice")

    def test_is_known_by_its_rollups(self, world: CreditsWorld, repairs: Repairs, cut: Account) -> None:
        world.documents.commit([Create("accounts/alice/rollups/cursor", {"generation": "g", "sequence": 2})])
        self._cut(world, cut)
        with pytest.raises(RepairRefused, match="the rollups counted entry 2"):
            repairs.account("alice")

    def test_is_known_by_the_corrections_that_were_posted(
        self, world: CreditsWorld, repairs: Repairs, corrections: Corrections
    ) -> None:
        before = world.account("alice")
        id = str(corrections.propose(Proposal("alice", "goodwill", -credits(5)), "root")["id"])
        corrections.approve(id, "second")
        world.documents.commit([Delete(document.entry_path("alice", 3))])
        world.documents.commit([Replace("accounts/alice", {**document.write(before), "reserved": 9})])
        with pytest.raises(RepairRefused, match=f"correction {id} posted"):
            repairs.account("alice")


def _damage(world: CreditsWorld, damage: dict[str, Value]) -> None:
    stored = world.documents.get(document.account_path("alice"))
    assert stored is not None
    world.documents.commit([Replace(stored.path, {**stored.fields, **damage})])


class TestReplay:
    def test_tells_the_balance_at_any_time(self, world: CreditsWorld) -> None:
        start = world.clock.now_us()
        for index in range(4):
            world.clock.advance(minutes=10)
            world.credits.post("alice", deposit(f"p{index}", credits(1)))
        reader = world.credits.ledger
        assert balance_at(reader, "alice", start - 1).balance == 0
        assert [balance_at(reader, "alice", start + m * 60_000_000).balance for m in (10, 25, 39, 40, 99)] == [
            credits(1000) + credits(n) for n in (1, 2, 3, 4, 4)
        ]

    def test_explains_the_balance_as_a_sum(self, world: CreditsWorld) -> None:
        for index in range(7):
            _spend(world, f"r{index}", credits(index + 1))
        balance = world.account("alice").balance
        after: int | None = None
        while terms := world.credits.ledger.newest("alice", HistoryFilter(), 3, after):
            told, sum_of_terms = explain(terms), sum(int_field(term, "amount") for term in terms)
            assert (told.balance, told.brought_forward) == (balance, balance - sum_of_terms)
            balance, after = told.brought_forward, int_field(terms[-1], "sequence")
        assert (balance, after) == (0, 1)
        assert explain([]) == Explanation(0, 0)


class TestLots:
    def test_are_spent_soonest_expiry_first_then_given_before_paid_then_oldest(self) -> None:
        """T-48: the order is decided in one place."""
        lots = (
            Lot("old paid", LotSource.PAID, 5, made=1),
            Lot("paid", LotSource.PAID, 5, made=2),
            Lot("refund", LotSource.REFUND, 5, made=7),
            Lot("bonus", LotSource.BONUS, 5, made=3),
            Lot("later", LotSource.PROMO, 5, made=4, expires_at_us=900),
            Lot("soon", LotSource.PROMO, 5, made=5, expires_at_us=800),
            Lot("gone", LotSource.PROMO, 5, made=6, expires_at_us=100),
            Lot("disputed", LotSource.PAID, 5, made=0, frozen=True),
        )
        held = [part.lot_id for part in pick(lots, 30, at_us=200)]
        assert held == ["soon", "later", "bonus", "refund", "old paid", "paid"]
        assert min(lots, key=burn_order).id == "gone"

    def test_get_back_what_was_spent_last_first_and_nothing_twice(self, world: CreditsWorld) -> None:
        world.credits.post("alice", promo("k", credits(3), world.clock.now_us() + DAY))
        _spend(world, "r", credits(10))
        charge = world.entries("alice")[-1]
        first = give_back(charge.draft.lots, 0, credits(8))
        assert [(line.source, line.amount) for line in first] == [("bonus", credits(7)), ("promo", credits(1))]
        second = give_back(charge.draft.lots, credits(8), credits(2))
        assert [(line.source, line.amount) for line in second] == [("promo", credits(2))]
        for number, (amount, before) in enumerate(((credits(8), 0), (credits(2), credits(8)))):
            world.credits.post(
                "alice", Refund(f"f{number}", charge, amount, before, "sorry", Reference("entry", charge.id))
            )
        assert world.audit("alice").balance == credits(1003)
