"""The edge of callable functions, through the SDK's own decorator."""

import io
import json
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, ClassVar

import flask
import pytest
from firebase_functions.https_fn import AuthData, CallableRequest, HttpsError, on_call
from pydantic import Field

from app.api import callables
from app.api.callables import Invocation
from app.api.schemas import RequestBody
from app.kit.errors import InvariantViolation, NotFound, Rejection, Unavailable
from support.bodies import Counted


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


class Sized(RequestBody):
    content: str = Field(default="nothing", min_length=1)
    size: int = 1
    inner: "Sized | None" = None
    tags: list[str | None] = Field(default_factory=list)


LONG, UNSIGNED = "type.googleapis.com/google.protobuf.Int64Value", "type.googleapis.com/google.protobuf.UInt64Value"


def long(value: object, kind: str = LONG) -> dict[str, object]:
    return {"@type": kind, "value": value}


class TestWhatAnSdkSends:
    """T-126: https://firebase.google.com/docs/functions/callable-reference"""

    def test_for_no_data_is_an_object_without_members(self) -> None:
        assert run(lambda call: call.fit(Sized).model_dump(), data=None) == Sized().model_dump()

    def test_for_undefined_is_null_and_means_left_out(self) -> None:
        """The SDK writes null for each undefined member, also for one whose default is not null."""
        data = {"content": None, "size": None, "inner": {"content": None, "inner": None}, "tags": ["a", None]}
        assert run(lambda call: call.fit(Sized).model_dump(), data=data) == {
            **Sized().model_dump(),
            "inner": Sized().model_dump(),
            "tags": ["a", None],
        }

    @pytest.mark.parametrize(
        ("sent", "size"),
        [
            (long("5"), 5),
            (long("-9223372036854775808"), -(2**63)),
            (long(str(2**64 - 1), UNSIGNED), 2**64 - 1),
            (long(7), 7),
        ],
    )
    def test_for_a_long_is_an_integer(self, sent: object, size: int) -> None:
        data = {"size": sent, "inner": {"size": sent}}
        found = run(lambda call: {"sizes": [(fit := call.fit(Sized)).size, fit.inner and fit.inner.size]}, data=data)
        assert found == {"sizes": [size, size]}

    @pytest.mark.parametrize(
        "sent",
        [long("5.5"), long(str(2**63)), long("-1", UNSIGNED), long("٣"), long("1" * 5000), long(None), long(True)],
    )
    def test_for_a_long_that_is_none_is_refused(self, sent: object) -> None:
        code, details = refused(lambda call: {"is": call.fit(Sized).size}, data={"size": sent})
        assert (code, details["code"]) == ("invalid-argument", "malformed_request")

    @pytest.mark.parametrize("sent", [{"@type": "x", "value": "5"}, {"@type": [], "value": 5}, {"@type": 5}])
    def test_in_no_wrapper_that_we_know_does_not_fit(self, sent: object) -> None:
        code, details = refused(lambda call: {"is": call.fit(Sized).size}, data={"size": sent})
        assert (code, details["code"]) == ("invalid-argument", "validation_failed")


class TestTheBody:
    """Through the SDK's decorator, as a deployed function is called."""

    SIGNED: ClassVar = {"Authorization": "Bearer a.b.c"}

    @pytest.fixture(autouse=True)
    def signed_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def checked(request: flask.Request) -> object:
            who = {"uid": "alice"} if "Authorization" in request.headers else None
            return SimpleNamespace(auth=None, app=None, app_token=None, auth_token=who)

        monkeypatch.setattr("firebase_functions.private.util.on_call_check_tokens", checked)

    @staticmethod
    def call(body: bytes | Counted, headers: Mapping[str, str] = SIGNED) -> tuple[int, Mapping[str, Any]]:
        @callables.read_strictly
        @on_call()
        def function(request: CallableRequest[object]) -> object:
            return callables.handle(
                request, lambda: lambda call: {"data": call.data, "fits": call.fit(Sized).content}, lambda: "req_new"
            )

        application = flask.Flask("framework")
        application.add_url_rule("/", "function", lambda: function(flask.request), methods=["POST"])  # type: ignore[arg-type]  # as the framework calls it
        stream = io.BytesIO(body) if isinstance(body, bytes) else body
        size = len(body) if isinstance(body, bytes) else body.left
        answer = application.test_client().post(
            "/",
            content_type="application/json",
            headers={**headers, "Origin": "https://any.example"},
            environ_overrides={"wsgi.input": stream, "wsgi.input_terminated": True, "CONTENT_LENGTH": str(size)},
        )
        assert answer.headers["Access-Control-Allow-Origin"] == "https://any.example", (
            "or a page could not read the answer"
        )
        return answer.status_code, answer.json or {}

    @pytest.mark.parametrize("body", [b"{}", b'{"data": null}', b'{"data": {}}', b'{"data": {"content": null}}'])
    def test_may_lack_its_data(self, body: bytes) -> None:
        status, answer = self.call(body)
        assert (status, answer["result"]["fits"]) == (200, "nothing")

    def test_arrives(self) -> None:
        body = '{"data": {"content": "żółć 🫖 \\u2028"}}'.encode()
        assert self.call(body)[1]["result"]["fits"] == "żółć 🫖 \u2028"

    @pytest.mark.parametrize(
        "body",
        [
            *(b"", b"{", b"null", b"[]", b"7", b'{"data": {}, "more": 1}', b'{"data": NaN}', b'{"data": 1e999}'),
            *(b'{"data": "\\ud800"}', b'{"data": "\xff"}', b'{"data": 1, "data": 2}'),
            *(b'{"data":' + b"[" * 65 + b"]" * 65 + b"}", b"[" * 200_000, b'{"data": ' + b"9" * 10_000 + b"}"),
        ],
        ids=lambda body: body[:20].decode("latin-1"),
    )
    def test_that_is_not_strict_json_is_the_callers_mistake(self, body: bytes) -> None:
        status, answer = self.call(body)
        assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert answer["error"]["details"]["code"] == "malformed_request"

    def test_that_is_too_large_is_refused_unread(self) -> None:
        body = Counted(20 * 1024 * 1024)
        status, answer = self.call(body)
        assert (status, answer["error"]["details"]["code"]) == (400, "body_too_large")
        assert body.left == 0
        assert max(body.reads) <= 64 * 1024

    @pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer x", "Bearer a.b", "Basic a.b.c"])
    def test_of_nobody_is_dropped_piece_by_piece(self, authorization: str | None) -> None:
        """T-100"""
        body = Counted(20 * 1024 * 1024)
        headers = {} if authorization is None else {"Authorization": authorization}
        status, answer = self.call(body, headers)
        if authorization is None:
            assert (status, answer["error"]["status"]) == (401, "UNAUTHENTICATED")
        assert max(body.reads) <= 64 * 1024
