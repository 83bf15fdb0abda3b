"""What a call of a model can cost, decided before it is made. Pure.

A message, an estimate of it and the question whether the credits suffice for it are priced by the same function.
"""

from dataclasses import dataclass, replace
from typing import Final

from app.kit.errors import Rejection, ensure
from app.kit.money import to_decimal
from app.models.catalogue import Model
from app.models.pricing import Demand, PriceBook

LEAST_OUTPUT: Final = 16
"""Output tokens below which a text answer is not worth starting."""


class MaxCostTooLow(Rejection):
    """Not even a minimal answer fits the caller's own limit."""

    status = 422
    code = "max_cost_too_low"
    title = "max_cost is too low"


@dataclass(frozen=True, slots=True)
class Quote:
    """What one call can cost, in micro-credits.

    The call is refused when less than `needed`, the price of `least_output` output tokens, is available. It reserves at
    most `ceiling`; a smaller reservation shortens the output.
    """

    model: Model
    demand: Demand
    least_output: int
    needed: int
    ceiling: int


@dataclass(frozen=True, slots=True)
class Granted:
    """What was reserved, in micro-credits, and the output tokens that it pays for; `clamped` when fewer than wanted."""

    reserved: int
    max_output_tokens: int
    clamped: bool


def quote(
    book: PriceBook, model: Model, demand: Demand, *, least_output: int = LEAST_OUTPUT, max_cost: int | None = None
) -> Quote:
    """Prices `demand` for the dearest model that may answer it (T-20).

    `least_output`: the fewest output tokens that are of use; all of them, where half an output is worth nothing.
    `max_cost`: the caller's own limit, in micro-credits.

    Raises:
        MaxCostTooLow: the least useful output costs more than `max_cost`.
    """
    least = min(least_output, demand.output_tokens)
    needed = book.ceiling(model, replace(demand, output_tokens=least))
    ceiling: int = book.ceiling(model, demand)
    if max_cost is not None:
        if max_cost < needed:
            raise MaxCostTooLow(
                "Not even a short answer fits into max_cost.",
                required=to_decimal(needed),
                max_cost=to_decimal(max_cost),
            )
        ceiling = min(ceiling, max_cost)
    return Quote(model, demand, least, needed, ceiling)


def granted(book: PriceBook, quoted: Quote, reserved: int) -> Granted:
    """The output that `reserved` micro-credits pay for after the prompt (T-29)."""
    output = book.affordable_output(quoted.model, quoted.demand, reserved)
    ensure(output >= quoted.least_output, "a reservation pays for at least the least output")
    return Granted(reserved, output, clamped=output < quoted.demand.output_tokens)
