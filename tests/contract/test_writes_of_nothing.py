"""A write of what is stored already, on both stores: the document keeps its version, and the commit says so.

WriteResult of https://firebase.google.com/docs/firestore/reference/rpc/google.firestore.v1: "If the write did not
actually change the document, this will be the previous update_time." So nothing may rely on such a write to make
another writer conflict; a precondition does (`Unchanged`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import pytest

from app.kit.errors import Conflict
from app.kit.stores.documents import (
    Create,
    Delete,
    Documents,
    Increment,
    Merge,
    Replace,
    Unchanged,
    Value,
    Version,
    Write,
)
from support.memory import Change, MemoryDocuments

FIELDS: Final[Mapping[str, Value]] = {"n": 1, "map": {"a": 2, "list": [{"b": 1}]}}
Make = Callable[[str, Version], Sequence[Write]]

NOTHING: Final[Mapping[str, Make]] = {
    "the same fields": lambda path, _: [Replace(path, FIELDS)],
    "the same fields over the version": lambda path, version: [Replace(path, FIELDS, version)],
    "the same fields in another order": lambda path, _: [Replace(path, {"map": {"list": [{"b": 1}], "a": 2}, "n": 1})],
    "some of the fields": lambda path, version: [Replace(path, {"n": 1}, version, keep_others=True)],
    "no field": lambda path, version: [Replace(path, {}, version, keep_others=True)],
    "a merge": lambda path, _: [Merge(path, {"n": 1})],
    "a merge into a map": lambda path, _: [Merge(path, {("map", "a"): 2})],
    "a merge of nothing": lambda path, _: [Merge(path, {})],
    "an increment by nothing": lambda path, _: [Merge(path, {"n": Increment(0)})],
    "there and back": lambda path, _: [Replace(path, {"n": 2}), Replace(path, FIELDS)],
    "up and down": lambda path, _: [Merge(path, {"n": Increment(1)}), Merge(path, {"n": Increment(-1)})],
    "unchanged": lambda path, version: [Unchanged(path, version)],
    "unchanged twice": lambda path, version: [Unchanged(path, version), Unchanged(path, version)],
}
SOMETHING: Final[Mapping[str, Make]] = {
    "a number of another type": lambda path, _: [Replace(path, {**FIELDS, "n": 1.0})],
    "true for one": lambda path, _: [Replace(path, {**FIELDS, "n": True})],
    "a list in another order": lambda path, _: [Replace(path, {**FIELDS, "list": [2, 1]})],
    "deleted and made again": lambda path, _: [Delete(path), Create(path, FIELDS)],
    "unchanged, and a change": lambda path, version: [Unchanged(path, version), Merge(path, {"n": 5})],
    "a change, and unchanged": lambda path, version: [Replace(path, {"n": 5}, version), Unchanged(path, version)],
}


def after(documents: Documents, path: str, make: Make) -> tuple[Version, Version, list[Version]]:
    """The versions before and after a commit, and what the commit answers."""
    [before] = documents.commit([Create(path, FIELDS)])
    told = documents.commit(make(path, before))
    stored = documents.get(path)
    assert stored is not None
    return before, stored.version, told


@pytest.mark.parametrize("case", NOTHING)
def test_a_write_that_changes_nothing_keeps_the_version(documents: Documents, place: str, case: str) -> None:
    before, now, told = after(documents, f"{place}/a", NOTHING[case])
    assert now == before
    assert {*told} == {before}


@pytest.mark.parametrize("case", SOMETHING)
def test_a_write_that_changes_something_moves_it(documents: Documents, place: str, case: str) -> None:
    before, now, told = after(documents, f"{place}/a", SOMETHING[case])
    assert now != before
    assert {*told} == {now}


def test_what_stays_beside_a_change_keeps_its_version(documents: Documents, place: str) -> None:
    [a, _] = documents.commit([Create(f"{place}/a", FIELDS), Create(f"{place}/b", FIELDS)])
    told = documents.commit([Replace(f"{place}/a", FIELDS, a), Merge(f"{place}/b", {"n": 2})])
    assert told[0] == a != told[1]


class TestUnchanged:
    """A precondition, and nothing else."""

    def test_lets_a_commit_through_while_the_version_stands(self, documents: Documents, place: str) -> None:
        [version] = documents.commit([Create(f"{place}/a", FIELDS)])
        for n in range(2):
            documents.commit([Unchanged(f"{place}/a", version), Create(f"{place}/b{n}", {})])
        stored = documents.get(f"{place}/a")
        assert stored is not None and (stored.version, stored.fields) == (version, FIELDS)

    @pytest.mark.parametrize("gone", [False, True])
    def test_refuses_the_commit_when_it_does_not(self, documents: Documents, place: str, gone: bool) -> None:
        [version] = documents.commit([Create(f"{place}/a", FIELDS)])
        documents.commit([Delete(f"{place}/a") if gone else Merge(f"{place}/a", {"n": 2})])
        with pytest.raises(Conflict):
            documents.commit([Unchanged(f"{place}/a", version), Create(f"{place}/b", {})])
        assert documents.get(f"{place}/b") is None
        assert (documents.get(f"{place}/a") is None) is gone


@pytest.mark.parametrize("case", NOTHING)
def test_no_trigger_fires_for_it(case: str) -> None:
    documents, heard = MemoryDocuments(indexes=None), list[Change]()
    documents.after_commit.append(heard.extend)
    after(documents, "things/a", NOTHING[case])
    assert [path for path, _, _ in heard] == ["things/a"]
