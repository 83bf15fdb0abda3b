"""The stores in memory, with the contract of the real ones: what `tests/contract` proves of both.

`MemoryDocuments.before_commit` and `after_commit` let a test crash, contend or watch at every write; nothing here
knows the product.
"""

import copy
import heapq
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from app.kit.errors import ensure
from app.kit.stores.documents import (
    Create,
    Delete,
    Document,
    Fields,
    Merge,
    Query,
    Replace,
    Unchanged,
    Version,
    Write,
)
from app.kit.stores.realtime import Json
from support.firestore.commits import Checked, check_commit, check_precondition, merged
from support.firestore.documents import MAX_DOCUMENT, check_path, check_size, same
from support.firestore.indexes import CONFIGURED, Indexes
from support.firestore.queries import check_query, find, in_collection

Change = tuple[str, Fields | None, Fields | None]
"""Path, fields before, fields after: what a Firestore trigger is told."""


class MemoryDocuments:
    """Documents in a dictionary; every commit is atomic, and what it changes gets a new version.

    What Firestore refuses is refused (`support.firestore`), queries without an index as well: `indexes` are those of
    firestore.indexes.json if nothing is said; with None, as on the emulator, every query has the index that it needs.
    """

    def __init__(self, indexes: Indexes | None = CONFIGURED) -> None:
        self._indexes = indexes
        self._documents: dict[str, Document] = {}
        self._sizes: dict[str, int] = {}
        """What each document has at most: merges add to it, and only one that seems too large is measured again."""
        self._lock = threading.RLock()
        self._tick = 0
        self.before_commit: list[Callable[[Sequence[Write]], None]] = []
        self.after_commit: list[Callable[[list[Change]], None]] = []
        self.reads = 0
        self.writes = 0

    def get(self, path: str) -> Document | None:
        check_path(path)
        with self._lock:
            self.reads += 1
            return self._documents.get(path)

    def get_all(self, paths: Sequence[str]) -> list[Document | None]:
        for path in paths:
            check_path(path)
        with self._lock:
            self.reads += len(paths)
            return [self._documents.get(path) for path in paths]

    def commit(self, writes: Sequence[Write]) -> list[Version]:
        for hook in self.before_commit:
            hook(writes)
        checked = check_commit(writes)
        with self._lock:
            after = self._after(checked)
            self._tick += 1
            self.writes += len(writes)
            version = Version(self._tick * 1000)
            made = {write.path for write in writes if isinstance(write, Delete)}
            changes = [
                change
                for path, fields in after.items()
                if (change := self._write(path, fields, version, made_again=path in made))
            ]
            versions = [one.version if (one := self._documents.get(write.path)) else Version(0) for write in writes]
        for listener in self.after_commit:
            listener(changes)
        return versions

    def query(self, query: Query) -> list[Document]:
        check_query(query, self._indexes)
        with self._lock:
            found = find(self._candidates(query), query)
            self.reads += len(found)
        return found

    def all(self) -> dict[str, Document]:
        """Everything, for an auditor."""
        with self._lock:
            return dict(self._documents)

    def _candidates(self, query: Query) -> Iterable[Document]:
        return [one for path, one in self._documents.items() if in_collection(path.rpartition("/")[0], query)]

    def _after(self, checked: Sequence[Checked]) -> dict[str, Fields | None]:
        """What the commit leaves of each document, when every precondition holds."""
        after: dict[str, Fields | None] = {}
        sizes: dict[str, int] = {}
        for one in checked:
            path = one.write.path
            if path not in after:
                stored = self._documents.get(path)
                check_precondition(one.write, stored)
                after[path], sizes[path] = (stored.fields, self._sizes[path]) if stored else (None, 0)
            match one.write:
                case Unchanged():
                    pass
                case Delete():
                    after[path], sizes[path] = None, 0
                case Merge():
                    after[path] = merged(after[path] or {}, one.changes)
                    sizes[path] += one.size
                case Replace(keep_others=True):
                    after[path] = {**(after[path] or {}), **one.fields}
                    sizes[path] += one.size
                case Create() | Replace():
                    after[path], sizes[path] = one.fields, one.size
        for path, fields in after.items():
            if fields is not None and sizes[path] > MAX_DOCUMENT:
                sizes[path] = check_size(path, fields)
        self._sizes.update(sizes)
        return after

    def _write(self, path: str, fields: Fields | None, version: Version, *, made_again: bool) -> Change | None:
        """Store or remove one document; what a trigger hears of it. Nothing when it stays as it is, unless the same
        commit deleted it before.
        """
        stored = self._documents.get(path)
        if stored is not None and fields is not None and not made_again and same(stored.fields, fields):
            return None
        self._put(path, stored, None if fields is None else Document(path, fields, version))
        before = stored.fields if stored else None
        return None if before is None and fields is None else (path, before, fields)

    def _put(self, path: str, stored: Document | None, new: Document | None) -> None:
        if new is None:
            self._documents.pop(path, None)
        else:
            self._documents[path] = new


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
