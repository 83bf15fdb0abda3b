"""What Firestore refuses in a commit, and what it makes of several writes of one document. On both stores (T-114).

https://firebase.google.com/docs/firestore/quotas, Writes and transactions
"""

from collections.abc import Callable, Mapping

import pytest

from app.kit.errors import AlreadyExists, Conflict, InvariantViolation, Unavailable
from app.kit.stores.documents import Create, Delete, Documents, Increment, Merge, Replace, Value, Version, Write
from support.memory import MemoryDocuments

OTHER = Version(5000)
"""A version that no document of these tests ever has."""

WRITES: Mapping[str, Callable[[str, str, Version], Write]] = {
    "create": lambda path, name, _: Create(path, {name: 1}),
    "replace": lambda path, name, _: Replace(path, {name: 1}),
    "replace@": lambda path, name, version: Replace(path, {name: 1}, version),
    "replace@other": lambda path, name, _: Replace(path, {name: 1}, OTHER),
    "merge": lambda path, name, _: Merge(path, {name: 1}),
    "delete": lambda path, _, __: Delete(path),
    "delete@": lambda path, _, version: Delete(path, version),
    "delete@other": lambda path, _, __: Delete(path, OTHER),
}
"""The version after an @ is the document's; 0 stands for none."""

OVER_A_DOCUMENT = """
                create   replace   replace@ replace@other merge    delete   delete@  delete@other
create          refused  exists    refused  refused       exists   exists   refused  refused
replace         refused  b         refused  refused       ab       -        refused  refused
replace@        refused  b         b        refused       ab       -        -        refused
replace@other   refused  conflict  refused  conflict      conflict conflict refused  conflict
merge           refused  b         refused  refused       abx      -        refused  refused
delete          b        b         refused  refused       b        -        refused  refused
delete@         b        b         refused  refused       b        -        -        refused
delete@other    conflict conflict  refused  refused       conflict conflict refused  conflict
"""

OVER_NOTHING = """
                create   replace   replace@ replace@other merge    delete   delete@  delete@other
create          refused  b         refused  refused       ab       -        refused  refused
replace         refused  b         refused  refused       ab       -        refused  refused
replace@        refused  b         refused  refused       ab       -        -        refused
replace@other   refused  conflict  refused  conflict      conflict conflict refused  conflict
merge           refused  b         refused  refused       ab       -        refused  refused
delete          b        b         refused  refused       b        -        refused  refused
delete@         b        b         b        refused       b        -        -        refused
delete@other    conflict conflict  refused  refused       conflict conflict refused  conflict
"""
"""What the second write (across) after the first (down) in one commit leaves: the names of the fields, or a failure."""


class TestWritesOfOneDocument:
    @pytest.mark.parametrize(
        ("first", "second", "left", "there"),
        [
            (line.split()[0], second, left, there)
            for there, table in ((True, OVER_A_DOCUMENT), (False, OVER_NOTHING))
            for line in table.strip("\n").splitlines()[1:]
            for second, left in zip(table.split("\n")[1].split(), line.split()[1:], strict=True)
        ],
    )
    def test_two_are_taken_together_or_refused(
        self, documents: Documents, place: str, first: str, second: str, left: str, there: bool
    ) -> None:
        path, version = f"{place}/a", Version(0)
        if there:
            (version,) = documents.commit([Create(path, {"x": 1})])
        try:
            versions = documents.commit([WRITES[first](path, "a", version), WRITES[second](path, "b", version)])
        except (InvariantViolation, AlreadyExists, Conflict) as failure:
            names = {InvariantViolation: "refused", AlreadyExists: "exists", Conflict: "conflict"}
            assert names[type(failure)] == left
            assert (documents.get(path) is not None) == there
            return
        stored = documents.get(path)
        assert ("-" if stored is None else "".join(sorted(stored.fields))) == left
        assert versions == [stored.version if stored else Version(0)] * 2

    def test_of_three_the_last_two_are_taken_together_as_well(self, documents: Documents, place: str) -> None:
        path = f"{place}/a"
        documents.commit([Create(path, {"a": 1}), Delete(path), Create(path, {"b": 1})])
        with pytest.raises(InvariantViolation):
            documents.commit([Delete(path), Create(path, {"c": 1}), Create(path, {"d": 1})])
        stored = documents.get(path)
        assert stored is not None
        assert stored.fields == {"b": 1}

    def test_writes_of_two_documents_do_not_disturb_each_other(self, documents: Documents, place: str) -> None:
        documents.commit([Create(f"{place}/a", {}), Create(f"{place}/b", {}), Merge(f"{place}/a", {"n": 1})])
        assert [found and found.fields for found in documents.get_all([f"{place}/a", f"{place}/b"])] == [{"n": 1}, {}]


class TestVersions:
    def test_nothing_has_version_0(self, documents: Documents, place: str) -> None:
        documents.commit([Replace(f"{place}/a", {}, Version(0))])
        with pytest.raises(Conflict):
            documents.commit([Replace(f"{place}/a", {}, Version(0))])
        assert documents.commit([Delete(f"{place}/b", Version(0))]) == [Version(0)]

    @pytest.mark.parametrize("off", [1, 999])
    def test_are_whole_microseconds(self, documents: Documents, place: str, off: int) -> None:
        (version,) = documents.commit([Create(f"{place}/a", {})])
        for write in (Replace(f"{place}/a", {}, Version(version + off)), Delete(f"{place}/a", Version(-off))):
            with pytest.raises(InvariantViolation):
                documents.commit([write])


