"""What a query may ask in Firestore, and what it finds.

Sources: https://firebase.google.com/docs/firestore/query-data/queries, /order-limit-data, /query-cursors and
/multiple-range-fields, https://firebase.google.com/docs/firestore/reference/rpc (StructuredQuery).

Ranges may be over several fields, and each over any field of the order. A range over a field outside the order is
refused: Firestore would add the field, but only before the document's name, with which the adapter ends every order.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

from app.kit.stores.documents import Document, Opaque, Query, Value, Where
from support.firestore.documents import (
    MAX_NAME,
    MAX_SEGMENTS,
    Copy,
    check_path,
    check_segment,
    encoded_size,
    names_of,
    refuse,
)
from support.firestore.indexes import Indexes

MAX_DISJUNCTIONS: Final = 30
"""Values of an `in`, and the product of the numbers of values of several."""
MAX_PARTS: Final = 100
"""Conditions (an `in` counts once for each value), fields of the order, and the parent of a collection."""
MAX_VALUE: Final = 1_500
"""Bytes of a value in a condition. Longer values are indexed by their beginning, and can be in a cursor."""
_RANGES: Final = frozenset({"<", "<=", ">", ">="})

_OPAQUE: Final = {"bytes_value": 6, "reference_value": 7, "geo_point_value": 8}
"""Ranks of the kinds that the product never writes. Values of one kind are ordered by their encoding, not as there."""

Rank = tuple[int, object]


def check_query(query: Query, indexes: Indexes | None) -> None:
    """Refuse what Firestore refuses. Without `indexes` every query has the index that it needs."""
    _check_collection(query.collection)
    fields = [field.lstrip("-") for field in query.whole_order]
    _check_order(query, fields)
    for where in query.where:
        _check_condition(where)
    _check_disjunctions(query, len(fields))
    if query.limit is not None and not 0 <= query.limit < 2**31:
        refuse(f"a limit of {query.limit}")
    if query.start_after:
        _check_cursor(query, fields)
    if indexes is not None and not indexes.serve(query):
        refuse(f"no index serves {query}")


def find(documents: Iterable[Document], query: Query) -> list[Document]:
    """Those of the documents of the query's collection that it asks for, in its order."""
    fields = query.whole_order
    found = [one for one in documents if all(holds(one, where) for where in query.where)]
    found = [one for one in found if all(at(one, field.lstrip("-"))[0] for field in fields)]
    for field in reversed(fields):
        found.sort(key=lambda one: _order_key(one, field.lstrip("-")), reverse=field.startswith("-"))
    if query.start_after:
        found = [one for one in found if _after(one, fields, query)]
    return found[: query.limit]


def in_collection(collection: str, query: Query) -> bool:
    """Whether the documents of a collection are asked."""
    if not query.group:
        return collection == query.collection
    above, _, name = query.collection.rpartition("/")
    return collection.rpartition("/")[2] == name and (not above or collection.startswith(f"{above}/"))


def at(document: Document, field: str) -> tuple[bool, Value]:
    """Whether a document has a field, and its value."""
    if field == "__name__":
        return True, document.path
    value: Value = document.fields
    for name in names_of(field):
        if not isinstance(value, Mapping) or name not in value:
            return False, None
        value = value[name]
    return True, value


def holds(document: Document, where: Where) -> bool:
    """Whether a condition holds. Null equals null by `==` alone, and nothing equals what is not a number."""
    there, value = at(document, where.field)
    if not there:
        return False
    if where.op == "==":
        return value is None if where.value is None else _same(value, where.value)
    if where.op == "in":
        return any(_same(value, one) for one in _members(where.value))
    if where.op == "array_contains":
        return any(_same(member, where.value) for member in _members(value))
    left, right = rank(value), rank(where.value)
    if left[0] != right[0] or value is None or _is_nan(value):
        return False
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[where.op]


