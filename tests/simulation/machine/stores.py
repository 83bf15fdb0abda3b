"""The in-memory stores behind a scheduler that lets them fail: contention, lost answers, crashes around every write.

Their triggers come at least once in the end, late, twice and in any order, like the platform's.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from app.kit.errors import Conflict, Unavailable
from app.kit.stores.documents import Create, Document, Query, Version, Write
from app.kit.stores.realtime import Json
from simulation.machine.indexes import FieldIndex, Keys, index_of
from simulation.machine.kernel import Kernel
from support.firestore.queries import check_query, in_collection
from support.memory import Change, MemoryDocuments, MemoryRealtime, _put

Watcher = Callable[[list[Change]], None]


class IndexedDocuments(MemoryDocuments):
    """`MemoryDocuments` that finds a collection without looking at every document."""

    def __init__(self) -> None:
        super().__init__()
        self._collections: dict[str, dict[str, Document]] = {}
        self._by_field: dict[str, dict[str, FieldIndex]] = {}
        """By collection and field, of what was asked so far."""

    def query(self, query: Query) -> list[Document]:
        field = index_of(query)
        if field is None or query.collection not in self._collections:
            return super().query(query)
        check_query(query, self._indexes)
        fields = self._by_field.setdefault(query.collection, {})
        if field not in fields:
            fields[field] = FieldIndex(field, self._collections[query.collection].values())
        return fields[field].find(query)

    def _candidates(self, query: Query) -> Iterable[Document]:
        if not query.group:
            return self._collections.get(query.collection, {}).values()
        return [one for name, some in self._collections.items() if in_collection(name, query) for one in some.values()]

    def _put(self, path: str, stored: Document | None, new: Document | None) -> None:
        super()._put(path, stored, new)
        name = path.rpartition("/")[0]
        collection = self._collections.setdefault(name, {})
        if new is None:
            collection.pop(path, None)
        else:
            collection[path] = new
        for index in self._by_field.get(name, {}).values():
            index.replace(stored, new)


@dataclass
class Outage:
    """A time in which a store refuses every call, and the reason that it gives; or `hangs`, and answers at its end."""

    until_us: int = 0
    reason: str = ""
    hangs: bool = False

    def check(self, kernel: Kernel) -> None:
        """Raises what the adapters make of any such refusal."""
        if kernel.current is None or kernel.now_us >= self.until_us:
            return
        if self.hangs:
            kernel.sleep(self.until_us - kernel.now_us)
        else:
            raise Unavailable(f"the store refused: {self.reason}")


class SimDocuments:
    """`Documents` in the simulation. `watchers` hear of every commit at the moment it happens.

    `reads` hear of every document that was read and its version, `tries` of every commit before it happens, `doubts` of
    those whose outcome their writer does not know, `conflicts` of those that were refused because somebody was faster.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.real = IndexedDocuments()
        self.outage = Outage()
        self.delay_us = 0
        """What every call takes besides."""
        self.watchers: list[Watcher] = []
        self.reads: list[Callable[[str, Version | None], None]] = []
        self.tries: list[Callable[[Sequence[Write]], None]] = []
        self.doubts: list[Callable[[Sequence[Write]], None]] = []
        self.conflicts: list[Callable[[Sequence[Write]], None]] = []

    def get(self, path: str) -> Document | None:
        self._before(f"get {path}")
        found = self.real.get(path)
        self._read([path], [found])
        return found

    def get_all(self, paths: Sequence[str]) -> list[Document | None]:
        self._before(f"get {' '.join(paths)}")
        found = self.real.get_all(paths)
        self._read(paths, found)
        return found

    def query(self, query: Query) -> list[Document]:
        self._before(f"query {query.collection}")
        return self.real.query(query)

    def commit(self, writes: Sequence[Write]) -> list[Version]:
        kernel = self._kernel
        label = ""
        if kernel.keep_trace:
            label = " ".join(f"{'+' if isinstance(write, Create) else ''}{write.path}" for write in writes)
        for hear in self.tries:
            hear(writes)
        try:
            return self._commit(writes, label)
        except Unavailable:
            for hear in self.doubts:
                hear(writes)
            raise
        except Conflict:
            for hear in self.conflicts:
                hear(writes)
            raise

    def _commit(self, writes: Sequence[Write], label: str) -> list[Version]:
        kernel = self._kernel
        self._before(f"commit {label}")
        if kernel.current is not None and kernel.chance(kernel.faults.conflict):
            raise Conflict("too much contention on these documents", path=writes[0].path)
        changes: list[Change] = []
        self.real.after_commit = [changes.extend]
        versions = self.real.commit(writes)
        for watcher in self.watchers:
            watcher(changes)
        kernel.pause("committed")
        if kernel.current is not None and kernel.chance(kernel.faults.unavailable / 2):
            raise Unavailable("no answer to a commit that has happened")
        return versions

    def _read(self, paths: Sequence[str], found: Sequence[Document | None]) -> None:
        for hear in self.reads:
            for path, one in zip(paths, found):
                hear(path, None if one is None else one.version)

    def _before(self, label: str) -> None:
        self._kernel.linger()
        if self.delay_us and self._kernel.current is not None:
            self._kernel.sleep(self.delay_us)
        self._kernel.pause(label)
        self.outage.check(self._kernel)
        if self._kernel.current is not None and self._kernel.chance(self._kernel.faults.unavailable / 2):
            raise Unavailable("the store does not answer")


