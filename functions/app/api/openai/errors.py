"""Errors in the shape that OpenAI's clients read, on the addresses under `/v1/openai/` and nowhere else.

`{"error": {"message", "type", "param", "code"}}`, as the API reference has it
(https://platform.openai.com/docs/guides/error-codes). Their SDKs repeat a request by themselves after 408, 409, 429 and
5xx, and wait as Retry-After says; so what is never granted by repeating it has none of these statuses.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from werkzeug.wrappers import Response

from app.api.problems import Described

_SAID: Final[Mapping[str, tuple[int, str]]] = {
    "validation_failed": (400, "invalid_value"),
    "api_key_invalid": (401, "invalid_api_key"),
    "api_key_expired": (401, "invalid_api_key"),
    "token_invalid": (401, "invalid_api_key"),
    "token_expired": (401, "invalid_api_key"),
    "unauthenticated": (401, "invalid_api_key"),
    "model_unknown": (404, "model_not_found"),
    "model_not_offered": (404, "model_not_found"),
    "model_unsuitable": (400, "model_unsuitable"),
    "prompt_too_long": (400, "context_length_exceeded"),
    "content_refused": (400, "content_filter"),
    "model_refused": (400, "model_refused"),
    "max_cost_too_low": (400, "max_cost_too_low"),
    # OpenAI answers 429, which its SDKs repeat; nothing but more credits helps here.
    "insufficient_credits": (402, "insufficient_quota"),
    "budget_exceeded": (402, "budget_exceeded"),
}
"""Status and code by ours; any other error keeps both."""
_TOLD: Final[Mapping[str, str]] = {
    "unauthenticated": "Send an API key: `Authorization: Bearer sk-...`. POST /v1/keys makes one.",
    "token_invalid": "This is neither an API key, which begins with sk-, nor a valid ID token.",
}
"""What is said in place of our own sentence, which speaks of ID tokens alone."""
_PARAMS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("model_unknown", "model_not_offered", "model_unsuitable"), "model"),
    **dict.fromkeys(("prompt_too_long", "content_refused"), "messages"),
    "max_cost_too_low": "max_cost",
}
_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}


class OpenAIErrorDetail(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(frozen=True)

    message: str
    type: str
    param: str | None = Field(description="The parameter that it is about")
    code: str | None


class OpenAIError(BaseModel):
    """An error as OpenAI's clients read it."""

    model_config = ConfigDict(frozen=True)

    error: OpenAIErrorDetail


def response(described: Described, sent: object = None) -> Response:
    """The error as an HTTP answer. `sent` is the JSON body that it is about, where that did not fit its model."""
    status = _SAID.get(described.code, (described.status, ""))[0]
    text = json.dumps(body(described, sent), ensure_ascii=False)
    return Response(text, status, {**described.headers, "Content-Type": "application/json"})


def body(described: Described, sent: object = None) -> dict[str, object]:
    """The error as an object, which a stream sends as its last event."""
    status, code = _SAID.get(described.code, (described.status, described.code))
    message, param = _TOLD.get(described.code, described.detail), _PARAMS.get(described.code)
    errors = described.extras.get("errors")
    if isinstance(errors, list) and errors:
        message, param, code = _of_field(errors, sent)
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return OpenAIError(error=OpenAIErrorDetail(message=message, type=kind, param=param, code=code)).model_dump()


def _of_field(errors: Sequence[Mapping[str, object]], sent: object) -> tuple[str, str, str]:
    """Message, parameter and code of the first thing that does not fit the model of the body.

    Where several models may stand, each of them has its errors: the one that reaches deepest is of the one that was
    meant.
    """
    placed = [(_place(error, sent), error) for error in errors]
    first = placed[0][0][:1]
    steps, error = max((one for one in placed if one[0][:1] == first), key=lambda one: len(one[0]))
    param = ".".join(steps)
    if error.get("type") == "extra_forbidden":
        return f"The parameter {param} is not supported here.", param, "unsupported_parameter"
    if error.get("type") == "missing":
        return f"The parameter {param} is missing.", param, "missing_required_parameter"
    return f"{param}: {error.get('msg')}", param, "invalid_value"


def _place(error: Mapping[str, object], sent: object) -> list[str]:
    """The steps to what is wrong in the body `sent`, without the names of models that may stand there, which pydantic
    writes between them.
    """
    where = error.get("loc")
    loc = list(where) if isinstance(where, Sequence) else []
    if not isinstance(sent, dict):
        return [str(step) for step in loc]
    steps, at = [], sent
    for step in loc:
        inside = step in at if isinstance(at, dict) else isinstance(at, list) and step in range(len(at))
        if inside:
            at = at[step]
            steps.append(str(step))
    return [*steps, str(loc[-1])] if error.get("type") == "missing" else steps
