"""What the import takes and returns."""

from typing import Annotated, Final, Literal

from pydantic import Field

from app.api.schemas import Id, RequestBody, ResponseBody

MOST_CONVERSATIONS: Final = 50
"""In one request. A larger file is sent in several."""


class ImportBody(RequestBody):
    """Conversations as a file has them: exports of ours, or some elements of another program's list."""

    conversations: Annotated[
        list[dict[str, object]],
        Field(min_length=1, max_length=MOST_CONVERSATIONS, description="Each as it stands in its file"),
    ]


class LeftOut(ResponseBody):
    """How much of one kind was in the file and is not kept."""

    kind: str
    count: int


class ImportedAnswer(ResponseBody):
    """What became of one conversation. `existing`: the same one was imported before, and is still there."""

    outcome: Literal["imported", "existing", "refused"]
    conversation_id: Id | None = Field(description="Null where it was refused")
    title: str
    turns: int
    left_out: list[LeftOut]
    reason: str | None = Field(description="Why it was refused")


class ImportAnswer(ResponseBody):
    """What became of each conversation, in the order of the request."""

    items: list[ImportedAnswer]
