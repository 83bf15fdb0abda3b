"""Vendors count differently; five buckets come out, and their sum is what the vendor billed."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models import usage
from app.models.usage import NOTHING, Reading, Reported, TokenUsage, latest, read

GOLDEN = json.loads((Path(__file__).parent / "golden" / "usage.json").read_text())


def openai(**fields: object) -> dict[str, object]:
    return {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, **fields}


NAMES = {
    *("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"),
    *("cached_tokens", "prompt_cache_hit_tokens", "cache_creation_input_tokens", "reasoning_tokens"),
}
COUNT = st.integers(-5, 60) | st.sampled_from([None, 1.5, "3", True, usage.MOST, 2**60])
ODD = COUNT | st.dictionaries(
    st.sampled_from(["cached_tokens", "cache_write_tokens", "reasoning_tokens", "image_tokens"]), COUNT
)


class TestDialects:
    @pytest.mark.parametrize("case", GOLDEN, ids=[case["name"] for case in GOLDEN])
    def test_no_token_is_counted_twice_or_lost(self, case: dict[str, Any]) -> None:
        """T-14, T-15: reports as vendors send them; the sum of the buckets is what the vendor bills."""
        reading = read(case["dialect"], case["usage"])
        found = reading.reported.complete(input_estimate=0, output_estimate=0)
        assert found == TokenUsage(**case["buckets"])
        assert found.total_input + found.total_output == case["total"]
        assert reading.odd == ()

    def test_every_dialect_has_a_golden_payload(self) -> None:
        dialects = set(usage.Dialect.__args__)  # type: ignore[attr-defined]  # a Literal
        assert {case["dialect"] for case in GOLDEN} == dialects


class TestAReport:
    @pytest.mark.parametrize(
        ("raw", "reported"),
        [
            ({}, NOTHING),
            ({"prompt_tokens": None, "completion_tokens": None}, NOTHING),
            ({"prompt_tokens": 0, "completion_tokens": 0}, Reported((0, 0), (0, 0, 0))),
            ({"prompt_tokens": 7}, Reported((7, 0), None)),
            ({"completion_tokens": 7}, Reported(None, (7, 0, 0))),
        ],
    )
    def test_zero_is_not_nothing(self, raw: dict[str, object], reported: Reported) -> None:
        """T-5: missing, null, zero and partial are four different things."""
        assert read("openai", raw).reported == reported
        completed = reported.complete(input_estimate=100, output_estimate=50)
        assert completed.total_input == (100 if reported.read is None else sum(reported.read))
        assert completed.total_output == (50 if reported.written is None else sum(reported.written))

    @pytest.mark.parametrize("count", [-1, 2**53 + 1, 5.5, "5", True, float("nan"), {"value": 5}, [5]])
    def test_with_an_odd_plain_count_has_only_the_other_side(self, count: object) -> None:
        """T-23: negative, absurd, fractional, text."""
        reading = read("openai", openai(completion_tokens=count))
        assert reading.reported == Reported((10, 0), None)
        assert len(reading.odd) == 1
        assert read("openai", openai(prompt_tokens=count)).reported == Reported(None, (5, 0, 0))

    @pytest.mark.parametrize(
        "odd",
        [
            {"total_tokens": "15"},
            {"total_tokens": -1},
            {"total_tokens": 14},
            {"total_tokens": 1},
            {"prompt_tokens_details": [1]},
            {"prompt_tokens_details": "none"},
            {"prompt_tokens_details": {"cached_tokens": 11}},
            {"prompt_tokens_details": {"cached_tokens": -1}},
            {"prompt_tokens_details": {"cached_tokens": 2.5}},
            {"prompt_tokens_details": {"cache_write_tokens": 11}},
            {"prompt_tokens_details": {"cache_write_tokens": {"ephemeral": 3}}},
            {"completion_tokens_details": {"reasoning_tokens": 6}},
            {"completion_tokens_details": {"reasoning_tokens": "6"}},
            {"completion_tokens_details": {"reasoning_tokens": 3, "image_tokens": 3}},
        ],
    )
    def test_with_an_odd_neighbour_is_charged_by_its_plain_counts(self, odd: dict[str, object]) -> None:
        """T-16, T-23, T-106: what is odd is named, and makes nothing free."""
        reading = read("openai", openai(**odd))
        assert reading.reported == Reported((10, 0), (5, 0, 0))
        assert len(reading.odd) == 1

    @pytest.mark.parametrize(
        "more",
        [
            {"prompt_tokens_details": None, "completion_tokens_details": None},
            {"prompt_tokens_details": {"audio_tokens": 4, "video_tokens": 1}},
            {"completion_tokens_details": {"audio_tokens": 2, "accepted_prediction_tokens": 1}},
            {"completion_tokens_details": {"rejected_prediction_tokens": 3}},
            {"cost": 0.0021, "queue_time": -1.5, "service_tier": "default", "cost_details": {"upstream": None}},
        ],
    )
    def test_with_other_neighbours_is_charged_by_its_plain_counts(self, more: dict[str, object]) -> None:
        """T-16: audio and predicted tokens are part of the plain counts, and nothing else is tokens."""
        assert read("openai", openai(**more)) == usage.Reading(Reported((10, 0), (5, 0, 0)))

    def test_picture_tokens_are_no_text(self) -> None:
        """T-16."""
        found = read("openai", openai(completion_tokens_details={"image_tokens": 4}))
        assert found.reported.written == (1, 0, 4)

    @given(st.dictionaries(st.sampled_from(sorted(NAMES)), ODD, max_size=8))
    def test_whatever_it_holds_is_read(self, raw: dict[str, object]) -> None:
        """T-23: no report fails, and no count is negative or beyond all reason."""
        for dialect in ("openai", "deepseek", "xai"):
            found = read(dialect, raw).reported
            whole = found.complete(input_estimate=0, output_estimate=0)
            assert all(0 <= count <= 2 * usage.MOST for count in whole.buckets().values())


class TestTheTotal:
    def test_that_is_odd_leaves_it_to_the_dialect_where_reasoning_stands(self) -> None:
        """T-15"""
        raw = openai(total_tokens=1, completion_tokens_details={"reasoning_tokens": 4})
        assert read("openai", raw).reported == Reported((10, 0), (1, 4, 0))
        assert read("xai", raw).reported == Reported((10, 0), (5, 4, 0))

    @pytest.mark.parametrize(
        ("raw", "read_", "written"),
        [
            (openai(total_tokens=415), (10, 0), (5, 400, 0)),
            (openai(total_tokens=75, completion_tokens_details={"reasoning_tokens": 60}), (10, 0), (5, 60, 0)),
            (openai(total_tokens=79, completion_tokens_details={"reasoning_tokens": 4}), (10, 0), (1, 68, 0)),
            (openai(total_tokens=55, prompt_tokens_details={"cached_tokens": 40}), (10, 40), (5, 0, 0)),
            (openai(total_tokens=15, completion_tokens_details={"reasoning_tokens": 4}), (10, 0), (1, 4, 0)),
        ],
        ids=["hidden thinking", "reasoning beside", "reasoning inside and more", "cache beside", "all inside"],
    )
    def test_decides_what_stands_beside_the_plain_counts(
        self, raw: dict[str, object], read_: tuple[int, int], written: tuple[int, int, int]
    ) -> None:
        """T-14, T-15."""
        assert read("openai", raw) == usage.Reading(Reported(read_, written))


class TestSeveralReports:
    def test_are_cumulative_and_never_summed(self) -> None:
        """T-13, T-12: in any order the largest counts; a report without a side does not erase that side."""
        reports = [Reported((9, 0), (n, 0, 0), n) for n in (1, 2, 3)] + [Reported((8, 0), None), NOTHING]
        for order in (reports, reports[::-1]):
            found = NOTHING
            for report in order:
                found = latest(found, report)
            assert (found.read, found.written) == ((9, 0), (3, 0, 0))


def test_a_whole_float_is_a_count() -> None:
    """T-23: languages with one kind of number write 10 as 10.0."""
    assert read("openai", {"prompt_tokens": 10.0, "completion_tokens": 5.0, "total_tokens": 15.0}) == Reading(
        Reported((10, 0), (5, 0, 0))
    )


@pytest.mark.parametrize("more", [{}, {"prompt_tokens": None, "completion_tokens": None}, {"total_tokens": 15}])
def test_the_names_of_other_apis_are_counts_too(more: dict[str, object]) -> None:
    """T-12: proxies of the Responses API pass on its names."""
    raw = {"input_tokens": 10, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 4}, **more}
    assert read("openai", raw).reported == Reported((6, 4), (5, 0, 0))


def test_the_plain_names_come_before_those_of_other_apis() -> None:
    raw = {"prompt_tokens": 10, "completion_tokens": 5, "input_tokens": 0, "output_tokens": 0}
    assert read("openai", raw).reported == Reported((10, 0), (5, 0, 0))


@pytest.mark.parametrize("swapped", [False, True])
def test_of_two_reports_that_count_the_same_the_one_with_details_is_kept(swapped: bool) -> None:
    """T-14: the last chunk of some vendors repeats the sums and leaves out what was cached."""
    rich, plain = Reported((100, 900), (2, 3, 0)), Reported((1000, 0), (5, 0, 0))
    assert latest(*((plain, rich) if swapped else (rich, plain))) == rich
