"""What one instance learned of a model, the others know; and everybody may read how the models do."""

from collections.abc import Mapping

import pytest

from app.kit.errors import Unavailable
from app.kit.stores.realtime import Json
from app.models.circuits.circuit import LONGEST_PAUSE_US, Circuit
from app.models.circuits.shared import SharedBreakers, key_of, read, status_of
from support.clock import ManualClock
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
        breakers.failed(model, user)
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
        mine.answered("small")
        mine.settle()
        hears(theirs)
        assert theirs.state("small") == "closed"

    def test_does_not_undo_what_another_learned_later(self) -> None:
        breakers = World().system.models.breakers
        opens(breakers)
        opened, at_us = breakers.known("small")
        breakers.answered("small")
        breakers.adopt("small", opened, at_us)
        assert breakers.state("small") == "closed"
        breakers.adopt("small", opened, at_us + 2)
        assert breakers.state("small") == "open"

    def test_that_was_told_by_a_clock_that_is_ahead_ends_all_the_same(self) -> None:
        clock = ManualClock()
        breakers = World().system.models.breakers
        breakers.adopt("small", Circuit(openings=1, until_us=10**17), 10**17)
        assert breakers.wait_s("small") <= LONGEST_PAUSE_US // S
        assert clock.now_us() < 10**17

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
        breakers.left("small")
        breakers.settle()
        assert writes == ["models/circuits/small"]
        world.clock.advance(seconds=5)
        hears(breakers)
        assert len(reads) == 2

    def test_is_its_own_while_the_database_does_not_answer(self) -> None:
        world = World()
        breakers = SharedBreakers(world.clock.now_us, Away, world.ports.concurrency, most=5)
        opens(breakers)
        hears(breakers)
        assert not breakers.take("small")


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
    def test_that_cannot_be_read_is_left_out(self, node: Json) -> None:
        good: Json = {"openings": 2, "until": 7, "at": 5}
        assert read({"bad": node, "gpt-4%2E1": good}) == {"gpt-4.1": (Circuit(openings=2, until_us=7), 5)}

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
        ],
    )
    def test_follows_from_the_circuits(
        self, found: dict[str, tuple[Circuit, int]], status: str, models: list[str]
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
        world.system.models.breakers.answered("small")
        world.system.models.breakers.settle()
        world.system.orchestration.sweep()
        assert world.realtime.get("system/status") == shown | {"maintenance": "tonight"}
