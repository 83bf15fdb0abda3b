"""The values that rules compute with, and the scalar arithmetic of JavaScript as far as the language has it.

A value is None, bool, int, float, str, a `Snapshot`, a `QuerySpec`, parsed JSON (inside `auth`) or `INNER`.
Numbers are IEEE doubles whatever Python type carries them. Knows no expressions and no rules.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Protocol

from rtdb_emulator.rules.errors import RuleFailure

Scalar = None | bool | int | float | str
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

EXACT_INTEGERS: Final = 2**53
# Above three times the largest string that can be stored; what grows beyond is an attack or a mistake.
LONGEST_STRING: Final = 2**25


class Node(Protocol):
    """What rules need to know of a tree. An empty database is an empty node."""

    def child(self, key: str) -> "Node | None":
        """The child, or None (or an empty node) if there is none."""

    def keys(self) -> Iterable[str]:
        """The keys of the non-empty children."""

    @property
    def value(self) -> Scalar:
        """The scalar of a leaf, None for inner and empty nodes."""

    @property
    def priority(self) -> int | float | str | None:
        """The priority, None if it has none."""

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a scalar nor a child."""


@dataclass(frozen=True, slots=True)
class QuerySpec:
    """The constraints of a read. `order_by` is `$key`, `$value`, `$priority` or a child path."""

    order_by: str = "$key"
    start_at: Scalar = None
    end_at: Scalar = None
    equal_to: Scalar = None
    limit_to_first: int | None = None
    limit_to_last: int | None = None


class Inner:
    """What `val()` gives for a node with children: good for comparing with null, equal to nothing."""


INNER: Final = Inner()


def is_number(value: object) -> bool:
    """Whether `value` is a number; in Python a bool is an int, in the rules it is not."""
    kind = type(value)
    return kind is int or kind is float


def equal(left: object, right: object) -> bool:
    """Strict equality of scalars, without any coercion; an object equals nothing."""
    kind = type(left)
    if kind is type(right):
        return left == right if kind in _SCALAR_KINDS else False
    return is_number(left) and is_number(right) and left == right


_SCALAR_KINDS: Final = frozenset({type(None), bool, int, float, str})


def compare(left: object, right: object) -> int | None:
    """-1, 0 or 1; None if one side is NaN. Fails unless both are numbers or both are strings."""
    if isinstance(left, str) and isinstance(right, str):
        first, second = sort_key(left), sort_key(right)
        return (first > second) - (first < second)
    a, b = number(left), number(right)
    if a != a or b != b:
        return None
    return (a > b) - (a < b)


def sort_key(text: str) -> bytes:
    """Orders strings by UTF-16 code units, as JavaScript does."""
    return text.encode("utf-16-be", "surrogatepass")


def utf16_length(text: str) -> int:
    """The number of UTF-16 code units."""
    if text.isascii():
        return len(text)
    return len(text) + sum(char > "\uffff" for char in text)


def join_surrogates(text: str) -> str:
    """The same text with surrogate pairs made whole; lone surrogates stay."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def number(value: object) -> float:
    """The double that `value` is; fails on everything that is not a number."""
    if type(value) is float:
        return value
    if type(value) is int:
        return _to_double(value)
    raise RuleFailure(f"{describe(value)} is not a number")


def _to_double(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def add(left: object, right: object) -> float | str:
    """Sum of numbers; concatenation if one side is a string and the other a string or a number."""
    if isinstance(left, str):
        return _joined(left, _text(right))
    if isinstance(right, str):
        return _joined(_text(left), right)
    return number(left) + number(right)


def _joined(left: str, right: str) -> str:
    _check_length(len(left) + len(right))
    return left + right


def replaced(text: str, old: str, new: str) -> str:
    """`text` with `new` in place of every `old`."""
    _check_length(len(text) + text.count(old) * (len(new) - len(old)))
    return text.replace(old, new)


def _check_length(length: int) -> None:
    if length > LONGEST_STRING:
        raise RuleFailure("the string grows too long")


def _text(value: object) -> str:
    return value if isinstance(value, str) else number_text(number(value))


def divide(left: object, right: object) -> float:
    """Quotient; anything divided by zero is NaN, as recorded from the service (JavaScript says Infinity)."""
    dividend, divisor = number(left), number(right)
    return dividend / divisor if divisor else math.nan


def remainder(left: object, right: object) -> float:
    """Remainder with the sign of the dividend, as in JavaScript."""
    dividend, divisor = number(left), number(right)
    if not divisor or math.isinf(dividend):
        return math.nan
    return math.fmod(dividend, divisor)


def number_text(value: float) -> str:
    """A number as JavaScript prints it: shortest digits that round-trip, exponent outside 1e-7 to 1e21.

    ECMA-262, Number::toString.
    """
    if value != value:
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == int(value) and abs(value) < EXACT_INTEGERS:
        return str(int(value))
    sign, digit_tuple, exponent = Decimal(repr(value)).as_tuple()
    digits = "".join(map(str, digit_tuple)).rstrip("0")
    point = len(digit_tuple) + int(exponent)
    return ("-" if sign else "") + _place_point(digits, point)


def _place_point(digits: str, point: int) -> str:
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    mantissa = digits if len(digits) == 1 else digits[0] + "." + digits[1:]
    return f"{mantissa}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def describe(value: object) -> str:
    """A value in the words of an error text; long strings are cut."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:40] + "…")
    if isinstance(value, int | float):
        return number_text(number(value))
    return "an object"
