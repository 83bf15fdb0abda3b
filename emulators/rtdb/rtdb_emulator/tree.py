"""The tree of a database: immutable nodes with structural sharing. Knows no JSON, no clients, no files.

A node is None (empty), a bare scalar (a leaf without priority: most of all data, so it costs no object), a `Leaf` (with
priority) or an `Inner`. Invariant kept by `put`: what did not change keeps its identity; `old is new` means unchanged.
"""

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from rtdb_emulator import children as kids
from rtdb_emulator.children import Children
from rtdb_emulator.paths import Path

Scalar: TypeAlias = bool | int | float | str
Priority: TypeAlias = int | float | str | None


class Leaf:
    """A scalar that has a priority."""

    __slots__ = ("priority", "value")

    def __init__(self, value: Scalar, priority: int | float | str) -> None:
        self.value: Final = value
        self.priority: Final = priority


class Inner:
    """A node with at least one child."""

    __slots__ = ("children", "hash", "priority")

    def __init__(self, children: "Children[Present]", priority: Priority = None) -> None:
        self.children: Final = children
        self.priority: Final = priority
        self.hash: str | None = None  # filled in by snapshot_hash when somebody asks


Present: TypeAlias = Scalar | Leaf | Inner
Node: TypeAlias = Present | None


def leaf(value: Scalar, priority: Priority) -> Present:
    """A leaf, as small as possible."""
    return value if priority is None else Leaf(value, priority)


def inner(items: dict[str, Present], priority: Priority = None) -> Inner | None:
    """A node with these children (given away by the caller); empty without any."""
    return Inner(kids.make(items), priority) if items else None


def child(node: Node, key: str) -> Node:
    """The child named `key`, or None."""
    return node.children.get(key) if isinstance(node, Inner) else None


def get(node: Node, path: Path) -> Node:
    """The node at `path`, or None."""
    for key in path:
        if not isinstance(node, Inner):
            return None
        node = node.children.get(key)
    return node


def keys(node: Node) -> Iterable[str]:
    """The names of all children, in no particular order."""
    return node.children if isinstance(node, Inner) else ()


def priority_of(node: Node) -> Priority:
    """The priority; an empty node has none."""
    return node.priority if isinstance(node, Inner | Leaf) else None


def scalar_of(node: Node) -> Scalar | None:
    """The value of a leaf; None for empty and inner nodes."""
    if isinstance(node, Inner):
        return None
    return node.value if isinstance(node, Leaf) else node


def with_priority(node: Node, priority: Priority) -> Node:
    """The same node with another priority; an empty node stays empty."""
    if node is None or same_scalar(priority_of(node), priority):
        return node
    if isinstance(node, Inner):
        return Inner(node.children, priority)
    return leaf(node.value if isinstance(node, Leaf) else node, priority)


def put(node: Node, path: Path, value: Node) -> Node:
    """The tree with `value` at `path`. Unchanged parts, the whole included, keep their identity."""
    if not path:
        return keep_identity(node, value)
    key, rest = path[0], path[1:]
    if not isinstance(node, Inner):
        below = put(None, rest, value)
        return node if below is None else Inner({key: below}, priority_of(node))
    old = node.children.get(key)
    new = put(old, rest, value)
    if new is old:
        return node
    if new is not None:
        return Inner(kids.with_child(node.children, key, new), node.priority)
    if len(node.children) == 1:
        return None
    return Inner(kids.without_child(node.children, key), node.priority)


def put_all(node: Node, changes: Mapping[Path, Node]) -> Node:
    """The tree after several writes, none of which is an ancestor of another."""
    for path, value in changes.items():
        node = put(node, path, value)
    return node


def keep_identity(old: Node, new: Node) -> Node:
    """`new`, in which every part that equals the corresponding part of `old` is that part of `old`."""
    if isinstance(old, Inner) and isinstance(new, Inner):
        return _keep_inner(old, new)
    return old if _same_leaf(old, new) else new


def same_scalar(one: Scalar | None, other: Scalar | None) -> bool:
    """Equality without Python's `True == 1`."""
    return one is other or (
        one == other and isinstance(one, bool) == isinstance(other, bool) and _sign(one) == _sign(other)
    )


def _sign(value: Scalar | None) -> bool:
    # -0.0 == 0, but they hash differently, so a client would see them as different.
    return value == 0 and isinstance(value, float) and str(value).startswith("-")


def _same_leaf(old: Node, new: Node) -> bool:
    if old is None or new is None or isinstance(old, Inner) or isinstance(new, Inner):
        return old is new
    return same_scalar(scalar_of(old), scalar_of(new)) and same_scalar(priority_of(old), priority_of(new))


def _keep_inner(old: Inner, new: Inner) -> Inner:
    kept: dict[str, Present] = {}
    reused = 0
    for key, value in new.children.items():
        before = old.children.get(key)
        after = keep_identity(before, value) if before is not None else value
        reused += after is before
        if after is not None:
            kept[key] = after
    if reused == len(old.children) == len(kept) and same_scalar(old.priority, new.priority):
        return old
    return Inner(kids.make(kept), new.priority) if reused else new
