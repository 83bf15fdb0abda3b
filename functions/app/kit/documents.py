"""The authoritative store as the features see it: documents, atomic commits with preconditions, queries.

Everything is optimistic. A caller reads documents with their versions, decides purely, and commits all writes at once;
a version that moved raises `Conflict` and nothing was written. Which database stands behind it is the adapter's
business (`app.kit.firestore`); tests and the simulator bring an in-memory one with the same contract.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NewType, Protocol

from app.kit.errors import InvariantViolation

Value = None | bool | int | float | str | datetime | Sequence["Value"] | Mapping[str, "Value"]
"""What a field may hold. Times are RFC 3339 text or integers; `datetime` serves Firestore's TTL policies only."""

Fields = Mapping[str, Value]

Version = NewType("Version", int)
"""When a document was last written, in nanoseconds as the store counts them. Opaque but for equality."""


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
    """As a field of a `Merge`: add to what is there (nothing counts as zero)."""

    by: int


@dataclass(frozen=True, slots=True)
class Create:
    """Write a document that must not exist; else the commit raises `AlreadyExists`."""

    path: str
    fields: Fields


@dataclass(frozen=True, slots=True)
class Replace:
    """Write a whole document: with `version`, only over exactly that one; without, whatever is there."""

    path: str
    fields: Fields
    version: Version | None = None


@dataclass(frozen=True, slots=True)
class Merge:
    """Write some fields and keep the others; makes the document when there is none.

    A key may be a path of names (`("models", "sim-small", "tokens")`) to reach into maps.
    """

    path: str
    fields: Mapping[str | tuple[str, ...], "Value | Increment"]


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a document: with `version`, only exactly that one; without, whether there is one or not."""

    path: str
    version: Version | None = None


Write = Create | Replace | Merge | Delete

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

    `order_by` names fields, `-` in front for descending; `__name__` is the document's id. Ties and the empty order
    go by `__name__`. `start_after` holds the values of the order fields where the last page ended (`__name__`: the id;
    of a group, the whole path).
    """

    collection: str
    where: tuple[Where, ...] = ()
    order_by: tuple[str, ...] = ()
    limit: int | None = None
    start_after: tuple[Value, ...] = ()
    group: bool = False

    @property
    def whole_order(self) -> tuple[str, ...]:
        """`order_by` with the `__name__` that decides ties, in the direction of the last field: as Firestore has it."""
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
        """All writes or none; the new version of each (0 for a deletion).

        Raises:
            AlreadyExists: a `Create` met a document.
            Conflict: a version did not hold, or the store gave up under contention. Nothing was written.
        """
        ...

    def query(self, query: Query) -> list[Document]:
        """The matching documents."""
        ...


def text_field(fields: Fields, name: str) -> str:
    """The text stored in `name`; a stored document that lacks it is our own fault."""
    value = fields.get(name)
    if not isinstance(value, str):
        raise InvariantViolation(f"field {name} should hold text, holds {type(value).__name__}")
    return value


def int_field(fields: Fields, name: str) -> int:
    """The integer stored in `name`; a stored document that lacks it is our own fault."""
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvariantViolation(f"field {name} should hold an integer, holds {type(value).__name__}")
    return value


def map_field(fields: Fields, name: str) -> Fields:
    """The map stored in `name`; a stored document that lacks it is our own fault."""
    value = fields.get(name)
    if not isinstance(value, Mapping):
        raise InvariantViolation(f"field {name} should hold a map, holds {type(value).__name__}")
    return value


def list_field(fields: Fields, name: str) -> Sequence[Value]:
    """The list stored in `name`; a stored document that lacks it is our own fault."""
    value = fields.get(name)
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InvariantViolation(f"field {name} should hold a list, holds {type(value).__name__}")
    return value
