"""No cell of a CSV is a formula, however it is disguised."""

import csv
import io
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kit.spreadsheet import csv_text, defused, undefused


class TestAFormula:
    @pytest.mark.parametrize(
        "text",
        [
            "=1+1",
            "+1+1",
            "-1+1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            "\tplain",
            "\x00=1",
            " =1",
            "\N{NO-BREAK SPACE}=1",
            "\N{ZERO WIDTH SPACE}\N{ZERO WIDTH NO-BREAK SPACE}=1",
            "\N{SOFT HYPHEN}=1",
            "\N{COMBINING GRAPHEME JOINER}=1",
            "\N{HANGUL FILLER}=1",
            "\N{BRAILLE PATTERN BLANK}@x",
            "\N{FULLWIDTH EQUALS SIGN}1",
            "\N{FULLWIDTH PLUS SIGN}1",
            "\N{FULLWIDTH HYPHEN-MINUS}1",
            "\N{FULLWIDTH COMMERCIAL AT}x",
            "\N{SMALL EQUALS SIGN}1",
            "\N{SUPERSCRIPT MINUS}1",
            "\N{MINUS SIGN}1",
            "-",
            "-1e5",
            "--1",
            "-\N{ARABIC-INDIC DIGIT ONE}",
        ],
    )
    def test_gets_an_apostrophe(self, text: str) -> None:
        assert defused(text) == f"'{text}"

    def test_is_found_in_every_spelling_of_its_sign_that_unicode_has(self) -> None:
        signs = [
            char for char in map(chr, range(sys.maxunicode)) if unicodedata.normalize("NFKC", char)[:1] in tuple("=+-@")
        ]
        assert len(signs) > 15
        assert [char for char in signs if not defused(f"{char}1+1").startswith("'")] == []

    @pytest.mark.parametrize("separator", [";", "\t", "|"])
    def test_does_not_begin_in_the_middle_of_a_cell_for_another_separator(self, separator: str) -> None:
        text = csv_text([[f"harmless{separator}=1+1", "x"]])
        ((cell, *_),) = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        assert cell.startswith(f"harmless{separator}=1+1")


@pytest.mark.parametrize("text", ["", "a", "-1", "-0.000125", "12.5", "a=b", "zażółć", "'=1", "2027-01-15T08:00:00Z"])
def test_anything_else_stays_as_it_is(text: str) -> None:
    assert defused(text) == text


def test_rows_are_read_back_as_they_were_written() -> None:
    rows = [["a", 'say "no"'], ["one, two", "line\r\nbreak"], ["", "-1"]]
    assert list(csv.reader(io.StringIO(csv_text(rows), newline=""))) == rows


@given(st.text(max_size=40).filter(lambda text: not text.startswith("'")))
def test_what_was_defused_is_read_back(text: str) -> None:
    assert undefused(defused(text)) == text
