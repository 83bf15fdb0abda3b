"""What an answer has used, from whatever the vendor told: never more than was made, never nothing for something."""

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.kit.canonical import canonical
from app.metering.meter import Meter, storable
from app.metering.quote import Granted
from app.models.catalogue import load
from app.models.gateway import Counted, Delta, Thought
from app.models.pricing import PriceBook
from app.models.usage import NOTHING, Reported, TokenUsage

BOOK = PriceBook(load())
SMALL = BOOK.catalogue.get("small")
PROMPT = ["one two three four"]
PROMPT_TOKENS = 4 + 2


def meter(max_output_tokens: int = 1000) -> Meter:
    granted = Granted(10**9, 10**9, max_output_tokens, SMALL.id, {SMALL.id: max_output_tokens})
    return Meter(BOOK, SMALL, prompt=PROMPT, granted=granted)


class TestMeasured:
    def test_by_the_vendors_count_when_the_answer_came_to_its_end(self) -> None:
        one = meter()
        one.add(Delta("hello", 1))
        one.count(Counted(Reported((100, 20), (30, 12, 0)), {}))
        one.finish = "stop"
        found = one.measured()
        assert found.reported == found.delivered == TokenUsage(100, 20, 30, 12)
        assert found.reported_price == found.delivered_price == BOOK.cost(SMALL, TokenUsage(100, 20, 30, 12))

    def test_by_what_was_delivered_when_it_broke_off(self) -> None:
        """T-1, T-2: the prompt as the vendor counted it, and our own count of what came."""
        one = meter()
        one.add(Delta("hello there", 2))
        one.count(Counted(Reported((100, 0), (1, 0, 0)), {}))
        assert one.measured().delivered == TokenUsage(100, 0, 2)

    @pytest.mark.parametrize("reported", [NOTHING, Reported(None, None)])
    def test_by_an_estimate_when_nothing_was_reported(self, reported: Reported) -> None:
        """T-5, T-12."""
        one = meter()
        one.add(Delta("one two three four", 3))
        one.count(Counted(reported, {}))
        one.finish = "stop"
        found = one.measured()
        assert (found.reported, found.reported_price) == (None, None)
        assert found.delivered == TokenUsage(input=PROMPT_TOKENS, output=4)

    def test_zero_is_a_count_where_nothing_was_made(self) -> None:
        """T-5: of a thing that was not used, zero is the truth."""
        one = meter()
        one.count(Counted(Reported((100, 0), (0, 0, 0)), {}))
        one.finish = "stop"
        assert one.measured().reported == TokenUsage(input=100)

    @pytest.mark.parametrize(
        ("reported", "delivered"),
        [
            (Reported((0, 0), (0, 0, 0)), TokenUsage(input=PROMPT_TOKENS, output=92)),
            (Reported((0, 0), (92, 0, 0)), TokenUsage(input=PROMPT_TOKENS, output=92)),
            (Reported((100, 0), (0, 0, 0)), TokenUsage(input=100, output=92)),
            (Reported((100, 0), (3, 0, 0), 40), TokenUsage(input=60, output=92, cache_write=40)),
        ],
    )
    def test_by_our_own_count_where_the_vendors_contradicts_what_was_seen(
        self, reported: Reported, delivered: TokenUsage
    ) -> None:
        """T-101, T-106: zero, or nearly, beside 92 delivered pieces is no count."""
        one = meter()
        one.add(Delta("word " * 92, 92))
        one.count(Counted(reported, {}))
        one.finish = "stop"
        found = one.measured()
        assert (found.reported, found.delivered, found.doubted) == (None, delivered, True)

    @pytest.mark.parametrize(
        ("text", "pieces", "written"),
        [(" " * 4000, 1, 32), (" " * 4000, 32, 32), ("letters" * 20, 140, 40), ("Hi", 1, 1), ("\u4f60" * 40, 40, 24)],
        ids=["blanks at once", "blanks", "cut into letters", "one token", "Chinese"],
    )
    def test_by_the_vendors_count_where_it_is_low_and_possible(self, text: str, pieces: int, written: int) -> None:
        """T-1: who doubts a true report charges too much."""
        one = meter()
        one.add(Delta(text, pieces))
        one.count(Counted(Reported((100, 0), (written, 0, 0)), {}))
        one.finish = "stop"
        found = one.measured()
        assert found.reported == TokenUsage(input=100, output=written)
        assert not found.doubted

    @pytest.mark.parametrize(
        ("reported", "delivered"),
        [
            (Reported((33_019, 0), (1, 0, 0)), TokenUsage(input=PROMPT_TOKENS, output=1)),
            (Reported((19, 33_000), (1, 0, 0)), TokenUsage(input=PROMPT_TOKENS, output=1)),
            (Reported((100, 0), (9_000, 0, 0)), TokenUsage(input=100, output=1)),
            (Reported((100, 0), (100, 8_900, 0)), TokenUsage(input=100, output=1)),
        ],
    )
    def test_by_our_own_count_where_the_vendors_is_more_than_can_be(
        self, reported: Reported, delivered: TokenUsage
    ) -> None:
        """T-101: more input than was sent, or more output than was allowed, was never made."""
        one = meter()
        one.add(Delta("hello", 1))
        one.count(Counted(reported, {}))
        one.finish = "stop"
        found = one.measured()
        assert (found.reported, found.delivered, found.doubted) == (None, delivered, True)

    def test_by_the_vendors_count_of_what_it_put_before_the_prompt(self) -> None:
        """T-14: its own instructions, which it charges for; here most of them were written into its cache."""
        one = meter()
        one.add(Delta("hello", 1))
        one.count(Counted(Reported((2_006, 0), (6, 0, 0), 1_900), {}))
        one.finish = "stop"
        found = one.measured()
        assert (found.doubted, found.reported) == (False, TokenUsage(input=106, output=6, cache_write=1_900))

    def test_by_the_vendors_count_of_pictures(self) -> None:
        vision = BOOK.catalogue.get("vision")
        granted = Granted(10**9, 10**9, 1000, vision.id, {vision.id: 1000})
        one = Meter(BOOK, vision, prompt=PROMPT, granted=granted, images=2)
        one.add(Delta("hello", 1))
        one.count(Counted(Reported((2 * vision.image_input_tokens, 0), (1, 0, 0)), {}))
        one.finish = "stop"
        assert not one.measured().doubted

    def test_by_our_own_count_of_hidden_reasoning_too(self) -> None:
        """T-15: reasoning was made though nobody is shown it; a report of the vendor's counts it already."""
        one = meter()
        one.think(Thought(80, 3))
        one.think(Thought(10, 2))
        one.add(Delta("hello", 1))
        assert one.measured().delivered == TokenUsage(input=PROMPT_TOKENS, output=1, reasoning=5)
        one.count(Counted(Reported((100, 0), (20, 19, 0)), {}))
        one.finish = "stop"
        assert one.measured().delivered == TokenUsage(100, 0, 20, 19)

    def test_by_half_a_report_is_an_estimate(self) -> None:
        """T-5: the side that was told counts, and nobody calls the whole the vendor's."""
        one = meter()
        one.add(Delta("hello", 1))
        one.count(Counted(Reported((100, 0), None), {}))
        one.finish = "stop"
        found = one.measured()
        assert (found.reported, found.delivered) == (None, TokenUsage(input=100, output=1))

    def test_a_kind_without_a_price_is_not_charged_for(self) -> None:
        """T-16: `small` has no price for pictures, so its report does not count."""
        one = meter()
        one.add(Delta("hello", 1))
        one.count(Counted(Reported((50, 0), (1, 0, 900)), {}))
        one.finish = "stop"
        found = one.measured()
        assert found.reported is None
        assert found.delivered == TokenUsage(input=50, output=1)

    def test_what_an_earlier_try_counted_is_not_this_answers(self) -> None:
        """T-11, T-20: a first model reported and failed before any text; another one answers."""
        one = meter()
        one.count(Counted(Reported((5000, 0), (5000, 0, 0)), {"prompt_tokens": 5000}))
        one.answered_by(BOOK.catalogue.get("large"))
        one.add(Delta("hello", 1))
        assert one.measured().delivered == TokenUsage(input=PROMPT_TOKENS, output=1)
        assert one.raw == {}

    def test_what_an_earlier_try_thought_is_not_this_answers(self) -> None:
        """T-11, T-15: a first model thought and failed before any text; another one answers."""
        one = meter()
        one.think(Thought(4000, 900))
        one.answered_by(BOOK.catalogue.get("large"))
        one.add(Delta("hello", 1))
        assert one.measured().delivered == TokenUsage(input=PROMPT_TOKENS, output=1)


