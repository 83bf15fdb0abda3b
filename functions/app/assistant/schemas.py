"""What the routes of the assistant take and return."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from app.api.schemas import AmountIn, CreditAmount, ModelId, RequestBody, ResponseBody, Timestamp
from app.assistant.choice import Because, WhyNot
from app.assistant.classify.classification import Route
from app.assistant.preferences import MOST_EXCLUDED, MOST_RULES, Optimize
from app.assistant.routing import MOST_PRIORITY
from app.kit.money import MAX_MICRO
from app.models.measured.tasks import TASKS, Task

MOST_TOKENS = 10_000_000
"""No model of any catalogue reads more."""


class CostBody(RequestBody):
    """A message to price: its text, or how many tokens it has. Without a model, all that can answer are priced."""

    model: ModelId | None = None
    task: Task | None = Field(default=None, description="Sets the expected length; left out, it is read from `content`")
    content: str | None = Field(default=None, max_length=100_000)
    input_tokens: int | None = Field(default=None, ge=0, le=MOST_TOKENS)
    max_output_tokens: int | None = Field(default=None, ge=1, le=MAX_MICRO)
    image: bool = Field(default=False, description="Whether a picture is attached")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.content is None) == (self.input_tokens is None):
            raise ValueError("give either content or input_tokens")
        if self.content is None and self.task is None:
            raise ValueError("give the task where the content is not given")
        return self


class OutputTokensAnswer(ResponseBody):
    """Tokens of the answer: one of ten is at most `p10` long, half at most `p50`, nine of ten at most `p90`."""

    p10: int
    p50: int
    p90: int
    most: int = Field(description="Where the answer would be cut")


class EstimateAnswer(ResponseBody):
    """Credits, in this order: low, expected, p90, high."""

    model: str
    low: CreditAmount = Field(description="With a short answer: one of ten is cheaper")
    expected: CreditAmount = Field(description="P50: half of such messages cost less. Hidden reasoning is not in it")
    p90: CreditAmount = Field(description="Nine of ten such messages cost less")
    high: CreditAmount = Field(
        description="Upper bound: no such message costs more, whichever model answers in the end. Of `input_tokens` "
        "as far as that count is right"
    )
    required: CreditAmount = Field(description="The least that must be available to send it")
    output_tokens: OutputTokensAnswer


class LeftOutAnswer(ResponseBody):
    """A model that cannot answer this message."""

    model: str
    code: str = Field(description="With which a message to it is refused, such as `model_unsuitable`")


class CostAnswer(ResponseBody):
    """Estimates in the order of the catalogue. The message would be the first of a new conversation."""

    price_book: str
    task: Task
    estimates: list[EstimateAnswer]
    left_out: list[LeftOutAnswer]


class RouteRuleBody(RequestBody):
    """Messages of this task take this route, whatever the classifier says."""

    task: Task
    route: Route
    priority: int = Field(default=0, ge=0, le=MOST_PRIORITY, description="The highest counts, at a tie the operator's")


class PreferencesBody(RequestBody):
    """All preferences at once: what is left out gets its usual value. They hold where `model` is `auto`."""

    optimize: Optimize = "balanced"
    defaults: dict[Task, ModelId] = Field(
        default_factory=dict, max_length=len(TASKS), description="The model that answers messages of a task"
    )
    most_per_message: Annotated[AmountIn, Field(gt=0)] | None = Field(
        default=None, description="No message that a model is chosen for costs more"
    )
    excluded_providers: list[Annotated[str, Field(min_length=1, max_length=80)]] = Field(
        default_factory=list,
        max_length=MOST_EXCLUDED,
        description="Providers or vendors of GET /v1/models",
    )
    rules: list[RouteRuleBody] = Field(default_factory=list, max_length=MOST_RULES)


class RouteRuleAnswer(ResponseBody):
    """Messages of this task take this route."""

    task: Task
    route: Route
    priority: int


class PreferencesAnswer(ResponseBody):
    """What holds where `model` is `auto`."""

    optimize: Optimize
    defaults: dict[Task, str]
    most_per_message: CreditAmount | None
    excluded_providers: list[str]
    rules: list[RouteRuleAnswer]
    updated_at: Timestamp | None = Field(description="Null where these are the usual ones")


class AlternativeAnswer(ResponseBody):
    """What another model would have cost."""

    model: str
    expected: CreditAmount
    p90: CreditAmount
    high: CreditAmount
    why_not: WhyNot | None = Field(description="Why it could not be chosen; null where it could")


class ChoiceAnswer(ResponseBody):
    """Why this model answers. `quality_unknown` and `speed_unknown`: the catalogue has no such figure of any of the
    models, and the first of the catalogue answers.
    """

    model: str
    because: Because
    task: Task
    unsure: bool = Field(description="Whether the task is only a guess")
    expected: CreditAmount
    p90: CreditAmount
    high: CreditAmount
    alternatives: list[AlternativeAnswer]
