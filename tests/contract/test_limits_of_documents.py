"""What Firestore refuses to name, to hold or to keep, and what it keeps otherwise than it was given. On both
stores (T-114).

https://firebase.google.com/docs/firestore/quotas
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum, StrEnum

import pytest

from app.kit.errors import InvariantViolation
from app.kit.stores.documents import Create, Delete, Documents, Fields, Increment, Merge, Replace, Value
from support.memory import MemoryDocuments

BACK = timezone(timedelta(hours=-5))


class State(StrEnum):
    OPEN = "open"


class Level(IntEnum):
    HIGH = 3


def refused(documents: Documents, place: str, fields: Fields) -> bool:
    """Whether a document with these fields is refused; else it is there."""
    try:
        documents.commit([Replace(f"{place}/a", fields)])
    except InvariantViolation:
        return True
    assert documents.get(f"{place}/a") is not None
    return False


def kept(documents: Documents, place: str, fields: Fields) -> Fields:
    documents.commit([Replace(f"{place}/a", fields)])
    stored = documents.get(f"{place}/a")
    assert stored is not None
    return stored.fields


def maps(levels: int, innermost: Value) -> Value:
    value = innermost
    for _ in range(levels):
        value = {"m": value}
    return value


class TestNames:
    @pytest.mark.parametrize(
        "path",
        [
            "",
            "/",
            "a",
            "a/b/c",
            "a/",
            "/a/b",
            "a//b",
            "a/b/",
            "a/.",
            "a/..",
            "./a",
            "../a",
            "a/__b__",
            "__a__/b",
            "a/\ud800",
        ],
    )
    def test_what_names_no_document(self, documents: Documents, path: str) -> None:
        for write in (Create(path, {}), Replace(path, {}), Merge(path, {"x": 1}), Delete(path)):
            with pytest.raises(InvariantViolation):
                documents.commit([write])
        with pytest.raises(InvariantViolation):
            documents.get(path)
        with pytest.raises(InvariantViolation):
            documents.get_all([path, "contract/a"])

    def test_an_id_with_a_slash_is_refused_or_lands_elsewhere(self, documents: Documents, place: str) -> None:
        with pytest.raises(InvariantViolation):
            documents.commit([Create(f"{place}/{'a/b'}", {})])
        documents.commit([Create(f"{place}/{'a/b/c'}", {"n": 1})])
        assert documents.get(f"{place}/a") is None
        assert documents.get(f"{place}/a/b/c") is not None

    @pytest.mark.parametrize(
        "id", ["...", "__", "___", "__a", "a__", " ", "\n", "%2F", "a.b", "ż🐵", "[*]", "x" * 1500, "ż" * 750]
    )
    def test_what_looks_odd_and_is_an_id(self, documents: Documents, place: str, id: str) -> None:
        documents.commit([Create(f"{place}/{id}", {"n": 1})])
        stored = documents.get(f"{place}/{id}")
        assert stored is not None
        assert stored.id == id

    @pytest.mark.parametrize("id", ["x" * 1501, "ż" * 751])
    def test_a_longer_id_is_not_written_but_may_be_asked_for(self, documents: Documents, place: str, id: str) -> None:
        with pytest.raises(InvariantViolation):
            documents.commit([Create(f"{place}/{id}", {})])
        assert documents.get(f"{place}/{id}") is None

    def test_a_hundred_collections_deep_and_no_more(self, documents: Documents, place: str) -> None:
        documents.commit([Replace("/".join(["a"] * 200), {})])
        with pytest.raises(InvariantViolation):
            documents.commit([Replace("/".join(["a"] * 202), {})])

    def test_a_whole_name_has_six_kibibytes(self) -> None:
        """In memory: the emulator takes a longer one."""
        ids = "/".join(["x" * 1023] * 6)
        MemoryDocuments().commit([Create(ids, {})])
        with pytest.raises(InvariantViolation):
            MemoryDocuments().commit([Create(f"{ids}/c/d", {})])


class TestFieldNames:
    @pytest.mark.parametrize("name", ["", "__x__", "__name__", "x" * 1501, "ż" * 751, "\ud800"])
    def test_refused_wherever_they_stand(self, documents: Documents, place: str, name: str) -> None:
        assert refused(documents, place, {name: 1})
        assert refused(documents, place, {"m": {name: 1}})
        assert refused(documents, place, {"l": [{name: 1}]})
        for key in (name, ("m", name)):
            with pytest.raises(InvariantViolation):
                documents.commit([Merge(f"{place}/a", {key: 1})])

    @pytest.mark.parametrize("name", ["__", "___", "__x", ".", "a.b", "a`b", "a\\b", "a/b", "\n", "ż"])
    def test_that_look_odd_and_are_kept(self, documents: Documents, place: str, name: str) -> None:
        fields: dict[str, Value] = {name: 1, "m": {name: 2}}
        assert kept(documents, place, fields) == fields
        documents.commit([Merge(f"{place}/b", {name: 1, ("m", name): Increment(2)})])
        merged = documents.get(f"{place}/b")
        assert merged is not None
        assert merged.fields == fields

    def test_a_path_of_names_has_1500_bytes_at_most(self, documents: Documents, place: str) -> None:
        assert not refused(documents, place, {"m": {"x" * 1498: 1}})
        assert refused(documents, place, {"m": {"x" * 1499: 1}})
        assert not refused(documents, place, {"m": {"n": [{"x" * 1496: {}}]}})
        assert refused(documents, place, {"m": {"n": [{"x" * 1497: {}}]}})


class TestValues:
    @pytest.mark.parametrize(
        "value",
        [
            2**63,
            -(2**63) - 1,
            "\ud800",
            "half \udc35 of a pair",
            datetime(2026, 1, 1),
            [[1]],
            [{"m": [[]]}],
            [b"ab"],
            "x" * 1_048_488,
            "ż" * 524_244,
        ],
        ids=["2**63", "-(2**63)-1", "half", "half inside", "no zone", "[[]]", "[{[[]]}]", "[b]", "long", "long ż"],
    )
    def test_refused_wherever_they_stand(self, documents: Documents, place: str, value: Value) -> None:
        assert refused(documents, place, {"a": value})
        assert refused(documents, place, {"a": {"b": [{"c": value}]}})
        with pytest.raises(InvariantViolation):
            documents.commit([Merge(f"{place}/a", {("m", "b"): value})])

    @pytest.mark.parametrize("by", [2**63, -(2**63) - 1])
    def test_an_increment_has_64_bits(self, documents: Documents, place: str, by: int) -> None:
        with pytest.raises(InvariantViolation):
            documents.commit([Merge(f"{place}/a", {"n": Increment(by)})])

    def test_kept_as_they_are(self, documents: Documents, place: str) -> None:
        fields: dict[str, Value] = {
            "most": 2**63 - 1,
            "least": -(2**63),
            "exact": 2**53 + 1,
            "float": 3.0,
            "tiny": 5e-324,
            "endless": math.inf,
            "nul": "a\0b",
            "first": datetime(1, 1, 1, tzinfo=UTC),
            "last": datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        }
        found = kept(documents, place, fields)
        assert found == fields
        assert {name: type(value) for name, value in found.items()} == {n: type(v) for n, v in fields.items()}

    def test_not_a_number_is_a_number(self, documents: Documents, place: str) -> None:
        found = kept(documents, place, {"nan": math.nan, "zero": -0.0})
        assert isinstance(found["nan"], float)
        assert math.isnan(found["nan"])
        assert math.copysign(1, found["zero"]) == -1 if isinstance(found["zero"], float) else False

    def test_come_back_as_the_plain_kinds(self, documents: Documents, place: str) -> None:
        """T-52: what is hashed must be what is read."""
        at = datetime(2026, 1, 1, 20, tzinfo=BACK)
        given: dict[str, Value] = {"t": (1, "b"), "b": b"ab", "s": State.OPEN, "i": Level.HIGH, "at": at}
        found = kept(documents, place, given)
        assert found == {"t": [1, "b"], "b": [97, 98], "s": "open", "i": 3, "at": at}
        assert [type(found[name]) for name in "tbsi"] == [list, list, str, int]
        assert isinstance(found["at"], datetime)
        assert found["at"].tzinfo == UTC

    def test_what_the_caller_changes_later_does_not_reach_the_store(self, documents: Documents, place: str) -> None:
        inner: dict[str, Value] = {"n": 1}
        documents.commit([Create(f"{place}/a", {"m": inner}), Merge(f"{place}/b", {"m": inner})])
        inner["n"] = 2
        assert [found and found.fields for found in documents.get_all([f"{place}/a", f"{place}/b"])] == [
            {"m": {"n": 1}},
            {"m": {"n": 1}},
        ]


class TestDepth:
    @pytest.mark.parametrize(
        ("levels", "innermost", "taken"),
        [
            (20, 1, True),
            (21, 1, False),
            (19, {}, True),
            (20, {}, False),
            (19, [1], True),
            (20, [1], False),
            (20, [], True),
            (18, [{"x": 1}], True),
            (19, [{"x": 1}], False),
        ],
    )
    def test_twenty_maps_and_lists(
        self, documents: Documents, place: str, levels: int, innermost: Value, taken: bool
    ) -> None:
        assert refused(documents, place, {"a": maps(levels, innermost)}) is not taken

    def test_a_merge_reaches_no_deeper(self, documents: Documents, place: str) -> None:
        documents.commit([Merge(f"{place}/a", {("m",) * 20: 1})])
        documents.commit([Merge(f"{place}/a", {("m",) * 19: {"m": {}}})])
        for names, value in ((21, 1), (20, {"m": {}})):
            with pytest.raises(InvariantViolation):
                documents.commit([Merge(f"{place}/a", {("m",) * names: value})])


class TestSize:
    """1 MiB by https://firebase.google.com/docs/firestore/storage-size, to the byte."""

    SHAPES: Mapping[str, tuple[Fields, int]] = {
        "number": ({"a": 1}, 2 + 8),
        "float": ({"a": 0.5}, 2 + 8),
        "boolean and null": ({"a": True, "b": None}, 2 * (2 + 1)),
        "text": ({"ż": "ż"}, 3 + 3),
        "time": ({"a": datetime(2026, 1, 1, tzinfo=UTC)}, 2 + 8),
        "list": ({"a": [1, "x", None]}, 2 + 8 + 2 + 1),
        "map": ({"a": {"b": {"c": 1, "d": 2}}}, 2 + 2 + 2 * (2 + 8)),
        "list of maps": ({"a": [{"b": 1}, {"c": 2}]}, 2 + 2 * (2 + 8)),
        "nothing in it": ({"a": {}, "b": []}, 2 * (2 + 1)),
    }

    @pytest.mark.parametrize("shape", SHAPES)
    def test_a_document_may_be_full_to_the_last_byte(self, documents: Documents, place: str, shape: str) -> None:
        fields, costs = self.SHAPES[shape]
        free = 1_048_576 - self.name(f"{place}/a") - 32 - costs - len("p1.p2.") - 2
        assert not refused(documents, place, {**fields, "p1": "x" * 500_000, "p2": "x" * (free - 500_000)})
        assert refused(documents, place, {**fields, "p1": "x" * 500_000, "p2": "x" * (free - 499_999)})

    def test_one_text_is_shorter_than_a_document(self, documents: Documents, place: str) -> None:
        assert not refused(documents, place, {"a": "x" * 1_048_487})

    def test_a_merge_is_measured_with_what_is_there(self, documents: Documents, place: str) -> None:
        documents.commit([Create(f"{place}/a", {"a": "x" * 600_000})])
        with pytest.raises(InvariantViolation):
            documents.commit([Create(f"{place}/b", {}), Merge(f"{place}/a", {"b": "x" * 600_000})])
        assert documents.get(f"{place}/b") is None
        documents.commit([Merge(f"{place}/a", {"b": "x" * 600_000}), Merge(f"{place}/a", {"a": 1})])
        for _ in range(3):
            documents.commit([Merge(f"{place}/a", {"b": "x" * 600_000})])

    def name(self, path: str) -> int:
        return 16 + sum(len(segment) + 1 for segment in path.split("/"))
