"""Filtered views that follow a changing node without sorting it again. Pure; knows no listeners.

`OrderedIndex` is shared by all views of one node and ordering; `Window` is what one query shows of it.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping

from rtdb_emulator.query import Place, Query
from rtdb_emulator.tree import Node, child, keys


class OrderedIndex:
    """The children of one node in one order, updated child by child."""

    def __init__(self, query: Query, node: Node) -> None:
        self._query = query
        self.node = node
        self.places = self._sorted(node)

    def follow(self, node: Node, changed: Iterable[str] | None) -> None:
        """Move on to `node`; `changed` names the children that may differ (None: any)."""
        if changed is None:
            self.places = self._sorted(node)
        else:
            for key in changed:
                self._replace(key, child(self.node, key), child(node, key))
        self.node = node

    def _sorted(self, node: Node) -> list[tuple[Place, str]]:
        return sorted((self._query.place(key, child(node, key)), key) for key in keys(node))

    def _replace(self, key: str, old: Node, new: Node) -> None:
        if old is not None:
            del self.places[bisect_left(self.places, (self._query.place(key, old), key))]
        if new is not None:
            insort(self.places, (self._query.place(key, new), key))


class Window:
    """The children that one query keeps, and how they change."""

    def __init__(self, query: Query, index: OrderedIndex) -> None:
        self._query = query
        self._index = index
        self.shown: dict[str, Node] = self._visible()

    def advance(self, changed: Iterable[str] | None) -> Mapping[str, Node]:
        """After the index has moved on: each child whose visible value changed, None for one that left."""
        if changed is not None and self._query.limit is None:
            candidates: Iterable[str] = changed
            after: Mapping[str, Node] = {key: self._visible_child(key) for key in changed}
        else:
            after = self._visible()
            candidates = self.shown.keys() | after.keys()
        delta = {key: after.get(key) for key in candidates if after.get(key) is not self.shown.get(key)}
        for key, node in delta.items():
            if node is None:
                self.shown.pop(key, None)
            else:
                self.shown[key] = node
        return delta

    def _visible(self) -> dict[str, Node]:
        first, last = self._query.span(self._index.places)
        return {key: child(self._index.node, key) for _, key in self._index.places[first:last]}

    def _visible_child(self, key: str) -> Node:
        node = child(self._index.node, key)
        return node if node is not None and self._query.within(self._query.place(key, node)) else None
