"""Counts of several instances: together they let no more pass than the limit, and what each did not need to tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kit.stores.realtime import Json
from app.rates.counting import WINDOW_US, Count, window_of

visits = st.lists(st.integers(0, 4), max_size=400)
"""Which instance serves each request."""


def served(limit: int, visits: list[int], *, lost_at: int | None = None) -> tuple[list[int], int]:
    """How many requests each instance let pass, and how often the store was asked."""
    counts = [Count() for _ in range(5)]
    stored: Json = None
    asked = 0
    for number, at in enumerate(visits):
        if number == lost_at:
            stored = None
        if counts[at].left(limit) <= 0:
            continue
        count = counts[at]._replace(used=counts[at].used + 1)
        if count.must_ask(limit):
            count, asked = count.asked(stored, limit), asked + 1
            stored = count.shared
            if count.left(limit) < 0:
                count = count._replace(used=count.used - 1)
        counts[at] = count
    return [count.used for count in counts], asked


@given(st.integers(1, 100), visits)
def test_no_more_pass_than_the_limit_and_what_was_not_told(limit: int, visits: list[int]) -> None:
    passed, _ = served(limit, visits)
    assert sum(passed) <= limit + len({*visits}) * (limit // 20)
    assert max(passed) <= limit


@given(st.integers(1, 100), st.integers(0, 300))
def test_one_instance_lets_exactly_the_limit_pass(limit: int, requests: int) -> None:
    assert served(limit, [0] * requests)[0][0] == min(limit, requests)


@pytest.mark.parametrize("limit", [20, 100, 600])
def test_a_call_of_the_store_serves_a_tenth_of_the_limit(limit: int) -> None:
    passed, asked = served(limit, [0] * limit)
    assert passed[0] == limit
    assert asked <= 11


def test_who_asks_for_little_costs_no_call_of_the_store() -> None:
    assert served(100, [0] * 5) == ([5, 0, 0, 0, 0], 0)


@given(visits, st.integers(0, 400))
def test_counts_that_were_lost_give_each_instance_no_more_than_the_limit(visits: list[int], lost_at: int) -> None:
    assert max(served(40, visits, lost_at=lost_at)[0]) <= 40


@pytest.mark.parametrize("stored", [None, True, "17", {"a": 1}, [3], 2.5])
def test_what_is_no_count_counts_as_nothing(stored: Json) -> None:
    assert Count(used=3).asked(stored, 100) == Count(used=3, told=13, others=0)


def test_what_others_took_leaves_less() -> None:
    asked = Count(used=6).asked(90, 100)
    assert (asked.left(100), asked.shared) == (4, 100)
    assert Count(used=6).asked(100, 100).left(100) < 0


@given(st.text(min_size=1), st.integers(0, 2**52))
def test_a_minute_is_a_minute_for_everybody(subject: str, at_us: int) -> None:
    window, ends_us = window_of(subject, at_us)
    assert at_us < ends_us <= at_us + WINDOW_US
    assert window_of(subject, ends_us) == (window + 1, ends_us + WINDOW_US)
    assert window_of(subject, ends_us - 1) == (window, ends_us)
