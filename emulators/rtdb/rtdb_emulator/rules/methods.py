"""The properties and methods of snapshots, strings and queries: arguments, results, and what they do.

Knows nothing of syntax: `compiler` asks for a name and gets a builder for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rtdb_emulator.rules.errors import RuleFailure
from rtdb_emulator.rules.snapshot import Snapshot
from rtdb_emulator.rules.typed import NULLABLE_NUM, NULLABLE_STR, STORED, Run, Scope, Type
from rtdb_emulator.rules.values import QuerySpec, Scalar, describe, replaced, utf16_length


@dataclass(frozen=True, slots=True)
class Method:
    """A method with string parameters only; `build` gets the receiver and the arguments."""

    parameters: int
    result: Type
    build: Callable[[str, Run, tuple[Run, ...]], Run]


def snapshot_of(value: object) -> Snapshot:
    """The snapshot; static typing has seen to it that it is one."""
    if not isinstance(value, Snapshot):
        raise RuleFailure(f"{describe(value)} is not a snapshot")
    return value


def string_of(value: object, method: str) -> str:
    """The string that `method` is called on or with; fails on anything else."""
    if not isinstance(value, str):
        raise RuleFailure(f"{method}() needs strings, not {describe(value)}")
    return value


def _snapshot_method(result: Type, act: Callable[[Snapshot], object]) -> Method:
    def build(_name: str, receiver: Run, _arguments: tuple[Run, ...]) -> Run:
        return lambda scope: act(snapshot_of(receiver(scope)))

    return Method(0, result, build)


def _path_method(result: Type, act: Callable[[Snapshot, str], object]) -> Method:
    def build(name: str, receiver: Run, arguments: tuple[Run, ...]) -> Run:
        (path,) = arguments
        return lambda scope: act(snapshot_of(receiver(scope)), string_of(path(scope), name))

    return Method(1, result, build)


def _string_method(result: Type, act: Callable[[str], object]) -> Method:
    def build(name: str, receiver: Run, _arguments: tuple[Run, ...]) -> Run:
        return lambda scope: act(string_of(receiver(scope), name))

    return Method(0, result, build)


def _search_method(act: Callable[[str, str], bool]) -> Method:
    def build(name: str, receiver: Run, arguments: tuple[Run, ...]) -> Run:
        (other,) = arguments
        return lambda scope: act(string_of(receiver(scope), name), string_of(other(scope), name))

    return Method(1, Type.BOOL, build)


def _replace(name: str, receiver: Run, arguments: tuple[Run, ...]) -> Run:
    old, new = arguments

    def run(scope: Scope) -> object:
        text = string_of(receiver(scope), name)
        return replaced(text, string_of(old(scope), name), string_of(new(scope), name))

    return run


SNAPSHOT_METHODS: Final = {
    "val": _snapshot_method(STORED, Snapshot.val),
    "child": _path_method(Type.SNAP, Snapshot.child),
    "parent": _snapshot_method(Type.SNAP, Snapshot.parent),
    "hasChild": _path_method(Type.BOOL, lambda place, path: place.child(path).exists()),
    "exists": _snapshot_method(Type.BOOL, Snapshot.exists),
    "getPriority": _snapshot_method(Type.NULL | Type.NUM | Type.STR, Snapshot.priority),
    "isNumber": _snapshot_method(Type.BOOL, lambda place: type(place.val()) in (int, float)),
    "isString": _snapshot_method(Type.BOOL, lambda place: type(place.val()) is str),
    "isBoolean": _snapshot_method(Type.BOOL, lambda place: type(place.val()) is bool),
}

STRING_METHODS: Final = {
    "contains": _search_method(lambda text, part: part in text),
    "beginsWith": _search_method(str.startswith),
    "endsWith": _search_method(str.endswith),
    "replace": Method(2, Type.STR, _replace),
    "toLowerCase": _string_method(Type.STR, str.lower),
    "toUpperCase": _string_method(Type.STR, str.upper),
}


def has_children(place: Run) -> Run:
    """`hasChildren()`."""
    return lambda scope: snapshot_of(place(scope)).has_children()


def has_all_children(place: Run, paths: tuple[Run, ...]) -> Run:
    """`hasChildren([...])`. Every path is computed, so that a bad one fails whatever the others say."""

    def run(scope: Scope) -> object:
        here = snapshot_of(place(scope))
        wanted = [string_of(path(scope), "hasChildren") for path in paths]
        return all(here.child(path).exists() for path in wanted)

    return run


def matches(receiver: Run, search: Callable[[str], bool]) -> Run:
    """`matches(/re/)`."""
    return lambda scope: search(string_of(receiver(scope), "matches"))


def property_of(value: object, name: str) -> object:
    """A property of a claim or a string. What is not there is null, also on null."""
    if isinstance(value, dict):
        return value.get(name)
    if isinstance(value, str) and name == "length":
        return utf16_length(value)
    if isinstance(value, list) and name.isascii() and name.isdecimal() and int(name) < len(value):
        return value[int(name)]
    return None


def computed_property(value: object, name: object) -> object:
    """`value[name]` with a name that is only known now; fails if it is no string."""
    if not isinstance(name, str):
        raise RuleFailure(f"{describe(name)} is not the name of a property")
    return property_of(value, name)


def _child_order(query: QuerySpec) -> str | None:
    return None if query.order_by.startswith("$") else query.order_by


QUERY_PROPERTIES: Final[dict[str, tuple[Type, Callable[[QuerySpec], Scalar]]]] = {
    "orderByKey": (Type.BOOL, lambda query: query.order_by == "$key"),
    "orderByValue": (Type.BOOL, lambda query: query.order_by == "$value"),
    "orderByPriority": (Type.BOOL, lambda query: query.order_by == "$priority"),
    "orderByChild": (NULLABLE_STR, _child_order),
    "startAt": (STORED, lambda query: query.start_at),
    "endAt": (STORED, lambda query: query.end_at),
    "equalTo": (STORED, lambda query: query.equal_to),
    "limitToFirst": (NULLABLE_NUM, lambda query: query.limit_to_first),
    "limitToLast": (NULLABLE_NUM, lambda query: query.limit_to_last),
}
