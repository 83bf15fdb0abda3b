"""Reads tool calls from the chunks of a stream, and puts their pieces together.

OpenAI streams a call as a first piece with index, id and name, and further pieces with more of its arguments
(https://platform.openai.com/docs/guides/function-calling#streaming). Its followers leave out the index (Gemini,
SambaNova), give all calls the same one (Ollama), begin with another than 0, give no id, send a call at once (Groq,
Mistral), repeat id and name with every piece, or send arguments as an object. Refuses to know what a call is for.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from app.models.faults import ModelBroke

MOST_CALLS: Final = 128
"""In one answer; OpenAI offers a model as many functions."""
_LONGEST: Final = 200
"""Characters of a name and of an id."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the model calls, with its arguments as JSON text; the model may have written that wrongly."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class CallPiece:
    """More of call number `index` of an answer: of its arguments, and in its first piece its name, and its id where
    the vendor gave it one.
    """

    index: int
    arguments: str
    name: str = ""
    id: str = ""


@dataclass(slots=True)
class _Call:
    """A call of which pieces have come. `index` is its number once it was told, and None before."""

    id: str
    index: int | None = None
    name: str = ""
    arguments: str = ""
    half: str = ""

    @property
    def whole(self) -> bool:
        """Whether its arguments are whole."""
        try:
            json.loads(self.arguments)
        except ValueError:
            return False
        return True


class CallReader:
    """The calls of one answer, numbered from 0 as they are told, whatever numbers the vendor gives them."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._told = 0

    def read(self, raw: object) -> list[CallPiece]:
        """The pieces in the member `tool_calls` of a delta or of a message.

        Raises:
            ModelBroke: there are more calls than a model can be offered functions.
        """
        parts = raw if isinstance(raw, list) else [raw]
        found = [self._piece(part) for part in parts if isinstance(part, dict)]
        return [piece for piece in found if piece is not None]

    def _piece(self, part: Mapping[str, object]) -> CallPiece | None:
        function = part.get("function")
        function = function if isinstance(function, dict) else {}
        name, id = _short(function.get("name")), _short(part.get("id"))
        arguments = _arguments(function.get("arguments"))
        call = self._meant(part.get("index"), id, name, arguments)
        if call is None:
            return None
        call.name, call.id = call.name or name, call.id or self._unused(id)
        more, call.half = whole(call.half + arguments)
        if not call.name:
            call.half = more + call.half  # Nobody can be told of a call that has no name yet.
            return None
        call.arguments += more
        if call.index is not None:
            return CallPiece(call.index, more) if more else None
        call.index, self._told = self._told, self._told + 1
        return CallPiece(call.index, more, call.name, call.id)

    def _meant(self, index: object, id: str, name: str, arguments: str) -> _Call | None:
        """The call that a piece belongs to; a new one if it begins one; None if it continues none."""
        numbered = isinstance(index, int) and not isinstance(index, bool)
        known = self._by_index.get(index) if isinstance(index, int) and numbered else self._last
        if known is None and not (id or name or numbered):
            return None
        if known is None or self._begins(known, id, name, arguments):
            known = self._begun(self._unused(id))
        if isinstance(index, int) and numbered:
            self._by_index[index] = known
        return known

    @property
    def _last(self) -> _Call | None:
        return self._calls[-1] if self._calls else None

    def _unused(self, id: str) -> str:
        """The id, unless another call has it: some servers give the function's name (Gemini's adapters)."""
        return "" if any(one.id == id for one in self._calls) else id

    def _begins(self, known: _Call, id: str, name: str, arguments: str) -> bool:
        """Whether a piece with this id and name is of another call than the one that its index, or its place, names."""
        if not name or not known.name:
            return False
        if id and known.id:
            return id != known.id or (bool(arguments.strip()) and known.whole)
        return known.whole or (name != known.name and not known.arguments)

    def _begun(self, id: str) -> _Call:
        if len(self._calls) == MOST_CALLS:
            raise ModelBroke("the model calls more tools than it can be offered")
        self._calls.append(_Call(id))
        return self._calls[-1]


class CallTexts:
    """Puts the pieces of an answer's calls together again."""

    def __init__(self) -> None:
        self._calls: list[tuple[str, str, list[str]]] = []

    def add(self, index: int, arguments: str, *, id: str = "", name: str = "") -> None:
        """Adds a piece. Pieces come in order; the first of a call has its id and name."""
        if index == len(self._calls):
            self._calls.append((id, name, []))
        self._calls[index][2].append(arguments)

    @property
    def made(self) -> tuple[ToolCall, ...]:
        """The calls so far."""
        return tuple(ToolCall(id, name, "".join(pieces)) for id, name, pieces in self._calls)


def whole(text: str) -> tuple[str, str]:
    """The text in whole characters, and the half of a surrogate pair at its end.

    JSON can escape each half by itself, and vendors that cut text by UTF-16 units do. A half that stays alone cannot be
    stored, hashed or sent on: it becomes U+FFFD, as in any decoder, and one at the end of the answer is dropped.
    """
    if text.isascii():
        return text, ""
    half = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
    kept = text[: len(text) - len(half)]
    return str(kept.encode("utf-16-le", "surrogatepass"), "utf-16-le", "replace"), half


def _short(value: object) -> str:
    return whole(value[:_LONGEST])[0] if isinstance(value, str) else ""


def _arguments(value: object) -> str:
    """Arguments as text, also where a server sends the object itself."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)
