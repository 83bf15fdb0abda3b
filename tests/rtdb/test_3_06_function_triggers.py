"""Function triggers: which writes fire which triggers, with which events, in which order; and the faults for tests."""

import itertools
import threading
from collections.abc import Iterator
from typing import Any, Final

import pytest
from cloudevents.http import CloudEvent
from firebase_functions import db_fn
from hypothesis import given

from rtdb import models
from rtdb.functions import Functions
from rtdb.harness import OWNER, TIMEOUT, EmulatorProcess, Namespace
from rtdb.tokens import token
from rtdb_emulator.delta import delta
from rtdb_emulator.json_text import Json
from rtdb_emulator.node_json import read_node, val_value

_NUMBERS: Final = itertools.count(1)
V2: Final = "google.firebase.database.ref.v1."


@pytest.fixture(scope="module")
def functions() -> Iterator[Functions]:
    with Functions() as server:
        yield server


@pytest.fixture(scope="module")
def triggering(functions: Functions) -> Iterator[EmulatorProcess]:
    options = ("--control", "--functions_emulator_host", "127.0.0.1", "--functions_emulator_port", str(functions.port))
    with EmulatorProcess(*options) as process:
        yield process


@pytest.fixture
def ns(triggering: EmulatorProcess, functions: Functions) -> Iterator[Namespace]:
    """A namespace of the emulator that knows the functions, and no event of earlier tests."""
    namespace = Namespace(triggering, f"t{next(_NUMBERS)}")
    functions.status, functions.before_answer = 200, lambda route, event: None
    functions.take()
    functions.content_types.clear()
    yield namespace
    namespace.quiet()
    namespace.control("DELETE", "faults")


def register(ns: Namespace, path: str, kind: str = "written", **more: Json) -> str:
    """Register a v2 trigger for this namespace only; the result is its key."""
    key = f"us-central1-{ns.name}x{next(_NUMBERS)}-0"
    body: dict[str, Json] = {
        "name": f"projects/demo/locations/us-central1/triggers/{key}",
        "path": path,
        "event": V2 + kind,
        "topic": f"projects/demo/topics/{key}",
        "namespacePattern": ns.name,
    }
    url = f"{ns.emulator.url}/.settings/functionTriggers.json"
    response = ns.emulator.http.post(url, json=body | more, headers=OWNER, timeout=TIMEOUT)
    assert response.status_code == 200, response.text
    assert isinstance(response.json(), dict)
    return key


def refs(functions: Functions) -> list[tuple[str, Json, Json]]:
    return sorted(((e["ref"], e["data"]["data"], e["data"]["delta"]) for e in functions.take()), key=repr)


