"""Refusals in the vendor's words: status, body and headers as OpenAI's API sends them.

Owns the shape of an error body. Refuses to know which endpoint failed.
"""

from dataclasses import dataclass, field

import orjson


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The object under `error` in a response or in the middle of a stream."""

    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None

    def json(self) -> bytes:
        """The body as bytes, keys in the vendor's order."""
        fields = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return orjson.dumps({"error": fields})


@dataclass(eq=False)
class VendorError(Exception):
    """A request that is answered with an error status."""

    status: int
    body: ErrorBody
    headers: dict[str, str] = field(default_factory=dict)


def bad_request(message: str, *, param: str | None = None, code: str | None = None) -> VendorError:
    """400: the caller's request cannot be served as it is."""
    return VendorError(400, ErrorBody(message, param=param, code=code))


def unauthorized(key: str | None) -> VendorError:
    """401: no key (`None` or empty) or a wrong one."""
    if not key:
        message = "You didn't provide an API key. Send it in an Authorization header: `Authorization: Bearer KEY`."
        return VendorError(401, ErrorBody(message))
    shown = key if len(key) <= 8 else f"{key[:3]}{'*' * (len(key) - 7)}{key[-4:]}"
    return VendorError(401, ErrorBody(f"Incorrect API key provided: {shown}.", code="invalid_api_key"))


def model_not_found(model: str) -> VendorError:
    """404: no such model."""
    message = f"The model `{model}` does not exist or you do not have access to it."
    return VendorError(404, ErrorBody(message, code="model_not_found"))


_STATUS_BODIES = {
    401: ErrorBody("Incorrect API key provided: sim-****.", code="invalid_api_key"),
    403: ErrorBody("You are not allowed to sample from this model.", code="permission_denied"),
    404: ErrorBody("The requested resource was not found.", code="not_found"),
    409: ErrorBody("The request conflicts with another one.", type="conflict_error"),
    422: ErrorBody("The request could not be processed.", code="unprocessable"),
    429: ErrorBody("Rate limit reached for requests.", type="requests", code="rate_limit_exceeded"),
    500: ErrorBody("The server had an error while processing your request. Sorry about that!", type="server_error"),
    502: ErrorBody("Bad gateway.", type="server_error"),
    503: ErrorBody("The engine is currently overloaded, please try again later.", type="server_error"),
    504: ErrorBody("The engine did not answer in time.", type="server_error"),
}
_QUOTA = ErrorBody(
    "You exceeded your current quota, please check your plan and billing details.",
    type="insufficient_quota",
    code="insufficient_quota",
)
MID_STREAM = ErrorBody(
    "The server had an error processing your request. Sorry about that! You can retry your request.",
    type="server_error",
)


def injected(status: int, *, code: str | None, retry_after: str | None) -> VendorError:
    """The error that a `status=` fault asks for; 429 always says when to come back."""
    body = _STATUS_BODIES.get(status) or ErrorBody(f"Simulated status {status}.", type="server_error")
    if code == "insufficient_quota":
        body = _QUOTA
    elif code is not None:
        body = ErrorBody(body.message, type=body.type, code=code)
    headers: dict[str, str] = {}
    if retry_after is not None or status == 429:
        headers["Retry-After"] = retry_after or "1"
    return VendorError(status, body, headers)
