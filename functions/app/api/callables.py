"""The edge of callable functions: the same services as the routes, the same models, the same problem objects.

`firebase_functions` parses a body of any size before it verifies the ID token, and answers what is not its own
HttpsError with a bare INTERNAL and one line in the log; so every function and every handler is wrapped here.
https://firebase.google.com/docs/functions/callable-reference
"""

import functools
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import flask
from firebase_functions.https_fn import CallableRequest, FunctionsErrorCode, HttpsError
from werkzeug.exceptions import HTTPException

from app.api import bodies, context, problems
from app.api.auth import Freshness, Principal, TokenVerifier, bearer_token, looks_up
from app.api.rates.limits import RateLimiter, Unlimited
from app.kit.errors import Rejection, Unauthenticated

if TYPE_CHECKING:
    from pydantic import BaseModel

Body = TypeVar("Body", bound="BaseModel")


class Invocation(NamedTuple):
    """One call of a signed-in user, as a handler sees it."""

    who: Principal
    data: object
    request_id: str

    def fit(self, model: type[Body]) -> Body:
        """The data as this model.

        Raises:
            ValidationFailed: it does not fit, as in the body of a route.
            Malformed: a long of an SDK holds no integer.
        """
        from pydantic import ValidationError

        try:
            return model.model_validate({} if self.data is None else _plain(self.data))
        except ValidationError as error:
            raise problems.invalid(error) from error


Function = TypeVar("Function", bound=Callable[..., object])
"""What `on_call` makes of a handler: it takes a flask.Request, whatever the SDK says of its type."""

_REFUSED: Final = "credits.callable_refused"
"""The WSGI variable in which a body that cannot be taken waits until it is known who sent it."""
_TOKEN_FORM: Final = re.compile(r"bearer +[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*", re.ASCII | re.IGNORECASE)
_LONGS: Final[Mapping[object, range]] = {
    "type.googleapis.com/google.protobuf.Int64Value": range(-(2**63), 2**63),
    "type.googleapis.com/google.protobuf.UInt64Value": range(2**64),
}

CallableHandler = Callable[[Invocation], Mapping[str, object]]
"""Returns the result as JSON."""

_CODES: Final[Mapping[int, FunctionsErrorCode]] = {
    400: FunctionsErrorCode.INVALID_ARGUMENT,
    401: FunctionsErrorCode.UNAUTHENTICATED,
    402: FunctionsErrorCode.FAILED_PRECONDITION,
    403: FunctionsErrorCode.PERMISSION_DENIED,
    404: FunctionsErrorCode.NOT_FOUND,
    409: FunctionsErrorCode.ABORTED,
    413: FunctionsErrorCode.INVALID_ARGUMENT,
    415: FunctionsErrorCode.INVALID_ARGUMENT,
    422: FunctionsErrorCode.INVALID_ARGUMENT,
    429: FunctionsErrorCode.RESOURCE_EXHAUSTED,
    503: FunctionsErrorCode.UNAVAILABLE,
}


def read_strictly(function: Function) -> Function:
    """Reads a call's body before the SDK does, as a route's is read. Stands above `on_call`.

    What has no ID token, by its form, is not read at all: every callable refuses its sender. `data` may be missing.
    """

    @functools.wraps(function)
    def wrapped(request: flask.Request) -> object:
        if request.method != "POST":
            return function(request)
        environ = {name: value for name, value in request.environ.items() if not name.startswith("werkzeug.")}
        data: object = None
        try:
            if _TOKEN_FORM.fullmatch(request.headers.get("Authorization", "").strip()):
                data = _data(request)
        except (Rejection, HTTPException) as error:
            environ[_REFUSED] = error
        body = json.dumps({"data": data}).encode()
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        answer = function(flask.Request(environ))
        bodies.drop_rest(request.stream)
        return answer

    return wrapped  # type: ignore[return-value]  # of the same signature


def _data(request: flask.Request) -> object:
    body = bodies.read(request, bodies.MAX_BODY)
    try:
        call = bodies.parse(body)
    except ValueError as error:
        raise problems.Malformed("The body is not JSON.") from error
    if not isinstance(call, dict) or call.keys() - {"data"}:
        raise problems.Malformed("The body of a call is an object with one member, `data`.")
    return call.get("data")


def _plain(value: object) -> object:
    """The value without what SDKs add: longs in a wrapper, and null for a member that was left `undefined`."""
    if isinstance(value, list):
        return [_plain(member) for member in value]
    if not isinstance(value, dict):
        return value
    allowed = _LONGS.get(value.get("@type")) if isinstance(value.get("@type"), str) else None
    if allowed is None:
        return {name: _plain(member) for name, member in value.items() if member is not None}
    text = str(value.get("value"))
    if not re.fullmatch(r"-?[0-9]{1,20}", text, re.ASCII) or int(text) not in allowed:
        raise problems.Malformed("A long of a call holds an integer of 64 bits.")
    return int(text)


def handle(
    request: CallableRequest[object],
    handler: Callable[[], CallableHandler],
    new_id: Callable[[], str],
    verify: TokenVerifier | None = None,
    rates: Callable[[], RateLimiter] = Unlimited,
) -> object:
    """Runs the handler for the signed-in caller. `handler` makes it, so that errors in making it are covered too.

    The SDK believes a token up to its end; `verify` refuses disabled users and revoked tokens within a minute (T-95).

    Raises:
        HttpsError: anything failed; `details` is the problem object, with the request id of the log.
    """
    from app.kit import telemetry  # late: a callable's module is loaded by every function's cold start

    given = request.raw_request.headers.get(context.HEADER) if request.raw_request else None
    request_id = context.accepted(given) or new_id()
    with telemetry.context(request_id=request_id), context.coming_from(_client(request)):
        try:
            who = _principal(request, verify)
            refused = request.raw_request.environ.get(_REFUSED) if request.raw_request else None
            if isinstance(refused, Exception):
                raise refused
            serve = handler()
            rates().hit("messages" if looks_up(serve) else "reads", who.uid)
            return dict(serve(Invocation(who, request.data, request_id)))
        except Exception as error:
            described = problems.describe(error)
            problems.report(described, error)
            code = _CODES.get(described.status, FunctionsErrorCode.INTERNAL)
            raise HttpsError(code, described.detail, described.body(request_id)) from error


def _client(request: CallableRequest[object]) -> context.Client:
    """No relay stands before callables: clients' SDKs call the functions' own addresses."""
    raw = request.raw_request
    return context.client_of(raw.headers.get, raw.remote_addr) if raw else context.NOBODY


def _principal(request: CallableRequest[object], verify: TokenVerifier | None) -> Principal:
    from app.api.firebase_tokens import principal

    if request.auth is None:
        raise Unauthenticated("Sign in first.")
    authorization = request.raw_request.headers.get("Authorization") if request.raw_request else None
    if verify is not None and authorization is not None:
        return verify(bearer_token(authorization), freshness=Freshness.RECENT)
    return replace(principal(request.auth.token), role="user")
