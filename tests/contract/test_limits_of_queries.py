"""What Firestore refuses to look for, and what equals and follows what. On both stores (T-114).

https://firebase.google.com/docs/firestore/query-data/queries (Query limitations), /order-limit-data, /query-cursors and
/multiple-range-fields; https://firebase.google.com/docs/firestore/reference/rpc, StructuredQuery.
"""

import math
from datetime import UTC, datetime

import pytest

from app.kit.errors import InvariantViolation
from app.kit.stores.documents import Create, Documents, Operator, Query, Value, Where

Conditions = tuple[Where, ...]

OVER_A = Where("a", ">", 0)
OVER_B = Where("b", ">", -9)
A_IS_1 = Where("a", "==", 1)
HAS_X = Where("t", "array_contains", "x")


@pytest.fixture
def filled(documents: Documents, place: str) -> str:
    documents.commit([Create(f"{place}/{n}", {"a": n, "b": -n, "c": n % 2, "t": ["x", str(n)]}) for n in range(4)])
    return place


class TestOrders:
    @pytest.mark.parametrize(
        ("where", "order", "found"),
        [
            ((OVER_A,), ("a",), "123"),
            ((OVER_A,), ("-a",), "321"),
            ((OVER_A,), ("a", "b"), "123"),
            ((OVER_A,), ("b", "a"), "321"),
            ((OVER_A,), ("c", "b", "a"), "231"),
            ((OVER_A, OVER_B), ("a", "b"), "123"),
            ((OVER_A, OVER_B), ("c", "b", "a"), "231"),
            ((A_IS_1,), (), "1"),
            ((A_IS_1,), ("a",), "1"),
            ((A_IS_1, OVER_A), ("a",), "1"),
            ((Where("a", "in", [1, 2]),), ("-a",), "21"),
            ((Where("a", "in", [1, 2]), OVER_A), ("a",), "12"),
            ((), ("c", "-__name__"), "2031"),
            ((A_IS_1,), ("-__name__",), "1"),
        ],
    )
    def test_a_range_is_over_any_field_of_the_order(
        self, documents: Documents, filled: str, where: Conditions, order: tuple[str, ...], found: str
    ) -> None:
        assert "".join(one.id for one in documents.query(Query(filled, where, order))) == found

    @pytest.mark.parametrize(
        ("where", "order"),
        [
            ((OVER_A,), ()),
            ((OVER_A,), ("__name__",)),
            ((OVER_A,), ("b",)),
            ((OVER_A, OVER_B), ("a",)),
            ((OVER_A, A_IS_1), ()),
            ((), ("a", "a")),
            ((), ("a", "-a")),
            ((), ("__name__", "a")),
            ((), ("a", "__name__", "b")),
            ((), ("__name__", "-__name__")),
            ((), ("-__name__",)),
        ],
    )
    def test_refused(self, documents: Documents, filled: str, where: Conditions, order: tuple[str, ...]) -> None:
        """The adapter ends every order with the document's name, and Firestore adds the field of a range to an order
        only before that.
        """
        with pytest.raises(InvariantViolation):
            documents.query(Query(filled, where, order))


