"""Reads regular expression literals: the subset of JavaScript's that rules accept.

`. * + ? {n} {n,} {n,m} ( ) | [ ] [^ ] \\s \\w \\d \\S \\W \\D`, escaped literals, the flag `i`; `^` only first and `$`
only last; no empty alternatives, lookaround, back-references, non-capturing groups or lazy quantifiers.
Knows how patterns are written, not how they are searched for.
"""

import re
from collections.abc import Callable
from typing import Final

from rtdb_emulator.rules.automaton import (
    LARGEST_PATTERN,
    Alternatives,
    Automaton,
    Branch,
    CharSet,
    Part,
    Repeat,
    Sequence,
    size,
)
from rtdb_emulator.rules.errors import ExpressionError
from rtdb_emulator.rules.syntax import Pattern

Ranges = tuple[tuple[int, int], ...]

_DEEPEST_GROUP: Final = 40
_LONGEST_REPEAT: Final = 5_000
_LAST_UNIT: Final = 0xFFFF
_DIGIT: Final[Ranges] = ((48, 57),)
_WORD: Final[Ranges] = ((48, 57), (65, 90), (95, 95), (97, 122))
_BLANK: Final[Ranges] = ((9, 13), (32, 32))
_NEWLINE: Final[Ranges] = ((10, 10), (13, 13), (0x2028, 0x2029))
_CONTROL: Final = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11}
_REPEAT = re.compile(r"\{([0-9]{1,9})(?:(,)([0-9]{1,9})?)?\}")
_CODE = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})")


def _complement(ranges: Ranges) -> Ranges:
    gaps, start = [], 0
    for first, last in ranges:
        if first > start:
            gaps.append((start, first - 1))
        start = last + 1
    return (*gaps, (start, _LAST_UNIT))


_CLASSES: Final[dict[str, Ranges]] = {
    "d": _DIGIT,
    "w": _WORD,
    "s": _BLANK,
    "D": _complement(_DIGIT),
    "W": _complement(_WORD),
    "S": _complement(_BLANK),
}


def compile_pattern(literal: Pattern) -> Callable[[str], bool]:
    """A function that says whether the pattern occurs in a text."""
    if literal.flags not in ("", "i"):
        raise ExpressionError(literal.at, f"Unsupported regular expression flags '{literal.flags}', only 'i' is.")
    branches = _Reader(literal).branches()
    if sum(size(branch.part) for branch in branches) > LARGEST_PATTERN:
        raise ExpressionError(literal.at, "The regular expression is too large.")
    return Automaton(branches).search


