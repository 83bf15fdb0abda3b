"""onDisconnect: writes that wait for the end of a connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtdb import models
from rtdb.conftest import Js
from rtdb.harness import Namespace, Wire
from rtdb.tokens import token
from rtdb_emulator.json_text import Json
from rtdb_emulator.sparse_tree import SparseTree

DENIED: Json = {"s": "permission_denied", "d": "Permission denied"}


def after_disconnect(ns: Namespace, *requests: tuple[str, str, Json]) -> Json:
    """What the database holds after a client that asked for these has gone."""
    with Wire(ns.emulator, {"ns": ns.name}) as wire:
        for action, path, data in requests:
            wire.ok(action, {"p": path, "d": data})
        session = str(wire.handshake["s"])
        with ns.connect(ls=session) as next_one:
            return next_one.ok("g", {"p": "/", "q": {}})


class TestWhatIsWritten:
    def test_sets_updates_and_removals(self, ns: Namespace) -> None:
        ns.put("", {"a": 1, "b": {"x": 1, "y": 2}, "c": 3})
        assert after_disconnect(ns, ("o", "/a", 9), ("om", "/b", {"x": 8, "z": 7}), ("o", "/c", None)) == {
            "a": 9,
            "b": {"x": 8, "y": 2, "z": 7},
        }

    def test_registering_changes_nothing(self, ns: Namespace) -> None:
        with ns.connect() as wire:
            wire.ok("o", {"p": "/a", "d": 1})
            assert wire.ok("g", {"p": "/", "q": {}}) is None

    def test_server_values_are_those_of_the_disconnect(self, ns: Namespace) -> None:
        ns.put("n", 1)
        with ns.connect() as wire:
            wire.ok("o", {"p": "/n", "d": {".sv": {"increment": 5}}})
            wire.ok("o", {"p": "/t", "d": {".sv": "timestamp"}})
            wire.ok("p", {"p": "/n", "d": 100})
            started = int(str(wire.handshake["ts"]))
            with ns.connect(ls=str(wire.handshake["s"])) as other:
                assert other.ok("g", {"p": "/n", "q": {}}) == 105
                assert int(str(other.ok("g", {"p": "/t", "q": {}}))) >= started

    def test_a_priority_comes_along(self, ns: Namespace) -> None:
        assert after_disconnect(ns, ("o", "/a", {".value": 1, ".priority": 2})) == {"a": {".value": 1, ".priority": 2}}

    def test_cancelling_a_child_of_a_set_keeps_its_siblings(self, ns: Namespace) -> None:
        """A set keeps what is left of it when one of its children is cancelled."""
        got = after_disconnect(
            ns,
            ("o", "/x", {"parent": True, "child": "c1"}),
            ("o", "/x/child", "c2"),
            ("oc", "/x/child", None),
        )
        assert got == {"x": {"parent": True}}

    def test_cancelling_a_parent_cancels_everything_below(self, ns: Namespace) -> None:
        assert after_disconnect(ns, ("o", "/x/a", 1), ("o", "/x/b", 1), ("oc", "/x", None)) is None

    def test_a_later_set_above_replaces_earlier_ones_below(self, ns: Namespace) -> None:
        assert after_disconnect(ns, ("o", "/x/a", 1), ("o", "/x", {"b": 2})) == {"x": {"b": 2}}

    def test_a_set_below_a_removal_leaves_only_itself(self, ns: Namespace) -> None:
        ns.put("x", {"old": 1})
        assert after_disconnect(ns, ("o", "/x", None), ("o", "/x/a", 1)) == {"x": {"a": 1}}

    def test_it_happens_once(self, ns: Namespace) -> None:
        assert after_disconnect(ns, ("o", "/n", {".sv": {"increment": 1}})) == {"n": 1}
        assert after_disconnect(ns) == {"n": 1}


class TestPermission:
    def test_it_is_checked_when_registering(self, ns: Namespace) -> None:
        ns.rules({".read": True, "a": {".write": True}})
        with ns.connect() as wire:
            assert wire.request("o", {"p": "/b", "d": 1}) == DENIED
            assert wire.request("om", {"p": "/", "d": {"a": 1, "b": 1}}) == DENIED
            assert wire.request("o", {"p": "/a", "d": {"k.": 1}})["s"] == "invalid_data"

    def test_and_again_when_writing(self, ns: Namespace) -> None:
        ns.rules({".read": True, "open": {".write": True}, "$x": {".write": "root.child('open').val() == true"}})
        ns.put("open", True)
        with ns.connect() as wire:
            wire.ok("o", {"p": "/a", "d": 1})
            wire.ok("o", {"p": "/open", "d": "written"})
            wire.ok("p", {"p": "/open", "d": False})
            with ns.connect(ls=str(wire.handshake["s"])) as other:
                assert other.ok("g", {"p": "/", "q": {}}) == {"open": "written"}

    def test_with_the_identity_that_the_connection_had(self, ns: Namespace) -> None:
        ns.rules({".read": True, "a": {".write": "auth.uid == 'alice'"}})
        with ns.connect() as wire:
            wire.ok("auth", {"cred": token("alice")})
            wire.ok("o", {"p": "/a", "d": 1})
            with ns.connect(ls=str(wire.handshake["s"])) as other:
                assert other.ok("g", {"p": "/", "q": {}}) == {"a": 1}


class TestWhenItHappens:
    @pytest.mark.parametrize("ending", ["close", "abort"])
    def test_on_a_clean_close_and_on_an_abrupt_one(self, ns: Namespace, ending: str) -> None:
        with ns.connect() as watcher:
            watcher.ok("q", {"p": "/gone", "h": ""})
            wire = ns.connect()
            wire.ok("o", {"p": "/gone", "d": True})
            getattr(wire, ending)()
            assert watcher.push() == {"a": "d", "b": {"p": "gone", "d": True}}

    def test_with_the_sdk_going_offline(self, js: Js, ns: Namespace) -> None:
        assert js("leaving", "goOffline", ns) == {"set": True, "update": {"a": 1, "b": 2}, "cancelled": None}


class TestSparseTree:
    @given(st.lists(st.tuples(models.PATHS, models.VALUES), max_size=6))
    def test_without_cancels_an_empty_database_becomes_what_the_writes_one_after_another_make_of_it(
        self, steps: list[tuple[tuple[str, ...], Json]]
    ) -> None:
        """Empty, because a leaf in the way of a write that is later replaced would not survive the former."""
        sparse = SparseTree()
        expected: models.Model = None
        got: models.Model = None
        for path, value in steps:
            sparse.remember(path, value)
            expected = models.put(expected, path, _pruned(value))
        for path, value in sparse.writes():
            got = models.put(got, path, _pruned(value))
        assert got == expected

    @given(st.lists(st.tuples(models.PATHS, models.VALUES), max_size=5), models.PATHS)
    def test_what_is_cancelled_is_not_touched(
        self, steps: list[tuple[tuple[str, ...], Json]], cancelled: tuple[str, ...]
    ) -> None:
        sparse = SparseTree()
        for path, value in steps:
            sparse.remember(path, value)
        sparse.forget(cancelled)
        for path, _ in sparse.writes():
            assert path[: len(cancelled)] != cancelled
            assert cancelled[: len(path)] != path


def _pruned(value: Json) -> Json:
    if not isinstance(value, dict):
        return value
    members = {key: _pruned(item) for key, item in value.items()}
    return {key: item for key, item in members.items() if item is not None} or None
