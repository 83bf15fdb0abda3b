"""From tokens to micro-credits: what a request can cost at worst, and what an answer did cost. Whole numbers only.

A charge is the exact sum over its buckets, rounded up once per message: at most one micro-credit above the exact price
(T-42). Refuses to know who pays.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from app.kit.errors import ensure
from app.kit.money import Micro, ceil_div
from app.models.catalogue import Bucket, Catalogue, Model
from app.models.usage import BadUsage, TokenUsage

PER: Final = 1_000_000
"""Prices are per this many tokens."""


@dataclass(frozen=True, slots=True)
class Demand:
    """The most that a request can use, by the parameters that are really sent (T-10).

    `input_tokens` is an upper bound of the prompt's text; `images` are counted by the model's own maximum (T-17).
    Fallbacks of a provider or vendor in `without` are not asked.
    """

    input_tokens: int
    output_tokens: int
    images: int = 0
    without: tuple[str, ...] = ()


class PriceBook:
    """The prices of one catalogue version."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    @property
    def version(self) -> str:
        """The version that a ledger entry names, so that its charge can be recomputed."""
        return self.catalogue.version

    def ceiling(self, model: Model, demand: Demand) -> Micro:
        """The most that this request can cost, whichever model of the chain answers (T-20)."""
        return Micro(max(_worst(one, demand) for one in self.chain(model, demand)))

    def chain(self, model: Model, demand: Demand) -> list[Model]:
        """The models that may answer it: `model`, and those of its fallbacks that the demand allows."""
        return [one for one in self.catalogue.chain(model) if one is model or not one.of_any(demand.without)]

    def worst(self, model: Model, demand: Demand) -> Micro:
        """The most that this request can cost when `model` itself answers."""
        return Micro(_worst(model, demand))

    def affordable_output(self, model: Model, demand: Demand, amount: int) -> int:
        """Output tokens of `model` that `amount` covers beside the prompt, at most those asked for; below 1 when none
        (T-29)."""
        return min(demand.output_tokens, _affordable(model, demand, amount))

    def cost(self, model: Model, usage: TokenUsage) -> Micro:
        """The charge for what `model` used.

        Raises:
            BadUsage: it used a kind of token for which the model has no price.
        """
        prices = _prices_at(model, usage.total_input)
        exact = 0
        for bucket, tokens in usage.buckets().items():
            ensure(tokens >= 0, "usage is never negative")
            if not tokens:
                continue
            price = prices.get("input" if bucket == "cache_write" and bucket not in prices else bucket)
            if price is None:
                raise BadUsage(f"{model.id} has no price for {bucket} tokens")
            exact += tokens * price
        return Micro(ceil_div(exact, PER))


def _prices_at(model: Model, input_tokens: int) -> Mapping[Bucket, int]:
    """The prices of a request with so much input: those of the highest tier that it exceeds (T-21)."""
    prices = model.prices
    for tier in model.tiers:
        if input_tokens > tier.above_input_tokens:
            prices = tier.prices
    return prices


def _within_reach(model: Model, input_tokens: int) -> Iterator[tuple[int, int]]:
    """Dearest input and output price of every tier that a prompt of at most so many tokens can fall into."""
    books = [model.prices, *(tier.prices for tier in model.tiers if input_tokens > tier.above_input_tokens)]
    for prices in books:
        yield (
            max(prices["input"], prices.get("cached_input", 0), prices.get("cache_write", 0)),
            max(prices.get("output", 0), prices.get("reasoning", 0), prices.get("image", 0)),
        )


def _input(model: Model, demand: Demand) -> int:
    """The most input that `model` can count: never more than its context."""
    tokens = demand.input_tokens + demand.images * model.image_input_tokens + model.prompt_overhead_tokens
    return min(tokens, model.context_tokens)


def _worst(model: Model, demand: Demand) -> int:
    tokens = _input(model, demand)
    return max(
        ceil_div(tokens * read + demand.output_tokens * written, PER) for read, written in _within_reach(model, tokens)
    )


def _affordable(model: Model, demand: Demand, amount: int) -> int:
    tokens = _input(model, demand)
    return min(
        _outputs(amount * PER - tokens * read, written, demand.output_tokens)
        for read, written in _within_reach(model, tokens)
    )


def _outputs(left: int, price: int, wanted: int) -> int:
    """Output tokens that what is left after the prompt pays for; below 0 when the prompt is not paid for."""
    if left < 0:
        return -1
    return left // price if price else wanted
