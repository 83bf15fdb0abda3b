"""The edge of callable functions, through the SDK's own decorator."""

import json
from collections.abc import Callable, Mapping

import flask
import pytest
from firebase_functions.https_fn import AuthData, CallableRequest, HttpsError
from pydantic import Field

from app.api import callables
from app.api.callables import Invocation
from app.api.schemas import RequestBody
from app.kit.errors import InvariantViolation, NotFound, Rejection, Unavailable


class Question(RequestBody):
    content: str = Field(min_length=1)


class Poor(Rejection):
    status = 402
    code = "insufficient_credits"


def request(
    data: object, *, uid: str | None = "alice", headers: Mapping[str, str] | None = None
) -> CallableRequest[object]:
    claims = {"uid": uid, "role": "admin", "email": "a@example.com", "email_verified": True}
    with flask.Flask("test").test_request_context(headers=dict(headers or {})):
        raw = flask.request._get_current_object()  # type: ignore[attr-defined]  # the request behind the proxy
    return CallableRequest(data=data, raw_request=raw, auth=AuthData(uid=uid, token=claims) if uid else None)


def run(handler: callables.CallableHandler, **given: object) -> object:
    return callables.handle(request(**{"data": {}, **given}), lambda: handler, lambda: "req_new")  # type: ignore[arg-type]  # by name


def refused(handler: callables.CallableHandler, **given: object) -> tuple[str, Mapping[str, object]]:
    with pytest.raises(HttpsError) as caught:
        run(handler, **given)
    details = caught.value.details
    assert isinstance(details, dict)
    return caught.value.code.value, details


def raising(error: Exception) -> Callable[[Invocation], Mapping[str, object]]:
    def handler(_: Invocation) -> Mapping[str, object]:
        raise error

    return handler


class TestACall:
    def test_tells_the_handler_who_calls(self) -> None:
        who = run(lambda call: {"uid": call.who.uid, "role": call.who.role, "verified": call.who.email_verified})
        assert who == {"uid": "alice", "role": "user", "verified": True}, "a role in a token may be an hour old"

    def test_without_signing_in_is_refused(self) -> None:
        code, details = refused(lambda _: {}, uid=None)
        assert (code, details["code"], details["status"]) == ("unauthenticated", "unauthenticated", 401)

    def test_keeps_a_sane_request_id(self) -> None:
        seen = run(lambda call: {"id": call.request_id}, headers={"X-Request-Id": "trace-1"})
        assert seen == {"id": "trace-1"}
        assert run(lambda call: {"id": call.request_id}, headers={"X-Request-Id": "<no>"}) == {"id": "req_new"}

    @pytest.mark.parametrize("data", [None, [], "x", {}, {"content": ""}, {"content": "x", "colour": "red"}])
    def test_that_does_not_fit_its_model_says_where(self, data: object) -> None:
        code, details = refused(lambda call: {"is": call.fit(Question).content}, data=data)
        assert (code, details["code"]) == ("invalid-argument", "validation_failed")
        assert details["errors"]

    def test_that_fits_arrives_as_the_model(self) -> None:
        assert run(lambda call: {"is": call.fit(Question).content}, data={"content": "hi"}) == {"is": "hi"}


class TestAnError:
    @pytest.mark.parametrize(
        ("error", "code", "status"),
        [
            (Poor("No."), "failed-precondition", 402),
            (NotFound("No."), "not-found", 404),
            (Unavailable("secret"), "unavailable", 503),
            (InvariantViolation("secret"), "internal", 500),
            (RuntimeError("secret"), "internal", 500),
        ],
    )
    def test_becomes_an_https_error_with_the_problem(self, error: Exception, code: str, status: int) -> None:
        seen, details = refused(raising(error))
        assert (seen, details["status"], details["request_id"]) == (code, status, "req_new")
        assert "secret" not in json.dumps(details)

    def test_of_building_the_handler_is_covered_too(self) -> None:
        def build() -> callables.CallableHandler:
            raise RuntimeError("secret")

        with pytest.raises(HttpsError) as caught:
            callables.handle(request({}), build, lambda: "req_new")
        assert "secret" not in str(caught.value.details)
