"""The WebSocket protocol: connecting, frames, envelopes, control messages, requests."""

import pytest

from rtdb.harness import TIMEOUT, Namespace, Wire
from rtdb_emulator.json_text import Json


class TestHandshake:
    def test_it_comes_first_and_names_the_address_that_the_client_used(self, ns: Namespace) -> None:
        with ns.connect() as wire:
            assert wire.handshake["v"] == "5"
            assert wire.handshake["h"] == ns.emulator.host
            assert isinstance(wire.handshake["ts"], int)

    def test_every_connection_has_a_session_of_its_own(self, ns: Namespace) -> None:
        with ns.connect() as one, ns.connect() as other:
            assert one.handshake["s"] and one.handshake["s"] != other.handshake["s"]

    def test_a_client_that_names_its_last_session_ends_it(self, ns: Namespace) -> None:
        with ns.connect() as old:
            old.ok("o", {"p": "/gone", "d": True})
            with ns.connect(ls=str(old.handshake["s"])) as new:
                assert new.ok("g", {"p": "/gone", "q": {}}) is True

    def test_the_authorization_header_of_the_upgrade_is_no_credential(self, ns: Namespace) -> None:
        ns.rules({})
        with ns.connect() as wire:
            assert wire.request("g", {"p": "/", "q": {}})["s"] == "permission_denied"

    def test_without_a_namespace_it_is_the_default_one(self, ns: Namespace) -> None:
        default = Namespace(ns.emulator, "fake-server")
        with Wire(ns.emulator, {}) as wire:
            wire.ok("p", {"p": "/from-the-wire", "d": ns.name})
        assert default.get("from-the-wire") == ns.name


class TestFrames:
    def test_a_zero_is_a_keep_alive_and_has_no_answer(self, ns: Namespace) -> None:
        with ns.connect() as wire:
            wire.send_text("0")
            assert wire.ok("s", {"c": {}}) == {}

    def test_a_message_in_pieces_is_put_together(self, ns: Namespace) -> None:
        with ns.connect() as wire:
            wire.send_text("3")
            for piece in ('{"t":"d","d":{"r":1,"a":"p"', ',"b":{"p":"/x","d":', '"abc"}}}'):
                wire.send_text(piece)
            assert wire.answer(1)["s"] == "ok"
        assert ns.get("x") == "abc"

    def test_a_count_of_one_is_legal(self, ns: Namespace) -> None:
        with ns.connect() as wire:
            wire.send_text("1")
            wire.send_text('{"t":"d","d":{"r":1,"a":"s","b":{}}}')
            assert wire.answer(1)["s"] == "ok"

    @pytest.mark.parametrize("character", ["x", "é", "🐵"])
    def test_large_values_travel_both_ways_in_pieces_no_longer_than_16384(self, ns: Namespace, character: str) -> None:
        value = character * 100_000
        with ns.connect() as wire:
            wire.ok("p", {"p": "/big", "d": value})
            assert wire.ok("g", {"p": "/big", "q": {}}) == value
            wire.send_request("g", {"p": "/big", "q": {}})
            count = int(wire.socket.recv(TIMEOUT))
            pieces = [str(wire.socket.recv(TIMEOUT)) for _ in range(count)]
            assert count > 1 and max(map(len, pieces)) <= 16_384


class TestControl:
    def test_a_ping_is_answered(self, ns: Namespace) -> None:
        with ns.connect() as wire:
            wire.send({"t": "c", "d": {"t": "p", "d": {}}})
            assert wire.receive() == {"t": "c", "d": {"t": "o", "d": {}}}


class TestRequests:
    def test_every_request_is_answered_in_order(self, ns: Namespace) -> None:
        actions: list[tuple[str, Json]] = [
            ("s", {"c": {"sdk.js.12-0-0": 1}}),
            ("gauth", {"cred": "owner"}),
            ("q", {"p": "/a", "h": ""}),
            ("n", {"p": "/a"}),
            ("p", {"p": "/a", "d": 1}),
            ("m", {"p": "/", "d": {"b": 2}}),
            ("g", {"p": "/", "q": {}}),
            ("o", {"p": "/a", "d": 2}),
            ("om", {"p": "/", "d": {"a": 2}}),
            ("oc", {"p": "/a", "d": None}),
            ("appcheck", {"token": "x"}),
            ("unappeck", {}),
            ("unappcheck", {}),
            ("unauth", {}),
        ]
        with ns.connect() as wire:
            numbers = [wire.send_request(action, body) for action, body in actions]
            assert [wire.answer(number)["s"] for number in numbers] == ["ok"] * len(actions)

    def test_an_unknown_action_is_answered_with_an_error(self, ns: Namespace) -> None:
        with ns.connect() as wire:
            assert wire.request("zzz", {})["s"] == "error"
            assert wire.request("s", {})["s"] == "ok"

    @pytest.mark.parametrize("path", ["a/b", "/a/b", "/a/b/", "//a//b"])
    def test_slashes_too_many_or_too_few_do_not_matter(self, ns: Namespace, path: str) -> None:
        with ns.connect() as wire:
            wire.ok("p", {"p": path, "d": 1})
        assert ns.get("a/b") == 1

    def test_a_one_shot_read_gives_export_form(self, ns: Namespace) -> None:
        with ns.connect() as wire:
            wire.ok("p", {"p": "/a", "d": {".priority": 1, "0": {".value": "x", ".priority": "p"}, "1": 2}})
            expected: Json = {".priority": 1, "0": {".value": "x", ".priority": "p"}, "1": 2}
            assert wire.ok("g", {"p": "/a", "q": {}}) == expected
            assert wire.ok("g", {"p": "/none", "q": {}}) is None

    def test_data_that_cannot_be_stored_is_an_error_and_the_connection_stays(self, ns: Namespace) -> None:
        with ns.connect() as wire:
            bad: list[tuple[str, Json]] = [("/a.b", 1), ("/a", {"b$": 1}), ("/a", {".sv": "x"}), ("/a", {"": 1})]
            for path, data in bad:
                assert str(wire.request("p", {"p": path, "d": data})["s"]).startswith("invalid")
            assert wire.ok("g", {"p": "/", "q": {}}) is None
