"""An estimate's figures are in order, and its bound is the quote's own."""

from hypothesis import given
from hypothesis import strategies as st

from app.metering.estimate import Estimate, Lengths, Prompt, estimate
from app.metering.quote import demand, quote
from app.models.catalogue import Model, load
from app.models.pricing import Demand, PriceBook
from app.models.usage import TokenUsage

BOOK = PriceBook(load())
MODELS = st.sampled_from([model for model in BOOK.catalogue if model.can("text")])
LENGTHS = st.lists(st.integers(1, 40_000), min_size=3, max_size=3).map(lambda three: Lengths(*sorted(three)))


@given(MODELS, st.integers(1, 500_000), st.integers(1, 16_384), st.integers(0, 8), LENGTHS, st.data())
def test_low_expected_p90_and_high_are_in_order(
    model: Model, read: int, most: int, images: int, lengths: Lengths, data: st.DataObject
) -> None:
    """Also where a prompt passes into a dearer tier, and where the caller's own limit cuts the ceiling."""
    p90 = data.draw(st.integers(1, read))
    prompt = Prompt(data.draw(st.integers(1, p90)), p90)
    free = quote(BOOK, model, Demand(read, most, images))
    limit = data.draw(st.none() | st.integers(free.needed, free.ceiling))
    quoted = quote(BOOK, model, Demand(read, most, images), max_cost=limit)
    found = estimate(BOOK, quoted, prompt, lengths)
    assert 0 < found.low <= found.expected <= found.p90 <= found.high == quoted.ceiling


def of(text: str, model: Model, lengths: Lengths) -> Estimate:
    return estimate(BOOK, quote(BOOK, model, demand(model, [text])), Prompt.of([text]), lengths)


def test_expected_is_the_charge_for_the_expected_tokens() -> None:
    small, text = BOOK.catalogue.get("small"), "What is a ledger?"
    found = of(text, small, Lengths(10, 100, 1_000))
    read = Prompt.of([text])
    assert found.low == BOOK.cost(small, TokenUsage(input=read.p50, output=10))
    assert found.expected == BOOK.cost(small, TokenUsage(input=read.p50, output=100))
    assert found.p90 == BOOK.cost(small, TokenUsage(input=read.p90, output=1_000))


def test_an_answer_longer_than_the_model_writes_costs_what_it_can_write() -> None:
    small = BOOK.catalogue.get("small")
    long = of("Hi", small, Lengths(1, 10**6, 10**6))
    assert long.expected == of("Hi", small, Lengths(1, small.max_output_tokens, 10**6)).expected
