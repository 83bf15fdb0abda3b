"""Values of the assistant as clients see them. Shared by its own routes and by those of chat."""

from app.assistant.choice import Chosen
from app.assistant.preferences import Preferences
from app.assistant.schemas import (
    AlternativeAnswer,
    ChoiceAnswer,
    EstimateAnswer,
    OutputTokensAnswer,
    PreferencesAnswer,
    RouteRuleAnswer,
)
from app.kit.money import to_decimal
from app.metering.estimate import Estimate


def estimate(found: Estimate) -> EstimateAnswer:
    """An estimate as clients see it."""
    lengths = found.lengths
    return EstimateAnswer(
        model=found.quote.model.id,
        low=to_decimal(found.low),
        expected=to_decimal(found.expected),
        p90=to_decimal(found.p90),
        high=to_decimal(found.high),
        required=to_decimal(found.quote.needed),
        output_tokens=OutputTokensAnswer(
            p10=lengths.p10, p50=lengths.p50, p90=lengths.p90, most=found.quote.demand.output_tokens
        ),
    )


def choice(found: Chosen) -> ChoiceAnswer:
    """A choice."""
    return ChoiceAnswer(
        model=found.model,
        because=found.because,
        task=found.task,
        unsure=found.unsure,
        expected=to_decimal(found.expected),
        p90=to_decimal(found.p90),
        high=to_decimal(found.high),
        alternatives=[
            AlternativeAnswer(
                model=one.model,
                expected=to_decimal(one.expected),
                p90=to_decimal(one.p90),
                high=to_decimal(one.high),
                why_not=one.why_not,
            )
            for one in found.alternatives
        ],
    )


def preferences(found: Preferences) -> PreferencesAnswer:
    """Preferences."""
    most = found.most_per_message
    return PreferencesAnswer(
        optimize=found.optimize,
        defaults={**found.defaults},
        most_per_message=None if most is None else to_decimal(most),
        excluded_providers=[*found.excluded_providers],
        rules=[RouteRuleAnswer(task=rule.task, route=rule.route, priority=rule.priority) for rule in found.rules],
        updated_at=found.updated_at,
    )