class TestConditions:
    @pytest.mark.parametrize(
        "where",
        [
            (Where("a", "in", []),),
            (Where("a", "in", [*range(31)]),),
            (Where("a", "in", [1] * 31),),
            (Where("a", "in", 1),),
            (Where("a", "in", "text"),),
            (Where("a", "in", [*range(6)]), Where("b", "in", [*range(6)])),
            (HAS_X, Where("t", "array_contains", "1")),
            (HAS_X, Where("u", "array_contains", "y")),
            tuple(Where(f"f{n}", "==", 1) for n in range(99)),
            (*(Where(f"f{n}", "==", 1) for n in range(69)), Where("a", "in", [*range(30)])),
            (Where("a", "==", 2**63),),
            (Where("a", "in", ["\ud800"]),),
            (Where("a", "==", "x" * 1500),),
            (Where("a", "==", "ż" * 750),),
            (Where("a", "==", {"k": "x" * 1498}),),
            (Where("a", "==", [1] * 188),),
            (Where("a", "==", {"__x__": 1}),),
            (Where("a", "in", [1, "x" * 1500]),),
            (Where("t", "array_contains", "x" * 1500),),
            (Where("__name__", "==", "0"),),
        ],
    )
    def test_refused(self, documents: Documents, filled: str, where: Conditions) -> None:
        with pytest.raises(InvariantViolation):
            documents.query(Query(filled, where))

    @pytest.mark.parametrize(
        ("where", "found"),
        [
            ((Where("a", "in", [*range(30)]),), "0123"),
            ((Where("a", "in", [*range(5)]), Where("b", "in", [-n for n in range(6)])), "0123"),
            ((Where("a", "in", [1, 2]), Where("a", "in", [2, 3])), "2"),
            ((HAS_X, Where("a", "in", [1, 3])), "13"),
            ((HAS_X, HAS_X), "0123"),
            (tuple(Where(f"f{n}", "==", 1) for n in range(98)), ""),
            ((A_IS_1, Where("a", "==", 2)), ""),
            ((Where("a", "==", "x" * 1499),), ""),
            ((Where("a", "==", {"k": "x" * 1497}),), ""),
            ((Where("a", "==", [1] * 187),), ""),
        ],
    )
    def test_taken(self, documents: Documents, filled: str, where: Conditions, found: str) -> None:
        assert "".join(one.id for one in documents.query(Query(filled, where))) == found

    @pytest.mark.parametrize(
        "field", ["", ".a", "a.", "a..b", "a-b", "1a", "m.1", "a b", "ż", "__x__", "`a", "``", "\ud800"]
    )
    def test_a_path_of_plain_names(self, documents: Documents, filled: str, field: str) -> None:
        with pytest.raises(InvariantViolation):
            documents.query(Query(filled, (Where(field, "==", 1),)))
        with pytest.raises(InvariantViolation):
            documents.query(Query(filled, order_by=(field,)))

    @pytest.mark.parametrize("field", ["`a-b`", "m.`1`", "m.`ż.\\``"])
    def test_other_names_in_back_ticks(self, documents: Documents, place: str, field: str) -> None:
        documents.commit([Create(f"{place}/a", {"a-b": 1, "m": {"1": 1, "ż.`": 1}})])
        assert [one.id for one in documents.query(Query(place, (Where(field, "==", 1),), (field,)))] == ["a"]


class TestCollections:
    @pytest.mark.parametrize(
        "collection", ["a/b", "a/", "a//b", "a/../b", "a/__x__/b", "a/b/__x__", "..", "__x__", "x" * 1501, "\ud800"]
    )
    @pytest.mark.parametrize("group", [False, True])
    def test_refused(self, documents: Documents, collection: str, group: bool) -> None:
        with pytest.raises(InvariantViolation):
            documents.query(Query(collection, group=group))

    def test_a_group_in_the_order_of_names_segment_by_segment(self, documents: Documents, place: str) -> None:
        group = f"g{place.split('/')[1]}"
        documents.commit([Create(f"{place}/{owner}/{group}/1", {}) for owner in ("b", "a-b", "a!", "a", "B")])
        found = [one.path.split("/")[3] for one in documents.query(Query(group, group=True))]
        assert found == ["B", "a", "a!", "a-b", "b"]
        rest = documents.query(Query(group, start_after=(f"{place}/a/{group}/1",), group=True))
        assert [one.path.split("/")[3] for one in rest] == ["a!", "a-b", "b"]
        assert len(documents.query(Query(f"{place}/a/{group}", group=True))) == 1


