"""Times keep microseconds; ids sort by creation and depend on all their parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kit.clock import SystemClock, from_rfc3339, to_rfc3339
from app.kit.ids import RandomIds, derived, sortable

instants = st.integers(min_value=0, max_value=4_102_444_800_000_000)


@given(instants, instants)
def test_a_time_reads_back_and_sorts_as_text(one: int, other: int) -> None:
    """T-52: the stored text holds every microsecond of what was hashed."""
    assert from_rfc3339(to_rfc3339(one)) == one
    assert (to_rfc3339(one) < to_rfc3339(other)) == (one < other)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T00:00:00",
        "yesterday",
        "",
        "2026-13-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
    ],
)
def test_a_time_without_an_offset_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):
        from_rfc3339(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00.000000Z", "0999-12-31T23:59:59.000001Z"])
def test_an_early_time_keeps_its_width(text: str) -> None:
    assert to_rfc3339(from_rfc3339(text)) == text


@given(st.integers(0, 2**47), st.integers(0, 2**80 - 1), st.integers(0, 2**47), st.integers(0, 2**80 - 1))
def test_ids_sort_by_time_first(at: int, entropy: int, later: int, other: int) -> None:
    if at < later:
        assert sortable("x", at, entropy) < sortable("x", later, other)


def test_fresh_ids_differ() -> None:
    ids = RandomIds(SystemClock())
    assert len({ids.new("msg") for _ in range(1000)}) == 1000


def test_a_derived_id_depends_on_where_a_part_ends() -> None:
    assert derived("msg", "ab", "c") != derived("msg", "a", "bc")
    assert derived("msg", "ab", "c") == derived("msg", "ab", "c")
    assert derived("msg", "ab") != derived("msg", "ab", "")
