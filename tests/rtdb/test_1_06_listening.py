"""Listening over a WebSocket: listens, queries, pushes and their order, revocation."""

from typing import Any

import pytest

from rtdb.conftest import Js
from rtdb.harness import Namespace, Wire
from rtdb_emulator.json_text import Json
from rtdb_emulator.node_json import read_node
from rtdb_emulator.snapshot_hash import snapshot_hash


def listen(wire: Wire, path: str, **more: Json) -> Json:
    return wire.ok("q", {"p": path, "h": "", **more})


def hash_of(data: Json) -> str:
    return snapshot_hash(read_node(data, existing=None, now_ms=0))


class TestListen:
    def test_the_value_comes_before_the_reply(self, ns: Namespace) -> None:
        ns.put("a/b", {"c": 1})
        with ns.connect() as wire:
            listen(wire, "/a/b")
            assert wire.take_pushes() == [{"a": "d", "b": {"p": "a/b", "d": {"c": 1}}}]

    def test_an_empty_place_that_the_client_knows_to_be_empty_needs_no_push(self, ns: Namespace) -> None:
        with ns.connect() as wire:
            listen(wire, "/a/b")
            assert wire.take_pushes() == []

    def test_a_value_that_the_client_has_is_not_sent_again(self, ns: Namespace) -> None:
        value: Json = {"c": 1, "d": {".value": "x", ".priority": 2}}
        ns.put("a", value)
        with ns.connect() as wire:
            listen(wire, "/a", h=hash_of(value))
            assert wire.take_pushes() == []
            listen(wire, "/a", h="something-else")
            assert len(wire.take_pushes()) == 1

    def test_what_vanished_while_the_client_was_away_is_pushed_as_null(self, ns: Namespace) -> None:
        with ns.connect() as wire:
            listen(wire, "/a", h=hash_of(1))
            assert wire.take_pushes() == [{"a": "d", "b": {"p": "a", "d": None}}]

    def test_a_compound_hash_may_come_along(self, ns: Namespace) -> None:
        """Android sends one; the whole value is a legal answer to it."""
        ns.put("a", {"b": 1})
        with ns.connect() as wire:
            listen(wire, "/a", h="x", ch={"hs": ["y", ""], "ps": ["b"]})
            assert wire.take_pushes() == [{"a": "d", "b": {"p": "a", "d": {"b": 1}}}]

    def test_after_unlistening_nothing_comes(self, ns: Namespace) -> None:
        with ns.connect() as wire:
            listen(wire, "/a")
            wire.ok("n", {"p": "/a"})
            wire.ok("p", {"p": "/a", "d": 1})
            assert wire.take_pushes() == []

    def test_a_missing_index_is_a_warning_and_the_data_is_filtered_nevertheless(self, ns: Namespace) -> None:
        ns.put("l", {"a": {"v": 2}, "b": {"v": 1}})
        with ns.connect() as wire:
            answer = listen(wire, "/l", q={"i": "v", "l": 1, "vf": "l"}, t=1)
            assert answer == {"w": ["no_index"]}
            assert wire.take_pushes() == [{"a": "d", "b": {"p": "l", "d": {"b": {"v": 1}}, "t": 1}}]
        ns.rules({".read": True, ".write": True, "l": {".indexOn": "v"}})
        with ns.connect() as wire:
            assert listen(wire, "/l", q={"i": "v"}, t=1) == {}

    def test_a_missing_index_is_an_error_of_a_one_shot_read(self, ns: Namespace) -> None:
        with ns.connect() as wire:
            answer = wire.request("g", {"p": "/l", "q": {"i": "v", "l": 1}})
        assert answer["s"] != "ok"
        assert answer["d"] == 'Index not defined, add ".indexOn": "v", for path "/l", to the rules'


