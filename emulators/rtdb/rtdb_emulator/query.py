"""Queries: ordering, bounds and limits over the children of one node. Pure.

A query keeps the children whose (index value, key) lies between two such pairs, then the first or last few of them.
"""

import heapq
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Final, TypeAlias

from rtdb_emulator.children import Wide
from rtdb_emulator.errors import InvalidQuery
from rtdb_emulator.json_text import Json
from rtdb_emulator.ordering import MAX_NAME, MIN_NAME, KeyOrder, ValueOrder, key_order, value_order
from rtdb_emulator.paths import Path, key_problem, parse_path, to_text
from rtdb_emulator.tree import Inner, Node, Scalar, get, priority_of

BY_KEY: Final = "$key"
BY_VALUE: Final = "$value"
BY_PRIORITY: Final = "$priority"

Place: TypeAlias = tuple[ValueOrder, KeyOrder]
"""Where a child stands in an ordering; unique per child. The same type as `children.Place`."""

_NO_VALUE: ValueOrder = (0, 0.0, b"")
_WIRE_INDEX = {".key": BY_KEY, ".value": BY_VALUE, ".priority": BY_PRIORITY}


@dataclass(frozen=True, slots=True)
class Bound:
    """One end: an index value, a key that breaks ties (None: the extreme one), and whether it belongs to the range."""

    value: Scalar | None
    key: str | None = None
    inclusive: bool = True


@dataclass(frozen=True, slots=True)
class Query:
    """What to keep, in which order. `order_by` is `$key`, `$value`, `$priority` or a child path."""

    order_by: str = BY_PRIORITY
    start: Bound | None = None
    end: Bound | None = None
    limit: int | None = None
    from_left: bool = True

    def place(self, key: str, node: Node) -> Place:
        """Where the child `key` stands."""
        if self.order_by == BY_KEY:
            return _place_of_key(key)
        return (value_order(self._index_value(node)), key_order(key))

    def within(self, place: Place) -> bool:
        """Whether a child at `place` satisfies both bounds."""
        return self._after_start(place) and self._before_end(place)

    def select(self, node: Node) -> dict[str, Node]:
        """The children of `node` that the query keeps, in order."""
        if not isinstance(node, Inner):
            return {}
        if self.order_by == BY_KEY and isinstance(node.children, Wide):
            places = node.children.ordered(_place_of_key)
            first, last = self.span(places)
            return {key: node.children.get(key) for _, key in places[first:last]}
        placed = ((self.place(key, below), key) for key, below in node.children.items())
        kept = [entry for entry in placed if self.within(entry[0])]
        return {key: node.children.get(key) for _, key in self._limited(kept)}

    def span(self, places: list[tuple[Place, str]]) -> tuple[int, int]:
        """The slice of `places`, which is sorted, that the query keeps."""
        first, last = 0, len(places)
        if self.start is not None:
            side = bisect_left if self.start.inclusive else bisect_right
            first = side(places, self._edge(self.start, MIN_NAME), key=_place_of)
        if self.end is not None:
            side = bisect_right if self.end.inclusive else bisect_left
            last = side(places, self._edge(self.end, MAX_NAME), key=_place_of)
        last = max(first, last)
        if self.limit is None:
            return first, last
        return (first, min(last, first + self.limit)) if self.from_left else (max(first, last - self.limit), last)

    def _limited(self, kept: list[tuple[Place, str]]) -> list[tuple[Place, str]]:
        if self.limit is None:
            return sorted(kept)
        if self.from_left:
            return heapq.nsmallest(self.limit, kept)
        return heapq.nlargest(self.limit, kept)[::-1]

    def _index_value(self, node: Node) -> Node:
        if self.order_by == BY_PRIORITY:
            return priority_of(node)
        return node if self.order_by == BY_VALUE else get(node, _child_path(self.order_by))

    def _after_start(self, place: Place) -> bool:
        if self.start is None:
            return True
        edge = self._edge(self.start, MIN_NAME)
        return place >= edge if self.start.inclusive else place > edge

    def _before_end(self, place: Place) -> bool:
        if self.end is None:
            return True
        edge = self._edge(self.end, MAX_NAME)
        return place <= edge if self.end.inclusive else place < edge

    def _edge(self, bound: Bound, extreme: str) -> Place:
        if self.order_by == BY_KEY:
            return (_NO_VALUE, key_order(_as_key(bound.value, extreme)))
        return (value_order(bound.value), key_order(extreme if bound.key is None else bound.key))


def check_bounds(query: Query) -> Query:
    """The query itself. Raises InvalidQuery when a bound does not fit the index."""
    for bound in (query.start, query.end):
        if bound is None:
            continue
        if query.order_by == BY_KEY and not (bound.value is None or _may_bound_keys(bound.value)):
            raise InvalidQuery("When ordering by key, a bound must be a valid key")
        if bound.key is not None and not _may_bound_keys(bound.key):
            raise InvalidQuery("The key of a bound must be a valid key")
    return query


def _may_bound_keys(value: Scalar) -> bool:
    return isinstance(value, str) and (value in ("", MIN_NAME, MAX_NAME) or key_problem(value) is None)


def index_needed(query: Query) -> str | None:
    """The `.indexOn` entry that this ordering needs, or None."""
    if query.order_by in (BY_KEY, BY_PRIORITY):
        return None
    return ".value" if query.order_by == BY_VALUE else query.order_by


def from_wire(spec: Json) -> Query | None:
    """Read the query object of a WebSocket message; None when it constrains nothing. Raises InvalidQuery."""
    if spec is None or spec == {}:
        return None
    if not isinstance(spec, dict):
        raise InvalidQuery("a query must be an object")
    start = _wire_bound(spec, "sp", "sn", "sin")
    order_by = _wire_index(spec.get("i"))
    limit = spec.get("l")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit <= 0):
        raise InvalidQuery("a limit must be a positive integer")
    view = spec.get("vf")
    from_left = view == "l" if view is not None else start is not None
    return check_bounds(Query(order_by, start, _wire_bound(spec, "ep", "en", "ein"), limit, from_left))


def _wire_index(index: Json) -> str:
    if index is None:
        return BY_PRIORITY
    if not isinstance(index, str):
        raise InvalidQuery("an index must be a string")
    return _WIRE_INDEX.get(index) or child_index(index)


def child_index(text: str) -> str:
    """A child path to order by, normalised. Raises InvalidQuery."""
    path = parse_path(text)
    if not path:
        raise InvalidQuery("orderBy must be a valid JSON encoded path")
    return to_text(path)


def _wire_bound(spec: dict[str, Json], value: str, key: str, inclusive: str) -> Bound | None:
    if value not in spec:
        return None
    bound, name = spec[value], spec.get(key)
    if isinstance(bound, dict | list) or not isinstance(name, str | None):
        raise InvalidQuery("Constraint index field must be a JSON primitive")
    return Bound(bound, name, spec.get(inclusive) is not False)


def _place_of(entry: tuple[Place, str]) -> Place:
    return entry[0]


def _place_of_key(key: str) -> Place:
    return (_NO_VALUE, key_order(key))


def _child_path(order_by: str) -> Path:
    return tuple(order_by.split("/"))


def _as_key(value: Scalar | None, extreme: str) -> str:
    if value is None:
        return extreme
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)
