"""Which queries need an index that somebody must have made. In memory only: the emulator answers every query (T-114).

https://firebase.google.com/docs/firestore/query-data/index-overview
"""

import pytest

from app.kit.errors import InvariantViolation
from app.kit.stores.documents import Query, Where
from support.firestore.indexes import Indexes
from support.memory import MemoryDocuments

UP, DOWN, CONTAINS = {"order": "ASCENDING"}, {"order": "DESCENDING"}, {"arrayConfig": "CONTAINS"}
COLLECTION, GROUP = {"queryScope": "COLLECTION"}, {"queryScope": "COLLECTION_GROUP"}


def index(scope: dict[str, str], **fields: dict[str, str]) -> dict[str, object]:
    listed = [{"fieldPath": name, **how} for name, how in fields.items()]
    return {"collectionGroup": "c", **scope, "fields": listed}


def override(group: str, field: str, *indexes: dict[str, str]) -> dict[str, object]:
    return {"collectionGroup": group, "fieldPath": field, "indexes": [*indexes]}


FILE = {
    "indexes": [
        index(COLLECTION, a=UP, n=DOWN),
        index(COLLECTION, b=DOWN, n=DOWN),
        index(COLLECTION, t=CONTAINS, n=UP),
        index(COLLECTION, m=UP, __name__=DOWN),
        index(COLLECTION, a=UP, x=UP, y=UP),
        index(GROUP, a=UP, n=UP),
    ],
    "fieldOverrides": [
        override("c", "plain"),
        override("c", "plain.but", UP | COLLECTION),
        override("c", "id", UP | COLLECTION, UP | GROUP, CONTAINS | GROUP),
        override("bare", "*"),
        override("bare", "id", UP | COLLECTION),
    ],
}


def equal(*fields: str) -> tuple[Where, ...]:
    return tuple(Where(field, "==", 1) for field in fields)


SERVED = {
    "everything": Query("c"),
    "one field": Query("c", equal("q")),
    "several fields, merged": Query("c", equal("q", "r", "a")),
    "an order": Query("c", order_by=("-q",)),
    "a range": Query("c", (Where("q", ">", 1),), ("q",)),
    "a range of both ends, downwards": Query("c", (Where("q", ">", 1), Where("q", "<", 9)), ("-q",)),
    "in": Query("c", (Where("q", "in", [1, 2]), *equal("r"))),
    "contains": Query("c", (Where("q", "array_contains", 1), *equal("r"))),
    "an order that is one value": Query("c", equal("q"), ("q",)),
    "equal, downwards by name": Query("c", equal("q", "r"), ("-__name__",)),
    "in a map": Query("c", equal("q.r.s")),
    "equal and an order": Query("c", equal("a"), ("-n",)),
    "in and an order": Query("c", (Where("a", "in", [1, 2]),), ("-n",)),
    "equal and a range": Query("c", (*equal("a"), Where("n", "<", 1)), ("-n",)),
    "equal in an index downwards": Query("c", equal("b"), ("-n",)),
    "two indexes, merged": Query("c", equal("a", "b"), ("-n",)),
    "contains and an order": Query("c", (Where("t", "array_contains", 1),), ("n",)),
    "two ranges": Query("c", (*equal("a"), Where("x", ">", 1), Where("y", ">", 1)), ("x", "y")),
    "names against the order": Query("c", order_by=("m", "-__name__")),
    "anywhere under a parent": Query("p/1/c", equal("a"), ("-n",)),
    "a group": Query("c", group=True),
    "a group by one field": Query("c", equal("id"), group=True),
    "a group in an order": Query("c", order_by=("id",), group=True),
    "a group, equal and an order": Query("c", equal("a"), ("n",), group=True),
    "a group that contains": Query("c", (Where("id", "array_contains", 1),), group=True),
    "an exemption from an exemption": Query("c", equal("plain.but")),
    "a field of a bare collection": Query("bare", order_by=("id",)),
}

MISSING = {
    "equal and an order": Query("c", equal("q"), ("n",)),
    "equal and the order turned round": Query("c", equal("a"), ("n",)),
    "equal and a range": Query("c", (*equal("q"), Where("n", "<", 1)), ("n",)),
    "in and an order": Query("c", (Where("q", "in", [1, 2]),), ("n",)),
    "contains and an order": Query("c", (Where("q", "array_contains", 1),), ("n",)),
    "equal where the index contains": Query("c", equal("t"), ("n",)),
    "two orders": Query("c", order_by=("q", "n")),
    "two ranges": Query("c", (Where("q", ">", 1), Where("n", ">", 1)), ("q", "n")),
    "one field too many for the indexes": Query("c", equal("a", "b", "q"), ("-n",)),
    "the order without what stands before it": Query("c", order_by=("x", "y")),
    "a part of the order": Query("c", equal("a"), ("x",)),
    "names against the order": Query("c", order_by=("q", "-__name__")),
    "a group by a field": Query("c", equal("q"), group=True),
    "a group in an order": Query("c", order_by=("q",), group=True),
    "a group downwards": Query("c", order_by=("-id",), group=True),
    "a group in the other direction": Query("c", equal("a"), ("-n",), group=True),
    "an exempted field": Query("c", equal("plain")),
    "in an exempted map": Query("c", equal("plain.q")),
    "an exempted field among others": Query("c", equal("q", "plain")),
    "an order by an exempted field": Query("c", order_by=("plain",)),
    "downwards by a field that is indexed upwards": Query("c", order_by=("-id",)),
    "contained in a field that is indexed as a whole": Query("c", (Where("plain.but", "array_contains", 1),)),
    "any field of a bare collection": Query("bare", equal("q")),
    "an index of another collection": Query("d", equal("a"), ("-n",)),
}


@pytest.fixture
def memory() -> MemoryDocuments:
    return MemoryDocuments(Indexes(FILE))


@pytest.mark.parametrize("name", SERVED)
def test_is_answered(memory: MemoryDocuments, name: str) -> None:
    assert memory.query(SERVED[name]) == []


@pytest.mark.parametrize("name", MISSING)
def test_is_refused(memory: MemoryDocuments, name: str) -> None:
    with pytest.raises(InvariantViolation, match="no index"):
        memory.query(MISSING[name])


def test_unless_the_store_is_told_that_every_index_is_there() -> None:
    for query in MISSING.values():
        assert MemoryDocuments(indexes=None).query(query) == []
