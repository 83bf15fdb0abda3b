"""What a call of a model can cost, decided before it is made. Pure.

A message, an estimate of it and the question whether the credits suffice for it are priced by the same function.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from app.kit.errors import Rejection, ensure
from app.kit.money import to_decimal
from app.models.catalogue import Model
from app.models.faults import PromptTooLong
from app.models.pricing import Demand, PriceBook
from app.models.tokens import likely, upper_bound

LEAST_OUTPUT: Final = 16
"""Output tokens below which a text answer is not worth starting."""
MOST_OUTPUT: Final = 16_384
"""Most output tokens of one answer, whatever the model could write: it keeps reservations within reason (T-28)."""
ALIKE: Final = 32
"""Calls that a small balance is divided among: so many begin at the same time before one is refused."""
USUAL_OUTPUT: Final = 3072
"""Output tokens that hardly an answer exceeds (P99) where nobody says how long it may be."""


class Outputs(NamedTuple):
    """The fewest output tokens that are of use (all, where half an output is worth nothing), and those that are
    reserved for before anything is written. `unseen`: some are written that only the last count tells of.
    """

    least: int = LEAST_OUTPUT
    usual: int = USUAL_OUTPUT
    unseen: bool = False


TEXT: Final = Outputs()


class MaxCostTooLow(Rejection):
    """Not even a minimal answer fits the caller's own limit."""

    status = 422
    code = "max_cost_too_low"
    title = "max_cost is too low"


@dataclass(frozen=True, slots=True)
class Quote:
    """What one call can cost, in micro-credits, by the prices of `book`.

    The call is refused when less than `needed` is available: the price of `least_output` output tokens of the model
    that is asked. It begins with `expected`, the price of `usual_output` tokens of that model, and may reserve up to
    `ceiling`, the price of the dearest model that may answer in its place. Where there is less than that, the output is
    shorter, and a fallback that is not paid for is not asked. Of what is available it begins with one part in `share`
    at most, but with `needed`.
    """

    model: Model
    demand: Demand
    least_output: int
    usual_output: int
    needed: int
    expected: int
    ceiling: int
    share: int = ALIKE
    book: PriceBook = field(repr=False, compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Granted:
    """What was reserved for a call, and the `most` that may be, in micro-credits; and what that pays for.

    The call begins with `reserved`, of which the longest prompt of the model that is asked and the least useful output
    are a part. `limits` has the most output tokens of each model that may answer, by id: the model that is asked, and
    the fallbacks that can give the least useful output for `most`. `wanted` is the output that was asked for.
    """

    reserved: int
    most: int
    wanted: int
    asked: str
    limits: Mapping[str, int]

    @property
    def max_output_tokens(self) -> int:
        """The limit of the model that is asked."""
        return self.limits[self.asked]

    @property
    def clamped(self) -> bool:
        """Whether the model that is asked may write less than was wanted."""
        return self.max_output_tokens < self.wanted

    def limit(self, model: Model) -> int:
        """The limit of whoever answers; of a model that nobody planned for, that of the one that was asked."""
        return self.limits.get(model.id, self.max_output_tokens)

    def cuts(self, model: Model) -> bool:
        """Whether what may be reserved, and not the model, sets the limit of its output."""
        return self.limit(model) < min(self.wanted, model.max_output_tokens)


def demand(model: Model, written: Sequence[str], images: int = 0, *, most_output: int = MOST_OUTPUT) -> Demand:
    """What a prompt of these texts, one message each, and so many pictures can use of `model`.

    The answer gets what the model's context leaves for it, at most `most_output`.
    """
    return Demand(upper_bound(written), _room(model, likely(written), images, most_output), images)


def check_fits(model: Model, input_tokens: int, images: int = 0) -> None:
    """Raises `PromptTooLong` if so many tokens leave no room for the least useful answer (T-117)."""
    if input_tokens + images * model.image_input_tokens + LEAST_OUTPUT > model.context_tokens:
        raise PromptTooLong("The message does not fit this model.", model=model.id, context_tokens=model.context_tokens)


def counted_demand(model: Model, input_tokens: int, images: int = 0, *, most_output: int = MOST_OUTPUT) -> Demand:
    """Like `demand`, of a prompt whose tokens somebody else has counted."""
    return Demand(input_tokens, _room(model, input_tokens, images, most_output), images)


def _room(model: Model, input_tokens: int, images: int, most_output: int) -> int:
    left = model.context_tokens - input_tokens - images * model.image_input_tokens
    most = max(LEAST_OUTPUT, min(most_output, MOST_OUTPUT))
    return min(model.max_output_tokens, most, max(left, LEAST_OUTPUT))


def quote(
    book: PriceBook,
    model: Model,
    demand: Demand,
    *,
    outputs: Outputs = TEXT,
    max_cost: int | None = None,
) -> Quote:
    """Prices `demand` for the model that is asked and for the dearest that may answer it (T-20).

    `max_cost`: the caller's own limit, in micro-credits.

    Raises:
        MaxCostTooLow: the least useful output costs more than `max_cost`.
    """
    least = min(outputs.least, demand.output_tokens)
    needed: int = book.worst(model, replace(demand, output_tokens=least))
    ceiling: int = book.ceiling(model, demand)
    if max_cost is not None:
        if max_cost < needed:
            raise MaxCostTooLow(
                "Not even a short answer fits into max_cost.",
                required=to_decimal(needed),
                max_cost=to_decimal(max_cost),
            )
        ceiling = min(ceiling, max_cost)
    if outputs.unseen or any(one.can("reasoning") for one in book.chain(model, demand)):
        # Hidden reasoning is told when it is too late to hold it: all that may be written is held from the beginning.
        return Quote(model, demand, least, demand.output_tokens, needed, ceiling, ceiling, share=1, book=book)
    usual = max(least, min(outputs.usual, demand.output_tokens))
    expected = min(ceiling, book.worst(model, replace(demand, output_tokens=usual)))
    return Quote(model, demand, least, usual, needed, expected, ceiling, book=book)


def granted(quoted: Quote, reserved: int, most: int) -> Granted:
    """The output of each model that `most` micro-credits pay for after the prompt (T-29), of which `reserved` are
    reserved already."""
    book = quoted.book
    limits = {
        model.id: output
        for model in book.chain(quoted.model, quoted.demand)
        if (output := book.affordable_output(model, quoted.demand, most)) >= quoted.least_output
    }
    ensure(quoted.model.id in limits, "what may be reserved pays for at least the least output")
    ensure(quoted.needed <= reserved <= most, "a reservation pays for at least the least output")
    return Granted(reserved, most, quoted.demand.output_tokens, quoted.model.id, limits)
