"""What the adapter of the Realtime Database makes of errors, lost answers and refusals; the rest is a contract test."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import firebase_admin
import pytest
from firebase_admin.credentials import Base
from google.auth import exceptions
from google.auth.credentials import Credentials

from app.kit.errors import InvariantViolation, Unavailable
from app.kit.stores.realtime import FirebaseRealtime, Json
from app.kit.stores.realtime_http import DatabaseAddress, Rest, encoded, place_of
from support.rtdb import more


class _NoToken(Credentials):
    """Credentials of an instance whose metadata server does not answer."""

    def refresh(self, _: object) -> None:
        raise exceptions.RefreshError("the metadata server does not answer")


class _Broken(Base):
    def get_credential(self) -> Credentials:
        return _NoToken()  # type: ignore[no-untyped-call]  # google.auth's base class has no types


class _Counted(Credentials):
    """Credentials whose tokens are numbered."""

    refreshed = 0

    def refresh(self, _: object) -> None:
        self.refreshed += 1
        self.token = f"token-{self.refreshed}"


@dataclass(frozen=True)
class Said:
    """An answer of the scripted server; `status` 0 hangs up without one."""

    status: int
    body: bytes = b"null"
    etag: str | None = None


@dataclass
class Script:
    """A server that gives the answers of a test, in order, and keeps the requests."""

    says: list[Said] = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Method and `if-match`."""
    tokens: list[str | None] = field(default_factory=list)
    origin: str = ""

    def rest(self, credential: Credentials | None = None) -> Rest:
        return Rest(DatabaseAddress(self.origin, "ns=x", emulated=True), credential, 5)

    @property
    def realtime(self) -> FirebaseRealtime:
        return FirebaseRealtime(self.rest())


