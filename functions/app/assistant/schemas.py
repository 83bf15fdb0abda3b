"""What the routes of the assistant take and return."""

from typing import Self

from pydantic import Field, model_validator

from app.api.schemas import CreditAmount, ModelId, RequestBody, ResponseBody
from app.assistant.classify.classification import Task
from app.kit.money import MAX_MICRO

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
