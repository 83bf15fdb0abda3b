"""Holds of calls that run at once: how much the next one may grow to, and what bounds it when counts were forgotten."""

import pytest

from app.credits.core.budgets import Spender, limits
from app.credits.core.commands import Extend, Reserve
from app.credits.core.entry import Reference
from app.credits.core.rejections import BudgetExceeded
from app.credits.public import Credits, Outcome, Participant, Reserved, Seen
from app.kit.money import credits
from app.kit.stores.documents import Write
from support.credits_world import CreditsWorld

BALANCE = credits(32)


def begin(bank: Credits, id: str, *, expected: int | None = 1_000) -> int:
    """The most that an answer may grow to which needs a thousandth of a credit."""
    most: list[int] = []

    def told(outcome: Outcome, _: Seen) -> list[Write]:
        assert isinstance(outcome, Reserved)
        most.append(outcome.most)
        return []

    message = Reference("message", id)
    command = Reserve(id, BALANCE, 1_000, "chat", message, 10**9, expected=expected, share=32)
    bank.reserve("alice", command, Participant((), told))
    return most[-1]


class TestWhatAnAnswerMayGrowTo:
    def test_is_all_there_is_for_one_alone(self) -> None:
        assert begin(CreditsWorld(bonus=BALANCE).credits, "one") == BALANCE

    def test_is_a_part_beside_others(self) -> None:
        """A vendor may have billed all that it was allowed before we see the first piece."""
        bank = CreditsWorld(bonus=BALANCE).credits
        most = [begin(bank, f"m{number}") for number in range(32)]
        assert most[:2] == [BALANCE, BALANCE - 1_000]
        assert most[3] == (BALANCE - 3_000) // 2
        assert min(most) >= BALANCE // 17
        assert sum(most) < 8 * BALANCE

    def test_is_not_less_for_what_its_user_set_aside(self) -> None:
        world = CreditsWorld(bonus=BALANCE)
        set_aside = Reserve("mine", 1_000, 1_000, "trip", Reference("reservation", "mine"), 10**9)
        world.credits.reserve("alice", set_aside)
        assert begin(world.credits, "one") == BALANCE - 1_000

    def test_is_what_it_needs_at_least(self) -> None:
        bank = CreditsWorld(bonus=10_000).credits
        for number in range(9):
            assert begin(bank, f"m{number}") >= 1_000

    def test_is_whole_where_nothing_less_is_of_use(self) -> None:
        bank = CreditsWorld(bonus=BALANCE).credits
        begin(bank, "one")
        assert begin(bank, "two", expected=None) == BALANCE - 1_000


def test_a_budget_whose_count_fell_out_bounds_a_running_call_all_the_same() -> None:
    bank = CreditsWorld().credits

    def begun(id: str, spender: Spender) -> None:
        bank.reserve("alice", Reserve(id, 100, 100, "chat", Reference("message", id), 10**9, spender=spender))

    begun("one", Spender("key_a", limits([("1h", 5_000)])))
    for number in range(80):
        begun(f"other{number}", Spender(f"key_{number}", limits([("1h", 10**9)])))
        bank.release("alice", f"other{number}", "x")
    with pytest.raises(BudgetExceeded):
        bank.extend("alice", Extend("one", 1, 1_000_000))
