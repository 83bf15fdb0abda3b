"""One write request as a set of changes, from JSON to the next tree. Pure; knows no rules and no clients."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rtdb_emulator.errors import InvalidData
from rtdb_emulator.json_text import Json
from rtdb_emulator.node_json import read_node, read_priority
from rtdb_emulator.paths import Path, check_path, parse_path, split_priority
from rtdb_emulator.tree import Node, Priority, get, put_all, with_priority


@dataclass(frozen=True, slots=True)
class WriteSet:
    """Locations and their new nodes or priorities; all or nothing, seen by everybody as one change."""

    puts: Mapping[Path, Node] = field(default_factory=dict)
    priorities: Mapping[Path, Priority] = field(default_factory=dict)
    update_of: Path | None = None
    """The location that a multi-path update was sent to; None for any other write."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every location written to."""
        return (*self.puts, *(path for path in self.priorities if path not in self.puts))

    @property
    def touched(self) -> tuple[Path, ...]:
        """The locations written to, without those below another one."""
        paths = self.paths
        if len(paths) < 2 or not self.priorities:
            return paths
        return tuple(path for path in paths if not any(_is_above(other, path) for other in paths))

    def apply(self, root: Node) -> Node:
        """The tree after the write."""
        root = put_all(root, self.puts)
        prioritised = {path: with_priority(get(root, path), value) for path, value in self.priorities.items()}
        return put_all(root, prioritised)


@dataclass(frozen=True, slots=True)
class Moment:
    """What a write is resolved against: the tree before it and the time of the request."""

    root: Node
    now_ms: int


def read_put(target: str, data: Json, moment: Moment) -> WriteSet:
    """A write of one location, given as text that may end in `.priority`. Raises InvalidPath or InvalidData."""
    text, is_priority = split_priority(target)
    path = parse_path(text)
    if is_priority:
        existing = get(moment.root, path)
        return WriteSet(priorities={path: read_priority(data, existing=existing, now_ms=moment.now_ms)})
    return put_at(path, data, moment)


def put_at(path: Path, data: Json, moment: Moment) -> WriteSet:
    """A write of one location."""
    existing = get(moment.root, path)
    return WriteSet(puts={path: read_node(data, existing=existing, now_ms=moment.now_ms, depth=len(path))})


def read_update(target: str, members: Mapping[str, Json], moment: Moment) -> WriteSet:
    """A multi-path update below `target`. Raises InvalidPath or InvalidData."""
    base = parse_path(target)
    puts: dict[Path, Node] = {}
    priorities: dict[Path, Priority] = {}
    for relative, data in members.items():
        text, is_priority = split_priority(relative)
        path = base + parse_path(text)
        check_path(path)
        existing = get(moment.root, path)
        if is_priority:
            priorities[path] = read_priority(data, existing=existing, now_ms=moment.now_ms)
        elif path == base or path in puts:
            raise InvalidData(f"Invalid data; {relative!r} is written twice or is the location itself.")
        else:
            puts[path] = read_node(data, existing=existing, now_ms=moment.now_ms, depth=len(path))
    _refuse_nested(puts)
    return WriteSet(puts, priorities, base)


def _refuse_nested(puts: Mapping[Path, Node]) -> None:
    for path in puts:
        for length in range(len(path)):
            if path[:length] in puts:
                above, below = "/".join(path[:length]), "/".join(path)
                raise InvalidData(f"Invalid data; path {above!r} is an ancestor of {below!r} in the same update.")


def _is_above(one: Path, other: Path) -> bool:
    return len(one) < len(other) and other[: len(one)] == one
