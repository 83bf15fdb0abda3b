"""The tables of a Markdown document, as the tests read them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_CODE: Final = re.compile(r"`([^`]+)`")
_CELL: Final = re.compile(r"(?<!\\)\|")

Row = Mapping[str, str]
"""The cells of a row by the titles of their columns."""


def table(document: str, heading: str) -> list[Row]:
    """The rows of the first table under `heading` in `document`.

    Raises:
        AssertionError: there is no such heading, or no table under it.
    """
    text = (ROOT / document).read_text()
    _, found, rest = text.partition(f"# {heading}\n")
    assert found, f"{document} has no heading {heading!r}"
    below = re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in below.splitlines() if line.startswith("|")]
    assert len(lines) > 2, f"{document} has no table under {heading!r}"
    titles, _, *rows = map(_cells, lines)
    for row in rows:
        assert len(row) == len(titles), f"{document}, {heading!r}: {row[0]} has {len(row)} cells"
    return [dict(zip(titles, row)) for row in rows]


def code(cell: str) -> list[str]:
    """What stands between back-ticks in a cell."""
    return _CODE.findall(cell)


def _cells(line: str) -> Sequence[str]:
    return [cell.strip().replace("\\|", "|") for cell in _CELL.split(line.strip().strip("|"))]
