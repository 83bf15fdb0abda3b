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


SPELLINGS = {
    "2026-11-21T08:30:00Z": "2026-11-21T08:30:00.000000Z",
    "2026-11-21t08:30:00z": "2026-11-21T08:30:00.000000Z",
    "2026-11-21 08:30:00Z": "2026-11-21T08:30:00.000000Z",
    "2026-11-21T08:30:00.5Z": "2026-11-21T08:30:00.500000Z",
    "2026-11-21T08:30:00.25Z": "2026-11-21T08:30:00.250000Z",
    "2026-11-21T08:30:00.1234567Z": "2026-11-21T08:30:00.123456Z",
    "2026-11-21T08:30:00.999999999Z": "2026-11-21T08:30:00.999999Z",
    "2026-11-21T08:30:00.123456789012345Z": "2026-11-21T08:30:00.123456Z",
    "2026-11-21T08:30:00+00:00": "2026-11-21T08:30:00.000000Z",
    "2026-11-21T08:30:00-00:00": "2026-11-21T08:30:00.000000Z",
    "2026-11-21T08:30:00+05:45": "2026-11-21T02:45:00.000000Z",
    "2026-11-21T08:30:00.1-23:59": "2026-11-22T08:29:00.100000Z",
    "2016-12-31T23:59:60Z": "2017-01-01T00:00:00.000000Z",
    "2016-12-31T15:59:60.5-08:00": "2017-01-01T00:00:00.500000Z",
    "9999-12-31T23:59:59.9999999Z": "9999-12-31T23:59:59.999999Z",
    "0001-01-01T00:00:00.0000001Z": "0001-01-01T00:00:00.000000Z",
}


@pytest.mark.parametrize("text", SPELLINGS)
def test_every_spelling_of_a_time_is_read(text: str) -> None:
    """T-126: RFC 3339, section 5.6."""
    assert to_rfc3339(from_rfc3339(text)) == SPELLINGS[text]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2026-11-21T00:00:00", "offset"),
        ("2026-11-21T00:00:00 01:00", "%2B"),
        ("2026-11-21T24:00:00Z", "00:00 of the next day"),
        ("2026-11-21T00:00:60Z", "leap second"),
        ("2026-11-21T23:59:60Z", "leap second"),
        ("9999-12-31T23:59:60Z", "years 1 to 9999"),
        ("0001-01-01T00:00:00+23:59", "years 1 to 9999"),
        ("9999-12-31T23:59:59-23:59", "years 1 to 9999"),
        ("0000-01-01T00:00:00Z", "year"),
        ("2026-13-01T00:00:00Z", "month"),
        ("2026-02-29T00:00:00Z", "day"),
        ("yesterday", "RFC 3339"),
        ("", "RFC 3339"),
        ("2026-11-21", "RFC 3339"),
        ("2026-11-21T08:30Z", "RFC 3339"),
        ("2026-W47-6T08:30:00Z", "RFC 3339"),
        ("20261121T083000Z", "RFC 3339"),
        ("2026-11-21T08:30:00,5Z", "RFC 3339"),
        ("2026-11-21T08:30:00.Z", "RFC 3339"),
        ("2026-11-21T08:30:00+0100", "RFC 3339"),
        ("2026-11-21T08:30:00+01:00:30", "RFC 3339"),
        ("2026-11-21T08:30:61Z", "RFC 3339"),
        ("٢٠٢٦-11-21T08:30:00Z", "RFC 3339"),
        ("2026-11-21T08:30:00Z\n", "RFC 3339"),
    ],
)
def test_any_other_text_is_no_time_and_it_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
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
