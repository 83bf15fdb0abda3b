"""Who else comes: each seed has a few of them, besides its users."""

from collections.abc import Iterable, Iterator
from functools import partial
from random import Random
from typing import Protocol

from simulation.audit.records import Records
from simulation.drills.newer import Newer
from simulation.drills.parade import Parade
from simulation.drills.sandman import Sandman
from simulation.drills.writers import Writers
from simulation.drills.yard import Yard
from simulation.machine.kernel import CALM
from simulation.people.deployment import Misdeployed
from simulation.people.farm import PHONE, Farm
from simulation.people.lists import Reader
from simulation.people.odd import OddClient
from simulation.people.outages import BrokenCrowd, Clumsy, Hanging, Hiccup, LostMirrors, Mender, SickTablet
from simulation.people.rights import Administrator, Leaver
from simulation.workload import Known
from simulation.world import World


class _Person(Protocol):
    @property
    def found(self) -> list[str]: ...

    def live(self) -> None: ...


class _Worker(_Person, Protocol):
    def verdict(self) -> Iterable[str]: ...


class Town:
    """All of them in one seed."""

    def __init__(self, world: World, known: Known) -> None:
        self._world = world
        # Its own dice: a seed to which nobody of the town comes runs as if there were none.
        dice = Random(world.kernel.seed)
        calm = world.faults == CALM
        self._people: list[_Person] = [OddClient(world, known)] if dice.random() < 0.15 else []
        for kind, chance in (
            (Administrator, 0.25),
            (Leaver, 0.2),
            (Reader, 0.15),
            (Clumsy, 0.22),
            (Misdeployed, 0.08),
            (SickTablet, 0.12),
            (BrokenCrowd, 0.4 if calm else 0),
            (LostMirrors, 0 if calm else 0.25),
            (Mender, 0.2),
            (Newer, 0.25),
            (Hiccup, 0.5 if world.faults.unavailable else 0),
        ):
            if dice.random() < chance:
                self._people.append(kind(world))
        self._writers = Writers(world)
        self._workers: list[_Worker] = []
        if dice.random() < (0.8 if calm else 0.1):
            self._workers.append(Parade(world))
        if calm and dice.random() < 0.8:
            self._workers.append(Yard(world))
        if world.faults.stall and dice.random() < 0.8:
            self._workers.append(Sandman(world, self._writers))
        self._farm = Farm(world) if dice.random() < 0.25 else None
        self._phone = Farm(world, PHONE) if dice.random() < 0.2 else None
        # While a tablet is sick, every second sweep gives reservations back.
        sick = any(isinstance(person, SickTablet) for person in self._people)
        self._hanging = Hanging(world) if not calm and not sick and dice.random() < 0.2 else None

    @property
    def crowded(self) -> bool:
        """Whether there are so many that the users make room: a seed costs what others cost."""
        return self._farm is not None or any(isinstance(person, BrokenCrowd) for person in self._people)

    def comes(self) -> None:
        """Lets them live beside the users."""
        lives = [*self._people, *self._workers, *self._farms]
        for person in lives:
            self._world.kernel.spawn(type(person).__name__, partial(_live, person))

    @property
    def _farms(self) -> list[Farm]:
        return [farm for farm in (self._farm, self._phone) if farm is not None]

    def evening(self) -> None:
        """What happens when the storm is over."""
        if self._hanging:
            self._hanging.happens()

    def verdict(self, records: Records) -> Iterator[str]:
        """What was wrong."""
        yield from self._world.outside.tokens.found
        for person in (*self._people, *self._workers):
            yield from person.found
        for worker in self._workers:
            yield from worker.verdict()
        yield from self._writers.verdict()
        for farm in self._farms:
            yield from farm.found
            yield from farm.verdict(records)
        if self._hanging:
            yield from self._hanging.found


def _live(person: _Person) -> None:
    person.live()
