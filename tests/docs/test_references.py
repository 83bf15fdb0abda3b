"""Documents that are named anywhere are in the repository."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from docs.tables import ROOT

READ: Final = (".py", ".md", ".toml", ".mjs", ".yaml", ".sh")
SKIPPED: Final = {"venv", "node_modules", "__pycache__", "knowledge"}
DOCUMENT: Final = re.compile(r"(?<![\w/.-])[\w./-]+\.md\b")
LINK: Final = re.compile(r"\]\((?!https?:)([^)#\s]+)[^)]*\)")


def files(place: str) -> Iterator[Path]:
    root = ROOT / place
    for path in [root] if root.is_file() else sorted(root.rglob("*")):
        if path.suffix in READ and not SKIPPED & set(path.relative_to(ROOT).parts):
            yield path


def missing(path: Path) -> set[str]:
    """Documents that this file names or links to and that are neither beside it nor below the root."""
    text = path.read_text()
    named = {*DOCUMENT.findall(text), *(LINK.findall(text) if path.suffix == ".md" else ())}
    return {name for name in named if not (path.parent / name).exists() and not (ROOT / name).exists()}


@pytest.mark.parametrize(
    "place",
    ["functions", "tests", "emulators", "bench", "docs", "README.md", "pyproject.toml"],
)
def test_every_document_that_is_named_is_here(place: str) -> None:
    assert {str(path.relative_to(ROOT)): names for path in files(place) if (names := missing(path))} == {}
