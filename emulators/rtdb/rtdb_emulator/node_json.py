"""Nodes from JSON and to JSON. Pure; the clock comes in as an argument.

Rendering hands orjson the nodes themselves and one level at a time, so no copy of the tree is built.
"""

import math
from typing import cast

import orjson

from rtdb_emulator.children import Children, as_dict
from rtdb_emulator.errors import InvalidData, TooBig
from rtdb_emulator.json_text import Json
from rtdb_emulator.paths import MAX_DEPTH, PRIORITY, check_key
from rtdb_emulator.tree import (
    Inner,
    Leaf,
    Node,
    Present,
    Priority,
    Scalar,
    child,
    inner,
    leaf,
    priority_of,
    scalar_of,
)

MAX_STRING_BYTES = 10 * 1024 * 1024
VALUE = ".value"
SERVER_VALUE = ".sv"

_EXACT = 2**53
_INT64 = 2**63


def read_node(data: Json, *, existing: Node, now_ms: int, depth: int = 0) -> Node:
    """The node that `data` describes, server values resolved.

    `existing` is the node it will replace (increments add to it), `depth` the number of keys above it.
    Raises InvalidData, InvalidKey or TooBig.
    """
    return _Reader(now_ms).read(data, existing, depth)


def read_priority(data: Json, *, existing: Node, now_ms: int) -> Priority:
    """The priority that `data` describes. Raises InvalidData."""
    return _Reader(now_ms).priority(data, priority_of(existing))


def export_json(node: Node) -> bytes:
    """Export form: objects only, with `.value` and `.priority` where there is a priority."""
    return orjson.dumps(node, default=_export_level)


def val_json(node: Node) -> bytes:
    """Val form: no priorities, integer-keyed nodes coerced to arrays."""
    return orjson.dumps(node, default=_val_level)


def export_value(node: Node) -> Json:
    """Export form as a JSON value."""
    return cast(Json, orjson.loads(export_json(node)))


def val_value(node: Node) -> Json:
    """Val form as a JSON value."""
    return cast(Json, orjson.loads(val_json(node)))


def encode_export(message: object) -> bytes:
    """A message that contains nodes, which are rendered in export form."""
    return orjson.dumps(message, default=_export_level)


def encode_val(message: object) -> bytes:
    """A message that contains nodes, which are rendered in val form."""
    return orjson.dumps(message, default=_val_level)


def normal_number(value: int | float) -> int | float:
    """One representation per number: integral doubles below 2^53 are ints, ints beyond 64 bits doubles."""
    if isinstance(value, int):
        return value if -_INT64 <= value < _INT64 else float(value)
    if value.is_integer() and -_EXACT < value < _EXACT and not (value == 0 and str(value).startswith("-")):
        return int(value)
    return value


class _Reader:
    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def read(self, data: Json, existing: Node, depth: int) -> Node:
        if data is None or isinstance(data, bool):
            return data
        if isinstance(data, str):
            return _checked_string(data)
        if isinstance(data, int | float):
            return _finite(data)
        if isinstance(data, list):
            data = {str(index): item for index, item in enumerate(data)}
        return self._object(data, existing, depth)

    def priority(self, data: Json, existing: Priority) -> Priority:
        if isinstance(data, dict) and SERVER_VALUE in data:
            value = self._server_value(data, existing)
            return value if not isinstance(value, bool) else None
        if data is None:
            return None
        if isinstance(data, bool) or not isinstance(data, str | int | float):
            raise InvalidData("Invalid data; a priority must be a string, a number or null.")
        return _checked_string(data) if isinstance(data, str) else _finite(data)

    def _object(self, data: dict[str, Json], existing: Node, depth: int) -> Node:
        if SERVER_VALUE in data:
            return self._server_value(data, scalar_of(existing))
        priority = self.priority(data[PRIORITY], priority_of(existing)) if PRIORITY in data else None
        if data.get(VALUE) is not None:
            return self._with_value(data, existing, depth, priority)
        children: dict[str, Present] = {}
        for key, item in data.items():
            if key in (PRIORITY, VALUE):
                continue
            check_key(key)
            if depth >= MAX_DEPTH:
                raise InvalidData(f"Invalid data; nested deeper than {MAX_DEPTH} levels.")
            node = self.read(item, child(existing, key), depth + 1)
            if node is not None:
                children[key] = node
        return inner(children, priority)

    def _with_value(self, data: dict[str, Json], existing: Node, depth: int, priority: Priority) -> Node:
        if len(data) > (2 if PRIORITY in data else 1):
            raise InvalidData("Invalid data; a node with .value cannot have children.")
        node = self.read(data[VALUE], existing, depth)
        if isinstance(node, Inner):
            return Inner(node.children, priority)
        value = scalar_of(node)
        return None if value is None else leaf(value, priority)

    def _server_value(self, data: dict[str, Json], existing: Scalar | None) -> Scalar:
        spec = data[SERVER_VALUE]
        if spec == "timestamp" and isinstance(spec, str):
            return self._now_ms
        if isinstance(spec, dict) and spec.keys() == {"increment"}:
            amount = spec["increment"]
            if isinstance(amount, int | float) and not isinstance(amount, bool):
                return _incremented(existing, amount)
        raise InvalidData('Invalid data; .sv must be "timestamp" or {"increment": <number>}.')


def _incremented(existing: Scalar | None, amount: int | float) -> int | float:
    if isinstance(existing, int | float) and not isinstance(existing, bool):
        total = float(existing) + amount if isinstance(amount, float) else existing + amount
        return _finite(total)
    return _finite(amount)


def _finite(value: int | float) -> int | float:
    """The number as it is stored. JSON has no infinity, so nobody could ever be told of one."""
    number = normal_number(value)
    if not math.isfinite(number):
        raise InvalidData("Invalid data; a number must be finite.")
    return number


def _checked_string(text: str) -> str:
    if len(text) > MAX_STRING_BYTES // 4 and len(text.encode()) > MAX_STRING_BYTES:
        raise TooBig(f"Invalid data; a string can't be longer than {MAX_STRING_BYTES} bytes.")
    return text


def _export_level(node: Inner | Leaf) -> object:
    if isinstance(node, Leaf):
        return {VALUE: node.value, PRIORITY: node.priority}
    below = as_dict(node.children)
    return below if node.priority is None else {PRIORITY: node.priority, **below}


def _val_level(node: Inner | Leaf) -> object:
    if isinstance(node, Leaf):
        return node.value
    array = _as_array(node.children)
    return as_dict(node.children) if array is None else array


def _as_array(children: Children[Present]) -> list[Node] | None:
    """The children as an array when production would show one: only array indices, more than half of them there."""
    highest = -1
    limit = 2 * len(children)
    for key in children:
        if not (key.isascii() and key.isdigit()) or (key[0] == "0" and len(key) > 1):
            return None
        if len(key) > 12 or (index := int(key)) >= limit:
            return None
        highest = max(highest, index)
    return [children.get(str(index)) for index in range(highest + 1)]
