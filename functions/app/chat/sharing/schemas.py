"""What the routes of shares return."""

from typing import Annotated

from pydantic import Field

from app.api.schemas import Page, Parameters, ResponseBody, ShareToken, Timestamp


class SharePath(Parameters):
    """`/shared/{token}`."""

    token: ShareToken


class ShareAnswer(ResponseBody):
    """A share. Whoever has the token can read it, without signing in."""

    token: str
    path: Annotated[str, Field(description="Below the address of the API", examples=["/v1/shared/shr_0123"])]
    shared_at: Timestamp


class SharedTurn(ResponseBody):
    """A question and its answer, which is null for a turn that failed. `images` says how many the question had."""

    content: str
    images: int
    answer: str | None
    model: str
    created_at: Timestamp


class SharedConversation(Page[SharedTurn]):
    """What is shared, the first turn first. Later turns are not in it, nor whose it is, its costs and system prompt."""

    title: str
    shared_at: Timestamp
    count: Annotated[int, Field(description="How many turns there are on all pages")]
