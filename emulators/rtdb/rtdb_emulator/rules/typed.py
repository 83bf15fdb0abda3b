"""What an expression can turn out to be, as far as it is known when rules are uploaded.

A type is a set of possibilities: `auth.x` is everything that JSON has, `a == b` is exactly BOOL.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import Final

from rtdb_emulator.rules.errors import ExpressionError
from rtdb_emulator.rules.snapshot import Snapshot
from rtdb_emulator.rules.values import Json, QuerySpec


class Type(Flag):
    """A set of kinds of values."""

    NULL = auto()
    BOOL = auto()
    NUM = auto()
    STR = auto()
    OBJ = auto()
    SNAP = auto()
    QUERY = auto()


STORED: Final = Type.NULL | Type.BOOL | Type.NUM | Type.STR
CLAIM: Final = STORED | Type.OBJ
NUM_OR_STR: Final = Type.NUM | Type.STR
NULLABLE_STR: Final = Type.NULL | Type.STR
NULLABLE_NUM: Final = Type.NULL | Type.NUM


@dataclass(slots=True)
class Scope:
    """Everything that one evaluation may look at. `consulted` turns true when it looks at more than auth and `$x`."""

    auth: Json
    now: int
    root: Snapshot
    data: Snapshot
    names: dict[str, str]
    new_data: Snapshot | None = None
    query: QuerySpec | None = None
    consulted: bool = field(default=False)


Run = Callable[[Scope], object]


@dataclass(frozen=True, slots=True)
class Typed:
    """A compiled expression: what it can be, and how to compute it."""

    type: Type
    run: Run


def require_boolean(found: Typed, at: int, message: str) -> Run:
    """The expression if it can be nothing but true or false."""
    if found.type is Type.BOOL:
        return found.run
    hint = " Compare with == true." if found.type & Type.BOOL else ""
    raise ExpressionError(at, message + hint)


def require_any(found: Typed, allowed: Type, at: int, message: str) -> Run:
    """The expression if it can be one of `allowed`; what it really is shows at run time."""
    if not found.type & allowed:
        raise ExpressionError(at, message)
    return found.run
