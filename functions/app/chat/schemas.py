"""What the chat routes take and return."""

from typing import Annotated, Literal

from pydantic import Field

from app.api.schemas import (
    AmountIn,
    ConversationId,
    CreditAmount,
    Id,
    MessageId,
    ModelId,
    PageParameters,
    Parameters,
    QuoteId,
    RequestBody,
    ResponseBody,
    Timestamp,
)
from app.assistant.schemas import ChoiceAnswer
from app.chat.branching.tree import FIRST
from app.chat.turn import FinishReason, TurnState

MOST_CONTENT = 100_000
"""Characters of a message. How many bytes it may have depends on the model's context."""

Title = Annotated[str, Field(max_length=200)]
SystemPrompt = Annotated[str, Field(max_length=16_000)]
ImageUrl = Annotated[
    str, Field(pattern=r"^https?://[!-~]+$", max_length=2048, description="Where the vendor fetches it")
]
Memory = Annotated[
    Literal["buffer"], Field(description="`buffer`: the model sees the recent turns, as many as its window holds")
]


ParentId = Annotated[
    Literal["root"] | MessageId,
    Field(
        description="The turn that is answered: an edit names the parent of the turn that it changes, and `root` makes "
        "a new first message. Left out: the last turn of the active branch",
        examples=["root"],
    ),
]


class ConversationPath(Parameters):
    """`/conversations/{conversation_id}`."""

    conversation_id: ConversationId


class MessagePath(Parameters):
    """`/messages/{message_id}`."""

    message_id: MessageId


class NewConversation(RequestBody):
    """Everything is optional; the first message gives a title."""

    title: Title = ""
    model: ModelId | None = None
    system_prompt: SystemPrompt = ""
    memory: Memory = "buffer"


class ConversationChange(RequestBody):
    """Fields that are left out stay as they are."""

    title: Title | None = None
    archived: bool | None = None
    pinned: bool | None = None
    model: ModelId | None = None
    system_prompt: SystemPrompt | None = None
    active_leaf: Annotated[
        MessageId | None, Field(description="A turn; the branch through it, down to its newest leaf, becomes active")
    ] = None


class SpentAnswer(ResponseBody):
    """What some turns cost together. Hidden reasoning is part of `output_tokens`, cached tokens of `input_tokens`."""

    cost: CreditAmount
    input_tokens: int
    output_tokens: int


class ConversationAnswer(ResponseBody):
    """A conversation."""

    id: Id
    title: str
    model: str | None
    system_prompt: str
    memory: Memory
    archived: bool
    pinned: bool
    active_leaf: Id | None = Field(description="The last turn of the active branch, as far as it has ended")
    spent: SpentAnswer | None = Field(description="All turns of all branches; null when it has turns from before")
    created_at: Timestamp
    updated_at: Timestamp


class PricedMessage(RequestBody):
    """What a message is and where it goes. `max_cost` bounds what the answer may cost."""

    content: Annotated[str, Field(min_length=1, max_length=MOST_CONTENT)]
    images: list[ImageUrl] = Field(default_factory=list, max_length=8)
    model: ModelId | None = None
    max_cost: AmountIn | None = None
    parent_id: ParentId | None = None

    @property
    def parent(self) -> str | None:
        """The parent as `Ask` names it."""
        return FIRST if self.parent_id == "root" else self.parent_id


class NewMessage(PricedMessage):
    """A message to be answered.

    `quote_id` takes a quote of `POST /chat/quotes`: its model, prices and ceiling. The message is the quoted one;
    `model`, `max_cost` and `parent_id` may be left out.
    """

    quote_id: QuoteId | None = None


class Regeneration(RequestBody):
    """The same question again, as a sibling of the first answer. It costs what a message costs."""

    model: ModelId | None = None
    max_cost: AmountIn | None = None


class ConversationFilter(PageParameters):
    """`?archived=&pinned=`: those alone that are so, or are not. Left out: all of them."""

    archived: bool | None = None
    pinned: bool | None = None


class BranchParameters(PageParameters):
    """`?leaf=`: a turn; the branch through it, down to its newest leaf. Left out: the active branch."""

    leaf: MessageId | None = None


class CallableMessage(NewMessage):
    """A message through the callable, which has no path and no headers."""

    conversation_id: ConversationId
    idempotency_key: Annotated[str, Field(pattern=r"^[!-~]([ -~]{0,253}[!-~])?$")] | None = None


class UsageAnswer(ResponseBody):
    """Tokens. `input_tokens` includes the cached ones, `output_tokens` those of hidden reasoning."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int


class TurnError(ResponseBody):
    """Why an answer failed."""

    code: str
    title: str
    detail: str
    status: int


class MessageAnswer(ResponseBody):
    """A question, its answer and what it cost. `estimated`: without a usable count of the vendor's, ours is charged."""

    message_id: Id
    conversation_id: Id
    status: TurnState
    content: str = Field(description="The question")
    images: list[str]
    answer: str | None
    model: str = Field(description="The model that answered, or that was asked while it runs")
    route: str = Field(
        description="How it was chosen: `requested`, `conversation`, `default`, `auto`, or `fallback` when another one "
        "answered"
    )
    choice: ChoiceAnswer | None = Field(
        description="Of a message to `auto`: why this model, and what others would cost"
    )
    route_reason: str | None = Field(
        description="Why another model answered than the one that was asked, such as `model_busy`"
    )
    finish_reason: FinishReason | None
    reason: str | None = Field(description="Why it was charged so, a code of the billing policy")
    usage: UsageAnswer | None
    estimated: bool
    reserved: CreditAmount | None = Field(
        description="What is held for the answer now, or was when it ended; it costs no more than that. It begins with "
        "what such answers usually need, and grows up to `ceiling` while the answer is longer"
    )
    ceiling: CreditAmount | None = Field(
        description="The most that is ever held for it, and so the most that it can cost"
    )
    max_output_tokens: int | None
    clamped: bool = Field(description="Whether the answer was shortened to what is affordable")
    cost: CreditAmount | None
    transaction_id: str | None
    available: CreditAmount | None = Field(description="What could be spent right after the settlement")
    created_at: Timestamp
    ended_at: Timestamp | None
    error: TurnError | None
    parent_id: Id | None = Field(description="The turn that it answers; null for a first message, or one from before")
    branch: SpentAnswer | None = Field(description="Its branch up to and with it; null when it has turns from before")
    unreadable: list[str] = Field(
        description="Stored fields of it that cannot be read, mostly none. What they told is null or empty here; a "
        "cost among them is never guessed, and stands in the ledger"
    )


class BranchTurn(MessageAnswer):
    """A turn in its tree. Its siblings answer the same parent."""

    siblings: list[Id] = Field(description="In the order in which they came, this turn among them")
    position: int = Field(description="Its place among its siblings, from 1")


class CancelAnswer(ResponseBody):
    """`running`: the cancel was sent, and the turn ends in a moment. Otherwise the turn had ended before."""

    message_id: Id
    status: TurnState
    finish_reason: FinishReason | None
    cost: CreditAmount | None
    transaction_id: str | None
