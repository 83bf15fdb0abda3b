"""What a connection wants written when it ends. Pure; keeps JSON, because increments and timestamps
are resolved only when the connection ends.
"""

from collections.abc import Iterator
from typing import Final, TypeAlias

from rtdb_emulator.json_text import Json
from rtdb_emulator.paths import PRIORITY, Path

_Object: TypeAlias = dict[str, Json]


class _Nothing:
    """No stored value; a stored null is a deletion."""


_NOTHING: Final = _Nothing()


class SparseTree:
    """Pending writes by location: no stored value has another one above it."""

    def __init__(self) -> None:
        self._value: Json | _Nothing = _NOTHING
        self._children: dict[str, SparseTree] = {}

    @property
    def is_empty(self) -> bool:
        return isinstance(self._value, _Nothing) and not self._children

    def remember(self, path: Path, data: Json) -> None:
        """Store `data` at `path`, or put it into the value that is already stored above."""
        if not path:
            self._value = _normal(data)
            self._children.clear()
        elif isinstance(self._value, _Nothing):
            self._children.setdefault(path[0], SparseTree()).remember(path[1:], data)
        else:
            self._value = _put(self._value, path, _normal(data))

    def forget(self, path: Path) -> None:
        """Drop what is stored at or below `path`; a value stored above is split around it."""
        if not path:
            self._value = _NOTHING
            self._children.clear()
            return
        if not isinstance(self._value, _Nothing):
            self._split(self._value)
        below = self._children.get(path[0])
        if below is not None:
            below.forget(path[1:])
            if below.is_empty:
                del self._children[path[0]]

    def writes(self, at: Path = ()) -> Iterator[tuple[Path, Json]]:
        """The pending writes, depth first."""
        if not isinstance(self._value, _Nothing):
            yield at, self._value
        for key, below in self._children.items():
            yield from below.writes((*at, key))

    def _split(self, value: Json) -> None:
        self._value = _NOTHING
        if isinstance(value, dict) and not _is_leaf(value):
            for key, item in value.items():
                if key != PRIORITY:
                    self.remember((key,), item)


def _is_leaf(value: _Object) -> bool:
    return ".sv" in value or value.get(".value") is not None


def _normal(data: Json) -> Json:
    """Objects only, so that every location in it has a name."""
    if isinstance(data, list):
        return {str(index): _normal(item) for index, item in enumerate(data) if item is not None}
    if isinstance(data, dict) and not _is_leaf(data):
        return {key: _normal(item) for key, item in data.items() if item is not None}
    return data


def _put(stored: Json, path: Path, data: Json) -> Json:
    if not path:
        return data
    is_inner = isinstance(stored, dict) and not _is_leaf(stored)
    members: _Object = dict(stored) if isinstance(stored, dict) and is_inner else {}
    below = _put(members.get(path[0]), path[1:], data)
    if below is None:
        members.pop(path[0], None)
        return members if is_inner else stored
    if isinstance(stored, dict) and not is_inner and PRIORITY in stored:
        members[PRIORITY] = stored[PRIORITY]  # a leaf that becomes an inner node keeps its priority
    members[path[0]] = below
    return members
