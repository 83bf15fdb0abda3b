"""Reads the text of a rules file: JSON with `//` and `/* */` comments and with raw newlines in strings.

Keeps for every value where it stands, so that later errors can name line and column. Knows nothing of rules.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rtdb_emulator.rules.errors import RulesError
from rtdb_emulator.rules.values import join_surrogates

DEEPEST_NESTING: Final = 100


class SourceMap:
    """Turns an offset of the file into line and column."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text))]

    def error(self, offset: int, message: str) -> RulesError:
        """The error that points at `offset`."""
        line = bisect_right(self._starts, offset)
        return RulesError(line, offset - self._starts[line - 1] + 1, message)


@dataclass(frozen=True, slots=True)
class Text:
    """A string and, for every character of it, its offset in the file (one more for the end)."""

    value: str
    start: int
    offsets: tuple[int, ...] | None

    def offset_of(self, index: int) -> int:
        """Where the character with this index stands in the file."""
        if self.offsets is None:
            return self.start + index
        return self.offsets[min(index, len(self.offsets) - 1)]


@dataclass(frozen=True, slots=True)
class Literal:
    """null, true, false or a number."""

    value: bool | float | None
    start: int


@dataclass(frozen=True, slots=True)
class Array:
    """A list of values."""

    items: "tuple[Value, ...]"
    start: int


@dataclass(frozen=True, slots=True)
class Table:
    """An object: names and values in the order of the file. A name appears once."""

    members: "Mapping[str, tuple[Text, Value]]"
    start: int


Value = Text | Literal | Array | Table

_SPACE = re.compile(r"(?:[ \t\r\n\ufeff]|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.])")
_WORD = re.compile(r"(?:true|false|null)(?!\w)")
_PLAIN = re.compile(r'[^"\\]*')
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_WORDS: Final = {"true": True, "false": False, "null": None}
_ESCAPES: Final = {
    '"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t",
}  # fmt: skip


def read_document(text: str, source: SourceMap) -> Value:
    """The value that `text` is, or RulesError with a message that starts with "Parse error"."""
    return _Reader(text, source).document()


class _Reader:
    def __init__(self, text: str, source: SourceMap) -> None:
        self._text = text
        self._source = source
        self._at = 0
        self._depth = 0

    def document(self) -> Value:
        self._skip()
        value = self._value()
        self._skip()
        if self._at < len(self._text):
            raise self._error("Expected the end of the file")
        return value

    def _error(self, message: str, at: int | None = None) -> RulesError:
        offset = self._at if at is None else at
        found = "the end of the file" if offset >= len(self._text) else repr(self._text[offset])
        return self._source.error(offset, f"Parse error. {message}, found {found}.")

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        if self._text.startswith("/*", self._at):
            raise self._error("Unterminated comment")

    def _take(self, char: str) -> bool:
        if not self._text.startswith(char, self._at):
            return False
        self._at += 1
        self._skip()
        return True

    def _value(self) -> Value:
        char = self._text[self._at : self._at + 1]
        if char == '"':
            return self._string()
        if char in ("{", "["):
            return self._nested(char)
        return self._literal()

    def _nested(self, char: str) -> Value:
        self._depth += 1
        if self._depth > DEEPEST_NESTING:
            raise self._error("Nested too deeply")
        value: Value = self._table() if char == "{" else self._array()
        self._depth -= 1
        return value

    def _literal(self) -> Literal:
        start = self._at
        if found := _WORD.match(self._text, start):
            self._at = found.end()
            return Literal(_WORDS[found.group()], start)
        if found := _NUMBER.match(self._text, start):
            self._at = found.end()
            return Literal(float(found.group()), start)
        raise self._error("Expected a value")

    def _table(self) -> Table:
        start = self._at
        members: dict[str, tuple[Text, Value]] = {}
        self._take("{")
        if self._take("}"):
            return Table(members, start)
        while True:
            name, value = self._member()
            if name.value in members:
                raise self._source.error(name.start - 1, f"Duplicate key '{name.value}'.")
            members[name.value] = (name, value)
            if self._take("}"):
                return Table(members, start)
            if not self._take(","):
                raise self._error("Expected ',' or '}'")

    def _member(self) -> tuple[Text, Value]:
        if not self._text.startswith('"', self._at):
            raise self._error("Expected a name in double quotes")
        name = self._string()
        self._skip()
        if not self._take(":"):
            raise self._error("Expected ':'")
        value = self._value()
        self._skip()
        return name, value

    def _array(self) -> Array:
        start = self._at
        items: list[Value] = []
        self._take("[")
        if self._take("]"):
            return Array((), start)
        while True:
            items.append(self._value())
            self._skip()
            if self._take("]"):
                return Array(tuple(items), start)
            if not self._take(","):
                raise self._error("Expected ',' or ']'")

    def _string(self) -> Text:
        start = self._at + 1
        end = self._plain_end(start)
        if self._text.startswith('"', end):
            self._at = end + 1
            return Text(self._text[start:end], start, None)
        return self._escaped_string(start)

    def _plain_end(self, start: int) -> int:
        found = _PLAIN.match(self._text, start)
        end = found.end() if found else start
        if end >= len(self._text):
            raise self._error("Unterminated string", end)
        return end

    def _escaped_string(self, start: int) -> Text:
        chars: list[str] = []
        offsets: list[int] = []
        at = start
        while True:
            end = self._plain_end(at)
            chars.extend(self._text[at:end])
            offsets.extend(range(at, end))
            if self._text[end] == '"':
                break
            char, at = self._escape(end)
            chars.append(char)
            offsets.append(end)
        self._at = end + 1
        return _joined(chars, [*offsets, end], start)

    def _escape(self, at: int) -> tuple[str, int]:
        """The character that the escape at `at` means, and the offset behind the escape."""
        letter = self._text[at + 1 : at + 2]
        if letter in _ESCAPES:
            return _ESCAPES[letter], at + 2
        digits = _HEX.match(self._text, at + 2)
        if letter != "u" or not digits:
            raise self._error("Invalid escape in a string", at)
        return chr(int(digits.group(), 16)), at + 6


def _joined(chars: list[str], offsets: list[int], start: int) -> Text:
    """Surrogate pairs become one character, and one offset."""
    value = "".join(chars)
    if value.isascii():
        return Text(value, start, tuple(offsets))
    whole = join_surrogates(value)
    if len(whole) == len(value):
        return Text(whole, start, tuple(offsets))
    kept: list[int] = []
    index = 0
    for char in whole:
        kept.append(offsets[index])
        index += 2 if char > "\uffff" and chars[index] <= "\uffff" else 1
    return Text(whole, start, (*kept, offsets[-1]))


def plain(value: Value) -> object:
    """The value as Python's json module knows it."""
    if isinstance(value, Table):
        return {name: plain(member) for name, (_, member) in value.members.items()}
    if isinstance(value, Array):
        return [plain(item) for item in value.items]
    return value.value
