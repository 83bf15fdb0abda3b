"""What the export takes and returns. The JSON is a format of its own, which other programs may read."""

from typing import Literal

from pydantic import Field

from app.api.schemas import CreditAmount, MessageId, Parameters, ResponseBody, Timestamp
from app.chat.schemas import TurnError, UsageAnswer


class ExportParameters(Parameters):
    """`?format=&leaf=`: a turn; Markdown shows the branch through it, down to its newest leaf."""

    format: Literal["json", "markdown"] = "json"
    leaf: MessageId | None = Field(default=None, description="For Markdown. Left out: the active branch")


class ExportedConversation(ResponseBody):
    """The settings of a conversation. `active_leaf` is the number of a turn. Of an imported one, `id` is what its file
    said, and so is `model` where that is not offered here.
    """

    id: str
    title: str
    model: str | None
    system_prompt: str
    memory: str
    archived: bool
    pinned: bool
    active_leaf: int | None
    created_at: Timestamp
    updated_at: Timestamp


class ExportedAnswer(ResponseBody):
    """What a turn holds. `cost` is in credits; `transaction_id` names the entry of the ledger. Of an imported turn
    all of this is what its file said: nothing was paid for it here, and receipts prove what was.
    """

    content: str
    images: list[str]
    status: str
    answer: str | None
    model: str
    route: str
    route_reason: str | None
    finish_reason: str | None
    reason: str | None
    usage: UsageAnswer | None
    estimated: bool
    cost: CreditAmount | None
    transaction_id: str | None
    created_at: Timestamp
    ended_at: Timestamp | None
    error: TurnError | None
    unreadable: list[str] = Field(description="Stored fields of it that cannot be read: they are null or empty here")


class ExportedTurn(ResponseBody):
    """A turn in its place. Turns are counted from 0, and stand behind the one that they answer."""

    number: int
    parent: int | None = Field(description="The turn that it answers; null for a first message")
    id: str
    unavailable: Literal["unreadable", "missing"] | None = Field(
        description="Why there is nothing but its place: its document is spoilt, or gone"
    )
    turn: ExportedAnswer | None


class ConversationExport(ResponseBody):
    """A whole conversation with all its branches."""

    format: Literal["credits.conversation"]
    version: Literal[1]
    conversation: ExportedConversation
    turns: list[ExportedTurn]
