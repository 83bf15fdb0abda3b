"""Whose fault a vendor's error is, for bodies in the shapes that vendors send. The texts are ours."""

import json
from pathlib import Path

import pytest

from app.kit.errors import Failure, InvariantViolation, Rejection
from app.models.faults import (
    PATH,
    Blame,
    ContentRefused,
    ModelBroke,
    ModelBusy,
    ModelFault,
    ModelMisconfigured,
    ModelRefused,
    PromptTooLong,
    blame_of,
    default_policy,
    load,
    of_body,
    of_event,
    of_status,
)
from app.models.finishes import FinishKind, kind_of

NOON_US = 1_795_953_600_000_000
"""2026-11-29 12:00:00 UTC."""


def error(message: str, type: str | None = None, code: object = None, **more: object) -> object:
    return {"error": {"message": message, "type": type, "param": None, "code": code, **more}}


def flat(message: str, type: str, code: object) -> object:
    return {"object": "error", "message": message, "type": type, "param": None, "code": code}


GOLDEN = json.loads((Path(__file__).parent / "golden" / "errors.json").read_text())
RECORDED = [(row["name"], row["status"], row["body"], Blame(row["blame"])) for row in GOLDEN["recorded"]]
INVALID = "invalid_request_error"
"""What most vendors say, whatever is wrong."""
BAD = "BadRequestError"
AZURE_FILTER = error("Filtered.", None, "content_filter", innererror={"code": "ResponsibleAIPolicyViolation"})
CONTEXT = "This model's maximum context length is 8192 tokens, and you sent 9000."


@pytest.mark.parametrize(("status", "body", "blame"), [row[1:] for row in RECORDED], ids=[row[0] for row in RECORDED])
def test_an_error_is_blamed_on_whom_the_vendor_means(status: int, body: object, blame: Blame) -> None:
    """T-107: by type and code, then by its message, then by the status: a number as code hides nothing."""
    assert blame_of(failure_of(status, body)) is blame


@pytest.mark.parametrize("message", GOLDEN["quotes"])
@pytest.mark.parametrize("status", [400, 422])
def test_what_a_user_wrote_and_a_vendor_repeats_blames_nobody_else(status: int, message: str) -> None:
    """T-107: one user's words would else show every model as down, and have a dearer one asked."""
    for body in (error(message, INVALID, status), flat(message, BAD, status), {"detail": message}, {"error": message}):
        assert blame_of(failure_of(status, body)) is Blame.REQUEST
    assert blame_of(of_event({"code": status, "message": message})) is Blame.REQUEST


def test_a_request_that_can_never_pass_is_not_asked_again() -> None:
    row = default_policy()[Blame.OVERSIZED]
    assert (row.again, row.next, row.alarm, row.sick) == (False, True, True, False)


def failure_of(status: int, body: object, retry_after: str | None = None) -> Failure:
    if status == 200:
        return of_body(json.dumps(body).encode(), retry_after, NOON_US)
    return of_status(status, json.dumps(body).encode(), retry_after, NOON_US)


@pytest.mark.parametrize(
    ("blame", "kind", "status", "body"),
    [
        (Blame.CONTEXT_TOO_LONG, PromptTooLong, 400, flat(CONTEXT, BAD, 400)),
        (Blame.MODERATION, ContentRefused, 400, AZURE_FILTER),
        (Blame.REQUEST, ModelRefused, 400, flat("Roles must alternate.", BAD, 400)),
        (Blame.RATE, ModelBusy, 429, {}),
        (Blame.CAPACITY, ModelBusy, 503, {}),
        (Blame.OUR_BALANCE, ModelMisconfigured, 402, {}),
        (Blame.RETIRED_MODEL, ModelMisconfigured, 404, {}),
        (Blame.BROKEN, ModelFault, 500, {}),
        (Blame.UNKNOWN, ModelFault, 418, {}),
    ],
)
def test_only_what_a_users_request_caused_is_told_as_theirs(
    blame: Blame, kind: type[Failure], status: int, body: object
) -> None:
    failure = failure_of(status, body)
    assert type(failure) is kind
    assert blame_of(failure) is blame
    assert isinstance(failure, Rejection) == (blame in THEIRS)


THEIRS = (Blame.CONTEXT_TOO_LONG, Blame.MODERATION, Blame.REQUEST)