class QuickRealtime(MemoryRealtime):
    """`MemoryRealtime` that copies JSON as JSON, and keeps the keys of a node in order that was asked for its first."""

    def __init__(self) -> None:
        super().__init__()
        self._ordered: dict[str, Keys] = {}

    def get(self, path: str) -> Json:
        return _json(self.peek(path))

    def first(self, path: str, limit: int, *, start_at: str = "") -> dict[str, Json]:
        node = self.peek(path)
        if not isinstance(node, dict):
            return {}
        if path not in self._ordered:
            self._ordered[path] = Keys(node)
        return {name: _json(node[name]) for name in self._ordered[path].first(limit, start_at)}

    def update(self, values: Mapping[str, Json]) -> None:
        for hook in self.before_write:
            hook(values)
        self.writes += 1
        for path, value in values.items():
            below = [one for one in self._ordered if path.startswith(one + "/")]
            came = [(one, path[len(one) + 1 :].partition("/")[0]) for one in below]
            were = [self._has(one, name) for one, name in came]
            _put(self._root, path.split("/"), _json(value))
            for (one, name), was in zip(came, were):
                self._ordered[one].note(name, was=was, stays=self._has(one, name))
            for one in [one for one in self._ordered if f"{one}/".startswith(f"{path}/")]:
                del self._ordered[one]

    def _has(self, path: str, name: str) -> bool:
        node = self.peek(path)
        return isinstance(node, dict) and name in node

    def peek(self, path: str) -> Json:
        """What stands there, not copied."""
        node: Json = self._root
        for key in path.split("/"):
            node = node.get(key) if isinstance(node, dict) else None
        return node if node != {} else None


def _json(value: Json) -> Json:
    if isinstance(value, dict):
        return {name: _json(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_json(member) for member in value]
    return value


class SimRealtime:
    """`Realtime` in the simulation. `watchers` hear of every path that was written, with whether it was new.

    `tries` hear of every update at the moment at which it is decided, before it is on its way.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.real = QuickRealtime()
        self.outage = Outage()
        self.watchers: list[Callable[[str, Json], None]] = []
        self.tries: list[Callable[[Mapping[str, Json]], None]] = []

    def get(self, path: str) -> Json:
        self._before(f"rtdb get {path}")
        return self.real.get(path)

    def first(self, path: str, limit: int, *, start_at: str = "") -> dict[str, Json]:
        self._before(f"rtdb first {path}")
        return self.real.first(path, limit, start_at=start_at)

    def update(self, values: Mapping[str, Json]) -> None:
        for hear in self.tries:
            hear(values)
        label = ""
        if self._kernel.keep_trace:
            label = " ".join(f"{path}{'' if value is not None else '=∅'}" for path, value in values.items())
        self._before(f"rtdb update {label}")
        created = [path for path, value in values.items() if value is not None and self.real.peek(path) is None]
        self.real.update(values)
        for path in created:
            for watcher in self.watchers:
                watcher(path, values[path])
        self._after()

    def transact(self, path: str, decide: Callable[[Json], Json]) -> Json:
        """Read, decide, and write if nobody was faster, like the SDK: with turns of others in between."""
        while True:
            self._before(f"rtdb transact {path}")
            current = self.real.get(path)
            wanted = decide(current)
            if wanted == current:
                return wanted
            self._kernel.pause("rtdb transact, decided")
            if self.real.peek(path) == current:
                self.real.update({path: wanted})
                self._after()
                return wanted

    def _before(self, label: str) -> None:
        self._kernel.linger()
        self._kernel.pause(label)
        self.outage.check(self._kernel)
        if self._kernel.current is not None and self._kernel.chance(self._kernel.faults.unavailable / 2):
            raise Unavailable("the Realtime Database does not answer")

    def _after(self) -> None:
        self._kernel.pause("rtdb written")
        if self._kernel.current is not None and self._kernel.chance(self._kernel.faults.unavailable / 2):
            raise Unavailable("no answer to a write that has happened")
