"""The data file: an append-only journal of what was written. Knows no clients and no rules.

Layout: `RTDB1\\n`, then records of a 4-byte length, a 4-byte CRC-32 and a JSON payload:
`{"n": namespace, "w": [[path, export form], …]}` (a path may end in `.priority`) or `{"n": namespace, "rules": text}`.
A record is appended before the write is acknowledged, all records of one turn of the event loop with one system call.
A record that a crash cut short is the last one; it is cut off when the file is opened. Anything else that is damaged
stops the start, because what follows it was acknowledged.
"""

import fcntl
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Final, Protocol

from rtdb_emulator.children import as_dict
from rtdb_emulator.json_text import Json, MalformedJson, loads
from rtdb_emulator.node_json import encode_export, read_node
from rtdb_emulator.paths import PRIORITY, Path
from rtdb_emulator.tree import Inner, Node, Present, Priority
from rtdb_emulator.writes import WriteSet

MAGIC: Final = b"RTDB1\n"
_HEADER: Final = struct.Struct(">II")
_BATCH: Final = 500
_SPLIT_LEVELS: Final = 2


class DamagedFile(Exception):
    """The data file cannot be trusted; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a namespace consists of on disk."""

    root: Node
    rules_text: str | None


class Journal(Protocol):
    """Where writes go before they are acknowledged."""

    def record_write(self, namespace: str, write: WriteSet) -> None: ...

    def record_rules(self, namespace: str, text: str) -> None: ...

    def flush(self) -> None: ...


class NoJournal:
    """Data lives as long as the process."""

    def record_write(self, namespace: str, write: WriteSet) -> None:
        pass

    def record_rules(self, namespace: str, text: str) -> None:
        pass

    def flush(self) -> None:
        pass