class TestTheTable:
    def test_alarms_nobody_and_makes_nothing_sick_for_what_a_user_did(self) -> None:
        for blame in THEIRS:
            row = default_policy()[blame]
            assert (row.again, row.next, row.alarm, row.sick) == (False, False, False, False)

    @pytest.mark.parametrize("blame", [Blame.OUR_BALANCE, Blame.OUR_KEY, Blame.OUR_REQUEST, Blame.RETIRED_MODEL])
    def test_alarms_somebody_and_asks_another_model_for_what_is_ours(self, blame: Blame) -> None:
        row = default_policy()[blame]
        assert (row.again, row.next, row.alarm, row.sick) == (False, True, True, True)

    def test_pays_nobody_for_a_prompt_that_may_be_at_work_elsewhere(self) -> None:
        row = default_policy()[Blame.SILENT]
        assert (row.again, row.next) == (False, False)

    @pytest.mark.parametrize(
        "damage",
        [
            ("version = 1", "version = 2"),
            ("[our_key]", "[our_keys]"),
            ("again = false", "again = 0"),
            ("sick = true", ""),
            ("statuses = [402]", "statuses = [402, 404]"),
            ('"billing_error"', '"Billing_Error"'),
        ],
    )
    def test_is_refused_when_it_is_damaged(self, damage: tuple[str, str]) -> None:
        text = PATH.read_text()
        assert damage[0] in text
        with pytest.raises(InvariantViolation):
            load(text.replace(*damage, 1))


class TestAnErrorInABodyOfStatus200:
    @pytest.mark.parametrize(
        ("body", "blame"),
        [
            (error("Provider returned error", None, 429), Blame.RATE),
            (error("Insufficient credits.", None, 402), Blame.OUR_BALANCE),
            (error("Too much.", "exceed_context_size_error", 400), Blame.CONTEXT_TOO_LONG),
            (flat("No.", BAD, 400), Blame.REQUEST),
            ({"error": "something broke"}, Blame.BROKEN),
        ],
    )
    def test_is_read_as_if_it_had_its_status(self, body: object, blame: Blame) -> None:
        assert blame_of(of_body(json.dumps(body).encode(), None)) is blame
        assert blame_of(of_event(body)) is blame

    @pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"[" * 100_000, b'{"choices": []}', b"\xff"])
    def test_or_anything_else_that_is_no_stream_is_an_answer_that_broke(self, body: bytes) -> None:
        assert type(of_body(body, None)) is ModelBroke

    def test_is_read_from_an_event_as_well(self) -> None:
        """Some vendors answer an error's status with the stream that was asked for."""
        body = b"event: error\ndata: " + json.dumps(flat(CONTEXT, BAD, 400)).encode() + b"\n\n"
        assert blame_of(of_status(400, body, None)) is Blame.CONTEXT_TOO_LONG


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Sun, 29 Nov 2026 12:00:07 GMT", 7),
        ("Sunday, 29-Nov-26 12:01:00 GMT", 60),
        ("Sun Nov 29 12:00:07 2026", 7),
        ("Sun, 29 Nov 2026 11:00:00 GMT", 0),
        ("Mon, 30 Nov 2026 12:00:00 GMT", 3600),
        ("Sun, 31 Nov 2026 12:00:00 GMT", None),
        ("Sun, 29 Nov 2026", None),
    ],
)
def test_retry_after_is_read_as_a_date_as_well(header: str, seconds: int | None) -> None:
    """RFC 9110 10.2.3 and 5.6.7: in each of the three forms of a date."""
    failure = failure_of(429, {}, header)
    assert isinstance(failure, ModelBusy)
    assert failure.retry_after_s == seconds


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("stop", FinishKind.WHOLE),
        ("STOP", FinishKind.WHOLE),
        ("eos", FinishKind.WHOLE),
        ("end_turn", FinishKind.WHOLE),
        ("max_tokens", FinishKind.LENGTH),
        ("MAX_TOKENS", FinishKind.LENGTH),
        ("model_length", FinishKind.CONTEXT),
        ("content_filter", FinishKind.FILTERED),
        ("SAFETY", FinishKind.FILTERED),
        ("refusal", FinishKind.FILTERED),
        ("error", FinishKind.FAILED),
        ("insufficient_system_resource", FinishKind.FAILED),
        ("abort", FinishKind.FAILED),
        ("tool_calls", FinishKind.CALLS),
        ("stopped", FinishKind.UNKNOWN),
        ("", FinishKind.UNKNOWN),
    ],
)
def test_a_word_for_an_end_that_nobody_knows_is_no_success(word: str, kind: FinishKind) -> None:
    """T-107."""
    assert kind_of(word) is kind
