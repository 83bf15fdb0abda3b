"""What a document may be in Firestore: its path, its field names, its values and its size.

Sources: https://firebase.google.com/docs/firestore/quotas (Collections, documents, and fields) and
https://firebase.google.com/docs/firestore/storage-size. Where they leave a question open, the emulator's answer is
played. Every refusal is the `InvariantViolation` that `app.kit.stores.firestore` makes of INVALID_ARGUMENT.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NoReturn

from app.kit.errors import InvariantViolation
from app.kit.stores.documents import Fields, Opaque, Value

MAX_DOCUMENT: Final = 1_048_576
MAX_TEXT: Final = 1_048_487
"""1 MiB less 89 bytes, of one text in UTF-8."""
MAX_DEPTH: Final = 20
"""Maps and lists inside each other, the field of the document not counted."""
MAX_NAME: Final = 1_500
"""Bytes of an id, and of a field's path: the names of the maps around it, with a dot after each, and its own."""
MAX_PATH: Final = 6 * 1024
"""Bytes of a whole document name. The emulator takes longer ones."""
MAX_SEGMENTS: Final = 200
OVERHEAD: Final = 32
"""Bytes that every document costs beyond its name and its fields."""

_RESERVED = re.compile(r"__.+__", re.DOTALL)
_LISTS_NEVER = frozenset({str, int, float, bool, dict, type(None), datetime})
_PLAIN_NAME = r"[a-zA-Z_][a-zA-Z_0-9]*"
_QUOTED_NAME = r"`(?:[^`\\]|\\.)+`"
_FIELD = re.compile(rf"(?:{_PLAIN_NAME}|{_QUOTED_NAME})(?:\.(?:{_PLAIN_NAME}|{_QUOTED_NAME}))*", re.DOTALL)
_NAMES = re.compile(rf"{_PLAIN_NAME}|{_QUOTED_NAME}", re.DOTALL)


def refuse(why: str) -> NoReturn:
    """Raise what the adapter raises when Firestore refuses a request."""
    raise InvariantViolation(f"Firestore cannot store this: {why}")


@lru_cache(maxsize=100_000)
def check_path(path: str) -> None:
    """Refuse what names no document: an odd number of segments, or a segment that is empty, `.`, `..` or reserved.

    An id with a slash in it therefore is refused, or names a document elsewhere. The lengths are looked at when
    something is written (`name_size`): a document whose name is too long can be asked for, and is not there.
    """
    segments = path.split("/")
    if len(segments) % 2:
        refuse(f"{path!r} names a collection, not a document")
    for segment in segments:
        check_segment(segment)


def check_segment(segment: str) -> None:
    """Refuse what is no id of a document or a collection."""
    if segment in ("", ".", "..") or _RESERVED.fullmatch(segment):
        refuse(f"{segment!r} is no id")
    encoded_size(segment)


@lru_cache(maxsize=100_000)
def name_size(path: str) -> int:
    """The size of a document's name, in bytes. Refuses a path that is too long to be written."""
    segments = path.split("/")
    sizes = [encoded_size(segment) for segment in segments]
    if max(sizes) > MAX_NAME or len(segments) > MAX_SEGMENTS or encoded_size(path) > MAX_PATH:
        refuse(f"the document name {path[:80]!r} is too long")
    return sum(sizes) + len(sizes) + 16


def encoded_size(text: str) -> int:
    """Bytes in UTF-8. Refuses a lone surrogate, which UTF-8 cannot hold."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        refuse(f"{text[:80]!r} is no Unicode text: {error}")


@lru_cache(maxsize=100_000)
def field_name_size(name: str) -> int:
    """Bytes of a field's name. Refuses an empty and a reserved one."""
    if not name or _RESERVED.fullmatch(name):
        refuse(f"a field cannot be called {name!r}")
    return encoded_size(name)