class TestMatching:
    def test_the_four_kinds(self, ns: Namespace, functions: Functions) -> None:
        kinds = {register(ns, "items/{id}", kind): kind for kind in ("created", "updated", "deleted", "written")}
        seen: list[list[str]] = []
        for value in (1, 2, 2, None):
            ns.put("items/a", value)
            ns.quiet()
            seen.append(sorted(kinds[route.rsplit("/", 1)[1]] for route, _ in functions.events))
            functions.take()
        assert seen == [["created", "written"], ["updated", "written"], [], ["deleted", "written"]]

    def test_writes_above_fan_out_and_writes_below_bubble_up(self, ns: Namespace, functions: Functions) -> None:
        register(ns, "items/{id}")
        ns.put("", {"items": {"a": 1, "b": {"c": 1}}, "other": 5})
        ns.quiet()
        assert refs(functions) == [("items/a", None, 1), ("items/b", None, {"c": 1})]
        ns.put("items/b/c", 2)
        ns.quiet()
        assert refs(functions) == [("items/b", {"c": 1}, {"c": 2})]
        ns.put("", {"items": {"a": 1, "b": {"c": 3}}})
        ns.quiet()
        assert refs(functions) == [("items/b", {"c": 2}, {"c": 3})]

    def test_a_multi_path_update_is_one_event_per_changed_location(self, ns: Namespace, functions: Functions) -> None:
        register(ns, "items/{id}")
        ns.put("items", {"a": {"x": 1, "y": 1}, "b": 1, "c": 1})
        ns.quiet()
        functions.take()
        ns.request("PATCH", "items", {"a/x": 2, "a/y": 2, "b": 1, "c": None}, headers=OWNER)
        ns.quiet()
        assert refs(functions) == [("items/a", {"x": 1, "y": 1}, {"x": 2, "y": 2}), ("items/c", 1, None)]

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("a/{x}/c/{y}", ["a/1/c/2"]),
            ("a/{x}/c", ["a/1/c"]),
            ("a/*/c/{y=*}", ["a/1/c/2"]),
            ("a/{rest=**}", ["a/1/c/2/d"]),
            ("b/{x}", []),
            ("a/1/c/2", ["a/1/c/2"]),
            ("a/2/c/2", []),
        ],
    )
    def test_patterns(self, ns: Namespace, functions: Functions, pattern: str, expected: list[str]) -> None:
        register(ns, pattern)
        ns.put("a/1/c/2/d", True)
        ns.quiet()
        assert [event["ref"] for event in functions.take()] == expected

    def test_namespace_patterns(self, ns: Namespace, functions: Functions) -> None:
        register(ns, "x", namespacePattern="prefix-*")
        everywhere = register(ns, "y", namespacePattern="*")
        for name in (f"prefix-{ns.name}", f"other-{ns.name}"):
            Namespace(ns.emulator, name).put("x", 1)
            Namespace(ns.emulator, name).put("y", 1)
        ns.quiet()
        assert sorted((e["instance"], e["ref"]) for e in functions.take()) == [
            (f"other-{ns.name}", "y"),
            (f"prefix-{ns.name}", "x"),
            (f"prefix-{ns.name}", "y"),
        ]
        register(ns, "never", name=f"projects/demo/locations/us-central1/triggers/{everywhere}")

    def test_every_kind_of_writer_fires(self, ns: Namespace, functions: Functions) -> None:
        register(ns, "items/{id}")
        with ns.connect() as wire:
            wire.ok("p", {"p": "/items/put", "d": 1})
            wire.ok("m", {"p": "/items", "d": {"merge": 1}})
            wire.ok("o", {"p": "/items/gone", "d": 1})
            session = str(wire.handshake["s"])
            ns.connect(ls=session).close()
        ns.request("POST", "items", 1)
        ns.request("PATCH", "items", {"patch": 1})
        ns.put("items/imported", 1, disableTriggers="true")
        ns.quiet()
        seen = [ref for ref, _, _ in refs(functions)]
        assert [ref for ref in seen if not ref.startswith("items/-")] == [
            "items/gone", "items/merge", "items/patch", "items/put",
        ]  # fmt: skip
        assert len(seen) == 5

    def test_a_priority_alone_is_no_event(self, ns: Namespace, functions: Functions) -> None:
        register(ns, "items/{id}")
        ns.put("items/a", {"x": {".value": 1, ".priority": 1}}, disableTriggers="true")
        ns.put("items/a", {"x": {".value": 1, ".priority": 2}})
        ns.put("items/a/.priority", 5)
        ns.quiet()
        assert functions.take() == []

    def test_what_was_there_before_is_not_replayed(self, ns: Namespace, functions: Functions) -> None:
        ns.put("items/a", 1)
        register(ns, "items/{id}")
        ns.put("items/b", 1)
        ns.quiet()
        assert [ref for ref, _, _ in refs(functions)] == ["items/b"]

    @pytest.mark.parametrize("body", [{}, [], {"name": "x", "path": "a", "event": V2 + "written"}, {"name": 1}])
    def test_registrations_that_make_no_sense_are_refused(self, ns: Namespace, body: Json) -> None:
        url = f"{ns.emulator.url}/.settings/functionTriggers.json"
        response = ns.emulator.http.post(url, json=body, headers=OWNER, timeout=TIMEOUT)
        assert response.status_code == 400 or body == []


