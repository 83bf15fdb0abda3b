"""Chooses a model for a message of a user: what the user wants, what the text asks for, what each model costs now."""

from collections.abc import Callable
from dataclasses import dataclass

from app.assistant.choice import Chosen, Offer, choose
from app.assistant.classify.classification import Classification
from app.assistant.classify.classifier import classify
from app.assistant.preferences import Preferences
from app.kit.errors import Rejection
from app.metering.estimate import Lengths, Prompt, estimate
from app.metering.quote import Quote
from app.models.catalogue import Model, UnsuitableModel
from app.models.circuits.breakers import Breakers
from app.models.health import HealthState, ModelHealth
from app.models.pricing import PriceBook


@dataclass(frozen=True, slots=True)
class Asked:
    """What is chosen by. `max_cost` is the sender's own limit in micro-credits."""

    uid: str
    content: str
    pictures: int = 0
    max_cost: int | None = None


@dataclass(frozen=True, slots=True)
class Ruling:
    """A choice, the most that the answer may cost, in micro-credits, and how long it may be."""

    chosen: Chosen
    max_cost: int | None
    lengths: Lengths


Priced = Callable[[Model, tuple[str, ...]], tuple[Quote, Prompt]]
"""Quotes the message for a model, without fallbacks of these providers; raises the rejection that it would meet."""


def lengths(found: Classification) -> Lengths:
    """The expected length of the answer."""
    return Lengths(found.output_tokens_p10, found.output_tokens_p50, found.output_tokens_p90)


class Choosing:
    """Chooses models. `preferences` reads those of a user, which is the only thing that a choice reads."""

    def __init__(
        self, *, book: PriceBook, breakers: Breakers, health: ModelHealth, preferences: Callable[[str], Preferences]
    ) -> None:
        self._book = book
        self._breakers = breakers
        self._health = health
        self._preferences = preferences

    def choose(self, message: Asked, priced: Priced) -> Ruling:
        """The model for this message, and the bounds that the preferences set.

        Raises:
            NoModelFits: preferences and budget leave nobody.
            ModelsResting: whoever they leave has failed too often lately.
            UnsuitableModel, PromptTooLong: no model of the catalogue can answer this.
        """
        wishes = self._preferences(message.uid)
        found = classify(message.content, message.pictures > 0)
        offers = self._offers(priced, wishes.excluded_providers, lengths(found))
        bounds = [one for one in (message.max_cost, wishes.most_per_message) if one is not None]
        budget = min(bounds, default=None)
        chosen = choose(found.task, wishes, offers, budget=budget, unsure=found.unsure)
        return Ruling(chosen, budget, lengths(found))

    def _offers(self, priced: Priced, without: tuple[str, ...], expected: Lengths) -> list[Offer]:
        offers: list[Offer] = []
        refusal: Rejection | None = None
        for model in self._book.catalogue:
            try:
                quoted, prompt = priced(model, without)
            except UnsuitableModel as unsuitable:
                refusal = refusal or unsuitable
            except Rejection as rejection:
                refusal = rejection
            else:
                price = estimate(self._book, quoted, prompt, expected)
                offers.append(Offer(price, self._state(model.id), self._breakers.wait_s(model.id)))
        if not offers:
            raise refusal or UnsuitableModel("No model of the catalogue can do this.")
        return offers

    def _state(self, model: str) -> HealthState:
        """How a model does as far as a choice goes: what one user alone met decides for nobody else.

        A model whose pause is over counts as well until somebody has tried it: without a probe it would stay shut.
        """
        match self._breakers.state(model):
            case "open":
                return "down"
            case "half_open":
                return "degraded" if self._breakers.wait_s(model) else "up"
            case "closed":
                return "up" if self._health.well(model) else "degraded"
