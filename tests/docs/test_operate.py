"""docs/operate.md is true where it says what a failure costs: every row names tests, and they exist."""

from typing import Final

import pytest

from docs.cited import find
from docs.tables import Row, code, table

ROWS: Final[list[Row]] = table("docs/operate.md", "When something fails in the middle of a message")


@pytest.mark.parametrize("row", ROWS, ids=[row["Where it fails"][:60] for row in ROWS])
def test_every_place_where_a_message_can_fail_names_the_test_that_proves_it(row: Row) -> None:
    tests = [find(f"tests/{name}") for name in code(row["Test"])]
    assert tests, row
    known = "known fault" in row["What repairs it, and when"]
    assert [cited.name for cited in tests if cited.is_expected_to_fail is not known] == []