@pytest.fixture
def script() -> Iterator[Script]:
    kept = Script()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kept.asked.append((self.command, self.headers.get("if-match")))
            kept.tokens.append(self.headers.get("authorization"))
            said = kept.says.pop(0)
            if not said.status:
                self.close_connection = True
                return
            self.send_response(said.status)
            self.send_header("Content-Length", str(len(said.body)))
            if said.etag:
                self.send_header("ETag", said.etag)
            self.end_headers()
            self.wfile.write(said.body)

        do_GET = do_PUT = do_PATCH = answer

        def log_message(self, format: str, *args: object) -> None:
            """Logs nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept.origin = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield kept
        server.shutdown()


class TestTransactions:
    def test_the_value_of_a_refusal_is_decided_on_at_once(self, script: Script) -> None:
        script.says = [Said(200, b"1", "one"), Said(412, b"5", "five"), Said(200, b"6")]
        assert script.realtime.transact("n", more) == 6
        assert script.asked == [("GET", None), ("PUT", "one"), ("PUT", "five")]

    def test_a_refusal_without_a_tag_is_read_again(self, script: Script) -> None:
        script.says = [Said(200, b"1", "one"), Said(412), Said(200, b"5", "five"), Said(200, b"6")]
        assert script.realtime.transact("n", more) == 6
        assert script.asked == [("GET", None), ("PUT", "one"), ("GET", None), ("PUT", "five")]

    def test_a_write_whose_answer_is_lost_is_not_sent_again(self, script: Script) -> None:
        """A second try would find the first one's value and take it for another writer's."""
        script.says = [Said(200, b"1", "one"), Said(0)]
        with pytest.raises(Unavailable, match="did not answer"):
            script.realtime.transact("n", more)
        assert script.asked == [("GET", None), ("PUT", "one")]

    def test_a_write_that_broke_inside_the_server_is_not_sent_again(self, script: Script) -> None:
        script.says = [Said(200, b"1", "one"), Said(500)]
        with pytest.raises(Unavailable, match="500"):
            script.realtime.transact("n", more)
        assert script.asked == [("GET", None), ("PUT", "one")]

    def test_a_write_that_was_not_attempted_is_sent_again(self, script: Script) -> None:
        script.says = [Said(200, b"1", "one"), Said(503), Said(200, b"2")]
        assert script.realtime.transact("n", more) == 2

    def test_a_transaction_does_not_remove(self, script: Script) -> None:
        script.says = [Said(200, b"1", "one")]
        with pytest.raises(InvariantViolation):
            script.realtime.transact("n", lambda _: None)

    def test_a_write_below_waits_for_its_end(self, script: Script) -> None:
        """Otherwise it would make the transaction of the same process conflict."""
        script.says = [Said(200, b"1", "one"), Said(200, b"2"), Said(204, b"")]
        realtime = script.realtime
        beside = threading.Thread(target=realtime.update, args=({"/a/n/b/": 1, "c": 2},))

        def decide(_: Json) -> Json:
            beside.start()
            # Long enough for a write that does not wait to fail the test; one that waits passes at any speed.
            beside.join(0.1)
            return 2

        assert realtime.transact("/a/n", decide) == 2
        beside.join()
        assert [method for method, _ in script.asked] == ["GET", "PUT", "PATCH"]

    def test_a_failed_one_leaves_its_turn_to_others(self, script: Script) -> None:
        script.says = [Said(400), Said(200, b"1", "one"), Said(200, b"2")]
        realtime = script.realtime
        with pytest.raises(Unavailable):
            realtime.transact("n", more)
        assert realtime.transact("n", more) == 2


class TestOtherCalls:
    @pytest.mark.parametrize("failure", [Said(0), Said(500), Said(503)], ids=["hangs up", "500", "503"])
    def test_reads_and_plain_writes_are_sent_again(self, script: Script, failure: Said) -> None:
        script.says = [failure, Said(200, b"7"), failure, Said(204, b"")]
        assert script.realtime.get("n") == 7
        script.realtime.update({"n": 1})
        assert [method for method, _ in script.asked] == ["GET", "GET", "PATCH", "PATCH"]

    @pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 412, 429])
    def test_any_other_answer_is_a_fault_with_the_reason(self, script: Script, status: int) -> None:
        script.says = [Said(status, b'{"error": "because"}')]
        with pytest.raises(Unavailable, match="because"):
            script.realtime.get("n")

    def test_an_answer_that_is_no_json_is_a_fault(self, script: Script) -> None:
        script.says = [Said(200, b"<html>")]
        with pytest.raises(Unavailable, match="no JSON"):
            script.realtime.get("n")

    def test_what_is_no_json_is_not_sent(self, script: Script) -> None:
        with pytest.raises(InvariantViolation):
            script.realtime.update({"n": float("nan")})
        assert script.asked == []


class TestTokens:
    def test_one_that_is_refused_is_renewed_once(self, script: Script) -> None:
        script.says = [Said(401), Said(200, b"1"), Said(401), Said(401)]
        realtime = FirebaseRealtime(script.rest(_Counted()))  # type: ignore[no-untyped-call]  # as above
        assert realtime.get("n") == 1
        with pytest.raises(Unavailable, match="401"):
            realtime.get("n")
        assert script.tokens == ["Bearer token-1", "Bearer token-2", "Bearer token-2", "Bearer token-3"]

    def test_one_that_is_refused_for_a_write_is_renewed_as_well(self, script: Script) -> None:
        script.says = [Said(401), Said(204, b"")]
        FirebaseRealtime(script.rest(_Counted())).update({"n": 1})  # type: ignore[no-untyped-call]  # as above
        assert script.asked == [("PATCH", None)] * 2

    def test_threads_fetch_one_together(self, script: Script) -> None:
        script.says = [Said(200, b"1")] * 8
        rest = script.rest(_Counted())  # type: ignore[no-untyped-call]  # as above
        threads = [threading.Thread(target=rest.read, args=("n",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert script.tokens == ["Bearer token-1"] * 8

    @pytest.mark.parametrize(
        "call",
        [
            lambda realtime: realtime.get("a"),
            lambda realtime: realtime.first("a", 1),
            lambda realtime: realtime.update({"a": 1}),
            lambda realtime: realtime.transact("a", lambda _: 1),
        ],
        ids=["get", "first", "update", "transact"],
    )
    def test_one_that_cannot_be_had_is_a_fault(
        self, call: Callable[[FirebaseRealtime], object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """google.auth raises its own errors; the mirror and the triggers handle only faults."""
        monkeypatch.delenv("FIREBASE_DATABASE_EMULATOR_HOST", raising=False)
        with suppress(ValueError):  # one that an earlier test has left
            firebase_admin.delete_app(firebase_admin.get_app())
        app = firebase_admin.initialize_app(_Broken(), {"databaseURL": "https://nobody.invalid"})
        try:
            with pytest.raises(Unavailable, match="metadata server"):
                call(FirebaseRealtime())
        finally:
            firebase_admin.delete_app(app)


class TestAddresses:
    @pytest.mark.parametrize(
        ("url", "emulator", "expected"),
        [
            ("https://db.firebaseio.com", None, DatabaseAddress("https://db.firebaseio.com", "", emulated=False)),
            ("https://db.eu.firebasedatabase.app/", "h:9", DatabaseAddress("http://h:9", "ns=db", emulated=True)),
            ("http://h:8/?ns=db", None, DatabaseAddress("http://h:8", "ns=db", emulated=True)),
            ("http://h:8/?ns=db", "h:9", DatabaseAddress("http://h:8", "ns=db", emulated=True)),
        ],
    )
    def test_are_those_of_firebase_admin(self, url: str, emulator: str | None, expected: DatabaseAddress) -> None:
        assert place_of(url, emulator) == expected

    @pytest.mark.parametrize("url", ["", "db", "https:///", "http://h:8", "http://h:8/?ns=", "ftp://h/?ns=db"])
    def test_others_are_refused(self, url: str) -> None:
        with pytest.raises(InvariantViolation):
            place_of(url, None)

    def test_an_identity_that_sees_less_is_kept(self) -> None:
        place = place_of("https://db.firebaseio.com", None, {"uid": "ada"})
        assert place.query == "auth_variable_override=%7B%22uid%22%3A%22ada%22%7D"

    def test_keys_are_encoded_one_by_one(self) -> None:
        assert encoded("/a b/50%//ż?/") == "/a%20b/50%25/%C5%BC%3F.json"
        assert encoded("") == "/.json"

    @pytest.mark.parametrize("path", [".settings/rules", "a.b", "$a", "a#", "a[0]"])
    def test_what_is_no_key_is_refused(self, path: str) -> None:
        with pytest.raises(InvariantViolation):
            encoded(path)