class _Reader:
    def __init__(self, literal: Pattern) -> None:
        self._ignore_case = literal.flags == "i"
        self._source = "".join(map(_split, literal.source))
        self._offset = literal.at + 1
        self._at = 0
        self._end = len(self._source)
        self._depth = 0

    def branches(self) -> tuple[Branch, ...]:
        anchored = self._peek() == "^"
        self._at += anchored
        closed = self._source.endswith("$") and not _escaped(self._source)
        self._end -= closed
        parts = self._alternatives()
        if self._at < self._end:
            raise self._error("Unmatched ')' in a regular expression.")
        last = len(parts) - 1
        return tuple(
            Branch(part, at_start=anchored and index == 0, at_end=closed and index == last)
            for index, part in enumerate(parts)
        )

    def _peek(self) -> str:
        return self._source[self._at] if self._at < self._end else ""

    def _error(self, message: str, at: int | None = None) -> ExpressionError:
        return ExpressionError(self._offset + (self._at if at is None else at), message)

    def _alternatives(self) -> tuple[Part, ...]:
        parts = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._sequence())
        return tuple(parts)

    def _sequence(self) -> Part:
        parts: list[Part] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated(self._atom()))
        if not parts and self._depth and not self._peek():
            raise self._error("Unterminated group in a regular expression.")
        if not parts:
            raise self._error("Empty alternative in a regular expression.")
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _repeated(self, part: Part) -> Part:
        bounds = self._bounds()
        if bounds is None:
            return part
        if self._peek() in ("*", "+", "?", "{"):
            raise self._error("Lazy and double quantifiers are not supported.")
        least, most = bounds
        if (most is not None and most < least) or max(least, most or 0) > _LONGEST_REPEAT:
            raise self._error("Invalid bounds of a repetition.", self._at - 1)
        return Repeat(part, least, most)

    def _bounds(self) -> tuple[int, int | None] | None:
        char = self._peek()
        if char in ("*", "+", "?") and char:
            self._at += 1
            return (1 if char == "+" else 0), (1 if char == "?" else None)
        if char != "{":
            return None
        found = _REPEAT.match(self._source, self._at, self._end)
        if not found:
            raise self._error("Invalid repetition; a literal '{' must be escaped.")
        self._at = found.end()
        least = int(found.group(1))
        if not found.group(2):
            return least, least
        return least, None if found.group(3) is None else int(found.group(3))

    def _atom(self) -> Part:
        char = self._peek()
        if char in ("*", "+", "?", "{"):
            raise self._error(f"Nothing to repeat before '{char}' in a regular expression.")
        if char in ("^", "$"):
            place = "start" if char == "^" else "end"
            raise self._error(f"'{char}' is only supported at the {place} of a regular expression.")
        self._at += 1
        if char == "(":
            return self._group()
        if char == "[":
            return self._set()
        if char == ".":
            return self._chars(_NEWLINE, negated=True)
        if char == "\\":
            return self._chars(self._escape())
        return self._chars(_one(char))

    def _group(self) -> Part:
        if self._peek() == "?":
            raise self._error("Groups that start with '(?' are not supported.")
        self._depth += 1
        if self._depth > _DEEPEST_GROUP:
            raise self._error("The regular expression is nested too deeply.")
        parts = self._alternatives()
        if self._peek() != ")":
            raise self._error("Unterminated group in a regular expression.")
        self._at += 1
        self._depth -= 1
        return parts[0] if len(parts) == 1 else Alternatives(parts)

    def _set(self) -> Part:
        negated = self._peek() == "^"
        self._at += negated
        ranges: list[tuple[int, int]] = []
        while self._peek() != "]":
            ranges += self._set_item()
        self._at += 1
        if not ranges:
            raise self._error("Empty set in a regular expression.", self._at - 1)
        return self._chars(tuple(ranges), negated=negated)

    def _set_item(self) -> Ranges:
        first = self._set_char()
        ahead = self._source[self._at : min(self._at + 2, self._end)]
        if len(ahead) < 2 or ahead[0] != "-" or ahead[1] == "]" or not _is_single(first):
            return first
        self._at += 1
        last = self._set_char()
        if not _is_single(last):
            return (*first, *_one("-"), *last)
        if last[0][0] < first[0][0]:
            raise self._error("Range out of order in a regular expression.", self._at - 1)
        return ((first[0][0], last[0][0]),)

    def _set_char(self) -> Ranges:
        char = self._peek()
        if not char:
            raise self._error("Unterminated set in a regular expression.")
        self._at += 1
        return self._escape() if char == "\\" else _one(char)

    def _escape(self) -> Ranges:
        """What the escape means whose letter is next."""
        letter = self._peek()
        self._at += 1
        if letter in _CLASSES:
            return _CLASSES[letter]
        if letter in _CONTROL:
            return ((_CONTROL[letter], _CONTROL[letter]),)
        if found := _CODE.match(self._source, self._at - 1, self._end):
            self._at = found.end()
            code = int(found.group(1) or found.group(2), 16)
            return ((code, code),)
        if not letter or letter.isalnum():
            raise self._error(f"Unsupported escape '\\{letter}' in a regular expression.", self._at - 2)
        return _one(letter)

    def _chars(self, ranges: Ranges, *, negated: bool = False) -> CharSet:
        return CharSet(ranges, negated=negated, ignore_case=self._ignore_case)


def _one(char: str) -> Ranges:
    return ((ord(char), ord(char)),)


def _is_single(ranges: Ranges) -> bool:
    return len(ranges) == 1 and ranges[0][0] == ranges[0][1]


def _escaped(source: str) -> bool:
    """Whether the last character stands behind an odd number of backslashes."""
    stripped = source[:-1].rstrip("\\")
    return (len(source) - 1 - len(stripped)) % 2 == 1


def _split(char: str) -> str:
    """A character as its UTF-16 units."""
    if char <= "\uffff":
        return char
    code = ord(char) - 0x10000
    return chr(0xD800 + (code >> 10)) + chr(0xDC00 + (code & 0x3FF))