class FileJournal:
    """A journal in a file that belongs to one process at a time."""

    def __init__(self, file: FilePath, *, sync: bool = False) -> None:
        """Open or create `file` and lock it. `sync` also waits for the disk. Raises DamagedFile."""
        self.file = file
        self.sync = sync
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(file)
        self.saved, end, self.cut = _load(file)
        self._fd = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
        os.ftruncate(self._fd, end)
        os.lseek(self._fd, end, os.SEEK_SET)
        if end == 0:
            _write_all(self._fd, MAGIC)
            _sync_directory(file.parent)
        self.size = max(end, len(MAGIC))
        self._pending: list[bytes] = []
        self._since: list[bytes] | None = None

    def record_write(self, namespace: str, write: WriteSet) -> None:
        self._pending.append(_record(write_payload(namespace, write)))

    def record_rules(self, namespace: str, text: str) -> None:
        self._pending.append(_record(_rules_payload(namespace, text)))

    def flush(self) -> None:
        """Hand everything recorded so far to the operating system; raises OSError when that fails."""
        if not self._pending:
            return
        block = b"".join(self._pending)
        self._pending.clear()
        _write_all(self._fd, block)
        if self.sync:
            os.fsync(self._fd)
        self.size += len(block)
        if self._since is not None:
            self._since.append(block)

    def begin_compaction(self) -> Callable[[Mapping[str, Saved]], int]:
        """Start to remember what is appended from now on. The result writes the new file; it may run in a thread."""
        self.flush()
        self._since = []
        return self._write_compacted

    def finish_compaction(self, fd: int) -> None:
        """Append what came in meanwhile to the new file and put it into the place of the old one."""
        self.flush()
        for block in self._since or ():
            _write_all(fd, block)
        self._since = None
        os.fsync(fd)
        self._compacted_file.replace(self.file)
        _sync_directory(self.file.parent)
        os.close(self._fd)
        self._fd = fd
        self.size = os.fstat(fd).st_size

    def abandon_compaction(self) -> None:
        """Go on with the old file."""
        self._since = None
        self._compacted_file.unlink(missing_ok=True)

    def close(self) -> None:
        self.flush()
        os.fsync(self._fd)
        os.close(self._fd)
        os.close(self._lock)

    @property
    def _compacted_file(self) -> FilePath:
        return self.file.with_name(self.file.name + ".compacting")

    def _write_compacted(self, saved: Mapping[str, Saved]) -> int:
        fd = os.open(self._compacted_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        _write_all(fd, MAGIC)
        for namespace, contents in saved.items():
            if contents.rules_text is not None:
                _write_all(fd, _record(_rules_payload(namespace, contents.rules_text)))
            for puts in _pieces((), contents.root, 0):
                _write_all(fd, _record(write_payload(namespace, puts)))
        os.fsync(fd)
        return fd


def write_payload(namespace: str, write: WriteSet) -> bytes:
    """The payload of a write record."""
    writes: list[tuple[tuple[str, ...], Node | Priority]] = [*write.puts.items()]
    writes += [((*path, PRIORITY), value) for path, value in write.priorities.items()]
    return encode_export({"n": namespace, "w": writes})


def _rules_payload(namespace: str, text: str) -> bytes:
    return encode_export({"n": namespace, "rules": text})


def _record(payload: bytes) -> bytes:
    return _HEADER.pack(len(payload), zlib.crc32(payload)) + payload


def _pieces(path: Path, node: Node, level: int) -> Iterator[WriteSet]:
    """Writes that make `node`, in records of bounded width, so that writing them never blocks for long."""
    if not isinstance(node, Inner) or level == _SPLIT_LEVELS:
        if node is not None:
            yield WriteSet(puts={path: node})
        return
    items = list(as_dict(node.children).items())
    if level == _SPLIT_LEVELS - 1:
        for at in range(0, len(items), _BATCH):
            yield WriteSet(puts={(*path, key): below for key, below in items[at : at + _BATCH]})
    else:
        for key, below in items:
            yield from _pieces((*path, key), below, level + 1)
    if node.priority is not None:
        yield WriteSet(priorities={path: node.priority})


def _load(file: FilePath) -> tuple[dict[str, Saved], int, int]:
    """What the file says, where its good part ends, and how many torn bytes follow."""
    data = file.read_bytes() if file.exists() else b""
    if len(data) < len(MAGIC) and MAGIC.startswith(data):
        return {}, 0, len(data)
    if not data.startswith(MAGIC):
        raise DamagedFile(f"{file} is not a data file of this emulator")
    saved: dict[str, Saved] = {}
    end = len(MAGIC)
    for payload, record_end in _records(memoryview(data), file):
        _replay(payload, saved)
        end = record_end
    return saved, end, len(data) - end


def _records(data: memoryview, file: FilePath) -> Iterator[tuple[Json, int]]:
    at = len(MAGIC)
    while at + _HEADER.size <= len(data):
        length, checksum = _HEADER.unpack_from(data, at)
        end = at + _HEADER.size + length
        if end > len(data):
            return
        payload = data[at + _HEADER.size : end]
        if zlib.crc32(payload) != checksum:
            if end == len(data):
                return
            raise DamagedFile(
                f"{file} is damaged at byte {at}, and {len(data) - end} bytes of later writes follow. "
                f"Restore a copy, or cut the file at byte {at} to lose them."
            )
        try:
            yield loads(bytes(payload)), end
        except MalformedJson as error:
            raise DamagedFile(f"{file}: the record at byte {at} cannot be read: {error}") from None
        at = end


def _replay(payload: Json, saved: dict[str, Saved]) -> None:
    if not isinstance(payload, dict) or not isinstance(payload.get("n"), str):
        raise DamagedFile("a record names no namespace")
    namespace = str(payload["n"])
    before = saved.get(namespace, Saved(None, None))
    rules, writes = payload.get("rules"), payload.get("w")
    if isinstance(rules, str):
        saved[namespace] = Saved(before.root, rules)
    elif isinstance(writes, list):
        saved[namespace] = Saved(_write_set(writes).apply(before.root), before.rules_text)


def _write_set(writes: Iterable[Json]) -> WriteSet:
    puts: dict[Path, Node] = {}
    priorities: dict[Path, Priority] = {}
    for entry in writes:
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], list)):
            raise DamagedFile("a write record is malformed")
        path = tuple(str(key) for key in entry[0])
        value: Node = read_node(entry[1], existing=None, now_ms=0, depth=0)
        if path and path[-1] == PRIORITY:
            priorities[path[:-1]] = _as_priority(value)
        else:
            puts[path] = value
    return WriteSet(puts, priorities)


def _as_priority(value: Node | Present) -> Priority:
    return value if isinstance(value, int | float | str) and not isinstance(value, bool) else None


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _sync_directory(folder: FilePath) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _lock(file: FilePath) -> int:
    fd = os.open(file.with_name(file.name + ".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise DamagedFile(f"{file} is in use by another process") from None
    return fd
