"""REST streaming: server-sent events, raw and with the Python Admin SDK."""

import time
from collections.abc import Iterator
from queue import Queue
from typing import Any

import firebase_admin
import pytest
import requests
from firebase_admin import db

from rtdb.harness import OWNER, TIMEOUT, Namespace
from rtdb.streams import SSE, Stream, stream
from rtdb.tokens import token
from rtdb_emulator.json_text import Json


class TestEvents:
    def test_the_first_one_is_the_whole_value(self, ns: Namespace) -> None:
        ns.put("a", {"0": "x", "1": {".value": "y", ".priority": 1}})
        with stream(ns, "a") as events:
            assert events.response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            assert events.response.headers["Cache-Control"] == "no-cache"
            assert events.next() == ("put", {"path": "/", "data": ["x", "y"]})

    def test_changes_at_above_and_below(self, ns: Namespace) -> None:
        with stream(ns, "a") as events:
            assert events.next() == ("put", {"path": "/", "data": None})
            ns.put("a/b/c", "é🐵")
            assert events.next() == ("put", {"path": "/b/c", "data": "é🐵"})
            ns.request("PATCH", "a", {"b/c": None, "d": [1, 2]})
            assert events.next() == ("patch", {"path": "/", "data": {"b/c": None, "d": [1, 2]}})
            ns.put("", {"a": 5})
            assert events.next() == ("put", {"path": "/", "data": 5})
            ns.put("a", None)
            assert events.next() == ("put", {"path": "/", "data": None})

    def test_an_update_is_a_patch_at_its_own_place_with_its_own_keys(self, ns: Namespace) -> None:
        """As three recordings of the real service show it, also for one key, and for one that changes nothing."""
        ns.put("a", {"b": {"same": 1}, "leaf": 2})
        with stream(ns, "a") as events:
            events.next()
            ns.request("PATCH", "a", {"x": 1})
            assert events.next() == ("patch", {"path": "/", "data": {"x": 1}})
            ns.request("PATCH", "a/b", {"c/d": {"e": 1}, "same": 1})
            assert events.next() == ("patch", {"path": "/b", "data": {"c/d": {"e": 1}, "same": 1}})
            ns.request("PATCH", "a/b", {"c": None})
            assert events.next() == ("patch", {"path": "/b", "data": {"c": None}})
            ns.request("PATCH", "a", {"n": {".sv": {"increment": 4}}})
            assert events.next() == ("patch", {"path": "/", "data": {"n": 4}})
            with ns.connect() as wire:
                wire.ok("m", {"p": "/a/b", "d": {"f": 1}})
            assert events.next() == ("patch", {"path": "/b", "data": {"f": 1}})

    def test_an_update_from_above_is_a_put_below(self, ns: Namespace) -> None:
        with stream(ns, "a") as events:
            events.next()
            ns.request("PATCH", "", {"a/b": 1, "other": 2})
            assert events.next() == ("put", {"path": "/b", "data": 1})

    def test_a_filtered_stream(self, ns: Namespace) -> None:
        ns.put("l", {"a": 1, "b": 2})
        with stream(ns, "l", orderBy='"$key"', limitToLast="1") as events:
            assert events.next() == ("put", {"path": "/", "data": {"b": 2}})
            ns.put("l/c", 3)
            assert events.next() == ("patch", {"path": "/", "data": {"b": None, "c": 3}})
            ns.put("l/c", 4)
            assert events.next() == ("put", {"path": "/c", "data": 4})

    def test_keep_alives(self, ns: Namespace) -> None:
        with stream(ns, "a") as events:
            events.next()
            assert events.next(keep_alives=True) == ("keep-alive", None)

    def test_denied_at_the_start(self, ns: Namespace) -> None:
        ns.rules({})
        response = ns.request("GET", "a", headers=SSE)
        assert (response.status_code, response.json()) == (401, {"error": "Permission denied"})

    def test_cancelled_by_new_rules(self, ns: Namespace) -> None:
        with stream(ns, "a") as events:
            events.next()
            ns.rules({})
            assert events.next() == ("cancel", None)
            assert events.ends()

    def test_cancelled_by_data(self, ns: Namespace) -> None:
        ns.rules({".read": "data.child('secret').exists() == false", ".write": True})
        with stream(ns, "a") as events:
            events.next()
            ns.put("secret", 1)
            assert events.next() == ("cancel", None)

    def test_a_token_that_expires(self, ns: Namespace) -> None:
        now = time.time()
        with stream(ns, "a", auth=token("alice", iat=int(now), exp=now + 1.5)) as events:
            events.next()
            assert events.next() == ("auth_revoked", "credential is no longer valid")
            assert events.ends()

    def test_a_missing_index(self, ns: Namespace) -> None:
        assert ns.request("GET", "a", headers=SSE, orderBy='"v"').status_code == 400


