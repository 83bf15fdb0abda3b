"""What the estimate of a message takes and returns."""

from typing import Literal

from pydantic import Field

from app.api.schemas import ConversationId, CreditAmount, Id, ModelId, RequestBody, ResponseBody, Timestamp
from app.assistant.classify.classification import Complexity, Route
from app.assistant.routing import Because
from app.assistant.schemas import ChoiceAnswer, EstimateAnswer
from app.chat.schemas import MOST_CONTENT, PricedMessage
from app.models.measured.tasks import Task


class EstimateBody(RequestBody):
    """A message that may be sent."""

    content: str = Field(min_length=1, max_length=MOST_CONTENT)
    conversation_id: ConversationId | None = Field(default=None, description="Where it would be sent. None: a new one")
    model: ModelId | None = Field(default=None, description="`auto` to have one chosen")
    images: int = Field(default=0, ge=0, le=8)
    max_output_tokens: int | None = Field(default=None, ge=1, le=2**31)


class DurationAnswer(ResponseBody):
    """Milliseconds of writing: half of such answers take less than `p50_ms`, nine of ten less than `p90_ms`."""

    p50_ms: int
    p90_ms: int


class MessageEstimate(ResponseBody):
    """What the message asks for, which way it would go, who would answer it, for how much and for how long."""

    task: Task
    confidence: float = Field(ge=0, le=1)
    unsure: bool = Field(description="Whether the task is only a guess; then ask, or name it")
    complexity: Complexity
    route: Route
    route_because: Because = Field(description="The classifier, its doubt, or whose rule")
    answered_by: Literal["quick"] = Field(description="The path that answers now: there are no agents yet")
    estimate: EstimateAnswer
    duration: DurationAnswer | None = Field(description="Null where nobody measured the model's speed")
    choice: ChoiceAnswer | None = Field(description="Null where the model was named, or is the conversation's")


class QuoteBody(PricedMessage):
    """A message that is to be sent, and where."""

    conversation_id: ConversationId | None = Field(default=None, description="Null: a new one, without a system prompt")


class QuoteAnswer(ResponseBody):
    """A price that binds until `expires_at` for one message, the one that was asked about."""

    quote_id: Id
    model: str = Field(description="Who answers; another one only if that fails, for no more than `ceiling`")
    reason: str = Field(description="Why this model: `requested`, `conversation`, `default`, or as `choice` says")
    p50: CreditAmount = Field(description="Half of such answers cost no more")
    p90: CreditAmount = Field(description="Nine of ten cost no more")
    ceiling: CreditAmount = Field(description="The most that it can cost")
    price_book: str = Field(description="The version of the prices, which the entry of the ledger will name")
    expires_at: Timestamp
    choice: ChoiceAnswer | None = Field(description="Of `auto`: why this model, and what others would cost")
