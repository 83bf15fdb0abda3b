"""Random trees and operations against a plain model: results, and what every listener sees, in order."""

import random
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from rtdb import models
from rtdb.conftest import Js
from rtdb.harness import Namespace, Wire
from rtdb.models import Model
from rtdb.streams import Stream, stream
from rtdb_emulator import children
from rtdb_emulator.children import Children
from rtdb_emulator.errors import InvalidQuery
from rtdb_emulator.json_text import Json
from rtdb_emulator.node_json import export_value, read_node
from rtdb_emulator.query import BY_KEY, Bound, Query, from_wire
from rtdb_emulator.tree import Inner, Present, put
from rtdb_emulator.window import OrderedIndex, Window

SEEDS: Final = range(6)


class TestChildren:
    @given(st.lists(st.tuples(st.integers(0, 300), st.booleans()), max_size=400), st.integers(0, 300))
    @settings(max_examples=50)
    def test_a_wide_map_is_a_dict(self, steps: list[tuple[int, bool]], size: int) -> None:
        expected = {f"k{number}": number for number in range(size)}
        got: Children[int] = children.make(dict(expected))
        for number, is_put in steps:
            key = f"k{number}"
            before = children.as_dict(got)
            if is_put:
                changed = children.with_child(got, key, -number)
                expected[key] = -number
            elif key in expected:
                changed = children.without_child(got, key)
                del expected[key]
            else:
                continue
            assert children.as_dict(got) == before
            got = changed
            assert len(got) == len(expected)
        assert children.as_dict(got) == expected
        assert all(got.get(key) == value and key in got for key, value in expected.items())
        assert got.get("none") is None and sorted(got) == sorted(expected)

    @given(st.lists(st.tuples(st.integers(0, 300), st.sampled_from(["put", "remove", "refuse", "ask"])), max_size=200))
    @settings(max_examples=50)
    def test_a_wide_map_keeps_its_keys_in_order(self, steps: list[tuple[int, str]]) -> None:
        got: Children[Present] = children.make({str(number): 0 for number in range(80)})
        for number, step in steps:
            key = str(number)
            if step == "put":
                got = children.with_child(got, key, 1)
            elif step == "remove" and key in got:
                got = children.without_child(got, key)
            elif step == "refuse":
                children.with_child(got, key, 1)
            else:
                _assert_ordered(got)
        _assert_ordered(got)

    def test_keys_with_equal_hashes_get_along(self) -> None:
        class Same(str):
            def __hash__(self) -> int:
                return 7

        many: dict[str, int] = {Same(f"k{number}"): number for number in range(200)}
        got = children.make(dict(many))
        assert {key: got.get(key) for key in many} == many


def _assert_ordered(got: Children[Present]) -> None:
    for query in (Query(BY_KEY, limit=5), Query(BY_KEY, start=Bound("30"), limit=7), Query(BY_KEY, end=Bound("7"))):
        few = {key: got.get(key) for key in sorted(got, key=int) if query.within(query.place(key, None))}
        assert [*query.select(Inner(got))] == [*few][: query.limit]


class TestWindow:
    @given(
        st.fixed_dictionaries(
            {},
            optional={
                "i": st.sampled_from([".key", ".value", ".priority", "a", "a/b"]),
                "sp": st.one_of(models.SCALARS, st.none(), st.integers(0, 3)),
                "ep": st.one_of(models.SCALARS, st.none(), st.integers(0, 3)),
                "sin": st.booleans(),
                "ein": st.booleans(),
                "l": st.integers(1, 3),
                "vf": st.sampled_from("lr"),
            },
        ),
        st.lists(st.tuples(models.PATHS, models.VALUES), min_size=1, max_size=8),
    )
    def test_what_it_shows_after_each_write_is_what_a_fresh_query_selects(
        self, spec: dict[str, Json], steps: list[tuple[tuple[str, ...], Json]]
    ) -> None:
        try:
            query = from_wire(spec) or Query()
        except InvalidQuery:
            reject()  # the bounds do not fit the index
        root = read_node({"a": 1, "b": {"a": 2}}, existing=None, now_ms=0)
        index = OrderedIndex(query, root)
        window = Window(query, index)
        seen = dict(window.shown)
        for path, value in steps:
            root = put(root, path, read_node(value, existing=None, now_ms=0))
            changed = {path[0]} if path else None
            index.follow(root, changed)
            for key, node in window.advance(changed).items():
                assert seen.get(key) is not node
                seen[key] = node
            seen = {key: node for key, node in seen.items() if node is not None}
            assert {k: export_value(n) for k, n in seen.items()} == {
                k: export_value(n) for k, n in query.select(root).items()
            }


