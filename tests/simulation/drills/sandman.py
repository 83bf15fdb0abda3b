"""Lets instances stand still at chosen moments: while they work, and on the way to the commit of a posting.

In each scene somebody else takes over, and whoever stood still goes on in just that moment. `simulation.audit.auditor`
and `Writers` know what nobody may do then.
"""

from collections.abc import Callable, Sequence
from typing import Final

from app.kit.clock import minutes, seconds
from app.kit.stores.documents import Replace, Write, int_field, map_field
from app.orchestration.sagas.sagas import SagaStart
from simulation.drills.orders import Orders
from simulation.drills.sleep import stands_still
from simulation.drills.writers import Writers
from simulation.machine.kernel import Instance
from simulation.people.outages import Guests
from simulation.world import World
from support.memory import Change

_RENEWED_US: Final = seconds(12)
"""For so long a commit is on its way that somebody overtakes who stood still until then."""
_SLEEPER: Final = "sleeper"


class Sandman:
    """Plays its scenes where instances stand still anyway."""

    def __init__(self, world: World, writers: Writers) -> None:
        self._world, self._kernel, self._writers = world, world.kernel, writers
        self._orders = Orders(world, "sandman")
        self._guests = Guests(world, "sandman")
        self._locked: dict[str, Callable[[], None]] = {}
        """By operation, what happens when somebody tries to take its line's lock over."""
        self._first: tuple[str, Instance] | None = None
        """The attempt that is on its way to post: its operation and where it runs."""
        self._posted = False
        self.found: list[str] = []
        world.documents.tries.append(self._tried)
        world.documents.watchers.append(self._committed)
        world.documents.conflicts.append(self._refused)

    def live(self) -> None:
        """Some of its scenes, one after another."""
        scenes = [self._taken_over, self._overtaken, self._renewed, self._on_its_way]
        for scene in self._kernel.random.sample(scenes, 2):
            self._kernel.sleep(self._kernel.random.randrange(seconds(10)))
            scene()

    def verdict(self) -> list[str]:
        """Each of its orders was done once."""
        return self._orders.verdict()

    def _taken_over(self) -> None:
        """Somebody else claims the work, and the first one goes on while that is done."""
        [work] = self._enter(100)
        self._sleeps(work, lambda: self._token(work) > 1)
        self._wait(lambda: self._token(work) > 1)
        self._kernel.sleep(minutes(1))

    def _overtaken(self) -> None:
        """An earlier one of the line is let through, and the holder of the line goes on while that runs."""
        now = 64 * self._kernel.now_us
        [later] = self._enter(20, now)
        self._sleeps(later, lambda: self._holder(later) not in (None, later.rpartition("/")[2]))
        self._wait(lambda: self._token(later) > 0)
        [earlier] = self._enter(60, now - 64)
        self._wait(lambda: self._token(earlier) > 0)
        self._kernel.sleep(minutes(1))

    def _renewed(self) -> None:
        """As before, and the holder goes on before the claim of the earlier one is written."""
        now, awake = 64 * self._kernel.now_us, list[bool]()
        [later] = self._enter(240, now)
        self._sleeps(later, lambda: bool(awake))
        self._wait(lambda: self._token(later) > 0)
        self._locked[later.rpartition("/")[2]] = lambda: awake.append(True)
        self._enter(60, now - 64)
        self._wait(lambda: bool(awake))
        self._kernel.sleep(minutes(1))

    def _on_its_way(self) -> None:
        """A step of a saga stands still on the way to its posting; the next attempt stands there as well."""
        if not self._guests.opens(_SLEEPER):
            return
        start = SagaStart("image_sleeper", "image", _SLEEPER, {})
        self._world.request("sleeper begins", lambda b: b.orchestration.sagas.start(start), self._world.awake())
        self._wait(lambda: self._posted)

    def _enter(self, takes_s: float, position: int | None = None) -> list[str]:
        """One order; in a line of its own where it has a position."""
        line = None if position is None else f"sandman-{len(self._orders.accepted) // 2}"
        order = self._orders.order("parade", takes_s, line=line, position=position)
        return [f"operations/{id}" for id in self._orders.enter([order])]

    def _sleeps(self, path: str, until: Callable[[], bool]) -> None:
        """Whoever has the work stands still until then."""
        self._wait(lambda: self._token(path) > 0)
        holders = [process for process, (one, _) in self._writers.claims.items() if one == path and not process.dead]
        for process in holders[-1:]:
            if process.instance is not None:
                stands_still(self._world, process.instance, until)

    def _tried(self, writes: Sequence[Write]) -> None:
        process = self._kernel.current
        if process is None or process.instance is None:
            return
        for write in writes:
            if isinstance(write, Replace) and write.path.startswith("lines/"):
                holder = self._world.documents.real.get(write.path)
                act = self._locked.pop(str(holder.fields["operation"]), None) if holder else None
                if act is not None and holder and write.fields["operation"] != holder.fields["operation"]:
                    act()
                    self._kernel.sleep(_RENEWED_US)
        if any(write.path == f"accounts/{_SLEEPER}" for write in writes) and process in self._writers.claims:
            self._posting(process.instance, *self._writers.claims[process])

    def _posting(self, instance: Instance, path: str, token: int) -> None:
        """The first attempt of a step waits for the second one, and that until the first one has written."""
        stored = self._world.documents.real.get(path)
        if stored is None or map_field(stored.fields, "payload").get("saga") != "image_sleeper":
            return
        if token == 1 and self._first is None:
            self._first = path, instance
            stands_still(self._world, instance, lambda: self._token(path) > 1)
        elif token == 2 and self._first is not None and self._first[0] == path:
            stands_still(self._world, instance, lambda: self._posted or self._first is None or self._first[1].dead)

    def _committed(self, changes: list[Change]) -> None:
        self._over([path for path, _, _ in changes])

    def _refused(self, writes: Sequence[Write]) -> None:
        self._over([write.path for write in writes])

    def _over(self, paths: Sequence[str]) -> None:
        process = self._kernel.current
        if self._first is not None and process is not None and f"accounts/{_SLEEPER}" in paths:
            self._posted = self._posted or process.instance is self._first[1]

    def _token(self, path: str) -> int:
        stored = self._world.documents.real.get(path)
        return int_field(stored.fields, "token") if stored else 0

    def _holder(self, path: str) -> str | None:
        """The operation that has the lock of this one's line."""
        stored = self._world.documents.real.get(path)
        for at, lock in self._world.documents.real.all().items():
            if stored is not None and at.startswith("lines/") and lock.fields["key"] == stored.fields["key"]:
                return str(lock.fields["operation"])
        return None

    def _wait(self, until: Callable[[], bool]) -> None:
        """Until then, or until it is too late."""
        ends_us = self._kernel.now_us + minutes(6)
        while not until() and self._kernel.now_us < ends_us:
            self._kernel.sleep(seconds(1) // 2)
