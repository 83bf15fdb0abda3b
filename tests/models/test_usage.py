"""Vendors count differently; five buckets come out, and their sum is what the vendor billed."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.models import usage
from app.models.usage import NOTHING, BadUsage, Reported, TokenUsage, latest, read

GOLDEN = json.loads((Path(__file__).parent / "golden" / "usage.json").read_text())


def openai(**fields: object) -> dict[str, object]:
    return {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, **fields}


class TestDialects:
    @pytest.mark.parametrize("case", GOLDEN, ids=[case["name"] for case in GOLDEN])
    def test_no_token_is_counted_twice_or_lost(self, case: dict[str, Any]) -> None:
        """T-14, T-15: real payloads; the sum of the buckets is the vendor's total."""
        found = read(case["dialect"], case["usage"]).complete(input_estimate=0, output_estimate=0)
        assert found == TokenUsage(**case["buckets"])
        assert found.total_input + found.total_output == case["total"]


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
        assert read("openai", raw) == reported
        completed = reported.complete(input_estimate=100, output_estimate=50)
        assert completed.total_input == (100 if reported.read is None else sum(reported.read))
        assert completed.total_output == (50 if reported.written is None else sum(reported.written))

    @pytest.mark.parametrize(
        "raw",
        [
            openai(prompt_tokens=-1, total_tokens=4),
            openai(completion_tokens=2**53 + 1, total_tokens=2**53 + 11),
            openai(completion_tokens=5.0),
            openai(completion_tokens="5"),
            openai(completion_tokens=True, total_tokens=11),
            openai(completion_tokens=float("nan")),
            openai(total_tokens=16),
            openai(prompt_tokens_details={"cached_tokens": 11}),
            openai(completion_tokens_details={"reasoning_tokens": 6}),
            openai(completion_tokens_details={"reasoning_tokens": 3, "image_tokens": 3}),
            openai(prompt_tokens_details=[1]),
        ],
    )
    def test_that_makes_no_sense_is_refused(self, raw: dict[str, object]) -> None:
        """T-23: negative, absurd, fractional, not adding up."""
        with pytest.raises(BadUsage):
            read("openai", raw)

    @pytest.mark.parametrize("side", ["prompt_tokens_details", "completion_tokens_details"])
    def test_an_unknown_kind_of_token_is_refused_unless_there_is_none(self, side: str) -> None:
        """T-16."""
        assert read("openai", openai(**{side: {"audio_tokens": 0}})) == read("openai", openai())
        with pytest.raises(BadUsage, match="audio_tokens"):
            read("openai", openai(**{side: {"audio_tokens": 1}}))

    def test_picture_tokens_are_no_text(self) -> None:
        """T-16."""
        found = read("openai", openai(completion_tokens_details={"image_tokens": 4}))
        assert found.written == (1, 0, 4)


class TestSeveralReports:
    def test_are_cumulative_and_never_summed(self) -> None:
        """T-13, T-12: in any order the largest counts; a report without a side does not erase that side."""
        reports = [Reported((9, 0), (n, 0, 0)) for n in (1, 2, 3)] + [Reported((9, 0), None), NOTHING]
        for order in (reports, reports[::-1]):
            found = NOTHING
            for report in order:
                found = latest(found, report)
            assert found == Reported((9, 0), (3, 0, 0))


def test_every_dialect_has_a_golden_payload() -> None:
    dialects = set(usage.Dialect.__args__)  # type: ignore[attr-defined]  # a Literal
    assert {case["dialect"] for case in GOLDEN} == dialects