class TestLettersAsPieces:
    """A proxy that cuts text into letters makes no tokens of them."""

    def test_are_not_charged_as_tokens(self) -> None:
        one = meter()
        for letter in "one two three four " * 10:
            one.add(Delta(letter, 1))
        one.finish = "stop"
        assert one.measured().delivered.output <= 50

    def test_do_not_use_up_the_limit(self) -> None:
        one = meter(max_output_tokens=300)
        for letter in "one two three four " * 47:
            one.add(Delta(letter, 1))
            assert not one.spent(10**9)


class Watched(Meter):
    """Counts how often the whole text is put together."""

    joined = 0

    @property
    def text(self) -> str:
        self.joined += 1
        return super().text


class Reread(list[str]):
    """Counts how often it is read."""

    reread = 0

    def __iter__(self) -> Iterator[str]:
        self.reread += 1
        return super().__iter__()


LETTERS = "ab \n.,_\U0001f600\u4e2d\u6587\u0e01\u0301"


class TestWhatWasWritten:
    @given(
        st.lists(
            st.tuples(st.text("ab \n.,_\U0001f600\u4e2d\u6587\u0e01\u0301", max_size=60), st.integers(1, 30)),
            max_size=30,
        ),
        st.integers(0, 90),
    )
    def test_is_told_as_if_the_whole_were_counted_with_every_piece(
        self, parts: list[tuple[str, int]], tokens: int
    ) -> None:
        one = meter()
        for text, pieces in parts:
            one.add(Delta(text, pieces))
            assert one.wrote_more_than(tokens) is (one.written > tokens)

    def test_counts_pieces_that_came_together(self) -> None:
        """Emoji and long identifiers: many tokens, and one word by our estimate."""
        one = meter()
        for _ in range(4):
            one.add(Delta("\U0001f600" * 40, 40))
        assert one.wrote_more_than(30)
        assert one.written == 40