class TestEvents:
    def test_a_cloud_event_has_what_the_python_library_needs(self, ns: Namespace, functions: Functions) -> None:
        key = register(ns, "items/{id}")
        ns.put("items/a", {"x": [1, 2]})
        ns.quiet()
        ((route, event),) = functions.events
        assert route == f"/functions/projects/demo/triggers/{key}"
        assert functions.content_types == ["application/cloudevents+json; charset=UTF-8"]
        assert event.pop("id") and event.pop("time").endswith("Z")
        assert event == {
            "specversion": "1.0",
            "source": f"//firebasedatabase.googleapis.com/projects/_/locations/us-central1/instances/{ns.name}",
            "type": V2 + "written",
            "subject": "refs/items/a",
            "datacontenttype": "application/json",
            "location": "us-central1",
            "instance": ns.name,
            "ref": "items/a",
            "firebasedatabasehost": "firebaseio.com",
            "authtype": "admin",
            "data": {"data": None, "delta": {"x": [1, 2]}},
        }

    def test_who_wrote_is_told(self, ns: Namespace, functions: Functions) -> None:
        register(ns, "items/{id}")
        ns.request("PUT", "items/a", 1)
        ns.request("PUT", "items/b", 1, auth=token("alice"))
        ns.quiet()
        told = {e["ref"]: (e["authtype"], e.get("authid")) for e in functions.take()}
        assert told == {"items/a": ("unauthenticated", None), "items/b": ("app_user", "alice")}

    def test_a_v1_event(self, ns: Namespace, functions: Functions) -> None:
        url = f"{ns.emulator.url}/.settings/functionTriggers.json"
        body = {
            "name": "projects/demo/locations/_/functions/us-central1-old-0",
            "path": "/items/{id}",
            "event": "providers/google.firebase.database/eventTypes/ref.create",
            "topic": "projects/demo/topics/old",
        }
        ns.emulator.http.post(url, params={"ns": ns.name}, json=body, headers=OWNER, timeout=TIMEOUT)
        ns.request("PUT", "items/a", 1, auth=token("alice"))
        ns.quiet()
        ((route, event),) = functions.events
        assert route == "/functions/projects/demo/triggers/us-central1-old-0"
        assert functions.content_types == ["application/json"]
        assert event.pop("eventId") and event.pop("timestamp")
        assert event.pop("auth")["variable"]["uid"] == "alice"
        assert event == {
            "eventType": body["event"],
            "resource": {
                "service": "firebaseio.com",
                "name": f"projects/_/instances/{ns.name}/refs/items/a",
            },
            "data": {"data": None, "delta": 1},
            "params": {"id": "a"},
        }

    def test_the_python_library_reads_them(self, ns: Namespace, functions: Functions) -> None:
        """firebase_functions computes params and the change from the event."""
        seen: list[Any] = []

        @db_fn.on_value_written(reference="items/{id}")
        def handler(event: Any) -> None:
            seen.append((event.params, event.data.before, event.data.after))

        deliver: Any = handler  # what the decorator really makes of it
        register(ns, "items/{id}")
        ns.put("items/a", {"x": 1, "gone": {"deep": 1}})
        ns.put("items/a", {"x": 2, "list": [1, 2]})
        ns.quiet()
        for event in functions.take():
            attributes = {key: value for key, value in event.items() if key != "data"}
            deliver(CloudEvent(attributes, event["data"]))
        assert seen == [
            ({"id": "a"}, None, {"x": 1, "gone": {"deep": 1}}),
            ({"id": "a"}, {"x": 1, "gone": {"deep": 1}}, {"x": 2, "list": [1, 2]}),
        ]


