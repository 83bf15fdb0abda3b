"""Whose fault a vendor's error is, for bodies in the shapes that vendors send. The texts are ours."""

import json

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


def google(code: int, message: str, status: str) -> object:
    return [{"error": {"code": code, "message": message, "status": status}}]


def anthropic(type: str) -> object:
    return {"type": "error", "error": {"type": type, "message": "No."}}


INVALID = "invalid_request_error"
"""What most vendors say, whatever is wrong."""
BAD = "BadRequestError"
AZURE_FILTER = error("Filtered.", None, "content_filter", innererror={"code": "ResponsibleAIPolicyViolation"})
CONTEXT = "This model's maximum context length is 8192 tokens, and you sent 9000."
LITELLM_CONTEXT = "litellm.BadRequestError: litellm.ContextWindowExceededError: AnthropicError - {}"
LITELLM_FILTER = "litellm.BadRequestError: litellm.ContentPolicyViolationError: AzureException"
ROOM = "`inputs` tokens + `max_new_tokens` must be <= 32768. Given: 40000"

TOO_LONG = Blame.CONTEXT_TOO_LONG
RAW = '{"error":{"message":"prompt is too long: 9 tokens > 8 maximum"}}'

RECORDED = [
    (
        "openai quota",
        429,
        error("Over quota.", "insufficient_quota", "insufficient_quota"),
        Blame.OUR_BALANCE,
    ),
    ("openai billing", 429, error("Not active.", "billing_not_active", "billing_not_active"), Blame.OUR_BALANCE),
    (
        "openai key",
        401,
        error("Incorrect API key provided.", INVALID, "invalid_api_key"),
        Blame.OUR_KEY,
    ),
    (
        "openai country",
        403,
        error("Country.", "forbidden", "unsupported_country_region_territory"),
        Blame.OUR_KEY,
    ),
    ("openai model", 404, error("No such model.", INVALID, "model_not_found"), Blame.RETIRED_MODEL),
    ("openai rate", 429, error("Too fast.", "tokens", "rate_limit_exceeded"), Blame.RATE),
    ("openai overloaded", 503, error("Slow down.", "service_unavailable_error", "slow_down"), Blame.CAPACITY),
    ("openai server", 500, error("Sorry about that.", "server_error"), Blame.BROKEN),
    ("openai context", 400, error(CONTEXT, INVALID, "context_length_exceeded"), Blame.CONTEXT_TOO_LONG),
    ("openai flagged", 400, error("Invalid prompt.", INVALID, "invalid_prompt"), Blame.MODERATION),
    ("openai limit field", 400, error("Use the other.", "x", "unsupported_parameter"), Blame.OUR_REQUEST),
    ("openai picture", 400, error("Cannot load it.", INVALID, "invalid_image_url"), Blame.REQUEST),
    ("azure filter", 400, AZURE_FILTER, Blame.MODERATION),
    ("azure deployment", 404, error("No deployment.", None, "DeploymentNotFound"), Blame.RETIRED_MODEL),
    ("azure rate", 429, error("Retry after 6 seconds.", None, "429"), Blame.RATE),
    ("azure key", 401, error("Access denied due to an invalid subscription key.", None, "401"), Blame.OUR_KEY),
    ("anthropic overloaded", 529, anthropic("overloaded_error"), Blame.CAPACITY),
    ("anthropic missing", 404, anthropic("not_found_error"), Blame.RETIRED_MODEL),
    ("anthropic rate", 429, anthropic("rate_limit_error"), Blame.RATE),
    ("anthropic balance", 400, error("Your credit balance is too low.", INVALID), Blame.OUR_BALANCE),
    (
        "anthropic context",
        400,
        error("prompt is too long: 9 tokens > 8", INVALID),
        Blame.CONTEXT_TOO_LONG,
    ),
    ("anthropic size", 413, error("Too many bytes.", "request_too_large"), Blame.CONTEXT_TOO_LONG),
    ("openrouter balance", 402, error("Insufficient credits.", None, 402), Blame.OUR_BALANCE),
    ("openrouter nested", 402, {"error": {"code": 402, "error": {"message": "More"}}}, Blame.OUR_BALANCE),
    ("openrouter upstream", 502, error("Provider returned error", None, 502), Blame.BROKEN),
    ("openrouter flagged", 403, error("Your input was flagged.", None, 403), Blame.MODERATION),
    ("openrouter gone", 404, error("No endpoints found for it.", None, 404), Blame.RETIRED_MODEL),
    ("openrouter busy", 429, error("Provider returned error", None, 429), Blame.RATE),
    (
        "deepseek balance",
        402,
        error("Insufficient Balance", "unknown_error", INVALID),
        Blame.OUR_BALANCE,
    ),
    (
        "deepseek model",
        400,
        error("Model Not Exist", INVALID, INVALID),
        Blame.RETIRED_MODEL,
    ),
    ("deepseek risk", 400, error("Content Exists Risk", INVALID, "x"), Blame.MODERATION),
    (
        "deepseek key",
        401,
        error("Authentication Fails", "authentication_error", INVALID),
        Blame.OUR_KEY,
    ),
    ("groq minute", 413, error("Need more? See billing.", "tokens", "rate_limit_exceeded"), Blame.OVERSIZED),
    ("openai minute", 429, error("Request too large for x on TPM.", "tokens", "rate_limit_exceeded"), Blame.OVERSIZED),
    ("groq gone", 400, error("Decommissioned.", INVALID, "model_decommissioned"), Blame.RETIRED_MODEL),
    ("groq flex", 498, error("No room.", "internal_server_error"), Blame.CAPACITY),
    ("mistral tier", 429, flat("Service tier capacity exceeded.", INVALID, None), Blame.CAPACITY),
    ("mistral rate", 429, flat("Slower.", "rate_limited", "1300"), Blame.RATE),
    ("mistral model", 400, flat("Invalid model: x", "invalid_model", "1500"), Blame.RETIRED_MODEL),
    ("mistral context", 400, flat("40000 tokens, 32768 maximum context length", "x", "3051"), Blame.CONTEXT_TOO_LONG),
    ("mistral key", 401, {"detail": "Unauthorized"}, Blame.OUR_KEY),
    ("mistral shape", 422, {"detail": [{"loc": ["body"], "msg": "no"}]}, Blame.REQUEST),
    ("together room", 422, error(ROOM, INVALID), Blame.CONTEXT_TOO_LONG),
    ("together room as 403", 403, error("It must be less than the context length.", None), Blame.CONTEXT_TOO_LONG),
    ("together gone", 404, error("Unable to access model.", "x", "model_not_available"), Blame.RETIRED_MODEL),
    ("together limit", 402, error("Spending limit.", "credit_limit"), Blame.OUR_BALANCE),
    ("vllm context", 400, flat(CONTEXT, BAD, 400), Blame.CONTEXT_TOO_LONG),
    (
        "vllm no room",
        400,
        flat("max_tokens must be at least 1, got -186.", BAD, 400),
        Blame.CONTEXT_TOO_LONG,
    ),
    ("vllm model", 404, flat("The model does not exist.", "NotFoundError", 404), Blame.RETIRED_MODEL),
    ("vllm order", 400, flat("Roles must alternate.", BAD, 400), Blame.REQUEST),
    ("llama.cpp context", 400, error("Too much.", "exceed_context_size_error", 400, n_ctx=256), Blame.CONTEXT_TOO_LONG),
    ("old llama.cpp context", 500, error("Too much.", "exceed_context_size_error", 500), Blame.CONTEXT_TOO_LONG),
    ("llama.cpp loading", 503, error("Loading model", "unavailable_error", 503), Blame.CAPACITY),
    ("litellm context", 400, error(LITELLM_CONTEXT, None, "400"), Blame.CONTEXT_TOO_LONG),
    ("litellm filter", 400, error(LITELLM_FILTER, None, "400"), Blame.MODERATION),
    ("litellm budget", 400, error("Budget has been exceeded!", "budget_exceeded", "400"), Blame.OUR_BALANCE),
    ("litellm model", 400, error("Invalid model name passed in.", "None", "400"), Blame.RETIRED_MODEL),
    ("litellm key", 401, error("Authentication Error", "auth_error", "401"), Blame.OUR_KEY),
    ("ollama model", 404, error("model 'x' not found, try pulling it first", "api_error"), Blame.RETIRED_MODEL),
    ("ollama plain", 404, {"error": "model 'x' not found"}, Blame.RETIRED_MODEL),
    ("nebius context", 400, {"detail": CONTEXT}, Blame.CONTEXT_TOO_LONG),
    ("nebius balance", 402, {"detail": "Not enough funds"}, Blame.OUR_BALANCE),
    ("gemini rate", 429, google(429, "Exhausted.", "RESOURCE_EXHAUSTED"), Blame.RATE),
    ("gemini room", 503, google(503, "No capacity.", "UNAVAILABLE"), Blame.CAPACITY),
    ("gemini key", 400, google(400, "API key not valid.", "INVALID_ARGUMENT"), Blame.OUR_KEY),
    (
        "gemini context",
        400,
        google(400, "Exceeds the maximum number of tokens.", "X"),
        Blame.CONTEXT_TOO_LONG,
    ),
    ("xai balance", 403, {"code": "no", "error": "Your team has used all available credits"}, Blame.OUR_BALANCE),
    ("xai no credits", 403, {"code": "no", "error": "Your new team doesn't have any credits yet."}, Blame.OUR_BALANCE),
    ("xai safety", 403, {"code": "no", "error": "Content violates usage guidelines. CSAM"}, Blame.MODERATION),
    ("dashscope arrears", 400, {"code": "Arrearage", "message": "Access denied."}, Blame.OUR_BALANCE),
    ("dashscope free tier", 403, error("Exhausted.", None, "AllocationQuota.FreeTierOnly"), Blame.OUR_BALANCE),
    ("dashscope inspection", 400, error("May be inappropriate.", None, "DataInspectionFailed"), Blame.MODERATION),
    ("zhipu arrears", 429, error("余额不足", None, "1113"), Blame.OUR_BALANCE),
    ("zhipu sensitive", 400, error("敏感内容", None, "1301"), Blame.MODERATION),
    ("moonshot suspended", 429, error("Suspended.", "exceeded_current_quota_error"), Blame.OUR_BALANCE),
    ("minimax", 200, {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, Blame.OUR_BALANCE),
    ("openai cyber", 400, error("Blocked.", INVALID, "cyber_policy_violation"), Blame.MODERATION),
    ("portkey guardrail", 446, error("It failed.", "hooks_failed"), Blame.MODERATION),
    ("anthropic field", 400, error("stream_options: Extra inputs are not permitted", INVALID), Blame.OUR_REQUEST),
    ("mistral field", 422, {"detail": [{"type": "extra_forbidden", "msg": "No."}]}, Blame.OUR_REQUEST),
    (
        "gemini field",
        400,
        google(400, 'Invalid JSON payload received. Unknown name "user"', "X"),
        Blame.OUR_REQUEST,
    ),
    ("sglang long", 400, flat("The input (9 tokens) is longer than the model's context length.", BAD, 400), TOO_LONG),
    ("vllm output", 400, flat(f"'max_tokens' or 'x' is too large: 9. {CONTEXT}", BAD, 400), TOO_LONG),
    ("bedrock long", 400, {"message": "Input is too long for requested model."}, TOO_LONG),
    ("cohere long", 400, {"message": "total number of tokens in the prompt cannot exceed 4081"}, TOO_LONG),
    ("lm studio long", 400, {"error": "The model is loaded with context length of only 4096 tokens"}, TOO_LONG),
    ("copilot long", 400, error("Limit.", None, "model_max_prompt_tokens_exceeded"), TOO_LONG),
    ("openrouter long", 400, error("Provider returned error", None, 400, metadata={"raw": RAW}), TOO_LONG),
    ("databricks long", 400, {"error_code": "BAD_REQUEST", "message": RAW}, TOO_LONG),
    ("openrouter pictures", 404, error("No endpoints found that support image input", "", "404"), Blame.REQUEST),
    ("openrouter data policy", 404, error("No endpoints found matching your data policy", None, 404), Blame.OUR_KEY),
    ("openrouter guardrail", 404, {"message": "No endpoints available matching your guardrails"}, Blame.OUR_KEY),
    ("nobody known", 418, {"message": "I am a teapot"}, Blame.UNKNOWN),
]


@pytest.mark.parametrize(("status", "body", "blame"), [row[1:] for row in RECORDED], ids=[row[0] for row in RECORDED])
def test_an_error_is_blamed_on_whom_the_vendor_means(status: int, body: object, blame: Blame) -> None:
    """T-107: by type and code, then by its message, then by the status: a number as code hides nothing."""
    assert blame_of(failure_of(status, body)) is blame


@pytest.mark.parametrize(
    "message",
    [
        "Failed to download image: https://pictures.example/overloaded.png",
        "Invalid image url https://pictures.example/rate-limited.png: 404 Not Found",
        "litellm.BadRequestError: OpenAIException - invalid content 'model not found'",
        "Input should be a valid string, input_value='insufficient balance', input_type=str",
        "Input should be a valid list, you sent insufficient balance",
        'Cannot read "api key not valid',
        "Could not parse: rate limit",
        "Bad role after: incorrect api key, overloaded, no endpoints found for me",
    ],
)
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
        ("tool_calls", FinishKind.UNKNOWN),
        ("stopped", FinishKind.UNKNOWN),
        ("", FinishKind.UNKNOWN),
    ],
)
def test_a_word_for_an_end_that_nobody_knows_is_no_success(word: str, kind: FinishKind) -> None:
    """T-107."""
    assert kind_of(word) is kind