@lru_cache(maxsize=10_000)
def names_of(field: str) -> tuple[str, ...]:
    """The names in a dotted path as a query has it. A name that is no plain identifier must stand in back-ticks."""
    if not _FIELD.fullmatch(field):
        refuse(f"{field!r} is no path of a field")
    names = tuple(
        re.sub(r"\\(.)", r"\1", name[1:-1], flags=re.DOTALL) if name[0] == "`" else name
        for name in _NAMES.findall(field)
    )
    for name in names:
        field_name_size(name)
    return names


class Copy:
    """Copies values as the store keeps them, refuses what it cannot keep, and adds up their size in `size`.

    Lists come back as lists, maps as dictionaries, times in UTC, text and numbers as what they are at bottom (an
    enumeration's member as its value). An empty map or list counts one byte, and a map no 32: so the emulator counts.
    """

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0

    def fields(self, fields: Fields) -> dict[str, Value]:
        """The fields of a document."""
        return self._members(fields, 0, 0)

    def value(self, value: Value, depth: int = 0, path: int = 0) -> Value:
        """One value, `depth` maps and lists deep in a document, under names of `path` bytes."""
        if isinstance(value, str):
            return self._text(value)
        if type(value) is dict or isinstance(value, Mapping):
            return self._map(value, depth, path)
        if value is None or isinstance(value, bool):
            self.size += 1
            return value
        if isinstance(value, int | float):
            return self._number(value)
        if isinstance(value, datetime):
            return self._time(value)
        if isinstance(value, Opaque):
            self.size += len(value.encoded)
            return value
        return self._list(value, depth, path)

    def _text(self, value: str) -> str:
        size = len(value) if value.isascii() else encoded_size(value)
        if size > MAX_TEXT:
            refuse(f"a text of {size} bytes")
        self.size += size + 1
        return value if type(value) is str else str.__str__(value)

    def _number(self, value: int | float) -> int | float:
        self.size += 8
        if isinstance(value, float):
            return float(value)
        check_integer(value)
        return int(value)

    def _time(self, value: datetime) -> datetime:
        if value.tzinfo is None:
            refuse("a time without a zone")
        self.size += 8
        return value.astimezone(UTC)

    def _map(self, value: Mapping[str, Value], depth: int, path: int) -> dict[str, Value]:
        if depth == MAX_DEPTH:
            refuse(f"more than {MAX_DEPTH} maps and lists inside each other")
        self.size += not value
        return self._members(value, depth + 1, path)

    def _members(self, fields: Fields, depth: int, path: int) -> dict[str, Value]:
        copy: dict[str, Value] = {}
        for name, member in fields.items():
            here = field_name_size(name)
            if path + here > MAX_NAME:
                refuse(f"the path of field {name[:80]!r} is too long")
            self.size += here + 1
            copy[name] = self.value(member, depth, path + here + 1)
        return copy

    def _list(self, value: Sequence[Value], depth: int, path: int) -> list[Value]:
        if depth == MAX_DEPTH and value:
            refuse(f"more than {MAX_DEPTH} maps and lists inside each other")
        self.size += not value
        for member in value:
            if type(member) not in _LISTS_NEVER and isinstance(member, Sequence) and not isinstance(member, str):
                refuse("a list directly inside a list")
        return [self.value(member, depth + 1, path) for member in value]


def same(one: Value, other: Value) -> bool:
    """Whether two stored values are one and the same to Firestore: 1 is not 1.0, and maps have no order."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return repr(one) == repr(other)
    return one == other


def check_integer(value: int) -> None:
    """Refuse what 64 bits cannot hold."""
    if not -(2**63) <= value < 2**63:
        refuse(f"{value} needs more than 64 bits")


def check_size(path: str, fields: Fields) -> int:
    """The size of a document, in bytes. Refuses one that is too large."""
    copy = Copy()
    copy.fields(fields)
    size = name_size(path) + OVERHEAD + copy.size
    if size > MAX_DOCUMENT:
        refuse(f"{path} would have {size} bytes")
    return size
