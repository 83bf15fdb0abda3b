"""An entry that somebody altered in the store decides about no credits: it is verified when it is read for that."""

from collections.abc import Mapping

import pytest

from app.credits.core.commands import Clawback, Posting, Refund, Reserved, Reverse, refund_input
from app.credits.core.entry import Entry, Reference
from app.credits.core.rejections import LedgerCheckFailed
from app.credits.ledger.document import entry_path
from app.credits.ledger.step import PendingCommand
from app.credits.proofs.archived import subject_of
from app.credits.proofs.breaches import path_of
from app.kit.errors import Unavailable
from app.kit.money import credits
from app.kit.stores.documents import Create, Replace, Value
from support.credits_world import CreditsWorld, deposit, reserve, settle


@pytest.fixture
def world() -> CreditsWorld:
    world = CreditsWorld(bonus=0)
    for uid in ("alice", "bob"):
        world.credits.post(uid, deposit(f"pay_{uid}", credits(100)))
    return world


def spend(world: CreditsWorld, id: str = "c", uid: str = "alice") -> Entry:
    world.credits.reserve(uid, reserve(id, credits(10)))
    entry = world.credits.settle(uid, settle(id, credits(10))).entry
    assert entry is not None
    return entry


def refund(charge: Entry, amount: int, key: str = "f") -> Refund:
    return Refund(key, charge, amount, 0, "sorry", Reference("ticket", key))


def reversal(entry: Entry) -> Reverse:
    return Reverse(entry, "wrong", "root", "second", Reference("entry", entry.id))


def clawback(amount: int) -> Clawback:
    return Clawback("cb", "pay_alice", amount, "stripe", "dispute", Reference("payment", "pay_alice"))


def alter(world: CreditsWorld, entry: Entry, fields: Mapping[str, Value]) -> Entry:
    """Writes into a stored entry, and reads it as the service does."""
    world.documents.commit([Replace(entry_path("alice", entry.sequence), {**entry.fields(), **fields})])
    return world.credits.entry("alice", entry.id)


def refused(world: CreditsWorld, command: Posting) -> bool:
    """Whether the command was refused, changed nothing, and the chain is looked at next."""
    before = world.documents.get("accounts/alice")
    with pytest.raises(LedgerCheckFailed):
        world.credits.post("alice", command)
    suspected = world.documents.get(path_of(subject_of("alice")))
    return world.documents.get("accounts/alice") == before and suspected is not None


class TestARefund:
    def test_of_a_charge_that_was_made_larger_gives_nothing(self, world: CreditsWorld) -> None:
        more: dict[str, Value] = {
            "amount": -credits(90),
            "lots": [{"id": "lot_1", "amount": -credits(90), "source": "paid", "expires_at": None, "payment_id": None}],
        }
        assert refused(world, refund(alter(world, spend(world), more), credits(90)))

    def test_of_another_accounts_charge_gives_nothing(self, world: CreditsWorld) -> None:
        theirs = spend(world, uid="bob")
        assert refused(world, refund(theirs, credits(10)))
        world.documents.commit([Create(entry_path("alice", 9), theirs.fields())])
        assert refused(world, refund(world.credits.entry("alice", theirs.id), credits(10)))

    @pytest.mark.parametrize("again", ["refund", "reversal"])
    def test_that_was_made_smaller_does_not_make_room_for_another(self, world: CreditsWorld, again: str) -> None:
        charge = spend(world)
        first = world.credits.post("alice", refund(charge, credits(9))).entry
        alter(world, first, {"amount": 1, "input": refund_input(charge.id, 1, "sorry")})
        assert refused(world, refund(charge, credits(5), "g") if again == "refund" else reversal(charge))

    def test_that_was_moved_to_another_charge_does_not_make_room(self, world: CreditsWorld) -> None:
        charge, other = spend(world), spend(world, "d")
        first = world.credits.post("alice", refund(charge, credits(9))).entry
        alter(world, first, {"input": refund_input(other.id, credits(9), "sorry")})
        assert refused(world, refund(charge, credits(5), "g"))

    def test_that_was_copied_does_not_count_twice(self, world: CreditsWorld) -> None:
        charge = spend(world)
        first = world.credits.post("alice", refund(charge, credits(4))).entry
        world.documents.commit([Create(entry_path("alice", 9), first.fields())])
        assert refused(world, refund(charge, credits(4), "g"))

    def test_beside_another_command_is_refused_alone(self, world: CreditsWorld) -> None:
        altered = alter(world, spend(world), {"amount": -credits(90)})
        assert refused(world, refund(altered, credits(10)))
        world.credits.post("alice", deposit("pay_2", credits(1)))
        assert world.account("alice").balance == credits(91)


class TestAPayment:
    def test_that_was_made_smaller_is_not_taken_back_for_less_or_more(self, world: CreditsWorld) -> None:
        [bought] = world.entries("alice")
        alter(world, bought, {"amount": credits(500)})
        assert refused(world, clawback(credits(500)))

    def test_is_not_taken_for_deposited_because_somebody_wrote_its_key(self, world: CreditsWorld) -> None:
        charge = spend(world)
        alter(world, charge, {"key": "deposit:pay_2", "input": deposit("pay_2", credits(5)).input})
        assert refused(world, deposit("pay_2", credits(5)))


def test_a_correction_counts_no_altered_refund(world: CreditsWorld) -> None:
    charge = spend(world)
    first = world.credits.post("alice", refund(charge, credits(9))).entry
    alter(world, first, {"amount": 1})
    with pytest.raises(LedgerCheckFailed):
        world.credits.returned("alice", charge)
    assert world.documents.get(path_of(subject_of("alice"))) is not None


def test_an_entry_that_was_put_back_counts_again(world: CreditsWorld) -> None:
    charge = spend(world)
    first = world.credits.post("alice", refund(charge, credits(9))).entry
    was = first.fields()
    alter(world, first, {"amount": 1})
    assert refused(world, refund(charge, credits(1), "g"))
    world.documents.commit([Replace(entry_path("alice", first.sequence), was)])
    assert world.credits.post("alice", refund(charge, credits(1), "g")).entry.amount == credits(1)
    world.audit("alice")


def test_a_key_that_nobody_can_look_up_refuses_its_own_command_only(
    world: CreditsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside it in the batch stands somebody's message, which needs no entry."""
    other = CreditsWorld(documents=world.documents, clock=world.clock, archive=world.archive, seed=bytes(range(1, 33)))
    other.credits.post("alice", deposit("theirs", 10))

    def silent(_: str) -> bytes | None:
        raise Unavailable("the archive does not answer")

    monkeypatch.setattr(world.archive, "read", silent)
    repeat, message = PendingCommand(deposit("theirs", 10)), PendingCommand(reserve("m", 1))
    world.credits.store.run("alice", [repeat, message])
    assert isinstance(message.outcome(), Reserved)
    with pytest.raises(Unavailable):
        repeat.outcome()
