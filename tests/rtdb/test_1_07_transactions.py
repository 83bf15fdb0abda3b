"""Writing over a WebSocket: puts, updates, conditional puts."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from rtdb.conftest import Js
from rtdb.harness import OWNER, Namespace
from rtdb_emulator.json_text import Json
from rtdb_emulator.node_json import read_node
from rtdb_emulator.snapshot_hash import snapshot_hash

STALE: Json = {"s": "datastale", "d": "Transaction hash does not match"}
DENIED: Json = {"s": "permission_denied", "d": "Permission denied"}


def hash_of(data: Json) -> str:
    return snapshot_hash(read_node(data, existing=None, now_ms=0))


class TestConditionalPut:
    def test_it_happens_only_on_the_value_that_the_client_knew(self, ns: Namespace) -> None:
        with ns.connect() as wire:
            wire.ok("p", {"p": "/a", "d": 1, "h": ""})
            assert wire.request("p", {"p": "/a", "d": 2, "h": ""}) == STALE
            assert wire.request("p", {"p": "/a", "d": 2, "h": hash_of(7)}) == STALE
            wire.ok("p", {"p": "/a", "d": 2, "h": hash_of(1)})
        assert ns.get("a") == 2

    def test_the_priority_is_part_of_the_value(self, ns: Namespace) -> None:
        ns.put("a", {".value": 1, ".priority": 2})
        with ns.connect() as wire:
            assert wire.request("p", {"p": "/a", "d": 3, "h": hash_of(1)}) == STALE
            wire.ok("p", {"p": "/a", "d": 3, "h": hash_of({".value": 1, ".priority": 2})})

    def test_it_works_for_updates_as_well(self, ns: Namespace) -> None:
        with ns.connect() as wire:
            wire.ok("m", {"p": "/a", "d": {"b": 1}, "h": ""})
            assert wire.request("m", {"p": "/a", "d": {"b": 2}, "h": ""}) == STALE

    def test_denied_is_denied(self, ns: Namespace) -> None:
        ns.rules({".read": True})
        with ns.connect() as wire:
            assert wire.request("p", {"p": "/a", "d": 1, "h": ""}) == DENIED

    def test_many_writers_on_the_wire_never_lose_an_update(self, ns: Namespace) -> None:
        def count(_: int) -> int:
            tries = 0
            with ns.connect() as wire:
                for _ in range(25):
                    while True:
                        tries += 1
                        now = wire.ok("g", {"p": "/n", "q": {}})
                        following = (now if isinstance(now, int) else 0) + 1
                        answer = wire.request("p", {"p": "/n", "d": following, "h": hash_of(now)})
                        if answer["s"] == "ok":
                            break
                        assert answer == STALE
            return tries

        with ThreadPoolExecutor(8) as pool:
            tries = sum(pool.map(count, range(8)))
        assert ns.get("n") == 200
        assert tries >= 200


class TestWithTheSdk:
    def test_concurrent_transactions_of_several_clients_all_count(self, js: Js, ns: Namespace) -> None:
        assert js("writing", "concurrentTransactions", ns, {"clients": 5, "each": 20}) == {"total": 100, "aborted": 0}

    def test_a_denied_transaction_rejects_with_its_reason(self, js: Js, ns: Namespace) -> None:
        ns.rules({".read": True, "a": {".write": "newData.val() < 3"}})
        assert js("writing", "deniedTransaction", ns) == {"message": "permission_denied", "value": None}

    def test_an_aborted_transaction_changes_nothing(self, js: Js, ns: Namespace) -> None:
        assert js("writing", "abortedTransaction", ns) == {"committed": False, "value": "kept"}

    def test_a_hundred_increments_at_once_are_a_hundred(self, js: Js, ns: Namespace) -> None:
        assert js("writing", "parallelIncrements", ns) == 100

    def test_a_denied_write_is_taken_back(self, js: Js, ns: Namespace) -> None:
        ns.rules({".read": True, "a": {".write": "newData.val() < 3"}})
        expected = {"seen": [1, 5, 1], "message": "PERMISSION_DENIED: Permission denied"}
        assert js("writing", "deniedWrite", ns) == expected

    def test_pushes_and_priorities_and_nested_updates(self, js: Js, ns: Namespace) -> None:
        got = js("writing", "manyKinds", ns)
        assert got["order"] == ["third", "first", "second"]
        assert got["nested"] == {"a": {"b": 1}, "c": {"d": {"e": 2}}}
        assert got["export"] == {".priority": 1, "x": {".value": 5, ".priority": "p"}}
        assert got["ascending"] is True


class TestMultiPath:
    def test_all_or_nothing(self, ns: Namespace) -> None:
        ns.rules({".read": True, "a": {".write": True}, "b": {".write": False}})
        with ns.connect() as wire:
            assert wire.request("m", {"p": "/", "d": {"a": 1, "b": 2}}) == DENIED
            assert wire.ok("g", {"p": "/", "q": {}}) is None
            wire.ok("m", {"p": "/", "d": {"a": 1}})

    @pytest.mark.parametrize("body", [{"a": 1, "a/b": 2}, {"a$": 1}, {"": 1}, {"a": {"b.c": 1}}])
    def test_what_is_wrong_with_it_is_said(self, ns: Namespace, body: Json) -> None:
        with ns.connect() as wire:
            assert wire.request("m", {"p": "/", "d": body})["s"] in ("invalid_data", "invalid_path")
        assert ns.request("PATCH", "", body, headers=OWNER).status_code == 400
        assert ns.get() is None
