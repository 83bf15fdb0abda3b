"""What a commit may be in Firestore, and what it does to a document.

Sources: https://firebase.google.com/docs/firestore/quotas (Writes and transactions). How several writes of one document
are taken together is written nowhere: it is what the emulator answers, for every pair (`tests/contract/test_commits`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.kit.errors import AlreadyExists, Conflict
from app.kit.stores.documents import (
    Create,
    Delete,
    Document,
    Fields,
    Increment,
    Merge,
    Replace,
    Unchanged,
    Value,
    Version,
    Write,
)
from support.firestore.documents import (
    MAX_DEPTH,
    MAX_NAME,
    OVERHEAD,
    Copy,
    check_integer,
    check_path,
    field_name_size,
    name_size,
    refuse,
)

MAX_WRITES: Final = 500
"""The house's rule: Firestore gave up its own of 500 writes in March 2023, and the emulator never had it."""
MAX_INCREMENTS: Final = 500
"""Transformations of one document in a commit. The emulator takes more."""
MAX_COMMIT: Final = 10 * 1024 * 1024
"""Bytes of a request. Sizes as stored are counted, which are close to the sizes on the wire. The emulator's server
takes no message over 4 MiB, and says so with another error."""

_ABSENT: Final = Version(0)
Names = tuple[str, ...]
Change = tuple[Names, Value | Increment]


@dataclass(frozen=True, slots=True)
class Checked:
    """A write that Firestore would take, with copies of its values."""

    write: Write
    changes: Sequence[Change]
    """Of a merge: plain values first and increments after them, as Firestore applies them."""
    fields: dict[str, Value]
    """Of a create or a replace."""
    size: int
    """Of the document; of a merge: of what it adds to one, at most."""


def check_commit(writes: Sequence[Write]) -> list[Checked]:
    """The writes, ready to be applied. Refuses what Firestore refuses whatever is stored."""
    if len(writes) > MAX_WRITES:
        refuse(f"{len(writes)} writes in one commit")
    checked = [_checked(write) for write in writes]
    if sum(one.size for one in checked) > MAX_COMMIT:
        refuse(f"a commit of more than {MAX_COMMIT} bytes")
    if len({write.path for write in writes}) < len(writes):
        _check_repeated(writes)
    return checked


def check_precondition(write: Write, stored: Document | None) -> None:
    """Raise `AlreadyExists` or `Conflict` when a write does not hold over what is stored."""
    match write:
        case Create():
            if stored is not None:
                raise AlreadyExists("the document exists already", path=write.path)
        case Replace() | Delete() | Unchanged():
            if write.version is not None and write.version != (stored.version if stored else _ABSENT):
                raise Conflict("the document was written by another", path=write.path)
        case Merge():
            pass


def merged(before: Fields, changes: Sequence[Change]) -> dict[str, Value]:
    """The fields after a merge. What it does not touch is shared with `before`: nobody writes into stored fields."""
    fields: dict[str, Value] = dict(before)
    for names, change in changes:
        node = fields
        for parent in names[:-1]:
            inner = node.get(parent)
            node[parent] = node = dict(inner) if isinstance(inner, Mapping) else {}
        last = names[-1]
        node[last] = _increased(node.get(last), change.by) if isinstance(change, Increment) else change
    return fields


def _checked(write: Write) -> Checked:
    check_path(write.path)
    if isinstance(write, Replace | Delete | Unchanged) and write.version is not None and write.version % 1000:
        refuse(f"version {write.version} is not a whole number of microseconds")
    match write:
        case Delete() | Unchanged():
            return Checked(write, (), {}, len(write.path))
        case Merge():
            size = name_size(write.path) + OVERHEAD
            changes, added = _changes(write)
            return Checked(write, changes, {}, size + added)
        case Create() | Replace():
            copy = Copy()
            fields = copy.fields(write.fields)
            return Checked(write, (), fields, name_size(write.path) + OVERHEAD + copy.size)


def _changes(write: Merge) -> tuple[Sequence[Change], int]:
    copy = Copy()
    plain: list[Change] = []
    increments: list[Change] = []
    scalars: set[Names] = set()
    for key, value in write.fields.items():
        names = (key,) if isinstance(key, str) else key
        path = _check_names(names)
        copy.size += path + 1
        if isinstance(value, Increment):
            check_integer(value.by)
            copy.size += 8
            increments.append((names, value))
            continue
        if any(names[:length] in scalars for length in range(1, len(names))):
            refuse(f"a merge writes something inside {names[:-1]} and the whole of it, which is no map")
        if not isinstance(value, Mapping):
            scalars.add(names)
        plain.append((names, copy.value(value, len(names) - 1, path + 1)))
    if len(increments) > MAX_INCREMENTS:
        refuse(f"{len(increments)} increments of one document")
    return [*plain, *increments], copy.size


def _check_names(names: Names) -> int:
    """Bytes of a path. Firestore's emulator does not look at the paths of increments."""
    if not names or len(names) > MAX_DEPTH:
        refuse(f"a merge into {len(names)} names")
    path = sum(field_name_size(name) for name in names) + len(names) - 1
    if path > MAX_NAME:
        refuse(f"the path of field {names[-1][:80]!r} is too long")
    return path


def _increased(current: Value, by: int) -> int | float:
    """What is no number counts as zero, and an integer stops at the ends of 64 bits."""
    if isinstance(current, float):
        return current + by
    if isinstance(current, int) and not isinstance(current, bool):
        return max(-(2**63), min(2**63 - 1, current + by))
    return by


def _check_repeated(writes: Sequence[Write]) -> None:
    """Refuse writes of one document that Firestore cannot take together.

    All of them hold or fail by the precondition of the first. One that names a version must come after that very
    version and after no delete; a create (or a replace of version 0, which is one) only after a delete.
    """
    before: dict[str, tuple[bool, Version | None]] = {}
    for write in writes:
        version = write.version if isinstance(write, Replace | Delete | Unchanged) else None
        if write.path not in before:
            before[write.path] = isinstance(write, Delete), version
            continue
        deleted, first = before[write.path]
        inserts = isinstance(write, Create) or (isinstance(write, Replace) and version == _ABSENT)
        if inserts and not deleted:
            refuse(f"{write.path} is written and then created in the same commit")
        if version is not None and version != first:
            refuse(f"{write.path} is written over two versions in the same commit")
        if version is not None and isinstance(write, Replace | Unchanged) and deleted and not inserts:
            refuse(f"{write.path} is deleted and then replaced in the same commit")
        before[write.path] = isinstance(write, Delete), first
