"""Sums: finds an expression in a question and computes it exactly.

Numbers are fractions, so 0.1 + 0.2 is 0.3. Owns parsing and printing of numbers; no `eval`.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from math import isqrt

from emulators.model_vendor.responder.conversation import Conversation

_REWRITES = (
    (re.compile(r"(?<=\d)[, ](?=\d{3}\b)"), ""),
    (re.compile(r"\b(?:square root of|sqrt of|sqrt)\b", re.IGNORECASE), "sqrt "),
    (re.compile(r"\b(?:plus|added to)\b", re.IGNORECASE), "+"),
    (re.compile(r"\b(?:minus|less)\b", re.IGNORECASE), "-"),
    (re.compile(r"(?<=\d)\s*x\s*(?=\d)", re.IGNORECASE), "*"),
    (re.compile(r"\b(?:divided by|over)\b|[÷]", re.IGNORECASE), "/"),
    (re.compile(r"\b(?:times|multiplied by|(?<=\d )by(?= \d))\b|[×·]", re.IGNORECASE), "*"),
    (re.compile(r"\b(?:to the power of|raised to)\b|\*\*", re.IGNORECASE), "^"),
    (re.compile(r"\bsquared\b", re.IGNORECASE), "^2"),
    (re.compile(r"\bcubed\b", re.IGNORECASE), "^3"),
    (re.compile(r"\b(?:mod|modulo)\b", re.IGNORECASE), "mod"),
    (re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)\s*(?:%|percent)\s+of\s+", re.IGNORECASE), r"(\1/100)*"),
    (re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)\s*(?:%|percent)\s+off\s+(?:of\s+)?", re.IGNORECASE), r"(1-(\1/100))*"),
    (re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)\s*(?:%|percent)", re.IGNORECASE), r"(\1/100)"),
    (re.compile(r"−|–"), "-"),
)
_EXPRESSION = re.compile(r"(?:sqrt|mod|[-+*/^().]|\d|\s)+")
_TOKEN = re.compile(r"\s*(sqrt|mod|\d+(?:\.\d+)?|[-+*/^()])")
_MAX_DIGITS = 400


class _Unreadable(Exception):
    """The text is no expression."""


def reckon(conversation: Conversation) -> str | None:
    """The result of the expression in the question, with the expression, or None."""
    found = expression(conversation.question)
    if found is None:
        return None
    try:
        value = evaluate(found)
    except ZeroDivisionError:
        return f"{tidy(found)} has no value: the divisor is zero, and nothing multiplied by zero gives the dividend."
    except _Unreadable:
        return None
    result = shown(value)
    return f"{tidy(found)} {'' if result.startswith('≈') else '= '}{result}."


def expression(text: str) -> str | None:
    """The longest arithmetic expression in `text` that holds an operator, in plain symbols."""
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    candidates = [match[0].strip(" \n\t.+*/^") for match in _EXPRESSION.finditer(text)]
    whole = [found for found in candidates if _operators(found) and _readable(found)]
    return max(whole, key=len, default=None)


def _operators(text: str) -> bool:
    # A lone percentage, a date (2024-03-01), a phone number or a version is no sum.
    if re.fullmatch(
        r"\(\d+(\.\d+)?/100\)|\d{4}-\d{1,2}-\d{1,2}|\d+(\.\d+){2,}|\+?\d+(-\d+){2,}", text.replace(" ", "")
    ):
        return False
    return re.search(r"\d\)*\s*(?:[-+*/^]|mod)\s*[-(]*(?:\d|sqrt)", text) is not None or "sqrt" in text


def _readable(text: str) -> bool:
    try:
        evaluate(text)
    except ZeroDivisionError:
        return True
    except _Unreadable:
        return False
    return True


def evaluate(text: str) -> Fraction:
    """The exact value. `^` binds tightest and to the right, then unary minus, then * / mod, then + -."""
    tokens: list[str] = []
    at = 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _Unreadable
        tokens.append(match[1])
        at = match.end()
    parser = _Parser(tokens)
    value = parser.sum()
    if parser.peek() is not None:
        raise _Unreadable
    return value


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def peek(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self, *wanted: str) -> str | None:
        token = self.peek()
        if token is None or (wanted and token not in wanted):
            return None
        self._at += 1
        return token

    def sum(self) -> Fraction:
        return self._chain(self._product, {"+": lambda a, b: a + b, "-": lambda a, b: a - b})

    def _product(self) -> Fraction:
        return self._chain(self._signed, {"*": lambda a, b: a * b, "/": lambda a, b: a / b, "mod": lambda a, b: a % b})

    def _chain(
        self, part: Callable[[], Fraction], operators: dict[str, Callable[[Fraction, Fraction], Fraction]]
    ) -> Fraction:
        value = part()
        while (operator := self._take(*operators)) is not None:
            value = operators[operator](value, part())
        return value

    def _signed(self) -> Fraction:
        self._depth += 1
        if self._depth > 100:
            raise _Unreadable
        try:
            if self._take("-") is not None:
                return -self._signed()
            return self._power()
        finally:
            self._depth -= 1

    def _power(self) -> Fraction:
        base = self._atom()
        if self._take("^") is None:
            return base
        exponent = self._signed()
        if exponent.denominator != 1 or abs(exponent) > 1000:
            raise _Unreadable
        if abs(exponent) * max(len(str(base.numerator)), len(str(base.denominator))) > _MAX_DIGITS:
            raise _Unreadable
        return base ** int(exponent)

    def _atom(self) -> Fraction:
        if self._take("sqrt") is not None:
            return _root(self._atom())
        if self._take("(") is not None:
            value = self.sum()
            if self._take(")") is None:
                raise _Unreadable
            return value
        token = self._take()
        if token is None or not token[0].isdigit() or len(token) > _MAX_DIGITS:
            raise _Unreadable
        return Fraction(token)


def _root(value: Fraction) -> Fraction:
    if value < 0:
        raise _Unreadable
    # Twelve digits after the point, exact for squares.
    scale = 10**12
    return Fraction(isqrt(value.numerator * value.denominator * scale * scale), value.denominator * scale)


def shown(value: Fraction, digits: int = 6) -> str:
    """The number in plain decimals: exact when it ends within `digits` places, else rounded and marked with ≈."""
    if value.denominator == 1:
        return f"{value.numerator:,}"
    rounded = Decimal(value.numerator) / Decimal(value.denominator)
    text = f"{rounded:,.{digits}f}".rstrip("0").rstrip(".")
    exact = Fraction(text.replace(",", "")) == value
    return text if exact else f"≈ {text}"


def tidy(text: str) -> str:
    """The expression with even spacing."""
    text = re.sub(r"\s*(mod|[-+*/^])\s*", r" \1 ", text)
    text = re.sub(r"\s+", " ", text).replace("( ", "(").replace(" )", ")")
    text = re.sub(r"\((\d+(?:\.\d+)?) / 100\)", r"\1%", text.strip()).replace("% * ", "% of ")
    return re.sub(r"(^|[(*/+^-] ?)- (?=\d)", r"\1-", text).replace("sqrt ", "√").strip()
