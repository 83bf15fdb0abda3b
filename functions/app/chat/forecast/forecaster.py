"""What a message asks for, which way it would go, who would answer it, for how much and how long. Writes nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.assistant.choice import Chosen
from app.assistant.choosing import lengths
from app.assistant.classify.classification import Classification
from app.assistant.classify.classifier import classify
from app.assistant.preferences import Preferences
from app.assistant.routing import Routed, RouteRule, routed
from app.chat.opening import Ask, Opening
from app.chat.quotes.binding_quote import BindingQuote
from app.metering.estimate import Estimate


@dataclass(frozen=True, slots=True)
class Duration:
    """Milliseconds of writing the answer: half of such answers take less than `p50`, nine of ten less than `p90`."""

    p50: int
    p90: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """`duration` is None where nobody measured the model's speed; `chosen` where the model was named."""

    found: Classification
    routed: Routed
    estimate: Estimate
    chosen: Chosen | None
    duration: Duration | None


class Forecaster:
    """Forecasts messages. `rules` are the operator's."""

    def __init__(
        self, *, opening: Opening, preferences: Callable[[str], Preferences], rules: Sequence[RouteRule]
    ) -> None:
        self._opening = opening
        self._preferences = preferences
        self._rules = rules

    def forecast(self, ask: Ask, max_output_tokens: int | None = None) -> Forecast:
        """The forecast of a message, if it were sent now.

        Raises:
            NoSuchConversation, UnknownModel, UnsuitableModel, PromptTooLong, MaxCostTooLow, NoModelFits,
                ModelsResting: the message would be refused likewise.
        """
        found = classify(ask.content, bool(ask.images))
        way = routed(found, user=self._preferences(ask.uid).rules, admin=self._rules)
        estimate, chosen = self._opening.estimate(ask, lengths(found), max_output_tokens)
        return Forecast(found, way, estimate, chosen, _duration(estimate))

    def bind(self, ask: Ask) -> BindingQuote:
        """The price of a message, which binds for a while. Raises what `forecast` raises."""
        return self._opening.bind(ask, lengths(classify(ask.content, bool(ask.images))))


def _duration(estimate: Estimate) -> Duration | None:
    speed, most = estimate.quote.model.figures.speed, estimate.quote.demand.output_tokens
    if speed is None:
        return None
    return Duration(
        *(min(written, most) * 1000 // speed.value for written in (estimate.lengths.p50, estimate.lengths.p90))
    )
