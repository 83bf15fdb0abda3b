"""The messages of a prompt as OpenAI's clients send them, in the shapes of OpenAI's API reference.

Clients send an answer back as they got it, from whichever server, and write marks of their own into it. What is known
to be no part of what a model is asked is dropped; anything else that is not here is refused by its name.
"""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from app.api.schemas import RequestBody
from app.models.tools.calls import MOST_CALLS

MOST_TEXT: Final = 2_000_000
"""Characters of one text. How many there may be in all depends on the model's context."""

Text = Annotated[str, Field(max_length=MOST_TEXT)]
Name = Annotated[str, Field(pattern=r"^[^\s<|\\/>]{0,64}$")]
"""Who of several speaks."""
FunctionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]
CallId = Annotated[str, Field(min_length=1, max_length=200)]


class WithNulls(RequestBody):
    """What clients send with null for what they leave out, and SDKs whenever they send back what they were given.

    `without` are the names of what is dropped, whatever stands there.
    """

    without: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        return {name: one for name, one in given.items() if one is not None and name not in cls.without}


class _Part(WithNulls):
    """A part of a message. Marks for a vendor's cache are dropped: they change no answer."""

    without = frozenset({"cache_control", "annotations"})


class TextPart(_Part):
    """A text of a message."""

    type: Literal["text"]
    text: Text


class RefusalPart(_Part):
    """A text by which a model refused."""

    type: Literal["refusal"]
    refusal: Text


class PictureAddress(WithNulls):
    """Where the vendor fetches a picture, or the picture itself as a `data:` URL; and how closely it is looked at."""

    url: Annotated[str, Field(pattern=r"^(https?://|data:image/)[!-~]+$", max_length=10_000_000)]
    detail: Literal["auto", "low", "high"] | None = None


def _address(given: object) -> object:
    return {"url": given} if isinstance(given, str) else given


class PicturePart(_Part):
    """A picture of a message. Its address may stand where an object with the address belongs, as some clients do."""

    type: Literal["image_url"]
    image_url: Annotated[PictureAddress, BeforeValidator(_address)]


TextParts = Annotated[list[TextPart], Field(min_length=1, max_length=100)]
Parts = Annotated[
    list[Annotated[TextPart | PicturePart, Field(discriminator="type")]], Field(min_length=1, max_length=100)
]
SaidParts = Annotated[list[Annotated[TextPart | RefusalPart, Field(discriminator="type")]], Field(max_length=100)]


ResultParts = Annotated[list[TextPart], Field(max_length=100)]


class CalledFunction(WithNulls):
    """A function of the client's, and its arguments as JSON text, which the model may have written wrongly."""

    name: FunctionName
    arguments: Text = ""


class MadeCall(WithNulls):
    """A call that the model made. Its place among others, which some send as well, is the one where it stands."""

    without = frozenset({"index", "provider_specific_fields", "extra_content"})

    id: CallId
    type: Literal["function"] = "function"
    function: CalledFunction


class SystemMessage(WithNulls):
    """What the model is told about its task."""

    role: Literal["system", "developer"]
    content: Text | TextParts
    name: Name | None = None


class UserMessage(WithNulls):
    """What the user says."""

    role: Literal["user"]
    content: Text | Parts
    name: Name | None = None


class AssistantMessage(WithNulls):
    """What the model said before. What it thought is dropped, and so are the notes of servers and proxies."""

    without = frozenset(
        {"annotations", "reasoning", "reasoning_content", "reasoning_details", "provider_specific_fields"}
    )

    role: Literal["assistant"]
    content: Text | SaidParts | None = None
    refusal: Text | None = None
    name: Name | None = None
    tool_calls: Annotated[list[MadeCall], Field(max_length=MOST_CALLS)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_empty_calls(cls, given: object) -> object:
        if isinstance(given, dict) and given.get("tool_calls") == []:
            return {name: one for name, one in given.items() if name != "tool_calls"}
        return given


class ToolMessage(WithNulls):
    """What a tool that the model called gave."""

    without = frozenset({"name"})

    role: Literal["tool"]
    tool_call_id: CallId
    content: Text | ResultParts = ""


ChatMessage = Annotated[SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")]
