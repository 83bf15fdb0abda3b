"""The tools that OpenAI's clients offer a model, in OpenAI's shapes, and what they add to a prompt."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

from pydantic import Field, JsonValue

from app.api.schemas import RequestBody
from app.chat.door.messages import FunctionName, WithNulls

MOST_TOOLS: Final = 128
FRAME: Final = 512
"""Tokens of the longest instructions that a known chat template puts before the tools of a prompt."""
FRAME_OF_RESULT: Final = 16
"""Tokens of the signs that a known chat template puts around a tool's result."""


class OfferedFunction(WithNulls):
    """A function of the client's that the model may call. All of it counts as input."""

    name: FunctionName
    description: Annotated[str, Field(max_length=100_000)] | None = None
    parameters: dict[str, JsonValue] | None = Field(default=None, description="A JSON Schema")
    strict: bool | None = None


class OfferedTool(WithNulls):
    """A tool that the model may call."""

    without = frozenset({"cache_control"})

    type: Literal["function"]
    function: OfferedFunction


class NamedFunction(RequestBody):
    """The function that the model must call."""

    name: FunctionName


class NamedTool(RequestBody):
    """The tool that the model must call."""

    type: Literal["function"]
    function: NamedFunction


OfferedTools = Annotated[list[OfferedTool], Field(min_length=1, max_length=MOST_TOOLS)]
ToolChoice = Literal["none", "auto", "required"] | NamedTool


def counted(value: object) -> str:
    """The text by which a tool or a call is counted at least."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def around(result_of: str, text: str) -> int:
    """The most tokens that a tool's result has beside its text: templates write its call's id, and some write the text
    as JSON, which has two bytes for a quote or a line end and six for a control character.
    """
    as_json = json.dumps(text, ensure_ascii=False)
    return FRAME_OF_RESULT + len(result_of.encode()) + len(as_json.encode()) - len(text.encode())


def framing(tools: object, calls: Sequence[Mapping[str, object]]) -> int:
    """The most tokens that tools and earlier calls have beside the texts by which they are counted.

    Templates write them as indented JSON, and some of them in ASCII: nothing that they write has more bytes.
    """
    written = [*(tools if isinstance(tools, list) else []), *calls]
    indented = sum(len(json.dumps(one, indent=4)) for one in written)
    return FRAME + indented if written else 0
