"""The contract of `Documents`, proved of the in-memory store and of Firestore."""

from datetime import UTC, datetime

import pytest
from google.cloud.firestore_v1.types import document

from app.kit.errors import AlreadyExists, Conflict
from app.kit.stores.documents import (
    Create,
    Delete,
    Documents,
    Increment,
    Merge,
    Opaque,
    Query,
    Replace,
    Value,
    Version,
    Where,
)

_PbValue = document.Value.pb()


class TestReading:
    def test_what_is_not_there_is_none(self, documents: Documents, place: str) -> None:
        assert documents.get(f"{place}/no") is None
        assert documents.get_all([]) == []

    def test_a_document_comes_back_as_it_was_written(self, documents: Documents, place: str) -> None:
        fields: dict[str, Value] = {
            "none": None,
            "yes": True,
            "count": 2**53 - 1,
            "less": -5,
            "half": 0.5,
            "text": "zażółć 🐵",
            "at": datetime(2026, 11, 21, 3, 4, 5, 678901, tzinfo=UTC),
            "list": [1, "two", {"three": [3]}],
            "map": {"a": {"b": None}, "with.dot": 1},
            "empty_list": [],
            "empty_map": {},
        }
        documents.commit([Create(f"{place}/a", fields)])
        stored = documents.get(f"{place}/a")
        assert stored is not None
        assert stored.fields == fields
        assert stored.id == "a"

    def test_what_an_operator_put_there_can_be_read_and_written_back(self, documents: Documents, place: str) -> None:
        """T-105: of kinds that we never write. One such field hid every document of a query's answer."""
        fields: dict[str, Value] = {
            "place": Opaque("geo_point_value", _PbValue(geo_point_value={"latitude": 50.25}).SerializeToString()),
            "in": {"list": [Opaque("bytes_value", _PbValue(bytes_value=b"\0\xff").SerializeToString())]},
        }
        documents.commit([Create(f"{place}/a", {"n": 1, **fields}), Create(f"{place}/b", {"n": 2})])
        first, second = documents.query(Query(place, order_by=("n",)))
        assert (first.fields, second.fields) == ({"n": 1, **fields}, {"n": 2})
        documents.commit([Replace(first.path, {**first.fields, "n": 3}, first.version)])
        again = documents.get(first.path)
        assert again is not None and again.fields == {"n": 3, **fields}

    def test_several_come_in_the_order_asked_for(self, documents: Documents, place: str) -> None:
        documents.commit([Create(f"{place}/{name}", {"name": name}) for name in "abc"])
        found = documents.get_all([f"{place}/c", f"{place}/no", f"{place}/a", f"{place}/c"])
        assert [document and document.id for document in found] == ["c", None, "a", "c"]


