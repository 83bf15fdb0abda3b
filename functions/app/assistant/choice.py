"""Chooses the model that answers a message. Pure: the offers hold the prices and the health.

Figures that nobody measured are unknown. A model without the figure that is asked for comes after those that have it.
Where none has it, the operator's order of the catalogue decides, and the choice says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from app.assistant.preferences import Preferences
from app.kit.errors import Rejection, ensure
from app.kit.money import to_decimal
from app.kit.stores.documents import Fields, Value, as_map, int_field, list_field, optional_text, text_field
from app.metering.estimate import Estimate
from app.models.catalogue import Model
from app.models.faults import Blame, ModelFault
from app.models.health import HealthState
from app.models.measured.tasks import TASKS, Task

AUTO: Final = "auto"
"""What stands for a model where one is to be chosen."""
NEARLY: Final = 50
"""`balanced` takes the cheapest model whose quality is at most so far below the best (of 1,000)."""

Because = Literal[
    "your_default", "cheapest", "best_quality", "fastest", "balanced", "quality_unknown", "speed_unknown", "only_one"
]
WhyNot = Literal["excluded_provider", "down", "over_budget", "degraded"]


class NoModelFits(Rejection):
    """No model may answer: those that could are left out by the user, or cost more than the budget."""

    status = 422
    code = "no_model_fits"
    title = "No model fits"


class ModelsResting(ModelFault):
    """Whoever may answer has failed several times lately, and is left alone for a moment: nobody was asked."""

    told = (
        "Every model that may answer has failed several times and is left alone. Nothing was charged; try again later."
    )


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that can answer the message, what that costs, and how the model does; it may be asked in `wait_s`."""

    estimate: Estimate
    health: HealthState = "up"
    wait_s: int = 0

    @property
    def model(self) -> Model:
        """The model."""
        return self.estimate.quote.model


