"""What the search takes and returns."""

from typing import Annotated

from pydantic import Field

from app.api.schemas import Id, PageParameters, ResponseBody, Timestamp


class SearchParameters(PageParameters):
    """`?q=`: whole words; in titles their beginnings are enough. All of them must be found."""

    q: Annotated[str, Field(min_length=1, max_length=200, examples=["double entry ledger"])]


class SearchHit(ResponseBody):
    """A conversation that was found by its title, or by one of its turns."""

    conversation_id: Id
    title: str
    message_id: Id | None = Field(description="The turn that was found; null when it was the title")
    excerpt: str
    at: Timestamp = Field(description="When the turn was asked, or the conversation last used")
