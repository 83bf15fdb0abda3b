"""Turns the tree of an expression into a closure, refusing at upload what can never be right.

The one pass over the tree finds for every part what it can be (`Type`) and how to compute it; run-time errors are
`RuleFailure`. Knows the language, not where a rule stands in a document.
"""

from collections.abc import Callable
from typing import Final, assert_never

from rtdb_emulator.rules import methods
from rtdb_emulator.rules.errors import ExpressionError
from rtdb_emulator.rules.hints import did_you_mean
from rtdb_emulator.rules.operators import arithmetic, choice, equality, logical, negation, order
from rtdb_emulator.rules.pattern import compile_pattern
from rtdb_emulator.rules.syntax import (
    Binary,
    Call,
    Choice,
    Constant,
    Expression,
    ListOf,
    Logical,
    Member,
    Name,
    Pattern,
    Unary,
    start,
)
from rtdb_emulator.rules.typed import CLAIM, NULLABLE_NUM, Run, Scope, Type, Typed, require_any, require_boolean
from rtdb_emulator.rules.values import QuerySpec, Scalar

NO_QUERY: Final = QuerySpec()


class Compiler:
    """Compiles the expressions of one place: `kind` is `.read`, `.write` or `.validate`, `names` the `$x` above it."""

    def __init__(self, kind: str, names: frozenset[str]) -> None:
        self._kind = kind
        self._names = names

    def rule(self, tree: Expression) -> Callable[[Scope], bool]:
        """The whole rule, which must be boolean."""
        run = require_boolean(self._compile(tree), start(tree), "A rule must be a boolean expression.")
        return lambda scope: run(scope) is True

    def _compile(self, tree: Expression) -> Typed:
        match tree:
            case Constant():
                return _constant(tree.value)
            case Name():
                return self._variable(tree)
            case Member():
                return self._member(tree)
            case Call():
                return self._call(tree)
            case Pattern():
                raise ExpressionError(tree.at, "A regular expression is only allowed as the argument of matches().")
            case ListOf():
                raise ExpressionError(tree.at, "An array is only allowed as the argument of hasChildren().")
            case Unary() | Binary() | Logical() | Choice():
                return self._operator(tree)
            case _:
                assert_never(tree)

    def _operator(self, tree: Unary | Binary | Logical | Choice) -> Typed:
        match tree:
            case Unary():
                return negation(tree, self._compile(tree.operand))
            case Logical():
                return logical(tree, [self._compile(operand) for operand in tree.operands])
            case Choice():
                condition = self._compile(tree.condition)
                return choice(tree, condition, self._compile(tree.yes), self._compile(tree.no))
        left, right = self._compile(tree.left), self._compile(tree.right)
        if tree.operator in ("==", "===", "!=", "!=="):
            _check_ordering(tree)
            return equality(tree, left, right)
        if tree.operator in ("<", "<=", ">", ">="):
            return order(tree, left, right)
        return arithmetic(tree, left, right)

    def _variable(self, tree: Name) -> Typed:
        name = tree.name
        if name in self._names:
            return Typed(Type.STR, lambda scope: scope.names[name])
        if name == "newData" and self._kind == ".read":
            raise ExpressionError(tree.at, "Unknown variable 'newData': a .read rule has no new data.")
        if name == "query" and self._kind != ".read":
            raise ExpressionError(tree.at, f"Unknown variable 'query': a {self._kind} rule has no query.")
        if name not in _VARIABLES:
            hint = did_you_mean(name, (*_VARIABLES, *self._names))
            raise ExpressionError(tree.at, f"Unknown variable '{name}'.{hint}")
        return _VARIABLES[name]

    def _member(self, tree: Member) -> Typed:
        target = self._compile(tree.target)
        if target.type is Type.QUERY:
            return _query_property(tree, target.run)
        if Type.OBJ in target.type:
            return self._claim(tree, target.run)
        _check_subscript(tree, target.type)
        if Type.STR in target.type and Type.SNAP not in target.type:
            if tree.name == "length":
                result = Type.NUM if target.type is Type.STR else NULLABLE_NUM
                return Typed(result, lambda scope: methods.property_of(target.run(scope), "length"))
            if tree.name in methods.STRING_METHODS or tree.name == "matches":
                raise ExpressionError(tree.at, f"'{tree.name}' is a method, it must be called.")
        if target.type is Type.SNAP and (tree.name in methods.SNAPSHOT_METHODS or tree.name == "hasChildren"):
            raise ExpressionError(tree.at, f"'{tree.name}' is a method, it must be called.")
        raise _no_such(tree, target.type)

    def _claim(self, tree: Member, target: Run) -> Typed:
        """A property of `auth` or of what is below it; nobody knows at upload what that will be."""
        name = tree.name
        if tree.key is None or isinstance(tree.key, Constant):
            if tree.key is not None and not isinstance(tree.key.value, str):
                raise ExpressionError(tree.at, "Invalid property access: the name is not a string.")
            return Typed(CLAIM, lambda scope: methods.property_of(target(scope), name))
        key = self._string(tree.key, "Invalid property access: the name is not a string.")
        return Typed(CLAIM, lambda scope: methods.computed_property(target(scope), key(scope)))

    def _call(self, tree: Call) -> Typed:
        method = tree.target
        if not isinstance(method, Member):
            raise ExpressionError(tree.at, "Only methods can be called.")
        receiver = self._compile(method.target)
        _check_subscript(method, receiver.type)
        if receiver.type is Type.SNAP:
            return self._snapshot_call(method, receiver.run, tree.arguments)
        if not receiver.type & Type.STR or receiver.type & Type.SNAP:
            raise _no_such(method, receiver.type)
        return self._string_call(method, receiver.run, tree.arguments)

    def _snapshot_call(self, method: Member, receiver: Run, arguments: tuple[Expression, ...]) -> Typed:
        if method.name == "hasChildren":
            return Typed(Type.BOOL, self._has_children(method, receiver, arguments))
        if method.name not in methods.SNAPSHOT_METHODS:
            raise _no_such(method, Type.SNAP)
        return self._plain_call(methods.SNAPSHOT_METHODS[method.name], method, receiver, arguments)

    def _string_call(self, method: Member, receiver: Run, arguments: tuple[Expression, ...]) -> Typed:
        if method.name == "matches":
            _check_count(method, 1, arguments)
            (pattern,) = arguments
            if not isinstance(pattern, Pattern):
                raise ExpressionError(start(pattern), "matches() needs a regular expression, such as /^[a-z]+$/.")
            return Typed(Type.BOOL, methods.matches(receiver, compile_pattern(pattern)))
        if method.name not in methods.STRING_METHODS:
            raise _no_such(method, Type.STR)
        return self._plain_call(methods.STRING_METHODS[method.name], method, receiver, arguments)

    def _plain_call(
        self, found: methods.Method, method: Member, receiver: Run, arguments: tuple[Expression, ...]
    ) -> Typed:
        _check_count(method, found.parameters, arguments)
        message = f"{method.name}() needs a string."
        compiled = tuple(self._string(argument, message) for argument in arguments)
        return Typed(found.result, found.build(method.name, receiver, compiled))

    def _has_children(self, method: Member, receiver: Run, arguments: tuple[Expression, ...]) -> Run:
        if not arguments:
            return methods.has_children(receiver)
        _check_count(method, 1, arguments)
        (keys,) = arguments
        if not isinstance(keys, ListOf):
            raise ExpressionError(start(keys), "hasChildren() needs an array of strings, such as ['name', 'age'].")
        if not keys.items:
            raise ExpressionError(keys.at, "hasChildren() needs at least one string in its array.")
        message = "hasChildren() needs an array of strings."
        return methods.has_all_children(receiver, tuple(self._string(key, message) for key in keys.items))

    def _string(self, tree: Expression, message: str) -> Run:
        return require_any(self._compile(tree), Type.STR, start(tree), message)


