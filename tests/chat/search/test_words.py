"""Words of texts: few, normalised, and found in an excerpt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chat.search.words import MOST_LETTERS, MOST_WORDS, asked, beginnings, excerpt, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What is a Ledger?", ["what", "is", "ledger"]),
        ("Straße STRASSE", ["strasse"]),
        ("Café, cafe\u0301; ＣＡＦＥ", ["cafe"]),
        ("台帳とは", ["台帳", "帳と", "とは"]),
        ("x" * 100, ["x" * MOST_LETTERS]),
        ("\U0001f600 ... -", []),
    ],
)
def test_are_normalised(text: str, found: list[str]) -> None:
    assert words(text) == found


@given(st.lists(st.text(max_size=300), min_size=1, max_size=3))
def test_are_bounded_and_distinct(texts: list[str]) -> None:
    found = words(*texts)
    assert len(found) == len({*found}) <= MOST_WORDS
    assert all(0 < len(word) <= MOST_LETTERS for word in found)


@given(st.text(max_size=200))
def test_a_text_is_found_by_its_own_words(text: str) -> None:
    assert {*asked(text)} <= {*words(text)}
    assert {*asked(text)} <= {*beginnings(text)} or len(beginnings(text)) == MOST_WORDS


def test_each_text_has_its_share() -> None:
    long = " ".join(f"w{number}" for number in range(1000))
    assert words(long, "answer")[-1] == "answer"


def test_a_title_is_found_while_it_is_written() -> None:
    assert beginnings("Ledger") == ["le", "led", "ledg", "ledge", "ledger"]


def test_an_excerpt_shows_the_word() -> None:
    assert "LEDGER" in excerpt(("filler " * 200 + "the LEDGER " + "filler " * 200,), ["ledger"])
    assert excerpt(("one two", "three"), ["none"]) == "one two"
