"""Who listens where, and what a commit means for each of them. Knows no transport and no rules.

Listens hang in a tree of their own, shaped like the paths. A commit walks only the part of it that it touches.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from rtdb_emulator import wire
from rtdb_emulator.identity import Identity
from rtdb_emulator.json_text import Json
from rtdb_emulator.paths import Path, to_text
from rtdb_emulator.query import Query
from rtdb_emulator.tree import Inner, Node, child, get, inner, keys
from rtdb_emulator.window import OrderedIndex, Window


@dataclass(frozen=True)
class Update:
    """A multi-path update as it was sent: to `path`, with these members."""

    path: Path
    members: Mapping[Path, Node]

    @cached_property
    def by_text(self) -> dict[str, Node]:
        """The members by the keys that the request had."""
        return {to_text(path): node for path, node in self.members.items()}

    def is_seen_from(self, path: Path) -> bool:
        """Whether it was sent to `path` or to a location below it."""
        return self.path[: len(path)] == path


@dataclass(frozen=True)
class Overwrite:
    """The node at `path`, at or below a listen, is now `node`. `update` is the request that it is a part of."""

    path: Path
    node: Node
    update: Update | None = None

    @cached_property
    def message(self) -> bytes:
        """The push to clients, made once for all of them."""
        return wire.overwrite(to_text(self.path), self.node, None)


@dataclass(frozen=True)
class Merge:
    """Several nodes below `path`, which is a listen's, changed at once."""

    path: Path
    members: Mapping[Path, Node]
    update: Update | None = None

    @cached_property
    def message(self) -> bytes:
        """The push to clients, made once for all of them."""
        return wire.merge(to_text(self.path), self.by_text, None)

    @cached_property
    def by_text(self) -> dict[str, Node]:
        """The members by relative path, as text."""
        return {to_text(path): node for path, node in self.members.items()}


class Sink(Protocol):
    """Somebody who listens."""

    @property
    def identity(self) -> Identity: ...

    def changed(self, listen: "Listen", change: Overwrite | Merge, /) -> None:
        """What an unfiltered listen covers has changed."""

    def view_changed(self, listen: "Listen", delta: Mapping[str, Node], /) -> None:
        """What a filtered listen shows has changed: new nodes by key, None for those that left."""

    def revoked(self, listen: "Listen", /) -> None:
        """The listen has been removed, because the rules do not allow it any more."""


@dataclass(eq=False, slots=True)
class Listen:
    """One listen of one sink."""

    sink: Sink
    path: Path
    query: Query | None = None
    tag: int | None = None
    wire_query: Json = None
    volatile: bool = False  # whether the data decides about the permission
    window: Window | None = None


@dataclass(slots=True)
class _View:
    """One ordering of the children of a node, and the listens that use it."""

    index: OrderedIndex
    listens: dict[Listen, None] = field(default_factory=dict)


@dataclass(slots=True)
class _Spot:
    plain: dict[Listen, None] = field(default_factory=dict)
    views: dict[str, _View] = field(default_factory=dict)
    below: dict[str, "_Spot"] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not (self.plain or self.views or self.below)

    def listens(self) -> Iterator[Listen]:
        yield from self.plain
        for view in self.views.values():
            yield from view.listens
        for spot in self.below.values():
            yield from spot.listens()