class TestMerges:
    @pytest.mark.parametrize(
        ("before", "merged", "after"),
        [
            ({}, {}, {}),
            ({"x": 1}, {}, {"x": 1}),
            ({"m": {"z": 1}}, {"m": {"a": 1}}, {"m": {"a": 1}}),
            ({"m": {"z": 1}}, {("m", "a"): 1}, {"m": {"z": 1, "a": 1}}),
            ({"m": {"z": 1}}, {"m.a": 1}, {"m": {"z": 1}, "m.a": 1}),
            ({"m": [1]}, {("m", "a", "b"): 1}, {"m": {"a": {"b": 1}}}),
            ({}, {"m": {"a": 1}, ("m", "b"): 2}, {"m": {"a": 1, "b": 2}}),
            ({}, {("m", "b"): 2, "m": {"a": 1}}, {"m": {"a": 1}}),
            ({}, {("m", "b"): 2, "m": 1}, {"m": 1}),
            ({}, {("m", "b"): Increment(2), "m": {"a": 1}}, {"m": {"a": 1, "b": 2}}),
            ({}, {"a": 1, ("a",): Increment(2)}, {"a": 3}),
            ({}, {"a": Increment(1), ("a",): Increment(2)}, {"a": 3}),
            ({"a": 1.5}, {"a": Increment(2)}, {"a": 3.5}),
            ({"a": True}, {"a": Increment(2)}, {"a": 2}),
            ({"a": "x"}, {"a": Increment(2)}, {"a": 2}),
            ({"a": None}, {"a": Increment(2)}, {"a": 2}),
            ({"a": 2**63 - 1}, {"a": Increment(2)}, {"a": 2**63 - 1}),
            ({"a": -(2**63)}, {"a": Increment(-2)}, {"a": -(2**63)}),
        ],
    )
    def test_what_they_leave(
        self,
        documents: Documents,
        place: str,
        before: Mapping[str, Value],
        merged: Mapping[str | tuple[str, ...], Value | Increment],
        after: Mapping[str, Value],
    ) -> None:
        documents.commit([Create(f"{place}/a", before)])
        documents.commit([Merge(f"{place}/a", merged)])
        stored = documents.get(f"{place}/a")
        assert stored is not None
        assert stored.fields == after
        assert [type(value) for value in stored.fields.values()] == [type(after[name]) for name in stored.fields]

    def test_an_empty_one_makes_the_document(self, documents: Documents, place: str) -> None:
        documents.commit([Merge(f"{place}/a", {})])
        assert documents.get(f"{place}/a") is not None

    def test_what_is_no_map_and_something_inside_it(self, documents: Documents, place: str) -> None:
        with pytest.raises(InvariantViolation):
            documents.commit([Merge(f"{place}/a", {"m": 1, ("m", "b"): 2})])


class TestTheOrderOfRefusals:
    def test_what_can_never_be_is_said_before_what_lost_a_race(self, documents: Documents, place: str) -> None:
        documents.commit([Create(f"{place}/a", {})])
        with pytest.raises(InvariantViolation):
            documents.commit([Create(f"{place}/a", {}), Create(f"{place}/b", {"__x__": 1})])

    @pytest.mark.parametrize(("turned", "failure"), [(False, AlreadyExists), (True, Conflict)])
    def test_of_two_lost_races_the_first_is_told(
        self, documents: Documents, place: str, turned: bool, failure: type[Conflict]
    ) -> None:
        documents.commit([Create(f"{place}/a", {}), Create(f"{place}/b", {})])
        writes: list[Write] = [Create(f"{place}/a", {}), Replace(f"{place}/b", {}, OTHER)]
        with pytest.raises(Conflict) as caught:
            documents.commit(writes[::-1] if turned else writes)
        assert type(caught.value) is failure


class TestSize:
    """These hold in memory: of the first three the emulator refuses none, and the last one elsewhere."""

    @pytest.fixture
    def memory(self) -> MemoryDocuments:
        return MemoryDocuments()

    def test_five_hundred_writes_by_the_rule_of_the_house(self, memory: MemoryDocuments) -> None:
        """Firestore takes more since March 2023; the bound keeps every commit small all the same."""
        memory.commit([Create(f"things/{number}", {}) for number in range(500)])
        with pytest.raises(InvariantViolation):
            memory.commit([Delete(f"things/{number}") for number in range(501)])

    def test_five_hundred_increments_of_one_document(self, memory: MemoryDocuments) -> None:
        """Firestore's own rule, which its emulator does not keep."""
        memory.commit([Merge("things/a", {f"n{number}": Increment(1) for number in range(500)})])
        with pytest.raises(InvariantViolation):
            memory.commit([Merge("things/a", {f"n{number}": Increment(1) for number in range(501)})])

    @pytest.mark.parametrize("name", ["x" * 1501, "__x__"])
    def test_an_increment_is_under_a_name_that_a_document_may_have(self, memory: MemoryDocuments, name: str) -> None:
        """The emulator takes a longer path for an increment, which no document could be given otherwise."""
        with pytest.raises(InvariantViolation):
            memory.commit([Merge("things/a", {name: Increment(1)})])

    def test_ten_mebibytes(self, documents: Documents, place: str) -> None:
        """The emulator's server takes no message over 4 MiB and answers RESOURCE_EXHAUSTED; the service says
        INVALID_ARGUMENT over 10 MiB.
        """
        text = "x" * 1_000_000
        documents.commit([Create(f"{place}/{number}", {"a": text}) for number in range(4)])
        with pytest.raises((InvariantViolation, Unavailable)) as caught:
            documents.commit([Create(f"{place}/other-{number}", {"a": text}) for number in range(11)])
        assert isinstance(caught.value, InvariantViolation) or not isinstance(documents, MemoryDocuments)