def rank(value: Value) -> Rank:
    """Firestore's order of types: null, booleans, what is not a number, numbers, times, text, bytes, references,
    places, lists, maps: https://firebase.google.com/docs/firestore/manage-data/data-types.
    """
    match value:
        case None:
            return (0, 0)
        case bool():
            return (1, value)
        case int() | float():
            return (3, value) if value == value else (2, 0)
        case datetime():
            return (4, value)
        case str():
            return (5, value.encode())
        case Opaque():
            return (_OPAQUE[value.kind], value.encoded)
        case Mapping():
            return (10, sorted((key, rank(member)) for key, member in value.items()))
        case _:
            return (9, [rank(member) for member in value])


def rank_of_path(path: str) -> Rank:
    """Names of documents are compared segment by segment."""
    return (5, path.replace("/", "\0").encode())


def _order_key(document: Document, field: str) -> Rank:
    return rank_of_path(document.path) if field == "__name__" else rank(at(document, field)[1])


def _same(value: Value, wanted: Value) -> bool:
    return wanted is not None and not _is_nan(wanted) and rank(value) == rank(wanted)


def _is_nan(value: Value) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _members(value: Value) -> Sequence[Value]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _after(document: Document, fields: Sequence[str], query: Query) -> bool:
    for field, bound in zip(fields, query.start_after):
        name = field.lstrip("-")
        here = _order_key(document, name)
        there = rank_of_path(_bound_path(query, bound)) if name == "__name__" else rank(bound)
        if here != there:
            return here < there if field.startswith("-") else here > there
    return False


def _bound_path(query: Query, bound: Value) -> str:
    return str(bound) if query.group else f"{query.collection}/{bound}"


@lru_cache(maxsize=100_000)
def _check_collection(collection: str) -> None:
    """Firestore takes an empty name for every collection there is; nobody means that, and it is refused here."""
    segments = collection.split("/")
    if len(segments) % 2 == 0:
        refuse(f"{collection!r} names a document, not a collection")
    for segment in segments:
        check_segment(segment)
    if len(segments) > MAX_SEGMENTS + 1 or encoded_size(segments[-1]) > MAX_NAME:
        refuse(f"the name of the collection {collection[:80]!r} is too long")


def _check_order(query: Query, fields: Sequence[str]) -> None:
    if len(set(fields)) < len(fields):
        refuse(f"the order names a field twice: {query.order_by}")
    for field in fields[:-1]:
        names_of(field)  # refuses the document's name, behind which no order goes on
    if query.order_by == ("-__name__",) and not query.where:
        refuse("documents by their names downwards, without a condition")
    for where in query.where:
        if where.op in _RANGES and where.field not in fields:
            refuse(f"a range over {where.field!r}, which is not in the order {query.order_by}")


def _check_condition(where: Where) -> None:
    """What no document can hold is refused as a condition too, where Firestore may let it pass and find nothing."""
    names_of(where.field)
    values = [where.value]
    if where.op == "in":
        if isinstance(where.value, str) or not isinstance(where.value, Sequence):
            refuse("`in` takes a list")
        values = [*where.value]
    for value in values:
        copy = Copy()
        copy.value(value)
        if copy.size > MAX_VALUE:
            refuse(f"a condition on {where.field!r} with a value of {copy.size} bytes")


def _check_disjunctions(query: Query, orders: int) -> None:
    choices = [len(_members(where.value)) for where in query.where if where.op == "in"]
    if 0 in choices or math.prod(choices) > MAX_DISJUNCTIONS:
        refuse(f"`in` takes 1 to {MAX_DISJUNCTIONS} values, multiplied when there are several: {choices}")
    contained = [where for where in query.where if where.op == "array_contains"]
    if any(where != contained[0] for where in contained):
        refuse("more than one `array_contains`")
    parts = len(query.where) - len(choices) + sum(choices) + orders + (not query.group)
    if parts > MAX_PARTS:
        refuse(f"{parts} conditions and orders")


def _check_cursor(query: Query, fields: Sequence[str]) -> None:
    if len(query.start_after) > len(fields):
        refuse(f"a cursor of {len(query.start_after)} values, and {len(fields)} fields in the order")
    for field, bound in zip(fields, query.start_after):
        if field == "__name__":
            check_path(_bound_path(query, bound))
        else:
            Copy().value(bound)
