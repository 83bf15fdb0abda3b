"""docs/traps.md is true: every trap that is named anywhere is listed, and every row names a test or says why not."""

import re
from typing import Final

import pytest

from docs.cited import find, names_of_tests
from docs.tables import ROOT, Row, code, table

HEADINGS: Final = [line[3:] for line in (ROOT / "docs/traps.md").read_text().splitlines() if line.startswith("## ")]
ROWS: Final[list[Row]] = [row for heading in HEADINGS for row in table("docs/traps.md", heading)]
TRAP: Final = re.compile(r"\bT-\d+\b")
ANSWER: Final = "Test, or open"
READ: Final = (".py", ".md", ".toml", ".mjs", ".html")
SKIPPED: Final = {"venv", "node_modules", "__pycache__"}


def named_in_the_tree() -> dict[str, set[str]]:
    """Every trap that a file of ours names, and the files; the list itself is not among them."""
    found: dict[str, set[str]] = {}
    for folder in ("functions", "emulators", "bench", "docs", "tests", "web"):
        for path in (ROOT / folder).rglob("*"):
            name = str(path.relative_to(ROOT))
            if path.suffix not in READ or name == "docs/traps.md" or SKIPPED & set(path.parts):
                continue
            for trap in TRAP.findall(path.read_text()):
                found.setdefault(trap, set()).add(name)
    return found


def test_every_trap_that_is_named_is_listed_once() -> None:
    listed = [row["Trap"] for row in ROWS]
    assert sorted(set(listed), key=lambda trap: int(trap[2:])) == listed
    strangers = {trap: files for trap, files in named_in_the_tree().items() if trap not in listed}
    assert strangers == {}


@pytest.mark.parametrize("row", ROWS, ids=[row["Trap"] for row in ROWS])
def test_every_row_names_a_test_that_names_it_or_is_open(row: Row) -> None:
    tests = [find(name) for name in names_of_tests(code(row[ANSWER]))]
    for cited in tests:
        assert re.search(rf"\b{row['Trap']}\b", cited.docstrings), f"{cited.name} does not name {row['Trap']}"
    holds = tests and not any(cited.is_expected_to_fail for cited in tests)
    assert holds or re.search(r"\*\*open\*\*( for [\w ]+)?: [\w`]", row[ANSWER]), row
