"""The operators: what they accept at upload, and what they do at run time.

Lazy operators evaluate no more than they need, so an error behind `true ||` does no harm.
"""

from collections.abc import Callable
from typing import Final

from rtdb_emulator.rules.errors import ExpressionError
from rtdb_emulator.rules.syntax import Binary, Choice, Constant, Logical, Unary, start
from rtdb_emulator.rules.typed import NUM_OR_STR, Run, Scope, Type, Typed, require_any, require_boolean
from rtdb_emulator.rules.values import add, compare, divide, equal, number, remainder

_COMPARABLE: Final = Type.NULL | Type.BOOL | Type.NUM | Type.STR | Type.OBJ
_ORDERS: Final[dict[str, frozenset[int]]] = {
    "<": frozenset({-1}),
    "<=": frozenset({-1, 0}),
    ">": frozenset({1}),
    ">=": frozenset({0, 1}),
}
_ARITHMETIC: Final[dict[str, Callable[[object, object], float]]] = {
    "-": lambda left, right: number(left) - number(right),
    "*": lambda left, right: number(left) * number(right),
    "/": divide,
    "%": remainder,
}


def negation(tree: Unary, operand: Typed) -> Typed:
    """`!x` on a boolean, `-x` on a number."""
    if tree.operator == "!":
        truth = require_boolean(operand, tree.at, "! only operates on booleans.")
        return Typed(Type.BOOL, lambda scope: not truth(scope))
    value = require_any(operand, Type.NUM, tree.at, "- only operates on numbers.")
    return Typed(Type.NUM, lambda scope: -number(value(scope)))


def logical(tree: Logical, operands: list[Typed]) -> Typed:
    """`&&` and `||`, from left to right, as far as needed."""
    runs = []
    for index, (operand, source) in enumerate(zip(operands, tree.operands, strict=True)):
        side = "Right" if index else "Left"
        runs.append(require_boolean(operand, start(source), f"{side} operand of {tree.operator} must be boolean."))
    if len(runs) == 2:
        first, second = runs
        if tree.operator == "&&":
            return Typed(Type.BOOL, lambda scope: first(scope) and second(scope))
        return Typed(Type.BOOL, lambda scope: first(scope) or second(scope))
    return Typed(Type.BOOL, _chain(tuple(runs), stop_at=tree.operator == "||"))


def _chain(runs: tuple[Run, ...], *, stop_at: bool) -> Run:
    def run(scope: Scope) -> object:
        for operand in runs:
            if operand(scope) is stop_at:
                return stop_at
        return not stop_at

    return run


def choice(tree: Choice, condition: Typed, yes: Typed, no: Typed) -> Typed:
    """`c ? a : b`; what it can be is what either branch can be."""
    test = require_boolean(condition, start(tree.condition), "The condition of ?: must be boolean.")
    first, second = yes.run, no.run
    return Typed(yes.type | no.type, lambda scope: first(scope) if test(scope) else second(scope))


def equality(tree: Binary, left: Typed, right: Typed) -> Typed:
    """`==`, `!=` and their three-character spellings, which mean the same."""
    for side, operand, source in (("left", left, tree.left), ("right", right, tree.right)):
        if operand.type & ~_COMPARABLE:
            message = f"{side} operand is not a number, boolean, string, or null."
            raise ExpressionError(start(source), f"Invalid {tree.operator} expression: {message}")
    same = _same(tree, left.run, right.run)
    if tree.operator in ("==", "==="):
        return Typed(Type.BOOL, same)
    return Typed(Type.BOOL, lambda scope: not same(scope))


def _same(tree: Binary, left: Run, right: Run) -> Run:
    if isinstance(tree.left, Constant) and not isinstance(tree.right, Constant):
        left, right = right, left
        constant: object = tree.left.value
    elif isinstance(tree.right, Constant):
        constant = tree.right.value
    else:
        return lambda scope: equal(left(scope), right(scope))
    # The usual cases without a call: null, true and false are single objects, a string equals strings only.
    if constant is None or isinstance(constant, bool):
        return lambda scope: left(scope) is constant
    if isinstance(constant, str):
        return lambda scope: left(scope) == constant
    return lambda scope: equal(left(scope), constant)


def order(tree: Binary, left: Typed, right: Typed) -> Typed:
    """`<`, `<=`, `>`, `>=` on two numbers or two strings."""
    first = require_any(left, NUM_OR_STR, start(tree.left), _not_accepted(tree, "left", "number or string"))
    second = require_any(right, NUM_OR_STR, start(tree.right), _not_accepted(tree, "right", "number or string"))
    if not left.type & right.type & NUM_OR_STR:
        message = f"Invalid {tree.operator} expression: left and right operands have different types."
        raise ExpressionError(tree.at, message)
    accepted = _ORDERS[tree.operator]
    return Typed(Type.BOOL, lambda scope: compare(first(scope), second(scope)) in accepted)


def arithmetic(tree: Binary, left: Typed, right: Typed) -> Typed:
    """`+ - * / %`; only `+` takes strings."""
    allowed, word = (NUM_OR_STR, "number or string") if tree.operator == "+" else (Type.NUM, "number")
    first = require_any(left, allowed, start(tree.left), _not_accepted(tree, "left", word))
    second = require_any(right, allowed, start(tree.right), _not_accepted(tree, "right", word))
    if tree.operator == "+":
        return Typed(_sum_type(left.type, right.type), lambda scope: add(first(scope), second(scope)))
    act = _ARITHMETIC[tree.operator]
    return Typed(Type.NUM, lambda scope: act(first(scope), second(scope)))


def _sum_type(left: Type, right: Type) -> Type:
    if Type.STR in (left, right):
        return Type.STR
    return Type.NUM if left is right is Type.NUM else NUM_OR_STR


def _not_accepted(tree: Binary, side: str, word: str) -> str:
    return f"Invalid {tree.operator} expression: {side} operand is not a {word}."
