"""Amounts: exact, one spelling, no binary fraction (T-41)."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kit.errors import Invalid
from app.kit.money import MAX_MICRO, ceil_div, credits, from_decimal, to_decimal

amounts = st.integers(min_value=-MAX_MICRO, max_value=MAX_MICRO)


@pytest.mark.parametrize(
    ("micro", "text"),
    [
        (0, "0"),
        (1, "0.000001"),
        (-125, "-0.000125"),
        (999_250_000, "999.25"),
        (credits(1000), "1000"),
        (-1, "-0.000001"),
    ],
)
def test_the_spelling_of_an_amount(micro: int, text: str) -> None:
    assert to_decimal(micro) == text


@given(amounts)
def test_what_is_written_reads_back(amount: int) -> None:
    text = to_decimal(amount)
    assert from_decimal(text) == amount
    assert re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]{0,5}[1-9])?", text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1.",
        ".5",
        "1e3",
        "01",
        "+1",
        "1,5",
        "0.0000001",
        "NaN",
        "१",
        "9007199254.740992",
        "99999999999",
        "--1",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        from_decimal(text)


@given(st.integers(min_value=0, max_value=MAX_MICRO), st.integers(min_value=1, max_value=10**9))
def test_rounding_up_costs_less_than_one_micro_credit(numerator: int, denominator: int) -> None:
    """T-42: the bound that the price book promises."""
    rounded = ceil_div(numerator, denominator)
    assert 0 <= rounded * denominator - numerator < denominator


def test_money_code_has_no_binary_fraction() -> None:
    """T-41: the modules that hold amounts never name the type."""
    app = Path(__file__).parents[2] / "functions" / "app"
    places = [app / "kit" / "money.py", *(app / "credits").rglob("*.py"), *(app / "models").glob("pric*.py")]
    guilty = [str(place) for place in places if re.search(r"\bfloat\b", place.read_text())]
    assert guilty == []
