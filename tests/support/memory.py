"""The stores in memory, with the contract of the real ones: what `tests/contract` proves of both.

`MemoryDocuments.before_commit` and `after_commit` let a test crash, contend or watch at every write; nothing here
knows the product.
"""

import copy
import heapq
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from app.kit.documents import (
    Create,
    Delete,
    Document,
    Fields,
    Increment,
    Merge,
    Query,
    Replace,
    Value,
    Version,
    Where,
    Write,
)
from app.kit.errors import AlreadyExists, Conflict, ensure
from app.kit.realtime import Json

Change = tuple[str, Fields | None, Fields | None]
"""Path, fields before, fields after: what a Firestore trigger is told."""


class MemoryDocuments:
    """Documents in a dictionary; every commit is atomic and every version is new."""

    def __init__(self) -> None:
        self._documents: dict[str, Document] = {}
        self._lock = threading.RLock()
        self._tick = 0
        self.before_commit: list[Callable[[Sequence[Write]], None]] = []
        self.after_commit: list[Callable[[list[Change]], None]] = []
        self.reads = 0
        self.writes = 0

    def get(self, path: str) -> Document | None:
        with self._lock:
            self.reads += 1
            return self._documents.get(path)

    def get_all(self, paths: Sequence[str]) -> list[Document | None]:
        with self._lock:
            self.reads += len(paths)
            return [self._documents.get(path) for path in paths]

    def commit(self, writes: Sequence[Write]) -> list[Version]:
        for hook in self.before_commit:
            hook(writes)
        with self._lock:
            for write in writes:
                self._check(write)
            changes: list[Change] = []
            self._tick += 1
            self.writes += len(writes)
            versions = [self._apply(write, changes) for write in writes]
        for listener in self.after_commit:
            listener(changes)
        return versions

    def query(self, query: Query) -> list[Document]:
        with self._lock:
            found = [document for document in self._documents.values() if _in_collection(document.path, query)]
        found = [document for document in found if all(_holds(document, where) for where in query.where)]
        fields = query.whole_order
        found = [d for d in found if all(_at(d, f.lstrip("-"))[0] for f in fields)]
        for field in reversed(fields):
            found.sort(key=lambda document: _order_key(document, field.lstrip("-")), reverse=field.startswith("-"))
        if query.start_after:
            found = [document for document in found if _after(document, fields, query)]
        self.reads += len(found[: query.limit])
        return found[: query.limit]

    def all(self) -> dict[str, Document]:
        """Everything, for an auditor."""
        with self._lock:
            return dict(self._documents)

    def _check(self, write: Write) -> None:
        stored = self._documents.get(write.path)
        match write:
            case Create():
                if stored is not None:
                    raise AlreadyExists("the document exists already", path=write.path)
            case Replace() | Delete():
                if write.version is not None and (stored is None or stored.version != write.version):
                    raise Conflict("the document was written by another", path=write.path)
            case Merge():
                pass

    def _apply(self, write: Write, changes: list[Change]) -> Version:
        stored = self._documents.get(write.path)
        before = stored.fields if stored else None
        if isinstance(write, Delete):
            self._documents.pop(write.path, None)
            if before is not None:
                changes.append((write.path, before, None))
            return Version(0)
        if isinstance(write, Merge):
            fields = _merged(before or {}, write.fields)
        else:
            fields = copy.deepcopy(dict(write.fields))
        version = Version(self._tick * 1000)
        self._documents[write.path] = Document(write.path, fields, version)
        changes.append((write.path, before, fields))
        return version


