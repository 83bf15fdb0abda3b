"""Every error that a client sees: RFC 9457 problem objects, made in one place.

    Rejection           -> its own status, code and fields
    Fault               -> 503 with Retry-After
    werkzeug's errors   -> their status, with their headers (Allow, Retry-After) kept
    anything else       -> 500 with nothing but the request id

Refuses to tell a client what went wrong inside: no stack trace, no message of a dependency.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from app.kit.errors import Fault, Invalid, Rejection

if TYPE_CHECKING:
    from pydantic import ValidationError  # late: the first health answer of a cold instance needs no models

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 5
"""`Retry-After` of a fault that names no time itself."""

_CODES: Final[Mapping[int, str]] = {
    400: "malformed_request",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "request_timeout",
    413: "body_too_large",
    415: "unsupported_media_type",
    429: "too_many_requests",
}
_DETAILS: Final[Mapping[int, str]] = {
    400: "The request could not be read.",
    404: "There is nothing at this address.",
    405: "This address does not take that method; see the Allow header.",
    413: "The body is larger than this address accepts.",
    415: "The body must be application/json in UTF-8.",
}

Severity = Literal["expected", "fault", "bug"]


class Malformed(Rejection):
    """The body is not JSON, not UTF-8 or nested too deeply."""

    status = 400
    code = "malformed_request"
    title = "The request could not be read"


class UnsupportedMediaType(Rejection):
    """The body is of a kind that no route takes."""

    status = 415
    code = "unsupported_media_type"
    title = "Unsupported media type"


class ValidationFailed(Invalid):
    """The input does not fit its model; `errors` lists where and why."""

    def __init__(self, errors: list[dict[str, object]]) -> None:
        super().__init__("The request does not fit the documented model.", errors=errors)


@dataclass(frozen=True, slots=True)
class Described:
    """An error as a client may see it, and its severity for our log."""

    status: int
    code: str
    title: str
    detail: str
    severity: Severity = "expected"
    extras: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, request_id: str) -> dict[str, object]:
        """The problem object. Extras cannot hide the members that every problem has."""
        return {
            **self.extras,
            "type": f"urn:problem-type:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
        }

    def response(self, request_id: str) -> Response:
        """The problem as an HTTP answer."""
        text = json.dumps(self.body(request_id), ensure_ascii=False, default=str)
        return Response(text, self.status, {**self.headers, "Content-Type": MEDIA_TYPE})


def describe(error: BaseException) -> Described:
    """What a client may know of `error`."""
    if isinstance(error, Rejection):
        return _rejection(error)
    if isinstance(error, Fault):
        return _fault(error)
    if isinstance(error, HTTPException):
        return _http(error)
    return Described(
        500, "internal_error", "Internal error", "Something went wrong on our side; it was recorded.", severity="bug"
    )


def invalid(error: "ValidationError") -> ValidationFailed:
    """Which fields did not fit and why, without their values: those may be secret, or long."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return ValidationFailed([{"loc": d["loc"], "msg": d["msg"], "type": d["type"]} for d in details])


def _rejection(error: Rejection) -> Described:
    headers: dict[str, str] = {}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = _challenge(error)
    retry_after = error.fields.get("retry_after_s")
    if isinstance(retry_after, int):
        headers["Retry-After"] = str(max(1, retry_after))
    return Described(error.status, error.code, error.title, error.detail, extras=error.fields, headers=headers)


def _challenge(error: Rejection) -> str:
    """RFC 6750: the bare scheme when no credential came, `invalid_token` when one came that does not verify."""
    return "Bearer" if error.code == "unauthenticated" else 'Bearer error="invalid_token"'


def _fault(error: Fault) -> Described:
    wait = error.retry_after_s or RETRY_AFTER_S
    return Described(
        503,
        error.code,
        error.title,
        error.told,
        severity="fault",
        headers={"Retry-After": str(wait)},
    )


def _http(error: HTTPException) -> Described:
    status = error.code or 500
    given = error.get_response().headers
    headers = {name: value for name, value in given.items() if name in ("Allow", "Retry-After", "WWW-Authenticate")}
    return Described(
        status,
        _CODES.get(status, "http_error"),
        HTTPStatus(status).phrase,
        _DETAILS.get(status, "The request cannot be served."),
        severity="bug" if status >= 500 else "expected",
        headers=headers,
    )


def report(described: Described, error: BaseException) -> None:
    """Logs a fault as a warning and a bug with its traceback. Rejections are not logged."""
    from app.kit import telemetry  # late: the first health answer of a cold instance logs nothing

    log = telemetry.log("api")
    if described.severity == "fault":
        log.warning("dependency_failed", code=described.code, reason=str(error))
    elif described.severity == "bug":
        log.error("request_failed", exc_info=error)
