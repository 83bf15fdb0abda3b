"""CSV that a spreadsheet shows and does not run. Every CSV of this backend is written here.

A spreadsheet takes a cell for a formula by its first characters, quoted or not (OWASP, "CSV Injection"). Such a cell
gets an apostrophe in front. So does one that only looks harmless, because something that cannot be seen stands before
the sign, or because the sign is another spelling of it (full-width, small, superscript, or the mathematical minus).
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable
from typing import Final

_SIGNS: Final = frozenset("=+-@\N{MINUS SIGN}")
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
_BLANK_LETTERS: Final = frozenset(
    "\N{HANGUL CHOSEONG FILLER}\N{HANGUL JUNGSEONG FILLER}\N{HANGUL FILLER}\N{HALFWIDTH HANGUL FILLER}"
    "\N{BRAILLE PATTERN BLANK}"
)


def csv_text(rows: Iterable[Iterable[str]]) -> str:
    """The rows as RFC 4180 CSV, every cell defused and quoted.

    A cell that is not quoted would be split by a spreadsheet whose separator is a semicolon or a tab, and its second
    half could begin with a sign.
    """
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerows([defused(cell) for cell in row] for row in rows)
    return out.getvalue()


def defused(text: str) -> str:
    """`text`, with an apostrophe in front if a spreadsheet could run it. A plain decimal stays as it is."""
    if not text or _NUMBER.fullmatch(text):
        return text
    seen = next((char for char in text if not _invisible(char)), None)
    runs = seen is not None and unicodedata.normalize("NFKC", seen)[:1] in _SIGNS
    return f"'{text}" if runs or unicodedata.category(text[0]) == "Cc" else text


def undefused(cell: str) -> str:
    """The text of which `defused` made `cell`."""
    return cell[1:] if cell.startswith("'") and defused(cell[1:]) == cell else cell


def _invisible(char: str) -> bool:
    """Whether a reader sees nothing of it: spaces, controls, format and combining characters, blank letters."""
    return unicodedata.category(char)[0] in "ZCM" or char in _BLANK_LETTERS
