"""Malformed frames, bombs, sizes, half-open sockets: a clear error, the server stays up, nothing changes."""

import socket
import struct
import zlib
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus

from rtdb import models
from rtdb.harness import OWNER, TIMEOUT, EmulatorProcess, Namespace, Wire
from rtdb.streams import stream
from rtdb_emulator.json_text import Json, dumps

BOMB: Final = "[" * 50_000 + "]" * 50_000
JSON: Final = st.recursive(
    st.one_of(st.none(), models.SCALARS, st.sampled_from(["/a", "/a/b", ".sv", "timestamp", "owner", "d", "p"])),
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["t", "d", "r", "a", "b", "p", "q", "h", "i", "l", "sp", "cred", ".sv", ".value", ".priority"]
            ),
            below,
            max_size=5,
        ),
    ),
    max_leaves=15,
)


PARAMETERS: Final = (
    *("orderBy", "startAt", "startAfter", "endAt", "endBefore", "equalTo", "limitToFirst", "limitToLast"),
    *("shallow", "print", "format", "callback", "download", "auth", "auth_variable_override"),
)


@pytest.fixture
def kept(ns: Namespace) -> Namespace:
    """A namespace with something in it that must not change."""
    ns.put("kept", {"a": 1})
    return ns


def unchanged(ns: Namespace) -> None:
    assert ns.get() == {"kept": {"a": 1}}
    assert ns.emulator.process.poll() is None


class TestFrames:
    @pytest.mark.parametrize(
        "text",
        ["x", "{", "[]", "null", '"d"', "{}", '{"t":"d"}', '{"t":"x","d":{}}', '{"t":"c","d":[]}', "NaN", "-5", BOMB],
        ids=lambda text: text[:12],
    )
    def test_what_makes_no_sense_is_answered_with_an_error_message(self, kept: Namespace, text: str) -> None:
        with kept.connect() as wire:
            wire.send_text(text)
            if text != '{"t":"c","d":[]}':
                assert wire.receive()["d"]["t"] == "e"  # type: ignore[index,call-overload]
            wire.ok("s", {})
        unchanged(kept)

    @pytest.mark.parametrize(
        ("action", "body"),
        [
            ("p", None),
            ("p", {}),
            ("p", {"p": 5, "d": 1}),
            ("p", {"p": "/a.b", "d": 1}),
            ("p", {"p": "/" + "x/" * 33, "d": 1}),
            ("p", {"p": "/" + "k" * 769, "d": 1}),
            ("p", {"p": "/kept", "d": {"a/b": 1}}),
            ("p", {"p": "/kept", "d": {".value": {}, "x": 1}}),
            ("p", {"p": "/kept", "d": 1, "h": 5}),
            ("m", {"p": "/kept", "d": None}),
            ("m", {"p": "/kept", "d": [1]}),
            ("m", {"p": "/kept", "d": {"": 1}}),
            ("m", {"p": "/kept", "d": {"a..b": 1}}),
            ("q", {"p": "/kept", "q": 5}),
            ("q", {"p": "/kept", "q": {"l": -1}}),
            ("q", {"p": "/kept", "q": {"l": True}}),
            ("q", {"p": "/kept", "q": {"i": 5}}),
            ("q", {"p": "/kept", "q": {"i": "a$"}}),
            ("q", {"p": "/kept", "q": {"sp": {}}}),
            ("q", {"p": "/kept", "q": {"sp": 1, "sn": 5}}),
            ("q", {"p": "/kept", "q": {"l": 1}, "t": "x"}),
            ("g", {"p": "/#"}),
            ("o", {"p": "/kept/.x", "d": 1}),
            ("om", {"p": "/kept", "d": 5}),
            ("oc", {}),
            ("auth", {}),
            ("q", {"p": "/.info/connected"}),
        ],
        ids=repr,
    )
    def test_bodies_that_make_no_sense_are_refused(self, kept: Namespace, action: str, body: Json) -> None:
        with kept.connect() as wire:
            answer = wire.request(action, body)
            assert answer["s"] not in ("ok", "permission_denied") and isinstance(answer["d"], str)
            wire.ok("s", {})
        unchanged(kept)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
    @given(st.sampled_from(["p", "m", "q", "n", "g", "o", "om", "oc", "auth", "gauth", "x"]), JSON)
    def test_whatever_comes_is_answered(self, ns: Namespace, action: str, body: Json) -> None:
        with ns.connect() as wire:
            assert isinstance(wire.request(action, body)["s"], str)
            wire.ok("s", {})

    @pytest.mark.parametrize("frame", [b"\xff\xfe", b"\x00" * 10])
    def test_binary_rubbish(self, kept: Namespace, frame: bytes) -> None:
        with kept.connect() as wire:
            wire.socket.send(frame)
            assert wire.receive()["t"] == "c"
            wire.ok("s", {})
        unchanged(kept)