@pytest.fixture
def admin(ns: Namespace) -> Iterator[Any]:
    """The Admin SDK's `db` for the namespace, as the functions' code uses it."""

    class Nobody(firebase_admin.credentials.Base):
        def get_credential(self) -> None:
            raise AssertionError("the emulator needs no credential")

    url = f"http://{ns.emulator.host}/?ns={ns.name}"
    app = firebase_admin.initialize_app(Nobody(), {"databaseURL": url}, name=ns.name)
    yield lambda path: db.reference(path, app)
    firebase_admin.delete_app(app)


class TestAdminSdk:
    def test_set_get_update_push_delete(self, admin: Any) -> None:
        admin("a").set({"x": 1, "é": [1, 2]})
        assert admin("a").get() == {"x": 1, "é": [1, 2]}
        admin("a").update({"x": 2, "new/deep": {".sv": {"increment": 4}}})
        assert admin("a").get() == {"x": 2, "é": [1, 2], "new": {"deep": 4}}
        key = admin("list").push("pushed").key
        assert admin("list").get() == {key: "pushed"}
        admin("a").delete()
        assert admin("a").get() is None
        assert admin("/").get(shallow=True) == {"list": True}

    def test_etags(self, admin: Any) -> None:
        admin("a").set(1)
        value, tag = admin("a").get(etag=True)
        assert value == 1
        assert admin("a").get_if_changed(tag) == (False, None, None)
        assert admin("a").set_if_unchanged(tag, 2)[0] is True
        assert admin("a").set_if_unchanged(tag, 3)[:2] == (False, 2)

    def test_transactions(self, admin: Any) -> None:
        for _ in range(5):
            admin("n").transaction(lambda now: (now or 0) + 1)
        assert admin("n").get() == 5

    def test_queries(self, admin: Any, ns: Namespace) -> None:
        ns.rules({".read": True, ".write": True, "l": {".indexOn": ["v"]}})
        admin("l").set({"a": {"v": 2}, "b": {"v": 1}, "c": {"v": 3}})
        assert list(admin("l").order_by_child("v").limit_to_first(2).get()) == ["b", "a"]
        assert list(admin("l").order_by_key().start_at("b").get()) == ["b", "c"]
        assert list(admin("l").order_by_child("v").equal_to(3).get()) == ["c"]

    def test_a_missing_index_is_an_error(self, admin: Any) -> None:
        with pytest.raises(firebase_admin.exceptions.InvalidArgumentError, match="Index not defined"):
            admin("l").order_by_child("v").get()

    def test_denied(self, ns: Namespace) -> None:
        ns.rules({".read": "auth.uid == 'x'"})
        url = f"http://{ns.emulator.host}/?ns={ns.name}"
        options = {"databaseURL": url, "databaseAuthVariableOverride": {"uid": "y"}}
        app = firebase_admin.initialize_app(firebase_admin.credentials.Base(), options, name=f"{ns.name}-y")
        try:
            with pytest.raises(firebase_admin.exceptions.UnauthenticatedError, match="Permission denied"):
                db.reference("a", app).get()
        finally:
            firebase_admin.delete_app(app)

    def test_rules_can_be_read_and_written_back(self, admin: Any, ns: Namespace) -> None:
        client = admin("a")._client
        rules = client.body("get", "/.settings/rules.json", params="format=strict")
        assert rules == {"rules": {".read": True, ".write": True}}

    # Closing a registration closes the socket under the SDK's reading thread.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_listening(self, admin: Any) -> None:
        events: Queue[tuple[str, str, Json]] = Queue()
        admin("a").set({"x": "é🐵"})
        registration = admin("a").listen(lambda e: events.put((e.event_type, e.path, e.data)))
        assert events.get(timeout=TIMEOUT) == ("put", "/", {"x": "é🐵"})
        admin("a").update({"x": 1, "y": 2})
        assert events.get(timeout=TIMEOUT) == ("patch", "/", {"x": 1, "y": 2})
        admin("a/x").delete()
        assert events.get(timeout=TIMEOUT) == ("put", "/x", None)
        registration.close()


class TestOwnerStreams:
    def test_the_owner_is_not_bound_by_rules(self, ns: Namespace) -> None:
        ns.rules({})
        response = requests.get(
            f"{ns.emulator.url}/a.json", params={"ns": ns.name}, headers={**SSE, **OWNER}, stream=True, timeout=TIMEOUT
        )
        with response:
            assert Stream(response).next() == ("put", {"path": "/", "data": None})