class TestSpent:
    @given(st.lists(st.text(max_size=7), max_size=60), st.integers(1, 80))
    def test_never_cuts_an_answer_that_keeps_to_its_limit(self, pieces: list[str], limit: int) -> None:
        """T-10: a vendor that sends at most `limit` tokens, one a piece, is never stopped."""
        one = meter(limit)
        for text in pieces[:limit]:
            if text:
                one.add(Delta(text, 1))
            assert not one.spent(10**9)

    def test_cuts_one_that_ignores_its_limit_however_it_is_packed(self) -> None:
        """T-10."""
        by_pieces, by_length = meter(10), meter(10)
        by_pieces.add(Delta("a" * 44, 11))
        by_length.add(Delta("a" * 11 * 128, 1))
        assert by_pieces.spent(10**9)
        assert by_length.spent(10**9)

    @pytest.mark.parametrize("reported", [Reported((0, 0), (0, 0, 0)), Reported(None, (30, 0, 0))])
    def test_reads_nothing_again_while_text_comes(self, reported: Reported) -> None:
        """Zeros before the text, or a report of one side, made each piece count the whole prompt and answer anew."""
        prompt = Reread(PROMPT)
        one = Watched(BOOK, SMALL, prompt=prompt, granted=Granted(10**9, 10**9, 1000, SMALL.id, {SMALL.id: 1000}))
        one.count(Counted(reported, {}))
        for _ in range(100):
            one.add(Delta("word ", 1))
            assert not one.spent(10**9)
        assert one.joined == 0
        assert prompt.reread <= 2, "once for its length and once for its tokens"

    def test_believes_a_report_that_the_money_is_gone(self) -> None:
        price = BOOK.cost(SMALL, TokenUsage(10, 0, 500))
        one = meter()
        one.count(Counted(Reported((10, 0), (500, 0, 0)), {}))
        assert one.spent(price - 1)
        assert not one.spent(price)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=5))
def test_whatever_a_vendor_reports_can_be_hashed_and_stored(raw: dict[str, object]) -> None:
    """T-4, T-41, T-54: fractions, huge numbers and odd names of a vendor never make a settlement fail."""
    canonical(storable(raw))


def test_a_report_of_odd_names_is_cut_to_the_plain_ones() -> None:
    raw = {
        "prompt_tokens": 1,
        "__x__": 2,
        "": 3,
        "\ud800": 4,
        "cost": 0.5,
        "huge": 2**60,
        "details": {"a": 1, "b c": 2},
    }
    assert storable(raw) == {"prompt_tokens": 1, "huge": str(2**60), "details": {"a": 1}}
    assert len(storable({f"n{number}": number for number in range(1000)})) == 40


class TestHiddenReasoning:
    """T-15."""

    @pytest.mark.parametrize(
        ("model", "counted", "seen", "undeclared"),
        [
            ("small", 400, 0, True),
            ("small", 0, 0, False),
            ("small", 400, 400, False),
            ("reasoning", 400, 0, False),
        ],
    )
    def test_that_the_catalogue_does_not_expect_is_found(
        self, model: str, counted: int, seen: int, *, undeclared: bool
    ) -> None:
        """Whoever is asked for it holds too little from the beginning."""
        asked = BOOK.catalogue.get(model)
        one = Meter(BOOK, asked, prompt=PROMPT, granted=Granted(10**9, 10**9, 1000, asked.id, {asked.id: 1000}))
        one.add(Delta("hello", 1))
        if seen:
            one.think(Thought(4 * seen, seen))
        one.count(Counted(Reported((10, 0), (1, counted, 0)), {}))
        assert one.measured().undeclared is undeclared


PIECES = st.sampled_from(["word ", "a" * 40, "wo", "7" * 30, "  ", "\n", "漢字" * 9, "— ", "x"])
DELTAS = st.lists(st.tuples(PIECES, st.integers(1, 30)), max_size=60)


@given(DELTAS, st.integers(0, 400))
@example([("a" * 40, 30)] * 40, 200)
def test_asks_often_what_it_would_count_at_once(deltas: list[tuple[str, int]], tokens: int) -> None:
    """Also where letters come one by one: text for which there is too little is never taken for less than it is."""
    often, once = meter(), meter()
    for text, pieces in deltas:
        for one in (often, once):
            one.add(Delta(text, min(pieces, len(text))))
        assert often.wrote_more_than(tokens) == (once.written > tokens)
