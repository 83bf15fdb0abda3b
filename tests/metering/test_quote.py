"""A quote covers whatever may happen, and a grant never promises more output than is reserved for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kit.errors import InvariantViolation
from app.metering.quote import ALIKE, LEAST_OUTPUT, Granted, MaxCostTooLow, Outputs, granted, quote
from app.models.catalogue import Model, load
from app.models.pricing import Demand, PriceBook
from app.models.usage import TokenUsage

BOOK = PriceBook(load())
MODELS = st.sampled_from([model for model in BOOK.catalogue if model.can("text")])
DEMANDS = st.builds(Demand, st.integers(1, 300_000), st.integers(1, 16_384), st.integers(0, 8))


@given(MODELS, DEMANDS, st.data())
def test_whoever_may_answer_costs_no_more_than_is_reserved(model: Model, demand: Demand, data: st.DataObject) -> None:
    """T-10, T-20, T-29: for every amount that a reservation may hold, and every model of the chain."""
    quoted = quote(BOOK, model, demand)
    reserved = data.draw(st.integers(quoted.needed, quoted.ceiling))
    grant = granted(quoted, min(reserved, quoted.expected), reserved)
    assert min(LEAST_OUTPUT, demand.output_tokens) <= grant.max_output_tokens <= demand.output_tokens
    assert grant.clamped == (grant.max_output_tokens < demand.output_tokens)
    assert next(iter(grant.limits)) == model.id
    for id, limit in grant.limits.items():
        answering = BOOK.catalogue.get(id)
        read = min(demand.input_tokens + demand.images * answering.image_input_tokens, answering.context_tokens)
        assert BOOK.cost(answering, TokenUsage(input=read, output=limit)) <= reserved
        assert limit >= quoted.least_output


def test_the_limit_is_that_of_the_model_that_answers() -> None:
    """What pays for 2,000 tokens of the small model pays for none of its fallback, which is then not asked."""
    small, large = BOOK.catalogue.get("small"), BOOK.catalogue.get("large")
    assert small.fallbacks == ("large",)
    quoted = quote(BOOK, small, Demand(1_000, 2_000), max_cost=60_000)
    grant = granted(quoted, quoted.expected, quoted.ceiling)
    assert grant.limits == {"small": 2_000}
    assert not grant.clamped
    wide = quote(BOOK, small, Demand(1_000, 2_000))
    rich = granted(wide, wide.expected, BOOK.worst(large, Demand(1_000, 500)))
    assert rich.limits == {"small": 2_000, "large": 500}
    assert (rich.cuts(small), rich.cuts(large)) == (False, True)


def test_a_models_own_limit_is_no_cut() -> None:
    """T-29: a fallback that ends at its own limit did not run out of money."""
    small = BOOK.catalogue.get("small")
    short = replace(BOOK.catalogue.get("large"), max_output_tokens=100)
    grant = Granted(10**9, 10**9, 2_000, small.id, {small.id: 2_000, short.id: 500})
    assert not grant.cuts(short)
    assert grant.cuts(replace(short, max_output_tokens=501))


@given(MODELS, DEMANDS)
def test_the_whole_output_is_granted_for_the_ceiling(model: Model, demand: Demand) -> None:
    quoted = quote(BOOK, model, demand)
    assert granted(quoted, quoted.expected, quoted.ceiling).max_output_tokens == demand.output_tokens


def test_a_dearer_fallback_is_reserved_for() -> None:
    """T-20."""
    small, large = BOOK.catalogue.get("small"), BOOK.catalogue.get("large")
    demand = Demand(100, 1000)
    alone = quote(BOOK, replace(small, fallbacks=()), demand)
    chained = quote(BOOK, small, demand)
    assert alone.needed == chained.needed, "its least answer is paid for by whoever can pay for the model that is asked"
    assert alone.ceiling < chained.ceiling == quote(BOOK, large, demand).ceiling


def test_what_is_whole_or_nothing_needs_all_that_it_reserves() -> None:
    image = BOOK.catalogue.get("image")
    quoted = quote(BOOK, image, Demand(20, 4_000), outputs=Outputs(4_000))
    assert quoted.needed == quoted.ceiling
    with pytest.raises(InvariantViolation):
        granted(quoted, quoted.ceiling - 1, quoted.ceiling - 1)


def test_what_writes_nothing_is_priced_by_what_it_reads() -> None:
    embed = BOOK.catalogue.get("embed")
    quoted = quote(BOOK, embed, Demand(1_000, 0))
    assert quoted.needed == quoted.ceiling == BOOK.cost(embed, TokenUsage(input=1_000))
    assert granted(quoted, quoted.expected, quoted.ceiling).max_output_tokens == 0


def test_the_callers_limit_bounds_the_ceiling_and_refuses_what_is_too_little() -> None:
    small = BOOK.catalogue.get("small")
    free = quote(BOOK, small, Demand(100, 1000))
    assert quote(BOOK, small, Demand(100, 1000), max_cost=free.needed).ceiling == free.needed
    assert quote(BOOK, small, Demand(100, 1000), max_cost=free.ceiling + 1) == free
    with pytest.raises(MaxCostTooLow):
        quote(BOOK, small, Demand(100, 1000), max_cost=free.needed - 1)


class TestWhatIsWrittenUnseen:
    """T-15: hidden reasoning is told when it is too late to hold it, so all of it is held from the beginning."""

    def test_by_a_model_that_may_answer_is_held_whole(self) -> None:
        small, reasoning = BOOK.catalogue.get("small"), BOOK.catalogue.get("reasoning")
        for model in (reasoning, replace(small, fallbacks=("reasoning",))):
            quoted = quote(BOOK, model, Demand(100, 4_000))
            assert (quoted.expected, quoted.share) == (quoted.ceiling, 1)

    def test_since_the_caller_wants_it_so_is_held_whole(self) -> None:
        small = BOOK.catalogue.get("small")
        seen, unseen = (quote(BOOK, small, Demand(100, 4_000), outputs=Outputs(unseen=one)) for one in (False, True))
        assert (seen.expected < seen.ceiling, seen.share) == (True, ALIKE)
        assert (unseen.expected, unseen.share) == (unseen.ceiling, 1)

    def test_is_held_up_to_the_callers_limit(self) -> None:
        reasoning = BOOK.catalogue.get("reasoning")
        quoted = quote(BOOK, reasoning, Demand(100, 4_000), max_cost=50_000)
        assert quoted.expected == quoted.ceiling == 50_000
