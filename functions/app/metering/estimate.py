"""What a call will probably cost, beside the quote that bounds it. Pure.

The bound is the quote's own ceiling and nothing else, so that no estimate can promise more than a reservation keeps.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from app.metering.quote import MOST_OUTPUT, Quote
from app.models import tokens
from app.models.pricing import PriceBook
from app.models.usage import TokenUsage

SHORTEST_P99: Final = 512
"""Output tokens that are reserved for, however short an answer is expected."""
_P99_BY_P90: Final = 2.326 / 1.282


@dataclass(frozen=True, slots=True)
class Lengths:
    """Output tokens of an answer: one of ten is at most `p10` long, half at most `p50`, nine of ten at most `p90`."""

    p10: int
    p50: int
    p90: int

    @property
    def p99(self) -> int:
        """What hardly an answer exceeds, as if lengths were log-normal: as far above P90 as its distance from P50 says,
        for the normal quantiles 2.326 and 1.282. Not below `SHORTEST_P99`, since a prompt may be misread.
        """
        spread = max(1.0, self.p90 / max(1, self.p50))
        longest = self.p50 * math.pow(spread, _P99_BY_P90)
        return max(SHORTEST_P99, round(min(MOST_OUTPUT, longest)))


@dataclass(frozen=True, slots=True)
class Prompt:
    """Input tokens of a prompt without its pictures: `p50` by our estimate, `p90` more than is counted in practice."""

    p50: int
    p90: int

    @classmethod
    def of(cls, written: Sequence[str]) -> Self:
        """Of a prompt with one message per text."""
        return cls(tokens.least(written), tokens.likely(written))


@dataclass(frozen=True, slots=True)
class Estimate:
    """Micro-credits, in this order: `low` (a short answer, P10), `expected` (P50), `p90`, and `high`, which no charge
    exceeds. `quote` is the one that a reservation would be made by.

    The figures but `high` suppose that the model that is asked answers. Hidden reasoning is not in them: nobody knows
    its length before.
    """

    quote: Quote
    lengths: Lengths
    low: int
    expected: int
    p90: int

    @property
    def high(self) -> int:
        """The most that the call can cost, whoever answers."""
        return self.quote.ceiling


def estimate(book: PriceBook, quoted: Quote, prompt: Prompt, lengths: Lengths) -> Estimate:
    """The likely cost of the call that is quoted."""
    model, demand = quoted.model, quoted.demand
    beside = demand.images * model.image_input_tokens + model.prompt_overhead_tokens

    def cost(read: int, written: int) -> int:
        usage = TokenUsage(
            input=min(min(read, demand.input_tokens) + beside, model.context_tokens),
            output=min(written, demand.output_tokens),
        )
        return min(book.cost(model, usage), quoted.ceiling)

    low = cost(prompt.p50, lengths.p10)
    # A book may give long prompts lower prices, so that more tokens would cost less.
    expected = max(low, cost(prompt.p50, lengths.p50))
    return Estimate(quoted, lengths, low, expected, max(expected, cost(prompt.p90, lengths.p90)))