@dataclass
class Watcher:
    """A listener that puts the pushes together, like a client does."""

    wire: Wire
    path: tuple[str, ...]
    state: Model = None
    states: list[Model] = field(default_factory=list)

    def start(self) -> None:
        self.wire.ok("q", {"p": "/".join(self.path), "h": ""})
        self.take()
        self.states = [self.state]

    def take(self) -> None:
        for push in self.wire.take_pushes():
            body: Any = push["b"]
            at = tuple(part for part in body["p"].split("/") if part)[len(self.path) :]
            members = {(): body["d"]} if push["a"] == "d" else {tuple(k.split("/")): v for k, v in body["d"].items()}
            for relative, value in members.items():
                self.state = models.put(self.state, (*at, *relative), value)
            self.states.append(self.state)


def random_value(rng: random.Random, depth: int = 0) -> Json:
    if rng.random() < 0.55 or depth == 2:
        return rng.choice([None, True, False, 0, 1, 2.5, "x", "é🐵"])
    return {models.random_key(rng): random_value(rng, depth + 1) for _ in range(rng.randrange(3))}


def random_path(rng: random.Random) -> tuple[str, ...]:
    return tuple(models.random_key(rng) for _ in range(rng.randrange(4)))


def pruned(value: Json) -> Json:
    if not isinstance(value, dict):
        return value
    members = {key: pruned(item) for key, item in value.items()}
    return {key: item for key, item in members.items() if item is not None} or None


@pytest.mark.parametrize("seed", SEEDS)
def test_every_listener_sees_exactly_the_states_of_the_model_in_order(ns: Namespace, seed: int) -> None:
    rng = random.Random(seed)
    model: Model = None
    places = [(), *(random_path(rng) for _ in range(5))]
    watchers = [Watcher(ns.connect(), path) for path in dict.fromkeys(places)]
    expected: list[list[Model]] = [[None] for _ in watchers]
    with ns.connect() as writer:
        for watcher in watchers:
            watcher.start()
        for _ in range(120):
            model = _random_write(rng, writer, model)
            for states, watcher in zip(expected, watchers):
                now = models.get(model, watcher.path)
                if models.canonical(now) != models.canonical(states[-1]):
                    states.append(now)
        for watcher in watchers:
            watcher.wire.ok("s", {})  # answered after everything that was pushed before
            watcher.take()
        for states, watcher in zip(expected, watchers):
            assert list(map(models.canonical, watcher.states)) == list(map(models.canonical, states)), watcher.path
            watcher.wire.close()
        assert writer.ok("g", {"p": "/", "q": {}}) == model
    assert ns.get("", format="export") == model


def _random_write(rng: random.Random, writer: Wire, model: Model) -> Model:
    path = random_path(rng)
    if rng.random() < 0.7:
        value = random_value(rng)
        writer.ok("p", {"p": "/".join(path), "d": value})
        return models.put(model, path, pruned(value))
    members: dict[str, Json] = {models.random_key(rng): random_value(rng) for _ in range(rng.randrange(1, 4))}
    writer.ok("m", {"p": "/".join(path), "d": members})
    # An update is one change; in the model its members can only be put one by one, removals last, so that a leaf in
    # the way is replaced whatever their order.
    for key, value in sorted(members.items(), key=lambda item: pruned(item[1]) is None):
        model = models.put(model, (*path, key), pruned(value))
    return model


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_every_stream_sees_the_states_of_the_model_in_order(ns: Namespace, seed: int) -> None:
    rng = random.Random(seed)
    path = tuple(models.random_key(rng) for _ in range(seed % 3))
    model: Model = None
    with stream(ns, "/".join(path)) as events, ns.connect() as writer:
        seen = state = _after(None, events)
        for _ in range(100):
            model = _random_write(rng, writer, model)
            now = models.get(model, path)
            if models.canonical(now) != models.canonical(state):
                state, seen = now, _after(seen, events)
                assert models.canonical(seen) == models.canonical(state)


def _after(state: Model, events: Stream) -> Model:
    """What the stream shows after its next event; arrays are what clients make of them, objects with numbers."""
    name, event = events.next()
    assert isinstance(event, dict)
    at = tuple(part for part in str(event["path"]).split("/") if part)
    data = event["data"]
    members = (
        {(): data} if name == "put" or not isinstance(data, dict) else {tuple(k.split("/")): data[k] for k in data}
    )
    for relative, value in members.items():
        plain = export_value(read_node(value, existing=None, now_ms=0))
        state = models.put(state, (*at, *relative), plain)
    return state


def test_clients_that_are_cut_again_and_again_lose_nothing(js: Js, ns: Namespace) -> None:
    result = js("converging", "cutClients", ns, {"clients": 3, "writes": 40, "cuts": 3})
    assert result["stored"] == 3 * 40
    assert result["agree"] is True


def test_concurrent_clients_of_the_sdk_end_in_one_state(js: Js, ns: Namespace) -> None:
    """Every client's last view is the server's, and each saw only states that others can have seen."""
    result = js("converging", "randomClients", ns, {"clients": 4, "steps": 60})
    assert len(result["views"]) == 4
    assert all(view == result["server"] for view in result["views"])
    assert result["counter"] == 4 * 60
