"""Security rules as the database uses them. Owns the adapters between its tree and the rules package, and the rule
texts' defaults; knows no expressions.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from rtdb_emulator.errors import PermissionDenied
from rtdb_emulator.identity import Identity
from rtdb_emulator.paths import Path
from rtdb_emulator.query import BY_KEY, Query
from rtdb_emulator.rules import Decision, QuerySpec, ReadRequest, Ruleset, WriteRequest
from rtdb_emulator.tree import Inner, Node, Priority, Scalar, child, keys, priority_of, scalar_of

DEFAULT_RULES: Final = '{"rules":{".read":true,".write":true}}'


class NodeView:
    """A tree node as rules see it."""

    __slots__ = ("_node",)

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def is_empty(self) -> bool:
        return self._node is None

    @property
    def is_leaf(self) -> bool:
        return self._node is not None and not isinstance(self._node, Inner)

    @property
    def has_children(self) -> bool:
        return isinstance(self._node, Inner)

    @property
    def value(self) -> Scalar | None:
        return scalar_of(self._node)

    @property
    def priority(self) -> Priority:
        return priority_of(self._node)

    def child(self, key: str) -> "NodeView | None":
        node = child(self._node, key)
        return None if node is None else NodeView(node)

    def keys(self) -> Iterable[str]:
        return keys(self._node)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and when."""

    identity: Identity
    now_ms: int


class Access:
    """The rules of one namespace: their text, and the decisions they make."""

    def __init__(self, text: str = DEFAULT_RULES) -> None:
        self.text = text
        self._ruleset = Ruleset.parse(text)

    def check_read(self, path: Path, root: Node, asker: Asker, query: Query | None = None) -> bool:
        """Raise PermissionDenied unless the read is allowed; True if the decision may change with the data."""
        if asker.identity.admin:
            return False
        request = ReadRequest(path, NodeView(root), asker.identity.auth, asker.now_ms, _spec(query))
        return _granted(self._ruleset.can_read(request)).reads_data

    def check_write(self, paths: tuple[Path, ...], before: Node, after: Node, asker: Asker) -> None:
        """Raise PermissionDenied unless every one of the paths may be written like this."""
        if not asker.identity.admin:
            request = WriteRequest(paths, NodeView(before), NodeView(after), asker.identity.auth, asker.now_ms)
            _granted(self._ruleset.can_write(request))

    def has_index(self, path: Path, index: str) -> bool:
        return index in self._ruleset.index_on(path)

    def strict_json(self) -> str:
        """The rules without comments."""
        return self._ruleset.strict_json()


def _granted(decision: Decision) -> Decision:
    if not decision.allowed:
        raise PermissionDenied(decision.reason)
    return decision


def _spec(query: Query | None) -> QuerySpec | None:
    if query is None:
        return None
    equal = query.start if query.start is not None and query.start == query.end else None
    start = None if equal else query.start
    end = None if equal else query.end
    return QuerySpec(
        order_by=query.order_by or BY_KEY,
        start_at=start.value if start else None,
        end_at=end.value if end else None,
        equal_to=equal.value if equal else None,
        limit_to_first=query.limit if query.from_left else None,
        limit_to_last=None if query.from_left else query.limit,
    )