@dataclass(frozen=True, slots=True)
class Alternative:
    """What another model would have cost, in micro-credits; `why_not` where it was not free to be chosen."""

    model: str
    expected: int
    p90: int
    high: int
    why_not: WhyNot | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The model that answers, why, and the others in the order of the catalogue. Amounts are micro-credits."""

    model: str
    because: Because
    task: Task
    unsure: bool
    expected: int
    p90: int
    high: int
    alternatives: tuple[Alternative, ...]


def choose(
    task: Task, preferences: Preferences, offers: Sequence[Offer], *, budget: int | None = None, unsure: bool = False
) -> Chosen:
    """The model for a message of this task. `budget` is micro-credits; `unsure`: the task is only a guess.

    The user's own default for the task answers if it may. Otherwise the best by what the user optimizes answers, of
    those that are well, as long as one is, and whose likely cost (P90) fits the budget, as long as one's does.

    Raises:
        NoModelFits: the user's preferences and the budget leave nobody.
        ModelsResting: whoever they leave is down.
    """
    barred = {offer.model.id: why for offer in offers if (why := _why_not(offer, preferences, budget))}
    free = [offer for offer in offers if offer.model.id not in barred]
    if waits := [offer.wait_s for offer in offers if not free and barred[offer.model.id] == "down"]:
        raise ModelsResting("all models that fit are down", Blame.CAPACITY, retry_after_s=max(min(waits), 1))
    if not free:
        raise NoModelFits(
            "No model can answer this within your preferences.",
            left_out=[{"model": id, "because": why} for id, why in barred.items()],
            **({} if budget is None else {"budget": to_decimal(budget)}),
        )
    taken, because = _taken(task, preferences, free, budget)
    well = any(offer.health == "up" for offer in free)
    others = [
        Alternative(
            offer.model.id,
            *_prices(offer, None if offer.model.id in barred else budget),
            barred.get(offer.model.id, "degraded" if well and offer.health == "degraded" else None),
        )
        for offer in offers
        if offer is not taken
    ]
    return Chosen(taken.model.id, because, task, unsure, *_prices(taken, budget), tuple(others))


def _prices(offer: Offer, budget: int | None) -> tuple[int, int, int]:
    """Expected, P90 and high; an answer ends where the budget does."""
    price = offer.estimate
    expected, p90, high = price.expected, price.p90, price.high
    return (expected, p90, high) if budget is None else (min(expected, budget), min(p90, budget), min(high, budget))


def _why_not(offer: Offer, preferences: Preferences, budget: int | None) -> WhyNot | None:
    if offer.model.of_any(preferences.excluded_providers):
        return "excluded_provider"
    if budget is not None and offer.estimate.quote.needed > budget:
        return "over_budget"
    if offer.health == "down":
        return "down"
    return None


def _taken(task: Task, preferences: Preferences, free: Sequence[Offer], budget: int | None) -> tuple[Offer, Because]:
    for offer in free:
        if offer.model.id == preferences.defaults.get(task):
            return offer, "your_default"
    well = [offer for offer in free if offer.health == "up"] or free
    whole = [offer for offer in well if budget is None or offer.estimate.p90 <= budget] or well
    if len(whole) == 1:
        return whole[0], "only_one"
    match preferences.optimize:
        case "cost":
            return _cheapest(whole), "cheapest"
        case "speed":
            return _best(whole, lambda offer: _speed(offer), "fastest", "speed_unknown")
        case "quality":
            return _best(whole, lambda offer: _quality(offer, task), "best_quality", "quality_unknown")
        case "balanced":
            return _balanced(whole, task)


def _balanced(offers: Sequence[Offer], task: Task) -> tuple[Offer, Because]:
    known = [(quality, offer) for offer in offers if (quality := _quality(offer, task)) is not None]
    if not known:
        return offers[0], "quality_unknown"
    best = max(quality for quality, _ in known)
    return _cheapest([offer for quality, offer in known if quality >= best - NEARLY]), "balanced"


def _best(
    offers: Sequence[Offer], figure: Callable[[Offer], int | None], because: Because, unknown: Because
) -> tuple[Offer, Because]:
    """The offer with the greatest figure, of equal ones the cheapest."""
    known = [(value, offer) for offer in offers if (value := figure(offer)) is not None]
    if not known:
        return offers[0], unknown
    best = max(value for value, _ in known)
    return _cheapest([offer for value, offer in known if value == best]), because


def _cheapest(offers: Sequence[Offer]) -> Offer:
    return min(offers, key=lambda offer: offer.estimate.expected)


def _quality(offer: Offer, task: Task) -> int | None:
    figure = offer.model.figures.quality.get(task)
    return None if figure is None else figure.value


def _speed(offer: Offer) -> int | None:
    figure = offer.model.figures.speed
    return None if figure is None else figure.value


def write(chosen: Chosen) -> dict[str, Value]:
    """As a turn keeps it."""
    return {
        "model": chosen.model,
        "because": chosen.because,
        "task": chosen.task,
        "unsure": chosen.unsure,
        "expected": chosen.expected,
        "p90": chosen.p90,
        "high": chosen.high,
        "alternatives": [
            {"model": one.model, "expected": one.expected, "p90": one.p90, "high": one.high, "why_not": one.why_not}
            for one in chosen.alternatives
        ],
    }


def read(fields: Fields) -> Chosen:
    """A stored choice."""
    task, because = text_field(fields, "task"), text_field(fields, "because")
    ensure(task in TASKS and because in get_args(Because), "a stored choice has a known task and reason")
    return Chosen(
        model=text_field(fields, "model"),
        because=cast(Because, because),
        task=cast(Task, task),
        unsure=fields.get("unsure") is True,
        expected=int_field(fields, "expected"),
        p90=int_field(fields, "p90"),
        high=int_field(fields, "high"),
        alternatives=tuple(_alternative(as_map(one)) for one in list_field(fields, "alternatives")),
    )


def _alternative(fields: Fields) -> Alternative:
    why_not = optional_text(fields, "why_not")
    ensure(why_not is None or why_not in get_args(WhyNot), "a stored alternative has a known reason")
    return Alternative(
        model=text_field(fields, "model"),
        expected=int_field(fields, "expected"),
        p90=int_field(fields, "p90"),
        high=int_field(fields, "high"),
        why_not=cast(WhyNot | None, why_not),
    )
