"""docs/data.md is true: its tables are compared with a run of the whole backend, and with the configuration files."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest

from app.api.firebase_tokens import principal
from docs.everything import Everything, run
from docs.recording import APP, Journal, Seen
from docs.tables import ROOT, Row, code, table
from support.vendor import Vendor, vendor, vendor_process

__all__ = ["vendor", "vendor_process"]

NOT_BY_US: Final = ("clients", "nobody yet")
"""How `Written by` begins in rows of what no module of the backend writes."""


@pytest.fixture(scope="module")
def everything(vendor_process: Vendor) -> Everything:
    vendor_process.reset()
    return run(vendor_process)


@dataclass(frozen=True)
class Pattern:
    """A path with `{name}` for a segment, or for a part of one."""

    text: str

    @property
    def ours(self) -> re.Pattern[str]:
        """What it stands for. More literal patterns are asked first, see `sorted_patterns`."""
        return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(self.text)))

    def rest(self, path: str) -> str | None:
        """What of a path lies below the pattern, empty for one that lies at it; None for any other path."""
        depth = self.text.count("/") + 1
        segments = path.split("/")
        here, rest = "/".join(segments[:depth]), "/".join(segments[depth:])
        return rest if len(segments) >= depth and self.ours.fullmatch(here) else None

    def above(self, path: str) -> bool:
        """Whether a read of this path shows what lies at the pattern."""
        head = Pattern("/".join(self.text.split("/")[: path.count("/") + 1]))
        return path.count("/") < self.text.count("/") and head.ours.fullmatch(path) is not None


def sorted_patterns(rows: list[Row], column: str) -> list[Pattern]:
    """The most literal ones first."""
    return sorted((Pattern(code(row[column])[0]) for row in rows), key=lambda pattern: pattern.text.count("{"))


def collected(journal: Journal, patterns: list[Pattern], *, whole: bool) -> tuple[dict[str, Seen], set[str]]:
    """What was seen by pattern, and the written paths that no pattern stands for.

    `whole`: a pattern stands for documents, and for nothing below them.
    """
    found = {pattern.text: Seen() for pattern in patterns}
    strangers = set()
    for path, seen in journal.places.items():
        fitting = (one for one in patterns if (rest := one.rest(path)) == "" or (rest is not None and not whole))
        pattern = next(fitting, None)
        if pattern is None:
            if seen.written:
                strangers.add(path)
            for one in patterns:
                if one.above(path):
                    found[one.text].readers |= seen.readers
            continue
        there = found[pattern.text]
        rest = pattern.rest(path) or ""
        there.names |= seen.names | ({rest.split("/")[0]} if rest and seen.written else set())
        there.written |= seen.written
        there.writers |= seen.writers
        there.readers |= seen.readers
    return found, strangers


def modules(cell: str) -> set[str]:
    return {word for word in code(cell) if word.endswith(".py")}


class TestWhatIsStored:
    """Each table of places against the journal of the store."""

    STORES: Final = [
        ("documents", "Firestore: documents", "Document"),
        ("realtime", "Realtime Database: paths", "Path"),
    ]

    @pytest.fixture(params=STORES, ids=[store for store, _, _ in STORES])
    def rows(self, request: pytest.FixtureRequest) -> tuple[str, list[Row], str]:
        store, heading, column = request.param
        return store, table("docs/data.md", heading), column

    @pytest.fixture
    def found(self, everything: Everything, rows: tuple[str, list[Row], str]) -> list[tuple[Row, Seen]]:
        store, listed, column = rows
        by_pattern, strangers = collected(
            getattr(everything, store), sorted_patterns(listed, column), whole=store == "documents"
        )
        assert strangers == set(), "written, and not listed"
        return [(row, by_pattern[code(row[column])[0]]) for row in listed]

    def test_is_listed_and_what_is_listed_is_written(self, found: list[tuple[Row, Seen]]) -> None:
        for row, seen in found:
            assert seen.written is not row["Written by"].startswith(NOT_BY_US), row

    def test_is_written_and_read_by_the_modules_named(self, found: list[tuple[Row, Seen]]) -> None:
        for row, seen in found:
            assert modules(row["Written by"]) <= seen.writers, row
            assert modules(row["Read by"]) <= seen.readers, row
            assert modules(row["Written by"]) or row["Written by"].startswith(NOT_BY_US), row


def test_fields_of_documents_are_those_that_are_written(everything: Everything) -> None:
    rows = table("docs/data.md", "Firestore: fields")
    found, _ = collected(everything.documents, sorted_patterns(rows, "Document"), whole=True)
    assert [row["Document"] for row in rows] == [
        row["Document"] for row in table("docs/data.md", "Firestore: documents")
    ]
    for row in rows:
        assert set(code(row["Fields"])) == found[code(row["Document"])[0]].names, row["Document"]


def test_values_of_the_realtime_database_are_those_that_are_written(everything: Everything) -> None:
    rows = table("docs/data.md", "Realtime Database: paths")
    found, _ = collected(everything.realtime, sorted_patterns(rows, "Path"), whole=False)
    for row in rows:
        names = set(code(row["Value"])) - {"true"}
        if not row["Written by"].startswith(NOT_BY_US):
            assert names == found[code(row["Path"])[0]].names, row["Path"]


def test_objects_in_cloud_storage_are_listed(everything: Everything) -> None:
    patterns = [Pattern(code(row["Object"])[0]) for row in table("docs/data.md", "Cloud Storage")]
    kept = {name: [one.text for one in patterns if one.ours.fullmatch(name)] for name in everything.archived}
    assert [name for name, fitting in kept.items() if not fitting] == []
    assert {one for fitting in kept.values() for one in fitting} == {one.text for one in patterns}


def test_every_module_that_is_named_exists() -> None:
    named = set(re.findall(r"`([\w/]+\.py)`", (ROOT / "docs/data.md").read_text()))
    assert [name for name in sorted(named) if not (ROOT / "functions" / "app" / name).is_file()] == []
    assert f"{ROOT}/functions/app/" == APP


class TestConfiguration:
    CONFIGURED: Final[dict[str, Any]] = json.loads((ROOT / "firestore.indexes.json").read_text())

    def test_indexes_are_those_of_the_file(self) -> None:
        listed = [code(row["Index"])[0] for row in table("docs/data.md", "Firestore: indexes")]
        assert sorted(listed) == sorted(map(_index, self.CONFIGURED["indexes"]))

    def test_single_fields_are_those_of_the_file(self) -> None:
        listed: dict[str, str] = {}
        for row in table("docs/data.md", "Firestore: single fields"):
            listed |= dict.fromkeys(code(row["Field"]), row["What differs from the default"])
        configured = {f"{one['collectionGroup']}.{one['fieldPath']}": one for one in self.CONFIGURED["fieldOverrides"]}
        assert listed.keys() == configured.keys()
        for name, override in configured.items():
            assert ("TTL" in listed[name]) is override.get("ttl", False), name
            assert ("no index" in listed[name]) is (override["indexes"] == []), name
            groups = any(index["queryScope"] == "COLLECTION_GROUP" for index in override["indexes"])
            assert ("over all users" in listed[name]) is groups, name

    def test_documents_with_a_time_to_live_say_so(self) -> None:
        living = {one["collectionGroup"] for one in self.CONFIGURED["fieldOverrides"] if one.get("ttl")}
        kept = {code(row["Document"])[0]: row["Kept"] for row in table("docs/data.md", "Firestore: documents")}
        assert {document.split("/")[-2] for document, how_long in kept.items() if "(TTL)" in how_long} == living

    def test_rules_are_those_of_the_files(self) -> None:
        listed: dict[str, dict[str, set[str]]] = {}
        for row in table("docs/data.md", "Rules"):
            place = code(row["Place"])[0] if code(row["Place"]) else ""
            listed.setdefault(row["File"], {})[place] = set(code(row["Rules"]))
        rules = json.loads((ROOT / "database.rules.json").read_text())["rules"]
        assert listed["database.rules.json"] == dict(_places(rules))
        for name in ("firestore.rules", "storage.rules"):
            assert listed[name] == _matches((ROOT / name).read_text()), name


def test_claims_are_those_that_are_read() -> None:
    class Claims(dict[str, object]):
        """Remembers what was asked for."""

        asked: Final[set[str]] = set()

        def get(self, name: str, default: object = None) -> object:
            self.asked.add(name)
            return super().get(name, default)

    principal(Claims(sub="alice"))
    assert {code(row["Claim"])[0] for row in table("docs/data.md", "Firebase Auth")} == Claims.asked


def _index(one: Mapping[str, Any]) -> str:
    fields = [_mark(field) for field in one["fields"]]
    scope = " (group)" if one["queryScope"] == "COLLECTION_GROUP" else ""
    return f"{one['collectionGroup']}{scope}: {', '.join(fields)}"


def _mark(field: Mapping[str, str]) -> str:
    if "arrayConfig" in field:
        return f"{field['fieldPath']} contains"
    return ("-" if field["order"] == "DESCENDING" else "") + field["fieldPath"]


def _places(rules: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, set[str]]]:
    """Every place of a rules file that has rules of its own, and which."""
    own = {name for name in rules if name.startswith(".")}
    if own:
        yield path, own
    for name, inner in rules.items():
        if not name.startswith("."):
            yield from _places(inner, f"{path}/{name}".strip("/"))


def _matches(text: str) -> dict[str, set[str]]:
    """The innermost matches of a rules file and the operations that they speak of; all of them must deny."""
    found: dict[str, set[str]] = {}
    place = ""
    for line in text.splitlines():
        if opened := re.match(r"\s*match /(\S+) \{", line):
            place = opened[1]
        if spoken := re.match(r"\s*allow ([\w, ]+): if (.*);", line):
            assert spoken[2] == "false", line
            found[place] = set(spoken[1].split(", "))
    return found
