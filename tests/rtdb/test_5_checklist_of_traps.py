"""Odd behaviour of the real service that broke other stand-ins, where no module here is about nothing else."""

from socket import create_connection

import pytest
from websockets.sync.client import connect

from rtdb.harness import OWNER, TIMEOUT, Namespace
from rtdb.tokens import token
from rtdb_emulator.json_text import loads


class TestTraps:
    @pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
    def test_1_clients_are_told_the_name_under_which_they_came(self, ns: Namespace, name: str) -> None:
        url = f"ws://{name}:{ns.emulator.port}/.ws?v=5&ns={ns.name}"
        with connect(url, sock=create_connection(("127.0.0.1", ns.emulator.port))) as socket:
            handshake = loads(socket.recv(TIMEOUT))
        assert handshake["d"]["d"]["h"] == f"{name}:{ns.emulator.port}"  # type: ignore[index,call-overload]

    def test_5_the_header_is_a_credential_over_rest_and_none_over_websockets(self, ns: Namespace) -> None:
        ns.rules({})
        url = f"ws://{ns.emulator.host}/.ws?v=5&ns={ns.name}"
        with connect(url, additional_headers=OWNER) as socket:
            socket.recv(TIMEOUT)
            socket.send('{"t":"d","d":{"r":1,"a":"g","b":{"p":"/","q":{}}}}')
            assert '"permission_denied"' in str(socket.recv(TIMEOUT))
        assert ns.request("GET", "", headers={"Authorization": "Bearer anything"}).status_code == 200

    def test_6_mock_tokens_are_expired_and_work(self, ns: Namespace) -> None:
        ns.rules({".read": "auth.uid == 'alice'"})
        assert ns.request("GET", "", auth=token("alice", iat=0, exp=3600)).status_code == 200

    def test_7_etags_come_with_conditions_alone(self, ns: Namespace) -> None:
        assert ns.request("GET", "", headers={"If-None-Match": "x"}).headers["ETag"] == "null_etag"
        refused = ns.request("PUT", "", 1, headers={"If-Match": "x"})
        assert (refused.status_code, refused.text, refused.headers["ETag"]) == (412, "null", "null_etag")

    def test_8_denied_is_401_with_exactly_this_text(self, ns: Namespace) -> None:
        ns.rules({})
        response = ns.request("GET", "")
        assert (response.status_code, response.json()) == (401, {"error": "Permission denied"})

    def test_11_strings_are_ordered_by_utf_16_units(self, ns: Namespace) -> None:
        ns.put("", {"￮": 1, "🐵": 1, "z": 1})
        assert ns.get("", orderBy='"$key"', limitToFirst="2") == {"z": 1, "🐵": 1}

    def test_15_shallow_and_a_limit_need_no_order(self, ns: Namespace) -> None:
        ns.put("", {"10": 1, "9": 1, "a": 1})
        assert ns.get("", shallow="true", limitToFirst="1") == {"9": True}

    def test_20_the_default_instance_and_its_project_are_two_namespaces_and_the_log_says_so(
        self, ns: Namespace
    ) -> None:
        ns.put("", 1)
        twin = Namespace(ns.emulator, f"{ns.name}-default-rtdb")
        assert twin.get() is None
        assert ns.emulator.logged(f"{twin.name} and {ns.name} are two namespaces")

    def test_22_numbers_are_printed_as_javascript_does(self, ns: Namespace) -> None:
        ns.request("PUT", "", b'{"a": 1.0, "b": 1e3, "c": 0.5, "d": -0.0}', headers=OWNER)
        assert ns.request("GET", "", headers=OWNER).text == '{"a":1,"b":1000,"c":0.5,"d":-0.0}'
        assert ns.request("PUT", "", b"NaN", headers=OWNER).status_code == 400
