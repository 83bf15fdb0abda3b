"""A second, slow evaluator for random expressions, written from the documentation; it shares nothing with the engine.

An expression is made of nested `Term`s, printed with as few parentheses as the precedence allows, so that a wrong
precedence in the parser gives a wrong value here.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

Plain = bool | float | str | None

LOOSEST: Final = ["?", "||", "&&", "==", "<", "+", "*", "unary", "member"]
SPELLED: Final = {"!=": "==", ">": "<", "<=": "<", ">=": "<", "-": "+", "/": "*", "%": "*"}


class Failed(Exception):
    """A run-time failure of the rule."""


@dataclass(frozen=True)
class Term:
    """An operator or a leaf (`literal`, `claim`, `stored`) with its parts."""

    kind: str
    parts: tuple["Term", ...] = ()
    value: Plain = None


def level(term: Term) -> int:
    """How tightly the outermost operator binds."""
    kind = SPELLED.get(term.kind, term.kind)
    if kind in ("not", "negative"):
        return LOOSEST.index("unary")
    return LOOSEST.index(kind) if kind in LOOSEST else LOOSEST.index("member")


def text(term: Term) -> str:
    """The expression as people would write it."""
    parts = term.parts
    match term.kind:
        case "literal":
            return _literal(term.value)
        case "claim":
            return f"auth.{term.value}"
        case "stored":
            return f"root.child('{term.value}').val()"
        case "not":
            return "!" + _within(parts[0], LOOSEST.index("unary"))
        case "negative":
            inner = _within(parts[0], LOOSEST.index("unary"))
            return "-" + (f"({inner})" if inner.startswith("-") else inner)
        case "?":
            return f"{_within(parts[0], 1)} ? {_within(parts[1], 0)} : {_within(parts[2], 0)}"
        case "length":
            return _receiver(parts[0]) + ".length"
        case "contains" | "beginsWith" | "endsWith" | "replace" | "toUpperCase":
            return f"{_receiver(parts[0])}.{term.kind}({', '.join(text(part) for part in parts[1:])})"
    here = level(term)
    left, right = _within(parts[0], here), _within(parts[1], here + 1)
    return f"{left} {term.kind} {f'({right})' if right.startswith('-') else right}"


def _within(term: Term, loosest: int) -> str:
    return text(term) if level(term) >= loosest else f"({text(term)})"


def _receiver(term: Term) -> str:
    return f"({text(term)})" if isinstance(term.value, float) else _within(term, LOOSEST.index("member"))


def _literal(value: Plain) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}'" if isinstance(value, str) else repr(value)


@dataclass(frozen=True)
class Reference:
    """Evaluates terms on claims and stored values."""

    claims: Mapping[str, Plain]
    stored: Mapping[str, Plain]

    def value(self, term: Term) -> Plain:
        parts = term.parts
        match term.kind:
            case "literal":
                return term.value
            case "claim":
                return self.claims.get(str(term.value))
            case "stored":
                return self.stored.get(str(term.value))
            case "?":
                return self.value(parts[1]) if self.value(parts[0]) else self.value(parts[2])
            case "&&":
                return self.value(parts[0]) and self.value(parts[1])
            case "||":
                return self.value(parts[0]) or self.value(parts[1])
            case "not":
                return not self.value(parts[0])
        return self._strict(term.kind, [self.value(part) for part in parts])

    def _strict(self, kind: str, values: list[Plain]) -> Plain:
        if kind in ("==", "!="):
            same = _kind(values[0]) == _kind(values[1]) and values[0] == values[1]
            return same is (kind == "==")
        if kind == "length":
            return float(len(values[0])) if isinstance(values[0], str) else None
        if kind in STRINGS:
            return STRINGS[kind](*[_string(value) for value in values])
        if kind in ORDERS:
            return _ordered(kind, values[0], values[1])
        if kind == "+" and any(isinstance(value, str) for value in values):
            return "".join(_printed(value) for value in values)
        return NUMBERS[kind](*[_number(value) for value in values])


STRINGS: Final[Mapping[str, Callable[..., Plain]]] = {
    "contains": lambda text, part: text.find(part) >= 0,
    "beginsWith": lambda text, part: text[: len(part)] == part,
    "endsWith": lambda text, part: text[len(text) - len(part) :] == part if len(part) <= len(text) else False,
    "replace": lambda text, old, new: new.join(text.split(old)) if old else _spread(text, new),
    "toUpperCase": lambda text: text.upper(),
}
ORDERS: Final = frozenset({"<", "<=", ">", ">="})
NUMBERS: Final[Mapping[str, Callable[..., Plain]]] = {
    "negative": lambda a: 0.0 - a,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: math.nan if b == 0 else a / b,
    "%": lambda a, b: math.nan if b == 0 or math.isinf(a) else math.fmod(a, b),
}


def _spread(text: str, new: str) -> str:
    return new + "".join(char + new for char in text)


def _kind(value: Plain) -> str:
    return "number" if isinstance(value, float) else type(value).__name__


def _string(value: Plain) -> str:
    if not isinstance(value, str):
        raise Failed
    return value


def _number(value: Plain) -> float:
    if not isinstance(value, float):
        raise Failed
    return value


def _printed(value: Plain) -> str:
    if isinstance(value, str):
        return value
    number = _number(value)
    if math.isnan(number):
        return "NaN"
    return str(int(number)) if number == int(number) else repr(number)


def _ordered(kind: str, left: Plain, right: Plain) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        before, same = min(left, right) == left, left == right
    else:
        first, second = _number(left), _number(right)
        if math.isnan(first) or math.isnan(second):
            return False
        before, same = first < second, first == second
    if same:
        return kind in ("<=", ">=")
    return before is (kind in ("<", "<="))
