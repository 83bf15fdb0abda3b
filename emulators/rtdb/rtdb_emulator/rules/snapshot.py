"""`RuleDataSnapshot`: a place in a tree, there or not, with the methods that rules may call.

Knows where it came from (so that `parent()` works on places that do not exist) and nothing of permissions.
"""

from collections.abc import Iterable

from rtdb_emulator.rules.errors import RuleFailure
from rtdb_emulator.rules.values import INNER, Inner, Node, Scalar


class Snapshot:
    """A location seen in one version of the tree. Missing and empty nodes look the same."""

    __slots__ = ("_node", "_parent")

    def __init__(self, node: Node | None, parent: "Snapshot | None" = None) -> None:
        self._node = None if node is None or node.is_empty else node
        self._parent = parent

    def step(self, key: str) -> "Snapshot":
        """The child called exactly `key`."""
        return Snapshot(None if self._node is None else self._node.child(key), self)

    def child(self, path: str) -> "Snapshot":
        """The descendant at a slash-separated path; empty segments do not count."""
        place = self
        for key in path.split("/"):
            if key:
                place = place.step(key)
        return place

    def parent(self) -> "Snapshot":
        """The location above; fails at the root."""
        if self._parent is None:
            raise RuleFailure("the root has no parent()")
        return self._parent

    def exists(self) -> bool:
        """Whether anything is stored here or below."""
        return self._node is not None

    def val(self) -> Scalar | Inner:
        """The scalar, None where nothing is stored, `INNER` where there are children."""
        if self._node is None:
            return None
        value = self._node.value
        return INNER if value is None else value

    def priority(self) -> int | float | str | None:
        """The priority; None without one, and where nothing is stored."""
        return None if self._node is None else self._node.priority

    def has_children(self) -> bool:
        """Whether there is at least one child."""
        return self._node is not None and self._node.value is None

    def keys(self) -> Iterable[str]:
        """Keys of the children that exist."""
        return () if self._node is None else self._node.keys()