class TestPushes:
    def pushes(self, ns: Namespace, listened: str, action: str, path: str, data: Json) -> list[Any]:
        with ns.connect() as wire:
            listen(wire, listened)
            wire.take_pushes()
            wire.ok(action, {"p": path, "d": data})
            return [(push["a"], push["b"]) for push in wire.take_pushes()]

    def test_a_write_at_or_above_the_listen_gives_the_whole_value(self, ns: Namespace) -> None:
        assert self.pushes(ns, "/a/b", "p", "/a/b", 1) == [("d", {"p": "a/b", "d": 1})]
        assert self.pushes(ns, "/a/b", "p", "/a", {"b": 2, "c": 3}) == [("d", {"p": "a/b", "d": 2})]
        assert self.pushes(ns, "/a/b", "p", "/", None) == [("d", {"p": "a/b", "d": None})]

    def test_a_write_below_gives_the_part(self, ns: Namespace) -> None:
        assert self.pushes(ns, "/a", "p", "/a/b/c", 1) == [("d", {"p": "a/b/c", "d": 1})]

    def test_several_changes_below_are_one_merge(self, ns: Namespace) -> None:
        assert self.pushes(ns, "/a", "m", "/", {"a/b": 1, "a/c/d": 2, "x": 3}) == [
            ("m", {"p": "a", "d": {"b": 1, "c/d": 2}})
        ]

    def test_one_change_below_of_an_update_is_an_overwrite(self, ns: Namespace) -> None:
        assert self.pushes(ns, "/a", "m", "/", {"a/b": 1, "x": 3}) == [("d", {"p": "a/b", "d": 1})]

    def test_nothing_when_nothing_changed(self, ns: Namespace) -> None:
        ns.put("a", {"b": 1, "c": 2})
        assert self.pushes(ns, "/a/b", "p", "/a", {"b": 1, "c": 3}) == []
        assert self.pushes(ns, "/a", "p", "/a/b", 1) == []
        assert self.pushes(ns, "/a", "m", "/a", {"b": 1, "c": 4}) == [("d", {"p": "a/c", "d": 4})]

    def test_they_carry_resolved_values(self, ns: Namespace) -> None:
        ns.put("n", 4)
        assert self.pushes(ns, "/n", "p", "/n", {".sv": {"increment": 3}}) == [("d", {"p": "n", "d": 7})]

    def test_a_priority_alone_is_a_change(self, ns: Namespace) -> None:
        ns.put("a", {"b": 1})
        assert self.pushes(ns, "/a", "p", "/a/b/.priority", 5) == [
            ("d", {"p": "a/b", "d": {".value": 1, ".priority": 5}})
        ]

    def test_they_reach_the_writer_before_the_reply_and_others_as_well(self, ns: Namespace) -> None:
        with ns.connect() as writer, ns.connect() as other:
            listen(writer, "/a")
            listen(other, "/a")
            writer.ok("p", {"p": "/a", "d": 1})
            expected: Json = {"a": "d", "b": {"p": "a", "d": 1}}
            assert writer.take_pushes() == [expected]
            assert other.push() == expected

    def test_a_denied_write_pushes_nothing(self, ns: Namespace) -> None:
        ns.rules({".read": True})
        with ns.connect() as wire:
            listen(wire, "/a")
            assert wire.request("p", {"p": "/a", "d": 1}) == {"s": "permission_denied", "d": "Permission denied"}
            assert wire.take_pushes() == []


