"""Warnings before the credits are gone: once per crossing, and none for reservations."""

from dataclasses import replace

from app.credits.core.account import BalanceLevel, opened
from app.credits.core.commands import Command, Release, SetThreshold
from app.credits.core.decide import Rules, decide
from app.credits.core.events import AccountEvent
from app.kit.money import credits
from support.credits_world import deposit, reserve, settle

NOW = 1_800_000_000_000_000
WARNINGS = ("BalanceLow", "BalanceDepleted")


class Purse:
    """An account with 100 credits that warns below 50."""

    def __init__(self) -> None:
        self.account = opened("alice", NOW, credits(50))
        self.serial = 0
        self.do(deposit("first", credits(100)))

    def do(self, *commands: Command) -> list[str]:
        """Applies commands and returns the names of the warnings."""
        decision = decide(self.account, commands, self.account.updated_at_us + 1, Rules(credits(1000)))
        self.account = replace(decision.account, head_hash="0" * 64)
        return [event.name for event in decision.events if event.name in WARNINGS]

    def spend(self, amount: int) -> list[str]:
        self.serial += 1
        id = f"r{self.serial}"
        return self.do(reserve(id, amount), settle(id, amount))

    def top_up(self, amount: int) -> list[str]:
        self.serial += 1
        return self.do(deposit(f"p{self.serial}", amount))


def test_low_is_told_once_per_crossing() -> None:
    """T-94: once, and before the service stops."""
    purse = Purse()
    assert purse.spend(credits(45)) == []
    assert purse.spend(credits(10)) == ["BalanceLow"]
    assert [purse.spend(credits(1)) for _ in range(5)] == [[]] * 5


def test_small_ups_and_downs_around_the_threshold_are_not_told_again() -> None:
    """T-94: hysteresis; the level rises a fifth above the threshold."""
    purse = Purse()
    purse.spend(credits(51))
    for _ in range(5):
        assert purse.top_up(credits(3)) == []
        assert purse.spend(credits(3)) == []
    assert purse.top_up(credits(30)) == []
    assert purse.account.level is BalanceLevel.OK
    assert purse.spend(credits(40)) == ["BalanceLow"]


def test_depleted_is_told_before_the_last_micro_credit() -> None:
    """T-94"""
    purse = Purse()
    assert purse.spend(credits(100) - 400_000) == ["BalanceDepleted"]
    assert purse.spend(400_000) == []


def test_a_reservation_that_passes_warns_nobody() -> None:
    """T-28: only what is posted counts."""
    purse = Purse()
    assert purse.do(reserve("r", credits(95))) == []
    assert purse.do(Release("r", "test")) == []
    assert purse.account.level is BalanceLevel.OK


def test_a_new_threshold_counts_from_the_next_posting() -> None:
    purse = Purse()
    assert purse.do(SetThreshold(credits(200))) == []
    levels = [purse.account.level]
    assert purse.spend(credits(1)) == []
    assert purse.do(SetThreshold(0)) == []
    levels.append(purse.account.level)
    assert levels == [BalanceLevel.LOW, BalanceLevel.OK]


def test_a_warning_has_one_name_however_often_its_commit_is_tried() -> None:
    """T-44: the id is derived, so a repeated attempt publishes the same event."""

    def events() -> tuple[AccountEvent, ...]:
        rules = Rules(credits(1000))
        account = decide(opened("alice", NOW, credits(50)), [deposit("p", credits(60))], NOW, rules).account
        return decide(account, [reserve("r", credits(20)), settle("r", credits(20))], NOW + 1, rules).events

    assert [event.id for event in events()] == [event.id for event in events()]
    assert {event.name for event in events()} == {"CreditsSettled", "BalanceLow"}
