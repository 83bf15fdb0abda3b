"""Cuts a rule expression into tokens, by the lexical rules of JavaScript as far as the language uses them.

Knows words and signs, not what they mean together.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from rtdb_emulator.rules.errors import ExpressionError
from rtdb_emulator.rules.values import join_surrogates


class Kind(Enum):
    """What a token is."""

    NUMBER = "number"
    STRING = "string"
    PATTERN = "regular expression"
    NAME = "name"
    SIGN = "sign"
    END = "end of expression"


@dataclass(frozen=True, slots=True)
class Token:
    """`text` is the name, the sign, the value of a string or the source of a pattern."""

    kind: Kind
    text: str
    at: int
    number: float = 0.0
    flags: str = ""


_SPACE = re.compile(r"(?:[\s\ufeff]|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_SIGN = re.compile(r"===|!==|==|!=|<=|>=|&&|\|\||[-+*/%!<>?:.,()\[\]]")
_PATTERN = re.compile(r"/((?:[^/\\\[\r\n]|\\[^\r\n]|\[(?:[^\]\\\r\n]|\\[^\r\n])*\])+)/([A-Za-z0-9_$]*)")
_PLAIN: Final = {'"': re.compile(r'[^"\\\r\n]*'), "'": re.compile(r"[^'\\\r\n]*")}
_HEX: Final = {"x": re.compile(r"[0-9a-fA-F]{2}"), "u": re.compile(r"[0-9a-fA-F]{4}")}
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "0": "\0"}
_FOREIGN = re.compile(r"\*\*|\+\+|--|=>|<<|>>|&|\||=|;|\{|\}|\^|~|\?\.|\?\?|`|@|#")


def tokens(text: str) -> list[Token]:
    """All tokens of an expression; the last one is END."""
    return _Lexer(text).run()


class _Lexer:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._found: list[Token] = []

    def run(self) -> list[Token]:
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at >= len(self._text):
                self._add(Token(Kind.END, "", self._at))
                return self._found
            self._next()

    def _add(self, token: Token, end: int | None = None) -> None:
        self._found.append(token)
        self._at = token.at + len(token.text) if end is None else end

    def _next(self) -> None:
        char = self._text[self._at]
        if self._text.startswith("/*", self._at):
            raise self._error("Unterminated comment.")
        if char in _PLAIN:
            self._string(char)
        elif found := _NAME.match(self._text, self._at):
            self._add(Token(Kind.NAME, found.group(), self._at))
        elif found := _NUMBER.match(self._text, self._at):
            self._number(found.group())
        elif char == "/" and self._operand_expected():
            self._pattern()
        else:
            self._sign()

    def _operand_expected(self) -> bool:
        """A slash divides behind an operand and opens a regular expression everywhere else."""
        if not self._found:
            return True
        last = self._found[-1]
        return last.kind is Kind.SIGN and last.text not in (")", "]")

    def _sign(self) -> None:
        foreign = _FOREIGN.match(self._text, self._at)
        sign = _SIGN.match(self._text, self._at)
        if foreign and (sign is None or len(foreign.group()) > len(sign.group())):
            raise self._error(f"Rule expressions may not contain '{foreign.group()}'.")
        if sign is None:
            raise self._error(f"Unexpected character {self._text[self._at]!r}.")
        self._add(Token(Kind.SIGN, sign.group(), self._at))

    def _number(self, digits: str) -> None:
        end = self._at + len(digits)
        if re.match(r"[\w$.]", self._text[end : end + 1]):
            raise self._error("Invalid number.")
        value = _hexadecimal(digits) if digits[:2] in ("0x", "0X") else float(digits)
        self._add(Token(Kind.NUMBER, digits, self._at, number=value))

    def _pattern(self) -> None:
        found = _PATTERN.match(self._text, self._at)
        if not found:
            raise self._error("Unterminated regular expression.")
        self._add(Token(Kind.PATTERN, found.group(1), self._at, flags=found.group(2)), found.end())

    def _string(self, quote: str) -> None:
        parts: list[str] = []
        at = self._at + 1
        while True:
            plain = _PLAIN[quote].match(self._text, at)
            end = plain.end() if plain else at
            parts.append(self._text[at:end])
            char = self._text[end : end + 1]
            if char == quote:
                break
            if char != "\\" or end + 1 >= len(self._text):
                raise self._error("Unterminated string.")
            part, at = self._escape(end + 1)
            parts.append(part)
        self._add(Token(Kind.STRING, join_surrogates("".join(parts)), self._at), end + 1)

    def _escape(self, at: int) -> tuple[str, int]:
        """What the escape means whose letter stands at `at`, and the offset behind it."""
        letter = self._text[at]
        if letter in _HEX:
            digits = _HEX[letter].match(self._text, at + 1)
            if not digits:
                raise self._error("Invalid escape in a string.", at - 1)
            return chr(int(digits.group(), 16)), digits.end()
        if letter in "123456789" or (letter == "0" and self._text[at + 1 : at + 2].isdigit()):
            raise self._error("Octal escapes are not supported.", at - 1)
        return _ESCAPES.get(letter, letter), at + 1

    def _error(self, message: str, at: int | None = None) -> ExpressionError:
        return ExpressionError(self._at if at is None else at, message)


def _hexadecimal(digits: str) -> float:
    try:
        return float(int(digits, 16))
    except OverflowError:
        return float("inf")