class TestPages:
    @pytest.mark.parametrize("limit", [-1, 2**31])
    def test_a_limit_is_not_negative(self, documents: Documents, filled: str, limit: int) -> None:
        with pytest.raises(InvariantViolation):
            documents.query(Query(filled, limit=limit))
        assert documents.query(Query(filled, limit=0)) == []

    @pytest.mark.parametrize(
        ("order", "after"),
        [
            (("a",), (1, "1", 3)),
            (("__name__",), ("1", "2")),
            ((), ("1/x",)),
            ((), ("",)),
            ((), ("..",)),
            ((), ("__x__",)),
            (("a",), (1, "a/b")),
            (("a",), (2**63,)),
            (("a",), ("\ud800",)),
        ],
    )
    def test_a_cursor_fits_the_order(
        self, documents: Documents, filled: str, order: tuple[str, ...], after: tuple[Value, ...]
    ) -> None:
        with pytest.raises(InvariantViolation):
            documents.query(Query(filled, order_by=order, start_after=after))

    def test_a_cursor_may_be_a_part_long_or_of_nobody(self, documents: Documents, filled: str) -> None:
        assert [one.id for one in documents.query(Query(filled, order_by=("a",), start_after=(1,)))] == ["2", "3"]
        assert documents.query(Query(filled, order_by=("a",), start_after=("x" * 5000,))) == []
        assert [one.id for one in documents.query(Query(filled, start_after=("1/x/y",)))] == ["2", "3"]

    def test_a_cursor_of_a_group_is_a_whole_path(self, documents: Documents, place: str) -> None:
        with pytest.raises(InvariantViolation):
            documents.query(Query("things", start_after=(place,), group=True))


MANY: dict[str, Value] = {
    "null": None,
    "false": False,
    "true": True,
    "nan": math.nan,
    "-inf": -math.inf,
    "-1": -1,
    "0": 0,
    "00": -0.0,
    "1": 1,
    "1.0": 1.0,
    "2**53": float(2**53),
    "2**53+1": 2**53 + 1,
    "inf": math.inf,
    "time": datetime(2026, 1, 1, tzinfo=UTC),
    "empty": "",
    "text": "x",
    "last in UTF-16": "\uffee",
    "last": "🐵",
    "[]": [],
    "[1]": [1],
    "{}": {},
    "{x:1}": {"x": 1},
}
"""A value of every kind by its document's id, in Firestore's order."""


class TestValues:
    @pytest.fixture
    def place(self, documents: Documents, place: str) -> str:
        documents.commit(
            [
                Create(f"{place}/{id}", {"v": value, "l": [value]})
                for id, value in MANY.items()
                if not isinstance(value, list)
            ]
        )
        documents.commit(
            [Create(f"{place}/{id}", {"v": value}) for id, value in MANY.items() if isinstance(value, list)]
        )
        return place

    def test_stand_in_one_order(self, documents: Documents, place: str) -> None:
        assert [one.id for one in documents.query(Query(place, order_by=("v",)))] == [*MANY]
        down = [one.id for one in documents.query(Query(place, order_by=("-v",)))]
        assert [MANY[id] for id in down[:3]] == [{"x": 1}, {}, [1]]

    @pytest.mark.parametrize(
        ("op", "value", "found"),
        [
            ("==", None, ["null"]),
            ("==", math.nan, []),
            ("==", 1, ["1", "1.0"]),
            ("==", True, ["true"]),
            ("==", 0.0, ["0", "00"]),
            ("==", 2**53 + 1, ["2**53+1"]),
            ("==", {}, ["{}"]),
            ("==", [1.0], ["[1]"]),
            ("in", [None, math.nan, 1], ["1", "1.0"]),
            ("in", [True], ["true"]),
            ("in", [{"x": 1}, [1]], ["[1]", "{x:1}"]),
            ("<", 0, ["-1", "-inf"]),
            ("<=", math.nan, []),
            (">", None, []),
            (">=", None, []),
            (">", 2**53, ["2**53+1", "inf"]),
            (">=", True, ["true"]),
            (">", "x", ["last", "last in UTF-16"]),
            ("<", [1], ["[]"]),
            (">", {}, ["{x:1}"]),
            ("<=", datetime(2026, 1, 1, tzinfo=UTC), ["time"]),
        ],
    )
    def test_equal_and_follow_within_their_kind(
        self, documents: Documents, place: str, op: Operator, value: Value, found: list[str]
    ) -> None:
        order = () if op in ("==", "in") else ("v",)
        assert sorted(one.id for one in documents.query(Query(place, (Where("v", op, value),), order))) == found

    @pytest.mark.parametrize(
        ("value", "found"),
        [(None, []), (math.nan, []), (1, ["1", "1.0"]), (True, ["true"]), ({"x": 1}, ["{x:1}"]), ("x", ["text"])],
    )
    def test_are_contained(self, documents: Documents, place: str, value: Value, found: list[str]) -> None:
        assert [one.id for one in documents.query(Query(place, (Where("l", "array_contains", value),)))] == found