class MemoryRealtime:
    """The tree of the Realtime Database as nested dictionaries."""

    def __init__(self) -> None:
        self._root: dict[str, Json] = {}
        self._lock = threading.RLock()
        self.before_write: list[Callable[[Mapping[str, Json]], None]] = []
        self.writes = 0

    def get(self, path: str) -> Json:
        with self._lock:
            node: Json = self._root
            for key in _keys(path):
                node = node.get(key) if isinstance(node, dict) else None
            return copy.deepcopy(node) if node != {} else None

    def first(self, path: str, limit: int, *, start_at: str = "") -> dict[str, Json]:
        with self._lock:
            node: Json = self._root
            for key in _keys(path):
                node = node.get(key) if isinstance(node, dict) else None
            if not isinstance(node, dict):
                return {}
            names = heapq.nsmallest(limit, (name for name in node if name >= start_at))
            return {name: copy.deepcopy(node[name]) for name in names}

    def update(self, values: Mapping[str, Json]) -> None:
        for hook in self.before_write:
            hook(values)
        with self._lock:
            self.writes += 1
            for path, value in values.items():
                _put(self._root, _keys(path), copy.deepcopy(value))

    def transact(self, path: str, decide: Callable[[Json], Json]) -> Json:
        with self._lock:
            current = self.get(path)
            wanted = decide(current)
            if wanted != current:
                ensure(wanted is not None, "a transaction on the Realtime Database does not remove")
                self.update({path: wanted})
            return wanted


def _keys(path: str) -> list[str]:
    return [key for key in path.split("/") if key]


def _put(node: dict[str, Json], keys: list[str], value: Json) -> None:
    if len(keys) == 1:
        if value is None or value == {}:
            node.pop(keys[0], None)
        else:
            node[keys[0]] = value
        return
    child = node.get(keys[0])
    if not isinstance(child, dict):
        child = {}
    _put(child, keys[1:], value)
    if child:
        node[keys[0]] = child
    else:
        node.pop(keys[0], None)


def _in_collection(path: str, query: Query) -> bool:
    collection = path.rpartition("/")[0]
    return collection.rpartition("/")[2] == query.collection if query.group else collection == query.collection


def _at(document: Document, field: str) -> tuple[bool, Value]:
    if field == "__name__":
        return True, document.path
    value: Value = document.fields
    for name in field.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return False, None
        value = value[name]
    return True, value


def _rank(value: Value) -> tuple[int, object]:
    """Firestore's order of types: null, booleans, numbers, times, text, lists, maps."""
    match value:
        case None:
            return (0, 0)
        case bool():
            return (1, value)
        case int() | float():
            return (2, value)
        case datetime():
            return (3, value)
        case str():
            return (4, value.encode())
        case Mapping():
            return (6, sorted((key, _rank(member)) for key, member in value.items()))
        case _:
            return (5, [_rank(member) for member in value])


def _order_key(document: Document, field: str) -> tuple[int, object]:
    return _rank(_at(document, field)[1])


def _holds(document: Document, where: Where) -> bool:
    there, value = _at(document, where.field)
    if not there:
        return False
    if where.op == "in":
        return isinstance(where.value, Sequence) and value in where.value
    if where.op == "array_contains":
        return isinstance(value, Sequence) and not isinstance(value, str) and where.value in value
    left, right = _rank(value), _rank(where.value)
    if where.op == "==":
        return left == right
    if left[0] != right[0] or value is None:
        return False
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[where.op]


def _after(document: Document, fields: Sequence[str], query: Query) -> bool:
    for field, bound in zip(fields, query.start_after):
        if field.lstrip("-") == "__name__" and not query.group:
            bound = f"{query.collection}/{bound}"
        here, there = _order_key(document, field.lstrip("-")), _rank(bound)
        if here != there:
            return here < there if field.startswith("-") else here > there
    return False


def _merged(before: Fields, changes: Mapping[str | tuple[str, ...], Value | Increment]) -> Fields:
    fields: dict[str, Value] = copy.deepcopy(dict(before))
    for key, change in changes.items():
        *parents, last = (key,) if isinstance(key, str) else key
        node = fields
        for parent in parents:
            inner = node.get(parent)
            node[parent] = node = dict(inner) if isinstance(inner, Mapping) else {}
        if isinstance(change, Increment):
            current = node.get(last)
            node[last] = (current if isinstance(current, int) else 0) + change.by
        else:
            node[last] = copy.deepcopy(change)
    return fields