def _constant(value: Scalar) -> Typed:
    if value is None:
        return Typed(Type.NULL, lambda _scope: None)
    if isinstance(value, bool):
        return Typed(Type.BOOL, lambda _scope: value)
    return Typed(Type.STR if isinstance(value, str) else Type.NUM, lambda _scope: value)


def _now(scope: Scope) -> object:
    scope.consulted = True
    return scope.now


def _root(scope: Scope) -> object:
    scope.consulted = True
    return scope.root


def _data(scope: Scope) -> object:
    scope.consulted = True
    return scope.data


def _query(scope: Scope) -> object:
    scope.consulted = True
    return scope.query or NO_QUERY


_VARIABLES: Final = {
    "auth": Typed(CLAIM, lambda scope: scope.auth),
    "now": Typed(Type.NUM, _now),
    "root": Typed(Type.SNAP, _root),
    "data": Typed(Type.SNAP, _data),
    "newData": Typed(Type.SNAP, lambda scope: scope.new_data),
    "query": Typed(Type.QUERY, _query),
}


def _query_property(tree: Member, query: Run) -> Typed:
    if tree.name not in methods.QUERY_PROPERTIES:
        raise _no_such(tree, Type.QUERY)
    kind, read = methods.QUERY_PROPERTIES[tree.name]

    def run(scope: Scope) -> object:
        found = query(scope)
        return read(found) if isinstance(found, QuerySpec) else None

    return Typed(kind, run)


def _check_subscript(tree: Member, target: Type) -> None:
    """Only strings, snapshots and claims have subscripts, and only a claim one that is computed."""
    if tree.key is None:
        return
    literal = isinstance(tree.key, Constant) and isinstance(tree.key.value, str)
    if not literal or not (target is Type.STR or target is Type.SNAP or Type.OBJ in target):
        raise ExpressionError(tree.at, "Invalid property access.")


def _check_ordering(tree: Binary) -> None:
    """`query.orderByChild` compares with literals only (firebase-tools issue 944)."""
    for side, this, other in (("right", tree.left, tree.right), ("left", tree.right, tree.left)):
        if _is_ordering(this) and not (_is_ordering(other) or isinstance(other, Constant)):
            message = f"{side} operand must be an ordering or string literal when comparing against an ordering."
            raise ExpressionError(start(other), f"Invalid {tree.operator} expression: {message}")


def _is_ordering(tree: Expression) -> bool:
    return (
        isinstance(tree, Member)
        and tree.name == "orderByChild"
        and isinstance(tree.target, Name)
        and tree.target.name == "query"
    )


def _check_count(method: Member, wanted: int, arguments: tuple[Expression, ...]) -> None:
    if len(arguments) != wanted:
        counted = f"{wanted} argument{'' if wanted == 1 else 's'}"
        raise ExpressionError(method.at, f"{method.name}() takes {counted}, not {len(arguments)}.")


def _no_such(tree: Member, target: Type) -> ExpressionError:
    known: tuple[str, ...] = ()
    if target is Type.SNAP:
        known = (*methods.SNAPSHOT_METHODS, "hasChildren")
    elif target is Type.QUERY:
        known = tuple(methods.QUERY_PROPERTIES)
    elif target & Type.STR:
        known = (*methods.STRING_METHODS, "matches", "length")
    return ExpressionError(tree.at, f"No such method/property '{tree.name}'.{did_you_mean(tree.name, known)}")