class Listens:
    """All listens of one namespace."""

    def __init__(self) -> None:
        self._top = _Spot()
        self.volatile: dict[Listen, None] = {}

    def __iter__(self) -> Iterator[Listen]:
        return self._top.listens()

    def add(self, listen: Listen, root: Node) -> Node:
        """Register a listen; the result is what it shows now."""
        spot = self._top
        for key in listen.path:
            spot = spot.below.setdefault(key, _Spot())
        self.mark(listen)
        node = get(root, listen.path)
        if listen.query is None:
            spot.plain[listen] = None
            return node
        view = spot.views.get(listen.query.order_by)
        if view is None:
            view = spot.views[listen.query.order_by] = _View(OrderedIndex(listen.query, node))
        view.listens[listen] = None
        listen.window = Window(listen.query, view.index)
        return inner({key: below for key, below in listen.window.shown.items() if below is not None})

    def mark(self, listen: Listen) -> None:
        """Take note of whether the listen is volatile."""
        if listen.volatile:
            self.volatile[listen] = None
        else:
            self.volatile.pop(listen, None)

    def remove(self, listen: Listen) -> None:
        """Forget a listen; unknown ones are ignored."""
        self.volatile.pop(listen, None)
        trail = [self._top]
        for key in listen.path:
            below = trail[-1].below.get(key)
            if below is None:
                return
            trail.append(below)
        _drop(trail[-1], listen)
        for key, above, spot in zip(reversed(listen.path), reversed(trail[:-1]), reversed(trail[1:])):
            if spot.is_empty:
                del above.below[key]

    def commit(self, touched: tuple[Path, ...], before: Node, after: Node, update_of: Path | None = None) -> None:
        """Tell every listen that the commit concerns what it means for it."""
        update = None
        if update_of is not None:
            update = Update(update_of, {path[len(update_of) :]: get(after, path) for path in touched})
        _Walk(update).visit(self._top, (), (before, after), touched)


class _Walk:
    """One commit on its way down the tree of listens."""

    def __init__(self, update: Update | None) -> None:
        self._update = update
        self._overwrites: dict[Path, Overwrite] = {}

    def visit(self, spot: _Spot, path: Path, nodes: tuple[Node, Node], touched: tuple[Path, ...]) -> None:
        """`touched` is relative to `path`; an empty one means that this node itself was written."""
        before, after = nodes
        if before is after:
            return
        whole = () in touched
        if spot.plain:
            change = self._change(path, nodes, touched)
            for listen in tuple(spot.plain):
                listen.sink.changed(listen, change)
        if spot.views:
            changed = None if whole else {relative[0] for relative in touched}
            _advance_views(spot, nodes, changed)
        heads: Iterable[str] = tuple(spot.below) if whole else dict.fromkeys(way[0] for way in touched)
        for key in heads:
            below = spot.below.get(key)
            if below is not None:
                rest = ((),) if whole else tuple(way[1:] for way in touched if way[0] == key)
                self.visit(below, (*path, key), (child(before, key), child(after, key)), rest)

    def _change(self, path: Path, nodes: tuple[Node, Node], touched: tuple[Path, ...]) -> Overwrite | Merge:
        before, after = nodes
        changed = [way for way in touched if get(before, way) is not get(after, way)]
        if () in touched or not changed:
            return self._overwrite(path, after)
        if len(changed) == 1:
            return self._overwrite((*path, *changed[0]), get(after, changed[0]))
        return Merge(path, {way: get(after, way) for way in changed}, self._update)

    def _overwrite(self, path: Path, node: Node) -> Overwrite:
        change = self._overwrites.get(path)
        if change is None:
            change = self._overwrites[path] = Overwrite(path, node, self._update)
        return change


def _advance_views(spot: _Spot, nodes: tuple[Node, Node], changed: set[str] | None) -> None:
    before, after = nodes
    if changed is None and isinstance(before, Inner) and isinstance(after, Inner):
        changed = {key for key in {*keys(before), *keys(after)} if child(before, key) is not child(after, key)}
    for view in tuple(spot.views.values()):
        view.index.follow(after, changed)
        for listen in tuple(view.listens):
            delta = listen.window.advance(changed) if listen.window is not None else {}
            if delta:
                listen.sink.view_changed(listen, delta)


def _drop(spot: _Spot, listen: Listen) -> None:
    spot.plain.pop(listen, None)
    if listen.query is not None:
        view = spot.views.get(listen.query.order_by)
        if view is not None:
            view.listens.pop(listen, None)
            if not view.listens:
                del spot.views[listen.query.order_by]