class TestSizes:
    def test_a_write_of_more_than_sixteen_megabytes_is_too_big(self, kept: Namespace) -> None:
        rows: Json = {f"k{i}": "x" * 1_000_000 for i in range(17)}
        with kept.connect() as wire:
            assert wire.request("p", {"p": "/big", "d": rows})["s"] == "too_big"
        unchanged(kept)

    def test_a_string_of_more_than_ten_megabytes_is_too_big(self, kept: Namespace) -> None:
        with kept.connect() as wire:
            assert wire.request("p", {"p": "/big", "d": "x" * (10 * 1024 * 1024 + 1)})["s"] == "too_big"
        unchanged(kept)

    def test_a_promise_of_endless_pieces_ends_with_the_connection(self, kept: Namespace) -> None:
        with kept.connect() as wire:
            wire.send_text("999999")
            piece = "x" * 4_000_000
            with pytest.raises(ConnectionClosed, match="1009"):
                for _ in range(40):
                    wire.send_text(piece)
                wire.receive()
        unchanged(kept)

    def test_the_deepest_tree_is_stored_and_a_deeper_one_is_refused(self, ns: Namespace) -> None:
        path = "/".join("d" * 31)
        ns.put(path, {"x": 1})
        assert ns.request("PUT", path, {"x": {"y": 1}}, headers=OWNER).status_code == 400
        assert ns.get(path) == {"x": 1}


class TestHttp:
    @pytest.mark.parametrize(
        "text",
        [
            "GET /a.json?ns=x HTTP/1.1\r\n\r\n",
            "PUT /a.json HTTP/1.1\r\nHost: x\r\nContent-Length: nonsense\r\n\r\n",
            "NONSENSE\r\n\r\n",
            "GET /.ws HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /.lp HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /%zz.json HTTP/1.1\r\nHost: x\r\n\r\n",
        ],
        ids=lambda text: text[:20],
    )
    def test_odd_requests_get_an_answer_and_no_internal_error(self, kept: Namespace, text: str) -> None:
        with socket.create_connection(("127.0.0.1", kept.emulator.port), timeout=TIMEOUT) as client:
            client.sendall(text.encode())
            status = client.recv(1000).split(b" ")[1]
        assert status != b"500"
        unchanged(kept)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
    @given(
        st.sampled_from(["GET", "PUT", "PATCH", "POST", "DELETE"]),
        st.sampled_from(["", "a", "a/b", "a/.priority", ".priority", "a%2Fb", "a.b", ".info/x", "%ff", "a//b"]),
        st.dictionaries(
            st.sampled_from(PARAMETERS),
            st.one_of(
                st.sampled_from(
                    ['"$key"', '"$value"', '"a"', '"a/b"', "true", "1", '"x"', "null", "[]", "{", "pretty"]
                ),
                st.text(max_size=5),
            ),
            max_size=3,
        ),
        st.one_of(JSON.map(dumps), st.binary(max_size=10)),
        st.sampled_from(["", "null_etag", "x"]),
    )
    def test_whatever_is_asked_is_answered(
        self, ns: Namespace, method: str, path: str, params: dict[str, str], body: bytes, tag: str
    ) -> None:
        headers = {"If-Match": tag} if tag else {}
        url = f"{ns.emulator.url}/{path}.json"
        query = {"ns": ns.name, **params}
        response = ns.emulator.http.request(method, url, params=query, data=body, headers=headers, timeout=TIMEOUT)
        assert response.status_code in (200, 204, 400, 401, 404, 412), response.text

    def test_a_namespace_that_cannot_be_is_refused_before_the_upgrade(self, kept: Namespace) -> None:
        with pytest.raises(InvalidStatus, match="400"):
            Wire(kept.emulator, {"ns": "x" * 300})

    def test_a_compressed_bomb_is_refused(self, kept: Namespace) -> None:
        """T-100"""

        packer = zlib.compressobj(9, wbits=31)
        chunk = b" " * 1_000_000
        bomb = b"".join(packer.compress(chunk) for _ in range(20)) + packer.flush()
        response = kept.request("PUT", "big", bomb, headers={**OWNER, "Content-Encoding": "gzip"})
        assert response.status_code == 415
        unchanged(kept)


class TestHalfOpenSockets:
    def test_a_client_that_answers_no_pings_is_gone(self, start: Callable[..., EmulatorProcess]) -> None:
        ns = Namespace(start("--heartbeat-seconds", "0.6"), "x")
        with socket.create_connection(("127.0.0.1", ns.emulator.port), timeout=TIMEOUT) as dead:
            key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
            dead.sendall(f"GET /.ws?v=5&ns=x HTTP/1.1\r\nHost: x\r\n{upgrade}{key}\r\n".encode())
            assert b"101" in dead.recv(1000)
            dead.sendall(_masked(b'{"t":"d","d":{"r":1,"a":"o","b":{"p":"/gone","d":1}}}'))
            with stream(ns, "gone") as events:
                while events.next() != ("put", {"path": "/", "data": 1}):
                    pass


def _masked(text: bytes) -> bytes:
    """A client's text frame."""
    return struct.pack("!BB4x", 0x81, 0x80 | len(text)) + text
