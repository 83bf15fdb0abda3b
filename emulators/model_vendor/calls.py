"""How tool calls are streamed: as OpenAI does it, or in the shape of one of its followers.

Each shape was seen in public bug reports. Owns the members `tool_calls` of deltas; refuses to know chunks and sockets.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum


class CallShape(StrEnum):
    """Who streams so."""

    SPLIT = "split"
    """OpenAI: a first piece with index, id and name, then pieces of the arguments."""
    WHOLE = "whole"
    """Groq, Mistral: each call in one piece."""
    NO_INDEX = "no-index"
    """Gemini, SambaNova, older Ollama: each call in one piece without an index."""
    NO_ID = "no-id"
    """Gemini at times, older llama.cpp: no id, or an empty one."""
    SAME_INDEX = "same-index"
    """Ollama: all calls have the index 0."""
    FROM_ONE = "from-one"
    """Proxies that count the text as block 0."""
    REPEATED = "repeated"
    """Id and name come again with each piece of the arguments."""
    OBJECTS = "objects"
    """Ollama's own API and what translates it badly: the arguments are an object."""


@dataclass(frozen=True, slots=True)
class Spelled:
    """A call to stream: its arguments in `groups` of tokens, and the tokens of its name and frame."""

    id: str
    name: str
    head: int
    groups: Sequence[tuple[str, ...]]

    @property
    def arguments(self) -> str:
        return "".join(piece for group in self.groups for piece in group)

    @property
    def tokens(self) -> int:
        return self.head + sum(map(len, self.groups))


def deltas(calls: Sequence[Spelled], shape: CallShape) -> Iterator[tuple[dict[str, object], int]]:
    """The members of each `tool_calls` list, one at a time, with the tokens that each carries."""
    for number, call in enumerate(calls):
        match shape:
            case CallShape.SPLIT | CallShape.FROM_ONE | CallShape.REPEATED:
                yield from _split(call, number, shape)
            case CallShape.OBJECTS:
                yield _first(call, number, _object(call.arguments)), call.tokens
            case CallShape.NO_INDEX:
                whole = _first(call, number, call.arguments)
                del whole["index"]
                yield whole, call.tokens
            case CallShape.NO_ID:
                yield {**_first(call, number, call.arguments), "id": "" if number else None}, call.tokens
            case CallShape.WHOLE:
                yield _first(call, number, call.arguments), call.tokens
            case CallShape.SAME_INDEX:
                yield _first(call, 0, call.arguments), call.tokens


def _split(call: Spelled, number: int, shape: CallShape) -> Iterator[tuple[dict[str, object], int]]:
    index = number + 1 if shape is CallShape.FROM_ONE else number
    yield _first(call, index, ""), call.head
    for group in call.groups:
        part: dict[str, object] = {"index": index, "function": {"arguments": "".join(group)}}
        yield _first(call, index, "".join(group)) if shape is CallShape.REPEATED else part, len(group)


def _first(call: Spelled, index: int, arguments: object) -> dict[str, object]:
    return {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _object(text: str) -> object:
    """The arguments as an object; as text where they were cut off."""
    try:
        return json.loads(text)
    except ValueError:
        return text
