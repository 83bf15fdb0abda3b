"""Reversals of gifts: what is taken back once is not lost a second time (T-124)."""

import pytest

from app.credits.core.commands import Refund, Reverse
from app.credits.core.entry import Entry, Reference
from app.credits.core.rejections import CreditsHeld
from app.kit.money import credits
from support.credits_world import DAY, CreditsWorld, deposit, promo, reserve, settle


def _reversal(entry: Entry) -> Reverse:
    return Reverse(entry, "wrong", "root", "second", Reference("entry", entry.id))


@pytest.fixture
def world() -> CreditsWorld:
    return CreditsWorld(bonus=0)


class TestAGift:
    def test_takes_what_came_back_of_the_credits_before_it_makes_a_debt(self, world: CreditsWorld) -> None:
        """A debt would be paid by the next purchase, and what came back would expire beside it."""
        gift = world.credits.post("alice", promo("k", credits(4), world.clock.now_us() + DAY)).entry
        world.credits.reserve("alice", reserve("c", credits(4)))
        charge = world.credits.settle("alice", settle("c", credits(4))).entry
        assert charge is not None
        world.credits.post("alice", Refund("f", charge, credits(4), 0, "sorry", Reference("ticket", "f")))
        world.clock.advance(minutes=8 * 24 * 60)  # What came back is over, and no sweep has come.
        world.credits.post("alice", _reversal(gift))
        assert (world.account("alice").debt, world.audit("alice").lots) == (0, ())
        world.credits.post("alice", deposit("p", credits(1)))
        world.credits.sweep("alice")
        assert world.audit("alice").balance == credits(1)

    def test_waits_for_the_answers_that_hold_its_credits(self, world: CreditsWorld) -> None:
        """A debt would be paid by the next purchase, and what was held would expire when it is free again."""
        gift = world.credits.post("alice", promo("k", credits(10), world.clock.now_us() + DAY)).entry
        world.credits.reserve("alice", reserve("r", credits(6)))
        before = world.audit("alice")
        with pytest.raises(CreditsHeld):
            world.credits.post("alice", _reversal(gift))
        assert world.audit("alice") == before
        world.credits.release("alice", "r", "test")
        world.credits.post("alice", _reversal(gift))
        world.credits.post("alice", deposit("p", credits(5)))
        world.clock.advance(minutes=2 * 24 * 60)
        world.credits.sweep("alice")
        assert world.audit("alice").balance == credits(5)
