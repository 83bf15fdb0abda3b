"""An account with as many lots as it may have: what is refused before anybody pays, and that both stores hold it."""

import secrets
from collections.abc import Iterator, Sequence
from itertools import islice

import pytest

from app.credits.core.account import MAX_LOTS, MAX_PAYMENT_ID, MOST_LOTS, AccountStatus
from app.credits.core.commands import Deposit, Grant, Posting, Refund
from app.credits.core.decide import MOST_AT_ONCE
from app.credits.core.entry import Entry, Reference
from app.credits.core.rejections import AccountNotActive, TooManyLots
from app.credits.ledger.step import PendingCommand
from app.kit.stores.documents import Documents
from support.credits_world import DAY, CreditsWorld, deposit, promo, reserve, settle
from support.firestore.documents import check_size

MOST_OF_AN_EVENT = 500_000
"""The event of a write holds the document twice, and Eventarc takes 512 KB: a larger one reaches no trigger."""


def payments(count: int, name: str = "pay") -> Iterator[Deposit]:
    """Payments of ten, whose ids are as long as they may be."""
    return (deposit(f"{name}_{number}".ljust(MAX_PAYMENT_ID, "x"), 10) for number in range(count))


def gifts(count: int, expires_at_us: int, name: str = "gift") -> Iterator[Grant]:
    return (promo(f"{name}_{number}", 10, expires_at_us) for number in range(count))


def post_all(world: CreditsWorld, commands: Iterator[Posting], uid: str = "alice") -> None:
    """Many in each commit."""
    while some := [*islice(commands, 200)]:
        works = [PendingCommand(command) for command in some]
        world.credits.store.run(uid, works)
        for work in works:
            work.outcome()


def spend_all(world: CreditsWorld, id: str) -> Entry:
    amount = world.credits.available(world.account("alice"))
    world.credits.reserve("alice", reserve(id, amount))
    entry = world.credits.settle("alice", settle(id, amount)).entry
    assert entry is not None
    return entry


def lots(world: CreditsWorld) -> Sequence[object]:
    return world.account("alice").lots


@pytest.fixture
def world() -> CreditsWorld:
    return CreditsWorld(bonus=0)


def test_the_most_lots_fit_into_a_document_and_are_spent_at_once(documents: Documents) -> None:
    world, uid = CreditsWorld(documents=documents, bonus=0), f"full_{secrets.token_hex(4)}"
    post_all(world, payments(MOST_LOTS), uid)
    with pytest.raises(TooManyLots):
        world.credits.post(uid, deposit("one more", 10))
    assert (world.account(uid).balance, len(world.account(uid).lots)) == (10 * MOST_LOTS, MOST_LOTS)
    world.credits.reserve(uid, reserve("all", 10 * MOST_LOTS))
    held = documents.get(f"accounts/{uid}")
    assert held is not None
    assert 2 * check_size(held.path, held.fields) < MOST_OF_AN_EVENT
    charged = world.credits.settle(uid, settle("all", 10 * MOST_LOTS)).entry
    assert charged is not None and len(charged.draft.lots) == MOST_LOTS
    assert world.audit(uid).balance == 0


class TestAFullAccount:
    def test_gets_no_gift_until_something_is_spent(self, world: CreditsWorld) -> None:
        never = world.clock.now_us() + 400 * DAY
        post_all(world, gifts(MAX_LOTS, never))
        with pytest.raises(TooManyLots):
            world.credits.post("alice", promo("more", 10, never))
        assert world.audit("alice").balance == 10 * MAX_LOTS
        world.credits.reserve("alice", reserve("r", 10))
        world.credits.settle("alice", settle("r", 10))
        world.credits.post("alice", promo("more", 10, never))
        assert len(lots(world)) == MAX_LOTS

    def test_is_told_before_it_pays(self, world: CreditsWorld) -> None:
        post_all(world, payments(MAX_LOTS - 1))
        world.credits.refuse_purchase("alice")
        post_all(world, payments(1, "last"))
        with pytest.raises(TooManyLots):
            world.credits.refuse_purchase("alice")

    def test_takes_what_was_paid_meanwhile(self, world: CreditsWorld) -> None:
        post_all(world, payments(MAX_LOTS))
        world.credits.post("alice", deposit("on its way", 10))
        assert world.audit("alice").balance == 10 * MAX_LOTS + 10

    def test_takes_back_what_returns_and_no_more_than_fits(self, world: CreditsWorld) -> None:
        post_all(world, payments(MOST_LOTS - MAX_LOTS))
        first = spend_all(world, "first")
        post_all(world, payments(MAX_LOTS + 1, "later"))
        with pytest.raises(TooManyLots):
            world.credits.post("alice", refund(first, -first.amount))
        world.credits.post("alice", refund(first, -first.amount - 10))
        world.credits.reserve("alice", reserve("r", 10))
        world.credits.settle("alice", settle("r", 10))
        world.credits.post("alice", refund(first, 10))
        assert len(lots(world)) == MOST_LOTS
        world.audit("alice")


def test_a_closed_account_is_told_before_it_pays(world: CreditsWorld) -> None:
    world.credits.account("alice")
    world.credits.set_status("alice", AccountStatus.CLOSED, "left")
    with pytest.raises(AccountNotActive):
        world.credits.refuse_purchase("alice")


class TestManyLotsOfOneDay:
    """A commit holds 500 writes, and each lot that expires is an entry."""

    def test_expire_in_steps_and_keep_nobody_from_spending(self, world: CreditsWorld) -> None:
        ends = world.clock.now_us() + DAY
        post_all(world, gifts(350, ends))
        world.credits.post("alice", deposit("p", 1_000))
        world.clock.advance(us=DAY)
        world.credits.reserve("alice", reserve("r", 1_000))
        assert len(lots(world)) == 1 + 350 - MOST_AT_ONCE
        while world.credits.expire_due().entries:
            pass
        assert len(lots(world)) == 1
        assert world.audit("alice").balance == 1_000

    def test_are_announced_in_steps_and_each_once(self, world: CreditsWorld) -> None:
        told: list[str] = []
        post_all(world, gifts(250, world.clock.now_us() + 20 * DAY))
        for _ in range(4):
            swept = world.credits.sweep("alice")
            noticed = [lot.id for lot in swept.account.lots if lot.noticed]
            assert len(noticed) <= len(told) + MOST_AT_ONCE
            told = noticed
        assert len(told) == 250


def refund(charge: Entry, amount: int) -> Refund:
    return Refund(f"refund:{amount}", charge, amount, 0, "sorry", Reference("ticket", "t"))
