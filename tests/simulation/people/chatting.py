"""Who else lives in a seed beside its users: a crowd at the counter, people who come back, one who talks a lot, and an
operator who cleans up.
"""

from collections.abc import Iterator

from simulation.audit.crowds import Crowds
from simulation.audit.keys import repeated
from simulation.audit.records import Records
from simulation.chat.neighbours import Neighbours
from simulation.chat.rewriter import Rewriter
from simulation.people.choosy import Choosy
from simulation.people.crowd import Crowd
from simulation.people.janitor import Janitor
from simulation.people.returning import Reaper, Returning
from simulation.people.talker import Talker
from simulation.workload import Known
from simulation.world import World


class Chatting:
    """Each of them comes in some seeds."""

    def __init__(self, world: World, known: Known) -> None:
        self._world = world
        self._crowd = Crowd(world)
        self._crowds = Crowds(world, self._crowd.told)
        self._returning = Returning(world, known, Reaper(world))
        self._talker = Talker(world, known)
        self._janitor = Janitor(world)
        self._choosy = Choosy(world, known)
        self._neighbours = Neighbours(world, known)
        self._rewriter = Rewriter(world, known)

    @property
    def crowded(self) -> bool:
        """Whether so many of them come that users make room: a seed costs what others cost."""
        return self._neighbours.come or self._rewriter.come

    def come(self) -> None:
        """Decides who comes in this seed."""
        self._crowd.comes()
        self._returning.comes()
        self._talker.comes()
        self._janitor.comes()
        self._choosy.comes()
        self._neighbours.comes()
        self._rewriter.comes()

    def verdict(self, records: Records) -> Iterator[str]:
        """What any of them could complain of, once all is quiet."""
        yield from self._crowds.verdict(records)
        yield from repeated(self._world, self._returning.keys, records)
        yield from self._talker.verdict()
        yield from self._choosy.verdict(records)
        yield from self._neighbours.verdict()
        yield from self._rewriter.found
