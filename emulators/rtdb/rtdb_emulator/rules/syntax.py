"""The syntax tree of a rule expression. Every node knows the offset that an error about it points at.

`height` bounds the recursion of everything that walks the tree.
"""

from dataclasses import dataclass, field

from rtdb_emulator.rules.values import Scalar


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, a string, true, false or null."""

    at: int
    value: Scalar
    height: int = 1


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression literal: the text between the slashes, and the flags."""

    at: int
    source: str
    flags: str
    height: int = 1


@dataclass(frozen=True, slots=True)
class Name:
    """A variable."""

    at: int
    name: str
    height: int = 1


@dataclass(frozen=True, slots=True)
class ListOf:
    """`[a, b]`, the argument of hasChildren."""

    at: int
    items: "tuple[Expression, ...]"
    height: int = field(init=False)

    def __post_init__(self) -> None:
        _grow(self, *self.items)


@dataclass(frozen=True, slots=True)
class Member:
    """`target.name` (key is None) or `target[key]`."""

    at: int
    target: "Expression"
    name: str
    key: "Expression | None" = None
    height: int = field(init=False)

    def __post_init__(self) -> None:
        _grow(self, self.target, *(() if self.key is None else (self.key,)))


@dataclass(frozen=True, slots=True)
class Call:
    """`target(arguments)`."""

    at: int
    target: "Expression"
    arguments: "tuple[Expression, ...]"
    height: int = field(init=False)

    def __post_init__(self) -> None:
        _grow(self, self.target, *self.arguments)


@dataclass(frozen=True, slots=True)
class Unary:
    """`!x` or `-x`."""

    at: int
    operator: str
    operand: "Expression"
    height: int = field(init=False)

    def __post_init__(self) -> None:
        _grow(self, self.operand)


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands; `===` and `!==` are kept as written."""

    at: int
    operator: str
    left: "Expression"
    right: "Expression"
    height: int = field(init=False)

    def __post_init__(self) -> None:
        _grow(self, self.left, self.right)


@dataclass(frozen=True, slots=True)
class Logical:
    """A whole chain `a && b && c` (or `||`), so that long chains are not deep."""

    at: int
    operator: str
    operands: "tuple[Expression, ...]"
    height: int = field(init=False)

    def __post_init__(self) -> None:
        _grow(self, *self.operands)


@dataclass(frozen=True, slots=True)
class Choice:
    """`condition ? yes : no`."""

    at: int
    condition: "Expression"
    yes: "Expression"
    no: "Expression"
    height: int = field(init=False)

    def __post_init__(self) -> None:
        _grow(self, self.condition, self.yes, self.no)


Branch = ListOf | Member | Call | Unary | Binary | Logical | Choice
Expression = Constant | Pattern | Name | Branch


def _grow(node: Branch, *children: Expression) -> None:
    object.__setattr__(node, "height", 1 + max((child.height for child in children), default=0))


def start(tree: Expression) -> int:
    """The offset of the first character of an expression, parentheses around it not counted."""
    while True:
        match tree:
            case Member() | Call():
                tree = tree.target
            case Binary():
                tree = tree.left
            case Logical():
                tree = tree.operands[0]
            case Choice():
                tree = tree.condition
            case _:
                return tree.at
