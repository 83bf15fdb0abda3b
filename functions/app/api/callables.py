"""The edge of callable functions: the same services as the routes, the same models, the same problem objects.

`firebase_functions` verifies the ID token before a handler runs, and answers what is not its own HttpsError with a bare
INTERNAL and one line in the log; so every handler is wrapped here.
https://firebase.google.com/docs/functions/callable-reference
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from firebase_functions.https_fn import CallableRequest, FunctionsErrorCode, HttpsError

from app.api import context, problems
from app.api.auth import Freshness, Principal, TokenVerifier, bearer_token
from app.kit.errors import Unauthenticated

if TYPE_CHECKING:
    from pydantic import BaseModel

Body = TypeVar("Body", bound="BaseModel")


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of a signed-in user, as a handler sees it."""

    who: Principal
    data: object
    request_id: str

    def fit(self, model: type[Body]) -> Body:
        """The data as this model; raises ValidationFailed, as a route does for its body."""
        from pydantic import ValidationError

        try:
            return model.model_validate(self.data)
        except ValidationError as error:
            raise problems.invalid(error) from error


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


def handle(
    request: CallableRequest[object],
    handler: Callable[[], CallableHandler],
    new_id: Callable[[], str],
    verify: TokenVerifier | None = None,
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
            return dict(handler()(Invocation(_principal(request, verify), request.data, request_id)))
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