class TestFilteredListen:
    def test_children_that_enter_and_leave_are_one_merge_with_the_tag(self, ns: Namespace) -> None:
        ns.put("l", {"a": 1, "b": 2, "c": 3})
        with ns.connect() as wire:
            listen(wire, "/l", q={"i": ".value", "l": 2, "vf": "r"}, t=7)
            assert wire.take_pushes() == [{"a": "d", "b": {"p": "l", "d": {"b": 2, "c": 3}, "t": 7}}]
            wire.ok("p", {"p": "/l/d", "d": 9})
            assert wire.take_pushes() == [{"a": "m", "b": {"p": "l", "d": {"b": None, "d": 9}, "t": 7}}]
            wire.ok("p", {"p": "/l/a", "d": 0})
            assert wire.take_pushes() == []
            wire.ok("p", {"p": "/l", "d": None})
            assert wire.take_pushes() == [{"a": "m", "b": {"p": "l", "d": {"c": None, "d": None}, "t": 7}}]

    def test_a_change_inside_a_visible_child_carries_the_whole_child(self, ns: Namespace) -> None:
        ns.put("l", {"a": {"v": 1, "w": {"x": 1}}})
        with ns.connect() as wire:
            listen(wire, "/l", q={"i": "v", "sp": 1}, t=1)
            wire.take_pushes()
            wire.ok("p", {"p": "/l/a/w/x", "d": 2})
            assert wire.take_pushes() == [{"a": "m", "b": {"p": "l", "d": {"a": {"v": 1, "w": {"x": 2}}}, "t": 1}}]

    def test_filtered_and_plain_listens_of_one_place_get_their_own_pushes(self, ns: Namespace) -> None:
        with ns.connect() as wire:
            listen(wire, "/l")
            listen(wire, "/l", q={"i": ".key", "sp": "b"}, t=3)
            wire.ok("p", {"p": "/l/c", "d": 1})
            assert wire.take_pushes() == [
                {"a": "d", "b": {"p": "l/c", "d": 1}},
                {"a": "m", "b": {"p": "l", "d": {"c": 1}, "t": 3}},
            ]
            wire.ok("n", {"p": "/l", "q": {"i": ".key", "sp": "b"}, "t": 3})
            wire.ok("p", {"p": "/l/c", "d": 2})
            assert wire.take_pushes() == [{"a": "d", "b": {"p": "l/c", "d": 2}}]

    def test_a_leaf_has_nothing_to_show_and_priorities_of_the_parent_are_not_part_of_it(self, ns: Namespace) -> None:
        ns.put("l", {".priority": 5, "a": 1})
        with ns.connect() as wire:
            listen(wire, "/l", q={"i": ".key"}, t=1)
            assert wire.take_pushes() == [{"a": "d", "b": {"p": "l", "d": {"a": 1}, "t": 1}}]
            wire.ok("p", {"p": "/l", "d": "leaf"})
            assert wire.take_pushes() == [{"a": "m", "b": {"p": "l", "d": {"a": None}, "t": 1}}]

    @pytest.mark.parametrize(
        ("query", "shown"),
        [
            ({"i": ".key", "sp": "2"}, "10 2 a b"),
            ({"i": ".key", "sp": "2", "sin": False}, "10 a b"),
            ({"i": ".key", "ep": "10", "ein": False}, "1 2"),
            ({"i": ".key", "l": 2, "vf": "l"}, "1 2"),
            ({"i": ".key", "l": 1, "vf": "r"}, "b"),
            ({"i": ".key", "l": 1}, "b"),
            ({"i": ".key", "sp": "10", "l": 1}, "10"),
            ({"i": "v", "sp": 5, "ep": 5}, "1 10"),
            ({"i": "v", "sp": 5, "sn": "2"}, "10 2 b"),
            ({"i": "v", "sp": 5, "sn": "[MAX_NAME]", "sin": False}, "2 b"),
            ({"i": "v", "ep": 5, "en": "[MIN_NAME]", "ein": False}, "a"),
            ({"i": "v", "sp": None, "ep": None}, "a"),
            ({"i": "v", "l": 1, "vf": "l"}, "a"),
            ({"i": "w/x", "sp": True, "ep": True}, "2"),
            ({"i": ".priority", "sp": 1}, "10"),
            ({"sp": 1}, "10"),
            ({"l": 1, "vf": "r"}, "10"),
        ],
        ids=repr,
    )
    def test_bounds_and_limits(self, ns: Namespace, query: dict[str, Json], shown: str) -> None:
        ns.put(
            "l",
            {
                "1": {"v": 5},
                "2": {"v": 7, "w": {"x": True}},
                "10": {"v": 5, ".priority": 1},
                "a": {"z": 1},
                "b": {"v": "s"},
            },
        )
        with ns.connect() as wire:
            listen(wire, "/l", q=query, t=1)
            (push,) = wire.take_pushes()
        body = push["b"]
        assert isinstance(body, dict) and isinstance(body["d"], dict)
        assert " ".join(sorted(body["d"])) == shown


