"""Counts without a tokenizer, against what real tokenizers count."""

import json
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models import tokens


@dataclass(frozen=True)
class Recorded:
    """A text and how many tokens the tables `o200k_base` and `cl100k_base` make of it."""

    what: str
    text: str
    counts: tuple[int, int]


def recorded() -> list[Recorded]:
    golden = json.loads((Path(__file__).parent / "golden/token_counts.json").read_text())
    return [
        Recorded(each["what"], each["text"] * each["times"], (each["o200k_base"], each["cl100k_base"]))
        for each in golden["samples"]
    ]


each_text = pytest.mark.parametrize("one", recorded(), ids=lambda one: one.what)


class TestEstimate:
    @each_text
    def test_is_never_above_what_a_real_tokenizer_counts(self, one: Recorded) -> None:
        """T-2, T-108: 4,000 spaces are 32 tokens, and a word of 18 letters may be one."""
        assert tokens.estimate(one.text) <= min(one.counts)

    @pytest.mark.parametrize("one", [one for one in recorded() if "prose" in one.what], ids=lambda one: one.what)
    def test_of_prose_is_more_than_half_of_it_in_every_script(self, one: Recorded) -> None:
        """T-108: eight letters a token were a quarter of the truth in Chinese."""
        assert tokens.estimate(one.text) > min(one.counts) / 2

    @pytest.mark.parametrize("what", ["english prose", "english chat", "french prose", "sql", "markdown", "javascript"])
    def test_of_english_and_code_is_nearly_the_truth(self, what: str) -> None:
        [one] = [one for one in recorded() if one.what == what]
        assert tokens.estimate(one.text) >= 0.9 * min(one.counts)

    def test_leaves_out_a_picture_that_a_model_wrote_but_no_text_in_its_guise(self) -> None:
        """A model that draws sends its picture as text; a vendor does not count each letter of it."""
        picture = "Here: ![](data:image/png;base64," + "iVBORw0KGgo" * 90_000 + "==)"
        assert tokens.estimate(tokens.without_pictures(picture)) < 10
        assert tokens.estimate(picture) > 10_000
        guise = "data:;base64,Please/answer/this/" * 100
        assert tokens.without_pictures(guise) == guise

    @given(st.text(max_size=200))
    def test_takes_any_text_and_is_no_more_than_its_bytes(self, text: str) -> None:
        assert 0 <= tokens.estimate(text) <= len(text.encode("utf-8", "surrogatepass"))

    @given(st.text(max_size=80), st.text(max_size=80))
    def test_of_two_pieces_never_falls_as_text_arrives(self, one: str, other: str) -> None:
        """One more piece can make one piece of two, and no more."""
        assert tokens.estimate(one + other) >= tokens.estimate(one) - 1


class TestBounds:
    @given(st.lists(st.text(), max_size=5))
    def test_a_prompt_never_has_more_tokens_than_the_bound(self, texts: list[str]) -> None:
        """T-10: at most one token per byte of the text as it is or as a tokenizer normalises it."""
        normalised = [unicodedata.normalize("NFKC", text) for text in texts]
        for written in (texts, normalised):
            size = sum(len(text.encode("utf-8", "surrogatepass")) for text in written)
            assert tokens.upper_bound(texts) >= size + 8 * len(texts)

    def test_counts_a_text_that_grows_when_it_is_normalised(self) -> None:
        """One Arabic ligature of 3 bytes is a phrase of 33 in NFKC, and a musical note of 4 bytes 12 in NFC."""
        assert tokens.upper_bound(["\ufdfa" * 100]) >= 3300
        assert tokens.upper_bound(["\U0001d160" * 100]) >= 1200

    @each_text
    def test_what_is_sent_is_sized_by_more_than_a_text_has_in_practice(self, one: Recorded) -> None:
        """T-117: two tokens for three bytes cover every text of the corpus, and Chinese by far."""
        assert max(one.counts) <= tokens.likely([one.text]) <= tokens.upper_bound([one.text])

    @each_text
    def test_no_text_has_fewer_than_its_longest_tokens(self, one: Recorded) -> None:
        assert tokens.at_least(len(one.text), 0) <= min(one.counts)

    def test_a_piece_is_a_token_where_it_is_no_letter(self) -> None:
        """T-2: a vendor sends no token in two pieces, but a proxy may cut its text into letters."""
        assert tokens.at_least(length=60, pieces=12) == 12
        assert tokens.at_least(length=900, pieces=900) == 225