class TestCommitting:
    def test_a_second_create_is_refused_and_nothing_of_its_commit_is_written(
        self, documents: Documents, place: str
    ) -> None:
        documents.commit([Create(f"{place}/a", {"n": 1})])
        with pytest.raises(AlreadyExists):
            documents.commit([Create(f"{place}/b", {"n": 2}), Create(f"{place}/a", {"n": 2})])
        assert documents.get(f"{place}/b") is None

    def test_a_replace_holds_only_over_the_version_it_names(self, documents: Documents, place: str) -> None:
        (first,) = documents.commit([Create(f"{place}/a", {"n": 1, "gone": True})])
        (second,) = documents.commit([Replace(f"{place}/a", {"n": 2}, first)])
        assert second != first
        with pytest.raises(Conflict):
            documents.commit([Replace(f"{place}/a", {"n": 3}, first)])
        stored = documents.get(f"{place}/a")
        assert stored is not None
        assert (stored.fields, stored.version) == ({"n": 2}, second)

    def test_a_replace_may_keep_what_it_does_not_name(self, documents: Documents, place: str) -> None:
        """A newer version of the code, or an operator, put it there."""
        (version,) = documents.commit([Create(f"{place}/a", {"n": 1, "map": {"a": 1}, "odd.name": "theirs"})])
        documents.commit([Replace(f"{place}/a", {"n": 2, "map": {"b": 2}}, version, keep_others=True)])
        stored = documents.get(f"{place}/a")
        assert stored is not None and stored.fields == {"n": 2, "map": {"b": 2}, "odd.name": "theirs"}
        with pytest.raises(Conflict):
            documents.commit([Replace(f"{place}/a", {"n": 3}, version, keep_others=True)])

    def test_a_replace_or_delete_of_a_version_that_is_gone_conflicts(self, documents: Documents, place: str) -> None:
        (version,) = documents.commit([Create(f"{place}/a", {"n": 1})])
        documents.commit([Delete(f"{place}/a", version)])
        for write in (Replace(f"{place}/a", {"n": 2}, version), Delete(f"{place}/a", version)):
            with pytest.raises(Conflict):
                documents.commit([write])

    def test_the_version_of_a_commit_is_the_version_that_is_read(self, documents: Documents, place: str) -> None:
        versions = documents.commit([Create(f"{place}/a", {"n": 1}), Create(f"{place}/b", {"n": 1})])
        read = documents.get_all([f"{place}/a", f"{place}/b"])
        assert [document.version for document in read if document] == versions

    def test_a_delete_without_version_never_fails(self, documents: Documents, place: str) -> None:
        assert documents.commit([Delete(f"{place}/never")]) == [Version(0)]

    def test_a_merge_adds_replaces_and_keeps(self, documents: Documents, place: str) -> None:
        documents.commit([Merge(f"{place}/a", {"count": Increment(2), ("models", "m-1.x", "tokens"): Increment(7)})])
        documents.commit(
            [
                Merge(
                    f"{place}/a",
                    {"count": Increment(-5), ("models", "m-1.x", "tokens"): Increment(1), ("models", "b", "name"): "x"},
                )
            ]
        )
        stored = documents.get(f"{place}/a")
        assert stored is not None
        assert stored.fields == {"count": -3, "models": {"m-1.x": {"tokens": 8}, "b": {"name": "x"}}}


class TestQuerying:
    def test_conditions_order_limit_and_the_next_page(self, documents: Documents, place: str) -> None:
        documents.commit([Create(f"{place}/{n:02d}", {"n": n % 3, "even": n % 2 == 0}) for n in range(10)])
        evens = Query(place, where=(Where("even", "==", True),), order_by=("-n",), limit=3)
        first = documents.query(evens)
        assert [(d.fields["n"], d.id) for d in first] == [(2, "08"), (2, "02"), (1, "04")]
        last = first[-1]
        rest = documents.query(
            Query(place, where=(Where("even", "==", True),), order_by=("-n",), start_after=(last.fields["n"], last.id))
        )
        assert [d.id for d in rest] == ["06", "00"]

    def test_ranges_and_null(self, documents: Documents, place: str) -> None:
        documents.commit([Create(f"{place}/{n}", {"due": n}) for n in range(5)])
        documents.commit([Create(f"{place}/never", {"due": None}), Create(f"{place}/silent", {})])
        due = documents.query(Query(place, where=(Where("due", "<=", 2), Where("due", ">", 0)), order_by=("due",)))
        assert [d.id for d in due] == ["1", "2"]
        assert [d.id for d in documents.query(Query(place, where=(Where("due", "==", None),)))] == ["never"]

    def test_membership(self, documents: Documents, place: str) -> None:
        documents.commit([Create(f"{place}/{n}", {"n": n, "tags": ["x", str(n)]}) for n in range(4)])
        assert [d.id for d in documents.query(Query(place, where=(Where("n", "in", [1, 3, 9]),)))] == ["1", "3"]
        assert [d.id for d in documents.query(Query(place, where=(Where("tags", "array_contains", "2"),)))] == ["2"]

    def test_a_group_reaches_into_every_parent(self, documents: Documents, place: str) -> None:
        group = f"g{abs(hash(place))}"
        documents.commit([Create(f"{place}/{owner}/{group}/1", {"owner": owner}) for owner in "ab"])
        found = documents.query(Query(group, where=(Where("owner", "in", ["a", "b"]),), group=True))
        assert sorted(str(d.fields["owner"]) for d in found) == ["a", "b"]
