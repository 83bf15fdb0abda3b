"""Quotes cover whatever can happen; charges are exact, and rounded once."""

import ast
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models import pricing, tokens
from app.models.catalogue import Catalogue, Model, load
from app.models.pricing import PER, Demand, PriceBook
from app.models.usage import BadUsage, TokenUsage

BOOK = PriceBook(load())
TEXT_MODELS = [model for model in BOOK.catalogue if model.can("text")]
models = st.sampled_from(TEXT_MODELS)
counts = st.integers(0, 300_000)


def small() -> Model:
    return BOOK.catalogue.get("small")


KEEPING = replace(small(), id="keeping", prices={**small().prices, "cache_write": 7_812_500})
"""A model whose vendor takes a quarter more for input that it writes to its cache."""


class TestCost:
    @given(models, counts, counts, counts, counts)
    def test_is_the_exact_price_rounded_up_once(
        self, model: Model, fresh: int, cached: int, out: int, why: int
    ) -> None:
        """T-42: at most one micro-credit above the exact price, however many buckets there are."""
        used = TokenUsage(fresh, cached, out, why)
        tiers = [tier.prices for tier in model.tiers if used.total_input > tier.above_input_tokens]
        prices = [model.prices, *tiers][-1]
        exact = sum(Fraction(count * prices[bucket], PER) for bucket, count in used.buckets().items() if count)
        assert 0 <= BOOK.cost(model, used) - exact < 1

    def test_of_nothing_is_nothing(self) -> None:
        """T-5."""
        assert BOOK.cost(small(), TokenUsage()) == 0

    def test_of_one_token_is_at_least_one_micro_credit(self) -> None:
        assert BOOK.cost(small(), TokenUsage(output=1)) == 25

    def test_each_kind_of_token_has_its_own_price(self) -> None:
        """T-14, T-15, T-16: a thousand tokens of each bucket, at its own price."""
        image = BOOK.catalogue.get("image")
        assert BOOK.cost(small(), TokenUsage(input=1000)) == 6_250
        assert BOOK.cost(small(), TokenUsage(cached_input=1000)) == 3_125
        assert BOOK.cost(small(), TokenUsage(reasoning=1000)) == 25_000
        assert BOOK.cost(image, TokenUsage(image=1000)) == 1_667_000

    def test_a_cache_write_costs_its_own_price_or_that_of_input(self) -> None:
        """T-14: vendors ask more for it than for input; one that does not has no price for it."""
        used = TokenUsage(cache_write=1000)
        assert BOOK.cost(small(), used) == 6_250
        assert BOOK.cost(KEEPING, used) == 7_813

    def test_a_kind_without_a_price_is_refused(self) -> None:
        """T-16, T-18."""
        with pytest.raises(BadUsage, match="image"):
            BOOK.cost(small(), TokenUsage(image=1))

    @pytest.mark.parametrize(("tokens_read", "price"), [(199_999, 104), (200_000, 104), (200_001, 208)])
    def test_a_long_context_moves_the_whole_request(self, tokens_read: int, price: int) -> None:
        """T-21: the tier's boundary, one token to either side; cached input counts into it."""
        large = BOOK.catalogue.get("large")
        assert BOOK.cost(large, TokenUsage(input=tokens_read)) == tokens_read * price
        assert (
            BOOK.cost(large, TokenUsage(input=1, cached_input=tokens_read - 1))
            == price + (tokens_read - 1) * price // 2
        )


class TestCeiling:
    @given(models, st.integers(0, 250_000), st.integers(1, 20_000), st.integers(0, 4), st.data())
    def test_covers_every_answer_of_every_model_that_may_answer(
        self, model: Model, read: int, written: int, images: int, data: st.DataObject
    ) -> None:
        """T-10, T-20: whichever model of the chain answers, and however its tokens fall into buckets and tiers."""
        demand = Demand(read, written, images)
        who = data.draw(st.sampled_from((*BOOK.catalogue.chain(model), KEEPING)))
        most = min(read + images * who.image_input_tokens + who.prompt_overhead_tokens, who.context_tokens)
        total_in = data.draw(st.integers(0, most))
        cached = data.draw(st.integers(0, total_in))
        out = data.draw(st.integers(0, written))
        why = data.draw(st.integers(0, written - out))
        kept = data.draw(st.integers(0, total_in - cached))
        used = TokenUsage(total_in - cached - kept, cached, out, why, cache_write=kept)
        assert BOOK.cost(who, used) <= BOOK.ceiling(KEEPING if who is KEEPING else model, demand)

    def test_is_that_of_the_dearest_fallback(self) -> None:
        """T-20."""
        large = BOOK.catalogue.get("large")
        assert "large" in small().fallbacks
        assert BOOK.ceiling(small(), Demand(100, 100)) == BOOK.ceiling(replace(large, fallbacks=()), Demand(100, 100))


class TestAffordableOutput:
    @given(models, st.integers(0, 250_000), st.integers(1, 20_000), st.integers(0, 10**9))
    def test_is_the_most_that_the_amount_covers(self, model: Model, read: int, wanted: int, amount: int) -> None:
        """T-29: one more token would not be covered."""
        got = BOOK.affordable_output(model, Demand(read, wanted), amount)
        assert got <= wanted
        if got >= 0:
            assert BOOK.worst(model, Demand(read, got)) <= amount
        if -1 <= got < wanted:
            assert BOOK.worst(model, Demand(read, got + 1)) > amount


@pytest.mark.parametrize("module", [pricing, tokens])
def test_no_binary_fraction_comes_near_a_price(module: object) -> None:
    """T-41. A vendor's count may come as 10.0; `usage` makes a whole number of it before it meets a price."""
    tree = ast.parse(Path(str(getattr(module, "__file__"))).read_text())  # noqa: B009 - typed as object
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float))
        assert not (isinstance(node, ast.Name) and node.id == "float")
        assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div))


def test_a_new_price_book_leaves_old_charges_alone() -> None:
    """A charge names the version that it was made with, and that version still gives it."""
    doubled = {
        id: replace(m, prices={b: 2 * p for b, p in m.prices.items()}) for id, m in BOOK.catalogue.models.items()
    }
    other = PriceBook(Catalogue("other", doubled, {}))
    used = TokenUsage(input=1000, output=1000)
    assert other.cost(doubled["small"], used) == 2 * BOOK.cost(small(), used)
    assert BOOK.version == "local-2026-11-21" != other.version
