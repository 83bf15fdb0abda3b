"""T-112, T-113: how much a lane admits, and who waits for whom, with twenty instances and 20 ms a call."""

import pytest

from app.orchestration.queue.handler import Lane
from app.orchestration.queue.operation_queue import Order
from orchestration.rush import Kind, Rush, steady
from simulation.simulate import hush

SECOND = 1_000_000
SLOW = Kind("slow", takes_us=30 * SECOND, vendor="busy")
BEHIND = 2_024


@pytest.fixture(autouse=True)
def quiet() -> None:
    hush()


def order(number: object, account: str | None, *, name: str = "work", key: str | None = None) -> Order:
    return Order(name, payload={"order": str(number)}, account=account, key=key)


def in_front(rush: Rush, orders: list[Order]) -> None:
    """Enters these, in commits of a hundred, and lets the lane fill."""
    for start in range(0, len(orders), 100):
        rush.enter(orders[start : start + 100])
    rush.run(3 * SECOND)


def test_three_hundred_a_second_are_admitted_and_each_within_half_a_second() -> None:
    rush = steady(Rush(Lane("rush", 64)), per_second=300, seconds=2, accounts=50)
    assert (len(rush.started), rush.failed) == (600, [])
    assert rush.per_second() > 270, "the last orders come at 300 a second, and start a little later"
    assert rush.waited_us(0.95) < 500_000
    assert rush.most[""] <= 64


def test_a_backlog_of_one_account_alone_goes_at_a_hundred_a_second_and_none_is_forgotten() -> None:
    """Runners that have only one account to choose from meet more often."""
    rush = Rush(Lane("rush", 64))
    in_front(rush, [order(number, "alice") for number in range(400)])
    rush.run(10 * SECOND)
    assert (len(rush.started), rush.failed) == (400, [])
    assert rush.per_second() > 100


def test_thousands_that_wait_for_a_vendor_hide_nobody_and_it_gets_no_more_than_it_can_take() -> None:
    rush = Rush(Lane("rush", 16, {"busy": 2}), [Kind("work"), SLOW])
    in_front(rush, [order(number, f"account-{number % 300}", name="slow") for number in range(BEHIND)])
    rush.enter([order("next", "bob")])
    rush.run(2 * SECOND)
    assert [one.order for one in rush.started if one.account == "bob"] == ["next"]
    assert rush.most["busy"] == 2
    rush.run(60 * SECOND)
    assert rush.most["busy"] == 2
    assert len([one for one in rush.started if one.account != "bob"]) in (5, 6), "two at a time, for half a minute each"


def test_thousands_of_one_key_hide_nobody() -> None:
    rush = Rush(Lane("rush", 16), [Kind("work"), Kind("slow", takes_us=30 * SECOND)])
    some = [order(number, f"account-{number % 300}", name="slow", key="resource") for number in range(BEHIND)]
    in_front(rush, some)
    rush.enter([order("next", "bob")])
    rush.run(2 * SECOND)
    assert [one.order for one in rush.started if one.account == "bob"] == ["next"]
    assert rush.most[""] <= 2


@pytest.mark.parametrize("other", ["bob", "carol"])
def test_an_accounts_next_order_starts_before_a_few_of_anothers_five_hundred(other: str) -> None:
    slots = 8
    rush = Rush(Lane("rush", slots), [Kind("work", takes_us=SECOND // 2)])
    in_front(rush, [order(number, "alice") for number in range(500)])
    before = len(rush.started)
    rush.enter([order("next", other)])
    rush.run(10 * SECOND)
    [place] = [place for place, one in enumerate(rush.started) if one.account == other]
    assert place - before <= 2 * slots
    assert rush.most[""] == slots