class TestDelta:
    @pytest.mark.parametrize(
        ("before", "after", "expected"),
        [
            (None, {"a": 1}, {"a": 1}),
            ({"a": 1}, None, None),
            ({"a": 1}, {"a": True}, {"a": True}),
            ({"a": {"b": {"c": 1}}, "x": 1}, {"x": 1}, {"a": None}),
            ({"a": [1, 2]}, {"a": [1]}, {"a": [1]}),
            ({"a": {"b": 1, "c": 1}}, {"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}),
            (5, {"a": 1}, {"a": 1}),
        ],
        ids=repr,
    )
    def test_examples(self, before: Json, after: Json, expected: Json) -> None:
        assert repr(delta(before, after)) == repr(expected)

    @given(models.TREES, models.TREES)
    def test_merged_into_what_was_before_it_gives_what_is_after(self, before: Json, after: Json) -> None:
        old, new = (val_value(read_node(data, existing=None, now_ms=0)) for data in (before, after))
        assert models.canonical(_merged(old, delta(old, new))) == models.canonical(new)


def _merged(before: Json, change: Json) -> Json:
    """What a consumer of the event does."""
    if not isinstance(before, dict) or not isinstance(change, dict):
        return change
    kept = {key: value for key, value in before.items() if key not in change}
    changed = {key: _merged(before.get(key), value) for key, value in change.items() if value is not None}
    return kept | changed


class TestDelivery:
    def test_in_order_at_one_location_and_in_parallel_at_others(self, ns: Namespace, functions: Functions) -> None:
        register(ns, "items/{id}")
        meeting = threading.Barrier(3, timeout=TIMEOUT)
        functions.before_answer = lambda route, event: meeting.wait() if event["data"]["delta"] == 0 else None
        for key in "abc":
            ns.put(f"items/{key}", 0)
        for number in range(1, 8):
            ns.put("items/a", number)
        ns.quiet()
        assert [e["data"]["delta"] for e in functions.take() if e["ref"] == "items/a"] == list(range(8))

    def test_the_writer_does_not_wait(self, ns: Namespace, functions: Functions) -> None:
        register(ns, "items/{id}")
        answered = threading.Event()
        functions.before_answer = lambda route, event: answered.wait(TIMEOUT)
        ns.put("items/a", 1)
        assert ns.get("items/a") == 1
        functions.wait_for(1)
        answered.set()

    @pytest.mark.parametrize("status", [204, 404, 500])
    def test_nothing_is_sent_twice(self, ns: Namespace, functions: Functions, status: int) -> None:
        register(ns, "items/{id}")
        functions.status = status
        ns.put("items/a", 1)
        ns.quiet()
        assert len(functions.take()) == 1


class TestFaults:
    def write(self, ns: Namespace, functions: Functions, plan: Json, count: int = 40) -> list[int]:
        ns.control("PUT", "faults", plan)
        for number in range(count):
            ns.put("items/a", number + 1)
        ns.quiet()
        return [event["data"]["delta"] for event in functions.take()]

    def test_duplicates_have_the_same_id(self, ns: Namespace, functions: Functions) -> None:
        register(ns, "items/{id}")
        ns.control("PUT", "faults", {"seed": 1, "duplicate": 1, "copies": 3})
        ns.put("items/a", 1)
        ns.quiet()
        events = functions.take()
        assert len(events) == 3 and len({event["id"] for event in events}) == 1

    def test_drops_are_seeded(self, ns: Namespace, functions: Functions) -> None:
        register(ns, "items/{id}")
        plan: Json = {"seed": 5, "drop": 0.5}
        first = self.write(ns, functions, plan)
        ns.put("items/a", None)
        ns.quiet()
        functions.take()
        assert 0 < len(first) < 40
        assert self.write(ns, functions, plan) == first
        assert self.write(ns, functions, {"seed": 6, "drop": 0.5}) != first

    def test_reordering(self, ns: Namespace, functions: Functions) -> None:
        register(ns, "items/{id}")
        got = self.write(ns, functions, {"seed": 2, "reorder": 0.7, "delay_ms": 60})
        assert sorted(got) == list(range(1, 41)) and got != sorted(got)

    def test_delays_keep_the_order(self, ns: Namespace, functions: Functions) -> None:
        register(ns, "items/{id}")
        got = self.write(ns, functions, {"seed": 2, "delay": 0.5, "delay_ms": 5})
        assert got == list(range(1, 41))

    def test_only_some_triggers(self, ns: Namespace, functions: Functions) -> None:
        key = register(ns, "items/{id}")
        register(ns, "items/{id}")
        ns.control("PUT", "faults", {"drop": 1, "only": key})
        ns.put("items/a", 1)
        ns.quiet()
        assert len(functions.take()) == 1

    @pytest.mark.parametrize("plan", [[], {"nonsense": 1}, {"drop": "x"}, {"seed": 1.5}, {"drop": -1}])
    def test_a_plan_that_makes_no_sense_is_refused(self, ns: Namespace, plan: Json) -> None:
        url = f"{ns.emulator.url}/.control/faults"
        assert ns.emulator.http.put(url, json=plan, headers=OWNER, timeout=TIMEOUT).status_code == 400

    def test_clients_can_be_cut(self, ns: Namespace) -> None:
        with ns.connect() as watcher, ns.connect() as cut:
            watcher.ok("q", {"p": "/gone", "h": ""})
            cut.ok("o", {"p": "/gone", "d": 1})
            assert ns.control("POST", "disconnect", {"session": cut.handshake["s"]}) == {"cut": 1}
            assert watcher.push() == {"a": "d", "b": {"p": "gone", "d": 1}}
            assert ns.control("POST", "disconnect", {"ns": ns.name, "share": 1, "seed": 3}) == {"cut": 1}

    def test_the_log_of_deliveries(self, ns: Namespace, functions: Functions) -> None:
        key = register(ns, "items/{id}")
        ns.control("DELETE", "deliveries")
        ns.put("items/a", 1)
        ns.quiet()
        (event,) = functions.take()
        sent = ns.control("GET", "deliveries")["sent"]
        assert sent == [
            {
                "event_id": event["id"],
                "trigger": f"projects/demo/locations/us-central1/triggers/{key}",
                "namespace": ns.name,
                "location": "items/a",
                "status": 200,
            }
        ]

    def test_only_the_owner_may_use_it(self, ns: Namespace) -> None:
        for path in ("state", "idle", "deliveries"):
            assert ns.emulator.http.get(f"{ns.emulator.url}/.control/{path}", timeout=TIMEOUT).status_code == 401
