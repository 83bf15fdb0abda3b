"""What one instance learned of a model, the others know; and everybody may read how the models do."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.kit.concurrency import Concurrency, Signal, Task, Threads
from app.kit.errors import Unavailable
from app.kit.stores.realtime import Json, Realtime
from app.models.circuits.breakers import Breakers
from app.models.circuits.circuit import LONGEST_PAUSE_US, Circuit, Permit
from app.models.circuits.nodes import Told, key_of, read
from app.models.circuits.shared import CLAIM_S, HEAR_US, SharedBreakers, status_of
from rtdb.harness import EmulatorProcess
from support.clock import ManualClock
from support.memory import MemoryRealtime
from support.rtdb import realtime
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


def over(world: World, database: Realtime, concurrency: Concurrency | None = None) -> SharedBreakers:
    """The circuits of one more instance, which has this database."""
    ports = world.ports
    return SharedBreakers(ports.clock.now_us, lambda: database, concurrency or ports.concurrency, ports.ids, most=5)


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
        breakers = over(world, Counting())
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
        assert reads.count("models/circuits") == 3, "a clock that went back does not stop it"

    def test_is_its_own_while_the_database_does_not_answer(self) -> None:
        world = World()
        breakers = over(world, Away())
        opens(breakers)
        hears(breakers)
        assert not breakers.take("small")

    def test_lets_requests_out_where_the_process_starts_no_more_threads(self) -> None:
        class Full(Threads):
            def start(self, name: str, body: Callable[[], None]) -> Task:
                raise RuntimeError("can't start new thread")

        world = World()
        breakers = over(world, world.realtime, Full())
        opens(breakers)
        assert breakers.state("small") == "open"
        assert breakers.take("large")


def at_once(instances: list[SharedBreakers]) -> list[tuple[SharedBreakers, Permit]]:
    """The permits that these give when all are asked at the same time."""
    start, found = threading.Barrier(len(instances)), []

    def ask(breakers: SharedBreakers) -> None:
        start.wait()
        if permit := breakers.take("small"):
            found.append((breakers, permit))

    asking = [threading.Thread(target=ask, args=(breakers,)) for breakers in instances]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    return found


class Probing:
    """Several instances that know of a circuit whose pause is over."""

    def __init__(self, instances: int = 3) -> None:
        self.world = World()
        self.instances = [breakers_of(self.world) for _ in range(instances)]
        opens(self.instances[0])
        for breakers in self.instances:
            hears(breakers)
        self.world.clock.advance(seconds=10)

    def permits(self, *, of: int = 0) -> list[Permit]:
        """Those that the instances give, of whom everybody is asked twice; from the instance `of` on."""
        asked = self.instances[of:] * 2
        permits = [permit for breakers in asked if (permit := breakers.take("small"))]
        for breakers in self.instances:
            breakers.settle()
        return permits

    def probe(self) -> Permit:
        """The only one."""
        [probe] = self.permits()
        assert probe.probe
        return probe


class TestAProbe:
    def test_is_one_for_all_instances(self) -> None:
        probing = Probing()
        probing.probe()
        for _ in range(11):
            probing.world.clock.advance(seconds=5)
            assert probing.permits() == []
        probing.world.clock.advance(seconds=5)
        probing.probe()

    @pytest.mark.parametrize("threads", [2, 8])
    def test_is_one_for_instances_that_ask_at_once(self, threads: int) -> None:
        assert len(at_once(Probing(threads).instances)) == 1

    def test_is_one_for_all_connections_of_the_database(self) -> None:
        """Each instance has its own, so nothing but the database decides."""

        class Patient(Threads):
            def signal(self) -> Signal:
                class Wait(threading.Event):
                    def wait(self, timeout: float | None = None) -> bool:
                        return super().wait(30)

                return Wait()

        world = World()
        with EmulatorProcess() as process:
            databases = [realtime(f"{process.url}/?ns=probes") for _ in range(5)]
            instances = [over(world, database, Patient()) for database in databases]
            opens(instances[0])
            for breakers in instances:
                hears(breakers)
            world.clock.advance(seconds=10)
            for _ in range(3):
                [(breakers, permit)] = at_once(instances)
                breakers.left(permit)
                breakers.settle()
                world.clock.advance(seconds=5)
            assert databases[0].get("models/circuits/small/probe_by") is None

    def test_that_is_answered_lets_the_requests_of_all_out(self) -> None:
        probing = Probing()
        probing.instances[0].answered(probing.probe())
        probing.instances[0].settle()
        probing.world.clock.advance(seconds=5)
        permits = probing.permits()
        assert len(permits) == 6, "whoever asks for a probe learns that none is needed, and goes out"
        assert not any(permit.probe for permit in permits)

    def test_that_fails_keeps_those_of_all_in(self) -> None:
        probing = Probing()
        probing.instances[0].failed(probing.probe(), "carol")
        probing.instances[0].settle()
        probing.world.clock.advance(seconds=19)
        assert probing.permits(of=1) == []
        assert [breakers.state("small") for breakers in probing.instances[1:]] == ["open"] * 2
        probing.world.clock.advance(seconds=1)
        probing.probe()

    def test_whose_user_left_makes_room_on_all_instances(self) -> None:
        probing = Probing()
        first = probing.probe()
        probing.instances[0].left(first)
        probing.instances[0].settle()
        [second] = [permit for breakers in probing.instances[:1] if (permit := breakers.take("small"))]
        probing.instances[0].left(second)
        probing.instances[0].settle()
        probing.world.clock.advance(seconds=5)
        [third] = probing.permits(of=1)
        probing.instances[0].left(first)
        probing.instances[0].settle()
        assert third.probe
        assert probing.permits() == [], "an end that comes late frees nothing that is another's"

    def test_of_an_instance_that_died_is_waited_for_a_minute(self) -> None:
        probing = Probing()
        probing.probe()
        del probing.instances[0]
        probing.world.clock.advance(seconds=60)
        probing.probe()

    @pytest.mark.parametrize("until", [10**15, "x", None, -1, 10**400])
    def test_waits_for_no_lease_that_is_nonsense(self, until: Json) -> None:
        probing = Probing()
        probing.world.realtime.update(
            {"models/circuits/small/probe_by": "ins_x.1", "models/circuits/small/probe_until": until}
        )
        probing.probe()

    def test_is_the_instances_own_while_the_database_does_not_answer(self) -> None:
        world = World()
        for database in (Away(), MemoryRealtime()):
            breakers = over(world, database)
            opens(breakers)
            world.clock.advance(seconds=10)
            permit = breakers.take("small")
            assert permit is not None
            breakers.left(permit)
            breakers.settle()
            assert breakers.take("small")

    def test_waits_for_a_second_at_most(self) -> None:
        """A database that hangs holds up no message: the instance sends its own probe then."""
        world, hangs = World(), threading.Event()

        class Hanging(MemoryRealtime):
            def transact(self, path: str, decide: Callable[[Json], Json]) -> Json:
                hangs.wait(30)
                return super().transact(path, decide)

        class Impatient(Threads):
            waited: ClassVar[list[float | None]] = []

            def signal(self) -> Signal:
                waited = self.waited

                class Wait(threading.Event):
                    def wait(self, timeout: float | None = None) -> bool:
                        waited.append(timeout)
                        return super().wait(0)

                return Wait()

        breakers = over(world, Hanging(), Impatient())
        opens(breakers)
        world.clock.advance(seconds=10)
        assert breakers.take("small")
        assert Impatient.waited == [CLAIM_S]
        hangs.set()
        breakers.settle()

    def test_is_the_only_request_that_waits_for_the_database(self) -> None:
        world, asked = World(), []

        class Watched(MemoryRealtime):
            def transact(self, path: str, decide: Callable[[Json], Json]) -> Json:
                asked.append(path)
                return super().transact(path, decide)

        breakers = over(world, Watched())
        for _ in range(9):
            breakers.take("small")
        opens(breakers)
        for _ in range(9):
            breakers.take("small")
        assert asked == []
        world.clock.advance(seconds=10)
        for _ in range(9):
            breakers.take("small")
        assert asked == ["models/circuits/small"]


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


ANY_NODE: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


class TestAnyNode:
    NUMBERS = st.integers(-2, 3) | st.integers(-400 * S, 400 * S).map(lambda offset: ManualClock().now_us() + offset)

    @given(ANY_NODE | st.fixed_dictionaries(dict.fromkeys(("openings", "until", "at"), NUMBERS | ANY_NODE)))
    def test_keeps_a_model_shut_for_five_minutes_at_most(self, node: Json) -> None:
        clock = ManualClock()
        breakers = Breakers(clock.now_us, most=5)
        for _ in range(LONGEST_PAUSE_US // HEAR_US + 1):
            if told := read({"small": node})["small"]:
                breakers.adopt("small", *told)
            if breakers.take("small"):
                return
            clock.advance(seconds=5)
        pytest.fail("it is shut for ever")


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
    OPEN, TRIED = Told(Circuit(openings=1, until_us=9), 1), Told(Circuit(openings=1, until_us=3), 1)

    @pytest.mark.parametrize(
        ("found", "status", "models"),
        [
            ({}, "ok", ["up", "up"]),
            ({"a": OPEN}, "degraded", ["down", "up"]),
            ({"a": OPEN, "b": TRIED}, "degraded", ["down", "degraded"]),
            ({"a": OPEN, "b": OPEN, "gone": TRIED}, "down", ["down", "down"]),
            ({"a": None, "b": Told(Circuit(openings=1, until_us=10**17), 10**17)}, "ok", ["up", "up"]),
            ({"a": Told(Circuit(openings=1, until_us=10**17), 1), "b": OPEN}, "degraded", ["up", "down"]),
        ],
    )
    def test_follows_from_the_circuits(self, found: dict[str, Told | None], status: str, models: list[str]) -> None:
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