class TestRevocation:
    def test_new_rules_cancel_what_they_forbid(self, ns: Namespace) -> None:
        with ns.connect() as wire:
            listen(wire, "/a")
            listen(wire, "/b", q={"i": ".key", "l": 1, "vf": "l"}, t=1)
            listen(wire, "/c")
            ns.rules({"c": {".read": True}, ".write": True})
            assert sorted([str(wire.push()), str(wire.push())]) == [
                str({"a": "c", "b": {"p": "a"}}),
                str({"a": "c", "b": {"p": "b", "q": [{"i": ".key", "l": 1, "vf": "l"}]}}),
            ]
            wire.ok("m", {"p": "/", "d": {"a": 1, "b/x": 1, "c": 1}})
            assert wire.take_pushes() == [{"a": "d", "b": {"p": "c", "d": 1}}]

    def test_losing_the_identity_cancels(self, ns: Namespace) -> None:
        ns.rules({"a": {".read": "auth != null"}})
        with ns.connect() as wire:
            wire.ok("gauth", {"cred": "owner", "authvar": {"uid": "u"}})
            listen(wire, "/a")
            wire.ok("unauth", {})
            assert wire.take_pushes() == [{"a": "c", "b": {"p": "a"}}]

    def test_a_rule_that_reads_data_is_asked_again_after_each_write(self, ns: Namespace) -> None:
        ns.rules({"a": {".read": "root.child('open').val() == true"}, ".write": True})
        ns.put("open", True)
        with ns.connect() as wire:
            listen(wire, "/a")
            wire.ok("p", {"p": "/a", "d": 1})
            assert wire.take_pushes() == [{"a": "d", "b": {"p": "a", "d": 1}}]
            wire.ok("m", {"p": "/", "d": {"open": False, "a": "secret"}})
            assert wire.take_pushes() == [{"a": "c", "b": {"p": "a"}}]

    def test_the_sdk_reports_the_cancel(self, js: Js, ns: Namespace) -> None:
        ns.rules({".read": "root.child('open').val() == true", ".write": True})
        ns.put("open", True)
        message = js("listening", "untilCancelled", ns)
        assert "permission_denied at /room" in message


class TestWithTheSdk:
    def test_events_come_in_order_and_without_flicker(self, js: Js, ns: Namespace) -> None:
        assert js("listening", "valuesInOrder", ns) == [None, 1, 2, {"a": 1}, {"a": 1, "b": 2}, None]

    def test_child_events_of_all_orderings(self, js: Js, ns: Namespace) -> None:
        assert js("listening", "childEvents", ns) == {
            "byValue": ["+b", "+c", "-b", "+d", ">d", "~d", "-d", "+b"],
            "byKey": ["+a", "+b", "~a"],
            "byChild": ["+y", "+z", ">z"],
        }

    def test_every_query_shows_what_the_sdk_computes_itself(self, js: Js, ns: Namespace) -> None:
        """The SDK filters its own full copy; the server's filtered copy must look the same."""
        assert js("listening", "queriesAgree", ns) == []

    def test_info(self, js: Js, ns: Namespace) -> None:
        info = js("listening", "info", ns)
        assert info["connected"] is True and abs(info["offset"]) < 5000

    def test_a_client_that_comes_back_gets_what_it_missed(self, js: Js, ns: Namespace) -> None:
        assert js("listening", "afterReconnect", ns) == ["before", "while away"]
