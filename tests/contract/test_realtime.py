"""The contract of `Realtime`, proved of the tree in memory and of the adapter on the database's stand-in."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import firebase_admin
import pytest
from firebase_admin import db
from firebase_admin.credentials import Base

from app.kit.errors import Unavailable
from app.kit.stores.realtime import FirebaseRealtime, Json, Realtime
from rtdb.harness import ROOT, EmulatorProcess
from support.memory import MemoryRealtime
from support.rtdb import count, more, realtime

ODD = ["zażółć", "🐵", "a b", "50%", "%41", "a+b", "q?x=1&y", "semi;colon", '"quoted"', "back\\slash", "~'()*!,:@="]
"""Keys that a URL would like to read otherwise."""


@dataclass(frozen=True)
class StandIn:
    """A running database and an adapter of it."""

    process: EmulatorProcess
    url: str
    realtime: FirebaseRealtime


_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def process() -> Iterator[EmulatorProcess]:
    with EmulatorProcess() as running:
        yield running


@pytest.fixture
def stand_in(process: EmulatorProcess) -> StandIn:
    url = f"{process.url}/?ns=contract{next(_NUMBERS)}"
    return StandIn(process, url, realtime(url))


@pytest.fixture(params=["memory", "stand-in"])
def tree(request: pytest.FixtureRequest) -> Realtime:
    if request.param == "memory":
        return MemoryRealtime()
    stand_in: StandIn = request.getfixturevalue("stand_in")
    return stand_in.realtime


@pytest.fixture
def admin(stand_in: StandIn) -> Iterator[firebase_admin.App]:
    """The SDK on the same database."""
    app = firebase_admin.initialize_app(Base(), {"databaseURL": stand_in.url}, name=stand_in.url)
    yield app
    firebase_admin.delete_app(app)


class TestReading:
    def test_nothing_is_none(self, tree: Realtime) -> None:
        assert tree.get("a/b") is None
        assert tree.first("a", 5) == {}

    @pytest.mark.parametrize(
        "value", [True, 0, -1.5, "zażółć 🐵", {"a": {"b": "c"}, "n": 1}, 2**53 - 1, "", "\u2028\x00"]
    )
    def test_a_value_comes_back_as_it_was_written(self, tree: Realtime, value: Json) -> None:
        tree.update({"a/b": value})
        assert tree.get("a/b") == value
        assert tree.get("/a/b/") == value

    @pytest.mark.parametrize("key", ODD)
    def test_a_key_is_the_same_in_every_call(self, tree: Realtime, key: str) -> None:
        tree.update({f"a/{key}/n": 1})
        assert tree.get("a") == {key: {"n": 1}}
        assert tree.get(f"a/{key}") == {"n": 1}
        assert tree.first(f"a/{key}", 2) == {"n": 1}
        assert tree.transact(f"a/{key}/n", more) == 2
        assert tree.get(f"a/{key}/n") == 2

    def test_the_first_children_come_in_the_order_of_their_keys(self, tree: Realtime) -> None:
        tree.update({f"a/{key}": key for key in ("d", "b", "aa", "c", "ab")})
        assert list(tree.first("a", 3)) == ["aa", "ab", "b"]
        assert list(tree.first("a", 2, start_at="ab")) == ["ab", "b"]
        assert list(tree.first("a", 9, start_at="bb")) == ["c", "d"]
        assert tree.first("a", 9, start_at="e") == {}

    def test_a_plain_value_has_no_children(self, tree: Realtime) -> None:
        tree.update({"a": "text"})
        assert tree.first("a", 2) == {}

    @pytest.mark.parametrize("key", ODD)
    def test_children_start_at_any_key(self, tree: Realtime, key: str) -> None:
        tree.update({f"a/{key}": 1})
        assert tree.first("a", 1, start_at=key) == {key: 1}


class TestWriting:
    def test_places_are_replaced_at_once_and_none_removes(self, tree: Realtime) -> None:
        tree.update({"a/b": {"x": 1, "y": 2}, "a/c": 3})
        tree.update({"/a/b": {"z": 1}, "a/c/": None, "d/e": {}})
        assert tree.get("") == {"a": {"b": {"z": 1}}}

    def test_a_transaction_decides_on_what_stands_there(self, tree: Realtime) -> None:
        seen: list[Json] = []

        def decide(current: Json) -> Json:
            seen.append(current)
            return {"n": len(seen)}

        assert tree.transact("a", decide) == {"n": 1}
        assert tree.transact("a", decide) == {"n": 2}
        assert seen == [None, {"n": 1}]

    def test_a_transaction_that_wants_nothing_writes_nothing(self, tree: Realtime) -> None:
        tree.update({"a": {"n": 1}})
        assert tree.transact("a", lambda current: current) == {"n": 1}
        assert tree.transact("b", lambda current: current) is None

    def test_a_transaction_that_met_another_decides_again(self, stand_in: StandIn) -> None:
        seen: list[Json] = []
        tree, another = stand_in.realtime, realtime(stand_in.url)

        def decide(current: Json) -> Json:
            seen.append(current)
            if len(seen) < 4:
                another.update({"a": {"of another": len(seen)}})
            return {"ours": len(seen)}

        assert tree.transact("a", decide) == {"ours": 4}
        assert seen == [None, {"of another": 1}, {"of another": 2}, {"of another": 3}]
        assert tree.get("a") == {"ours": 4}

    def test_one_that_meets_another_every_time_gives_up(self, stand_in: StandIn) -> None:
        numbers = itertools.count()
        another = realtime(stand_in.url)

        def decide(_: Json) -> Json:
            another.update({"a": next(numbers)})
            return "ours"

        with pytest.raises(Unavailable, match="25 times"):
            stand_in.realtime.transact("a", decide)
        assert stand_in.realtime.get("a") == 24

    def test_nothing_is_lost_between_threads_and_processes(self, stand_in: StandIn) -> None:
        command = [sys.executable, "-m", "support.rtdb", stand_in.url, "n", "8", "25"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("functions", "tests"))}
        with subprocess.Popen(command, env=environment) as other:
            count(stand_in.realtime, "n", threads=8, times=25)
        assert other.returncode == 0
        assert stand_in.realtime.get("n") == 2 * 8 * 25


class TestAgainstTheSdk:
    """firebase_admin.db is the reference for what a call means."""

    @pytest.mark.parametrize("value", [None, False, 7, 0.25, "ż\n", {"a": {"b": None, "c": 1}}, ["x", "y"], {"1": "x"}])
    def test_both_read_and_write_the_same(self, stand_in: StandIn, admin: firebase_admin.App, value: Json) -> None:
        stand_in.realtime.update({"ours": value})
        db.reference("/", admin).update({"theirs": value})
        assert stand_in.realtime.get("theirs") == db.reference("ours", admin).get()
        assert stand_in.realtime.get("") == db.reference("/", admin).get()

    @pytest.mark.parametrize("start_at", ["", "b", "zz"])
    def test_both_page_alike(self, stand_in: StandIn, admin: firebase_admin.App, start_at: str) -> None:
        stand_in.realtime.update({f"a/{key}": {"k": key} for key in ("c", "b", "aa", "ż", "~")})
        query = db.reference("a", admin).order_by_key().limit_to_first(3)
        theirs = (query.start_at(start_at) if start_at else query).get() or {}
        ours = stand_in.realtime.first("a", 3, start_at=start_at)
        assert list(ours.items()) == list(theirs.items())

    def test_both_transact_alike(self, stand_in: StandIn, admin: firebase_admin.App) -> None:
        assert stand_in.realtime.transact("n", more) == 1
        assert db.reference("n", admin).transaction(more) == 2
        assert stand_in.realtime.transact("n", more) == 3


@pytest.mark.parametrize(
    "call",
    [
        lambda realtime: realtime.get("a"),
        lambda realtime: realtime.first("a", 1),
        lambda realtime: realtime.update({"a": 1}),
        lambda realtime: realtime.transact("a", more),
    ],
    ids=["get", "first", "update", "transact"],
)
def test_a_database_that_is_gone_is_a_fault(call: Callable[[FirebaseRealtime], object]) -> None:
    with EmulatorProcess() as dying:
        connected = realtime(f"{dying.url}/?ns=dying")
        connected.update({"a": 1})
        dying.kill()
        with pytest.raises(Unavailable):
            call(connected)


def test_a_database_that_dies_between_read_and_write_is_a_fault() -> None:
    with EmulatorProcess() as dying:
        connected = realtime(f"{dying.url}/?ns=dying")

        def decide(_: Json) -> Json:
            dying.kill()
            return 1

        with pytest.raises(Unavailable):
            connected.transact("a", decide)
