"""The authoritative store as the features see it: documents, atomic commits with preconditions, queries.

Writes are optimistic. A caller reads documents with their versions, decides, and commits all writes at once; when a
version has changed since, the commit raises `Conflict` and writes nothing. The adapter to the database is
`app.kit.stores.firestore`; tests and the simulator use an in-memory one with the same contract.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NewType, Protocol

from app.kit.clock import from_rfc3339
from app.kit.errors import InvariantViolation


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value of a kind that this backend never writes: a geo point, bytes, a reference.

    It is kept as the store encodes it, so that a document which is written back keeps it.
    """

    kind: str
    encoded: bytes


Value = None | bool | int | float | str | datetime | Opaque | Sequence["Value"] | Mapping[str, "Value"]
"""What a field may hold. Times are RFC 3339 text or integers; `datetime` serves Firestore's TTL policies only."""

Fields = Mapping[str, Value]

Version = NewType("Version", int)
"""The time of a document's last change, in nanoseconds of the store's clock. Only compared for equality.

A write of what is stored already is no change: the document keeps its version, and no trigger fires for it.
"""


@dataclass(frozen=True, slots=True)
class Document:
    """A stored document as it was at `version`."""

    path: str
    fields: Fields
    version: Version

    @property
    def id(self) -> str:
        """The last segment of the path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Increment:
    """As a field of a `Merge`: add `by` to the stored number; a missing field counts as zero."""

    by: int


@dataclass(frozen=True, slots=True)
class Create:
    """Write a document that must not exist yet; otherwise the commit raises `AlreadyExists`."""

    path: str
    fields: Fields


@dataclass(frozen=True, slots=True)
class Replace:
    """Write a whole document: with `version`, only if the stored one still has it; without, in any case.

    With `keep_others`, stored fields that `fields` does not name stay: a newer version of the code, or an operator, may
    have put them there.
    """

    path: str
    fields: Fields
    version: Version | None = None
    keep_others: bool = False


@dataclass(frozen=True, slots=True)
class Merge:
    """Write some fields and keep the others; creates the document when there is none.

    A key may be a path of names (`("models", "sim-small", "tokens")`) to reach into maps.
    """

    path: str
    fields: Mapping[str | tuple[str, ...], "Value | Increment"]


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a document: with `version`, only if the stored one still has it; without, whether it exists or not."""

    path: str
    version: Version | None = None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Write nothing, and let the commit succeed only if the stored document still has this version."""

    path: str
    version: Version


Write = Create | Replace | Merge | Delete | Unchanged

Operator = Literal["==", "<", "<=", ">", ">=", "in", "array_contains"]


@dataclass(frozen=True, slots=True)
class Where:
    """One condition of a query; `field` may be dotted to reach into maps."""

    field: str
    op: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class Query:
    """Documents of one collection (or, with `group`, of every collection of that name), in order.

    `order_by` names fields, with `-` in front for descending; `__name__` is the document's id, which also decides ties
    and is the default order. `start_after` holds the values that the order fields have in the last document of the page
    before (`__name__`: its id; in a group, its whole path).
    """

    collection: str
    where: tuple[Where, ...] = ()
    order_by: tuple[str, ...] = ()
    limit: int | None = None
    start_after: tuple[Value, ...] = ()
    group: bool = False

    @property
    def whole_order(self) -> tuple[str, ...]:
        """`order_by` and the `__name__` that decides ties, which Firestore sorts in the direction of the last field."""
        if "__name__" in {field.lstrip("-") for field in self.order_by}:
            return self.order_by
        descending = bool(self.order_by) and self.order_by[-1].startswith("-")
        return (*self.order_by, "-__name__" if descending else "__name__")


class Documents(Protocol):
    """The port. Every method raises `Unavailable` when the store cannot be reached."""

    def get(self, path: str) -> Document | None:
        """One document, or None."""
        ...

    def get_all(self, paths: Sequence[str]) -> list[Document | None]:
        """Several documents in one round trip, in the order asked for."""
        ...

    def commit(self, writes: Sequence[Write]) -> list[Version]:
        """Applies all writes or none, and returns the version of each document then (0 for a deletion).

        Raises:
            AlreadyExists: a `Create` met a document.
            Conflict: a version has changed, or the store gave up under contention. Nothing was written.
        """
        ...

    def query(self, query: Query) -> list[Document]:
        """The matching documents."""
        ...


def text_field(fields: Fields, name: str) -> str:
    """The text stored in `name`; raises InvariantViolation when it holds anything else."""
    value = fields.get(name)
    if not isinstance(value, str):
        raise InvariantViolation(f"field {name} should hold text, holds {type(value).__name__}")
    return value


def int_field(fields: Fields, name: str) -> int:
    """The integer stored in `name`; raises InvariantViolation when it holds anything else."""
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvariantViolation(f"field {name} should hold an integer, holds {type(value).__name__}")
    return value


def map_field(fields: Fields, name: str) -> Fields:
    """The map stored in `name`; raises InvariantViolation when it holds anything else."""
    value = fields.get(name)
    if not isinstance(value, Mapping):
        raise InvariantViolation(f"field {name} should hold a map, holds {type(value).__name__}")
    return value


def list_field(fields: Fields, name: str) -> Sequence[Value]:
    """The list stored in `name`; raises InvariantViolation when it holds anything else."""
    value = fields.get(name)
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InvariantViolation(f"field {name} should hold a list, holds {type(value).__name__}")
    return value


def optional_text(fields: Fields, name: str) -> str | None:
    """The text in `name`, or None where it is missing or null; otherwise as `text_field`."""
    return None if fields.get(name) is None else text_field(fields, name)


def optional_time(fields: Fields, name: str) -> int | None:
    """Microseconds of the RFC 3339 time in `name`, or None where it is missing or null; otherwise as `text_field`."""
    text = optional_text(fields, name)
    return None if text is None else from_rfc3339(text)


def as_map(value: Value) -> Fields:
    """A map stored within a list or another map; raises InvariantViolation when it is anything else."""
    if not isinstance(value, Mapping):
        raise InvariantViolation(f"a map should be stored here, not {type(value).__name__}")
    return value


def unknown(fields: Fields, known: Collection[str]) -> dict[str, Value]:
    """The members of a stored map that this version of the code does not know. Who writes the map again keeps them."""
    return {name: value for name, value in fields.items() if name not in known}
