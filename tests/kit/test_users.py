"""The look-up of a user, against a server that answers what Identity Toolkit documents, and what it does not."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from app.kit.errors import Unavailable
from app.kit.google.users import AuthUsers, UserRecord
from app.kit.network.http import ConnectionPool, HttpClient, NoResponse, Retries


class Toolkit:
    """A server that gives its `answers` in turn, the last one for ever, and keeps what it was asked. None hangs up."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, object]] = []
        self.asked: list[tuple[str, str, object]] = []
        toolkit = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                toolkit.asked.append((self.path, self.headers["Authorization"], body))
                status, answer = toolkit.answers.pop(0) if len(toolkit.answers) > 1 else toolkit.answers[0]
                if answer is None:
                    self.close_connection = True
                    return
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                """Logs nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.base = f"http://127.0.0.1:{self._server.server_port}/identitytoolkit.googleapis.com"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Account:
    """A credential whose token ends when it was refused."""

    def __init__(self) -> None:
        self.token: str | None = "first"

    def before_request(self, _: object, __: str, ___: str, headers: dict[str, str], /) -> None:
        headers["authorization"] = f"Bearer {self.token}"

    def refresh(self, _: object, /) -> None:
        self.token = "second"


@pytest.fixture
def toolkit() -> Iterator[Toolkit]:
    toolkit = Toolkit()
    yield toolkit
    toolkit.stop()


def users_with(*answers: tuple[int, object], toolkit: Toolkit) -> AuthUsers:
    toolkit.answers = list(answers)
    return AuthUsers("demo-x", None, base=toolkit.base)


def found(**fields: object) -> tuple[int, object]:
    return 200, {"kind": "identitytoolkit#GetAccountInfoResponse", "users": [{"localId": "alice", **fields}]}


class TestALookUp:
    def test_asks_for_the_user_of_this_project(self, toolkit: Toolkit) -> None:
        users_with(found(), toolkit=toolkit).find("alice")
        path = "/identitytoolkit.googleapis.com/v1/projects/demo-x/accounts:lookup"
        assert toolkit.asked == [(path, "Bearer owner", {"localId": ["alice"]})]

    @pytest.mark.parametrize(
        ("fields", "record"),
        [
            ({}, UserRecord(disabled=False, valid_since_s=0, role=None)),
            ({"disabled": True, "validSince": "1790000000"}, UserRecord(True, 1_790_000_000, None)),
            ({"customAttributes": '{"role": "admin", "plan": 2}'}, UserRecord(False, 0, "admin")),
            ({"customAttributes": ""}, UserRecord(False, 0, None)),
            ({"passwordHash": "x", "unknown": {"new": [1]}}, UserRecord(False, 0, None)),
        ],
    )
    def test_reads_what_counts(self, toolkit: Toolkit, fields: dict[str, object], record: UserRecord) -> None:
        assert users_with(found(**fields), toolkit=toolkit).find("alice") == record

    @pytest.mark.parametrize("answer", [{}, {"users": []}, {"users": [{"localId": "bob", "disabled": False}]}])
    def test_of_nobody_finds_nobody(self, toolkit: Toolkit, answer: object) -> None:
        assert users_with((200, answer), toolkit=toolkit).find("alice") is None

    @pytest.mark.parametrize(
        "answer",
        [
            (200, b"<html>"),
            (200, b""),
            (200, []),
            (200, {"users": {"alice": 1}}),
            found(validSince="soon"),
            found(customAttributes="{"),
            found(customAttributes="[1]"),
            (403, {"error": {"message": "PERMISSION_DENIED"}}),
            (404, {}),
            (302, {}),
            (503, {}),
        ],
    )
    def test_that_is_not_answered_as_documented_says_nothing_of_the_user(
        self, toolkit: Toolkit, answer: tuple[int, object]
    ) -> None:
        with pytest.raises(Unavailable):
            users_with(answer, toolkit=toolkit).find("alice")

    def test_whose_answer_was_lost_is_tried_again(self, toolkit: Toolkit) -> None:
        users = users_with((200, None), found(disabled=True), toolkit=toolkit)
        assert users.find("alice") == UserRecord(True, 0, None)
        assert len(toolkit.asked) == 2

    def test_asks_nothing_when_its_time_is_over(self, toolkit: Toolkit) -> None:
        """Tries, and a new token, share one time: whoever waits for the look-up of another waits no longer."""
        client = HttpClient(ConnectionPool(toolkit.base), 1)
        toolkit.answers = [found()]
        with pytest.raises(NoResponse):
            client.request("POST", "/x", (), b"{}", Retries(True, frozenset(), 1, ends_us=0))
        assert toolkit.asked == []

    @pytest.mark.parametrize("token", ["with\nnewline", "", "\u00e9"])
    def test_with_a_token_that_no_header_can_hold_is_unavailable(self, toolkit: Toolkit, token: str) -> None:
        account = Account()
        account.token = token
        with pytest.raises(Unavailable):
            AuthUsers("demo-x", account, base=toolkit.base).find("alice")

    def test_is_tried_twice(self, toolkit: Toolkit) -> None:
        users = users_with((503, {}), found(disabled=True), toolkit=toolkit)
        assert users.find("alice") == UserRecord(True, 0, None)
        assert len(toolkit.asked) == 2

    def test_without_a_server_is_unavailable(self, toolkit: Toolkit) -> None:
        toolkit.stop()
        with pytest.raises(Unavailable):
            AuthUsers("demo-x", None, base=toolkit.base).find("alice")

    def test_with_a_token_that_ended_is_made_with_a_new_one(self, toolkit: Toolkit) -> None:
        toolkit.answers = [(401, {}), found()]
        assert AuthUsers("demo-x", Account(), base=toolkit.base).find("alice") == UserRecord(False, 0, None)
        assert [token for _, token, _ in toolkit.asked] == ["Bearer first", "Bearer second"]
