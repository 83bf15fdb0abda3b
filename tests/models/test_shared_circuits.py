"""What one instance learned of a model, the others know; and everybody may read how the models do."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from app.kit.concurrency import Task, Threads
from app.kit.errors import Unavailable
from app.kit.stores.realtime import Json
from app.models.circuits.circuit import LONGEST_PAUSE_US, Circuit
from app.models.circuits.shared import SharedBreakers, key_of, read, status_of
from support.memory import MemoryRealtime
from support.world import World

S = 1_000_000


class Away(MemoryRealtime):
    """A database that does not answer."""

    def get(self, path: str) -> Json:
        raise Unavailable("away")

    def update(self, values: Mapping[str, Json]) -> None:
        raise Unavailable("away")


def breakers_of(world: World) -> SharedBreakers:
    return world.instance().models.breakers


def opens(breakers: SharedBreakers, model: str = "small") -> None:
    for user in ("alice", "bob") * 3:
        if permit := breakers.take(model):
            breakers.failed(permit, user)
    breakers.settle()


def closes(breakers: SharedBreakers, model: str = "small") -> None:
    """A probe goes out, and is answered."""
    permit = breakers.take(model)
    assert permit is not None
    assert permit.probe
    breakers.answered(permit)
    breakers.settle()


def hears(breakers: SharedBreakers, model: str = "small") -> None:
    """A request makes the instance listen; what it hears counts from then on."""
    breakers.take(model)
    breakers.settle()


class TestACircuitOfOneInstance:
    def test_that_opens_is_open_for_the_others(self) -> None:
        world = World()
        mine, theirs = breakers_of(world), breakers_of(world)
        opens(mine)
        hears(theirs)
        assert not theirs.take("small")
        assert theirs.take("large")
        world.clock.advance(seconds=10)
        assert theirs.take("small"), "its pause is over for the others as well"

    def test_that_closes_is_closed_for_the_others(self) -> None:
        world = World()
        mine, theirs = breakers_of(world), breakers_of(world)
        opens(mine)
        hears(theirs)
        world.clock.advance(seconds=10)
        closes(mine)
        hears(theirs)
        assert theirs.state("small") == "closed"

    def test_does_not_undo_what_another_learned_later(self) -> None:
        world = World()
        breakers = world.system.models.breakers
        opens(breakers)
        opened, at_us = breakers.known("small")
        world.clock.advance(seconds=10)
        closes(breakers)
        closed, at_us = breakers.known("small")
        assert not closed.openings
        breakers.adopt("small", opened, at_us)
        assert breakers.state("small") == "closed"
        breakers.adopt("small", replace(opened, until_us=at_us + 9 * S), at_us + 2)
        assert breakers.state("small") == "open"

    def test_that_was_told_by_a_clock_that_is_ahead_ends_all_the_same(self) -> None:
        """It is open for its pause, and the same news is no news when it is heard again."""
        world = World()
        breakers = breakers_of(world)
        told_us = world.clock.now_us() + 240 * S
        for second in range(30):
            breakers.adopt("small", Circuit(openings=1, until_us=told_us + 10 * S), told_us)
            assert breakers.wait_s("small") == max(10 - second, 0)
            world.clock.advance(seconds=1)

    def test_that_was_told_by_a_clock_that_is_far_ahead_is_not_believed(self) -> None:
        world = World()
        breakers = breakers_of(world)
        told_us = world.clock.now_us() + LONGEST_PAUSE_US + S
        assert not breakers.adopt("small", Circuit(openings=1, until_us=told_us + 10 * S), told_us)
        assert breakers.take("small")
        opens(breakers)
        assert not breakers.adopt("small", Circuit(), told_us)
        assert breakers.state("small") == "open"

    def test_is_read_at_most_every_five_seconds_and_written_on_change(self) -> None:
        reads: list[str] = []
        writes: list[str] = []

        class Counting(MemoryRealtime):
            def get(self, path: str) -> Json:
                reads.append(path)
                return super().get(path)

            def update(self, values: Mapping[str, Json]) -> None:
                writes.extend(values)
                super().update(values)

        world = World()
        realtime = Counting()
        breakers = SharedBreakers(world.clock.now_us, lambda: realtime, world.ports.concurrency, most=5)
        for _ in range(10):
            breakers.take("small")
        breakers.settle()
        assert reads == ["models/circuits"]
        opens(breakers)
        world.clock.advance(seconds=4)
        hears(breakers)
        assert writes == ["models/circuits/small"]
        world.clock.advance(seconds=1)
        hears(breakers)
        assert len(reads) == 2
        world.clock.advance(seconds=-3600)
        hears(breakers)
        assert len(reads) == 3, "a clock that went back does not stop it"

    def test_is_its_own_while_the_database_does_not_answer(self) -> None:
        world = World()
        breakers = SharedBreakers(world.clock.now_us, Away, world.ports.concurrency, most=5)
        opens(breakers)
        hears(breakers)
        assert not breakers.take("small")

    def test_lets_requests_out_where_the_process_starts_no_more_threads(self) -> None:
        class Full(Threads):
            def start(self, name: str, body: Callable[[], None]) -> Task:
                raise RuntimeError("can't start new thread")

        world = World()
        breakers = SharedBreakers(world.clock.now_us, lambda: world.realtime, Full(), most=5)
        opens(breakers)
        assert breakers.state("small") == "open"
        assert breakers.take("large")


class TestANodeThatIsNonsense:
    @pytest.mark.parametrize(
        "node",
        [
            {"openings": 1, "until": -1, "at": 1},
            {"openings": 1, "until": "x", "at": 1},
            {"openings": 1, "until": 10**400, "at": 10**400},
            {"openings": 10**400, "until": 1, "at": 1},
            {"openings": 1, "until": 10**9, "at": 1},
            {"openings": True, "until": 1, "at": 1},
            {"openings": 1, "until": 1.5, "at": 1},
            {"until": 1, "at": 1},
            {"at": 10**17},
            "open",
        ],
    )
    def test_is_ignored_and_told_once_while_it_stands(self, node: Json) -> None:
        world = World()
        breakers = breakers_of(world)
        good: Json = {"openings": 1, "until": world.clock.now_us() + 60 * S, "at": world.clock.now_us()}
        world.realtime.update({"models/circuits": {"small": node, "large": good}})
        ignored = [{"event": "circuit_node_ignored", "log_level": "warning", "area": "models", "model": "small"}]
        with capture_logs() as told:
            for _ in range(3):
                hears(breakers)
                world.clock.advance(seconds=5)
        assert told == ignored
        assert (breakers.state("small"), breakers.state("large")) == ("closed", "open")
        with capture_logs() as told:
            for shown in (good, node):
                world.realtime.update({"models/circuits/small": shown})
                hears(breakers)
                world.clock.advance(seconds=5)
        assert told == ignored, "it was well in between"


class TestANode:
    @pytest.mark.parametrize(
        "node",
        [
            None,
            "x",
            7,
            [],
            {},
            {"openings": 1},
            {"openings": "1", "until": 1, "at": 1},
            {"openings": -1, "until": 1, "at": 1},
        ],
    )
    def test_that_cannot_be_read_does_not_hide_others(self, node: Json) -> None:
        good: Json = {"openings": 2, "until": 7, "at": 5}
        assert read({"bad": node, "gpt-4%2E1": good}) == {"bad": None, "gpt-4.1": (Circuit(openings=2, until_us=7), 5)}

    @pytest.mark.parametrize("model", ["gpt-4.1", "a/b", "100%", "x[y]#$"])
    def test_has_a_key_that_leads_back_to_its_model(self, model: str) -> None:
        assert not set(key_of(model)) & set(".$#[]/")
        assert [*read({key_of(model): {"openings": 0, "until": 0, "at": 1}})] == [model]


class TestTheStatus:
    OPEN, TRIED = (Circuit(openings=1, until_us=9), 1), (Circuit(openings=1, until_us=3), 1)

    @pytest.mark.parametrize(
        ("found", "status", "models"),
        [
            ({}, "ok", ["up", "up"]),
            ({"a": OPEN}, "degraded", ["down", "up"]),
            ({"a": OPEN, "b": TRIED}, "degraded", ["down", "degraded"]),
            ({"a": OPEN, "b": OPEN, "gone": TRIED}, "down", ["down", "down"]),
            ({"a": None, "b": (Circuit(openings=1, until_us=10**17), 10**17)}, "ok", ["up", "up"]),
            ({"a": (Circuit(openings=1, until_us=10**17), 1), "b": OPEN}, "degraded", ["up", "down"]),
        ],
    )
    def test_follows_from_the_circuits(
        self, found: dict[str, tuple[Circuit, int] | None], status: str, models: list[str]
    ) -> None:
        assert status_of(("a", "b"), found, 5) == {"status": status, "models": dict(zip("ab", models, strict=True))}

    def test_is_shown_by_the_sweep(self) -> None:
        world = World()
        world.system.orchestration.sweep()
        shown = world.realtime.get("system/status")
        assert isinstance(shown, dict)
        assert shown["status"] == "ok"
        opens(world.system.models.breakers)
        world.system.orchestration.sweep()
        assert world.realtime.get("system/status/models/small") == "down"
        assert world.realtime.get("system/status/status") == "degraded"
        world.realtime.update({"system/status/maintenance": "tonight"})
        world.clock.advance(seconds=11)
        closes(world.system.models.breakers)
        world.system.orchestration.sweep()
        assert world.realtime.get("system/status") == shown | {"maintenance": "tonight"}
