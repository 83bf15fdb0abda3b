"""Words of texts: few, normalised, and found in an excerpt."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chat.search.words import MOST_LETTERS, MOST_SINGLES, MOST_WORDS, asked, beginnings, excerpt, has_all, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What is a Ledger?", ["what", "is", "a", "ledger"]),
        ("Straße STRASSE ẞ", ["strasse", "ss"]),
        ("Café, cafe\u0301; ＣＡＦＥ", ["cafe"]),
        ("台帳とは", ["台帳", "帳と", "とは", "台", "帳", "と", "は"]),
        ("用iPhone手机", ["用", "iphone", "手机", "手", "机"]),
        ("\U00020000\U00020001", ["\U00020000\U00020001", "\U00020000", "\U00020001"]),
        ("x" * 100, ["x" * MOST_LETTERS]),
        ("\U0001f600 ... -", ["\U0001f600"]),
        ("\U0001f468\u200d\U0001f4bb\U0001f44d\U0001f3fd", ["\U0001f468", "\U0001f4bb", "\U0001f44d"]),
        ("snake_case 1\ufe0f\u20e3 ... \u200b \u202e", ["snake_case", "1"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("ﬁne ①② ½", ["fine", "12", "1", "2"]),
    ],
)
def test_are_normalised(text: str, found: list[str]) -> None:
    assert words(text) == found


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("我用Python写代码", "python"),
        ("iPhone手机", "手机"),
        ("iPhone手机", "iphone"),
        ("黑猫睡觉", "猫"),
        ("The pass\u200bword", "password"),
        ("The password", "pass\u200bword pass\u00adword"),
        ("I use C and R", "c"),
        ("I use C and R", "R use"),
        ("मैं हिन्दी बोलता", "हिन्दी"),
        ("ภาษาไทยที่นี่", "ไทย"),
        ("ครูสอน", "ครู"),
        ("اَلْعَرَبِيَّة", "العربية"),
        ("العـــربية", "العربية"),
        ("שָׁלוֹם", "שלום"),
        ("\u202eשלום עולם", "שלום"),
        ("\U00020000\U00020001\U00020002\U00020003", "\U00020001\U00020002"),
        ("\U00031350\U00031351", "\U00031351"),
        ("Well done \U0001f44d\U0001f3fd!", "\U0001f44d"),
        ("❤\ufe0f", "❤"),
        ("İSTANBUL ISPARTA", "istanbul ısparta"),
        ("Iğdır", "ığdır IĞDIR"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("ｶﾞｷﾞ", "ガギ"),
        ("㍿", "株式会社"),
        ("Việt Nam", "viet"),
        ("한국어", "한국어"),
        ("\u1112\u1161\u11ab국어", "한국어"),
    ],
)
def test_are_found(text: str, question: str) -> None:
    assert asked(question)
    assert {*asked(question)} <= {*words(text)}
    assert {*asked(question)} <= {*words("before", f"after {text}")}
    assert {*asked(question)} <= {*beginnings(text)}


@pytest.mark.parametrize(("text", "question"), [("ครู", "ครี"), ("की", "का"), ("password", "pass word"), ("ab", "b")])
def test_are_not_found_by_others(text: str, question: str) -> None:
    assert not {*asked(question)} <= {*words(text)}


@pytest.mark.parametrize("text", ["Ledger of accounts", "Straße", "Café crème", "Привет мир", "台帳とは", "ΛΌΓΟΣ"])
def test_that_were_stored_by_the_first_rules_are_still_found(text: str) -> None:
    assert {*asked(text)} <= {*first_rules(text)}


def test_single_letters_are_looked_for_in_texts_that_were_stored_without() -> None:
    assert has_all(["use", "c"], ["use"], "I use C", "")
    assert not has_all(["use", "d"], ["use"], "I use C", "")
    assert not has_all(["use", "cc"], ["use"], "I use CC", "")


def first_rules(text: str) -> list[str]:
    """The words that were stored until November 2026."""
    unspaced = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = unicodedata.normalize("NFC", "".join(one for one in plain if not unicodedata.combining(one)))
    found: list[str] = []
    for word in re.findall(r"\w+", plain):
        if unspaced.search(word):
            found += [word[at : at + 2] for at in range(max(1, len(word) - 1))]
        elif len(word) >= 2:
            found.append(word[:MOST_LETTERS])
    return found


@given(st.lists(st.text(max_size=300), min_size=1, max_size=3))
def test_are_bounded_and_distinct(texts: list[str]) -> None:
    found = words(*texts)
    assert len(found) == len({*found}) <= MOST_WORDS + MOST_SINGLES
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


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("中" * 3_000 + "黑猫" + "文" * 3_000, "黑猫"),
        ("क " * 900 + "हिन्दी", "हिन्दी"),
        ("x." * 2_000 + "\U0001f44d", "\U0001f44d"),
    ],
)
def test_an_excerpt_shows_the_word_in_every_script(text: str, question: str) -> None:
    assert question in excerpt((text,), asked(question))


@given(st.text(max_size=120), st.text(max_size=12))
def test_an_excerpt_is_a_part_of_a_text(text: str, question: str) -> None:
    shown = excerpt((text, "other"), asked(question))
    assert shown in (" ".join(text.split()), " ".join(["other"])) or shown.strip("…") in " ".join(text.split())
