"""A crowd at the counter: an account with many orders beside others with one, long work, a busy clerk, and a foreman.

What each of them may expect stands in `simulation.audit.crowds`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from app.admin.orchestration.service import OrchestrationAdmin
from app.kit.errors import AlreadyExists, Failure
from app.orchestration.queue.operation import Priority
from app.orchestration.queue.operation_queue import Order
from simulation.instance import Backend
from simulation.machine.kernel import CALM
from simulation.outside.counter import LANE, SEATS
from simulation.world import World

SECOND: Final = 1_000_000
_BATCH: Final = 16
_WEATHERS: Final = 6
"""Every so many seeds the weather is the same, and the scene is the next one."""


@dataclass(frozen=True)
class Wish:
    """One order: who wants it, how long it takes, whether the clerk must do it, and how urgent it is."""

    order: str
    account: str
    takes_us: int
    clerk: bool = False
    priority: Priority = Priority.NORMAL

    @property
    def name(self) -> str:
        """The operation's."""
        return "counter.clerk" if self.clerk else "counter.serve"


@dataclass
class Rest:
    """The foreman's rest: nothing may start from `begins_us`, when the lane was paused, until it is resumed."""

    begins_us: int
    ends_us: int = 0


@dataclass
class Told:
    """What the crowd knows: its accepted wishes and since when they are, and when the counter rested."""

    wishes: dict[str, Wish] = field(default_factory=dict)
    since_us: dict[str, int] = field(default_factory=dict)
    rests: list[Rest] = field(default_factory=list)


class Crowd:
    """Comes once, in some seeds."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._kernel = world.kernel
        self.told = Told()
        self._count = 0

    def comes(self) -> None:
        """In the first five minutes: always in calm weather, because only that shows who waits for whom, and mostly
        where instances stand still, because only then a slot is over while somebody has it.
        """
        kernel = self._kernel
        if self._world.faults == CALM or kernel.chance(0.8 if self._stands_still else 0.1):
            kernel.after(kernel.random.randrange(10, 300) * SECOND, lambda: kernel.start("crowd", self._come))

    @property
    def _stands_still(self) -> bool:
        """Whether instances do, and the Realtime Database keeps what it is told."""
        faults = self._world.faults
        return bool(faults.stall) and not faults.amnesia

    def _come(self) -> None:
        kernel = self._kernel
        scenes = [self._many, self._urgent, self._few, self._clerks, self._long]
        (self._long if self._stands_still else scenes[kernel.seed // _WEATHERS % len(scenes)])()
        if kernel.chance(0.4):
            kernel.start("foreman", self._rest)
        if self._world.faults.stall:
            self._freeze()

    def _many(self) -> None:
        """One account has many orders, and goes on ordering; four others want one thing each in the meantime."""
        self._enter([self._wish("many", 0.8) for _ in range(40)])
        self._kernel.start("others", self._others)
        for _ in range(8):
            self._kernel.sleep(SECOND // 2)
            self._enter([self._wish("many", 0.8), self._wish("many", 0.8)])

    def _others(self) -> None:
        self._kernel.sleep(SECOND)
        for number in range(4):
            self._enter([self._wish(f"single{number}", 0.8)])

    def _urgent(self) -> None:
        """Two accounts of one priority take turns, however many more urgent orders of a third come between."""
        wishes = [self._wish(who, 0.8) for who in ("anna", "berta") for _ in range(22)]
        wishes += [self._wish("carla", 0.2, priority=Priority.HIGH) for _ in range(44)]
        self._kernel.random.shuffle(wishes)
        self._enter(wishes)

    def _few(self) -> None:
        """A few more than there are seats, all at once, and then nobody: who found no seat is not forgotten."""
        self._enter([self._wish(f"guest{number}", 0.5) for number in range(SEATS + 3)])

    def _clerks(self) -> None:
        """Many wait for the clerk, who serves one at a time, and others do not need him."""
        self._enter([self._wish(f"client{number % 3}", 2, clerk=True) for number in range(9)])
        self._enter([self._wish("passer-by", 0.4) for _ in range(12)])

    def _long(self) -> None:
        """Work that takes minutes, while others wait and the scheduler wakes runners for them. Where instances stand
        still there is more of it, so that whoever comes back finds others on its seats.
        """
        slow = 3 * SEATS if self._stands_still else SEATS
        self._enter([self._wish(f"slow{number}", self._kernel.random.randrange(150, 260)) for number in range(slow)])
        self._kernel.sleep(2 * SECOND)
        self._enter([self._wish(f"behind{number % 3}", 0.4) for number in range(9)])

    def _wish(self, account: str, seconds: float, *, clerk: bool = False, priority: Priority = Priority.NORMAL) -> Wish:
        self._count += 1
        takes_us = round(seconds * SECOND * self._kernel.random.uniform(0.5, 1.5))
        return Wish(f"counter_{self._count}", account, takes_us, clerk, priority)

    def _enter(self, wishes: Sequence[Wish]) -> None:
        """Orders these, some in one commit, again until each was accepted."""
        for start in range(0, len(wishes), _BATCH):
            some = wishes[start : start + _BATCH]
            while isinstance(self._world.request("crowd orders", partial(_accept, some)), Failure):
                self._kernel.sleep(5 * SECOND)
            for one in some:
                self.told.wishes[one.order] = one
                self.told.since_us[one.order] = self._kernel.now_us

    def _rest(self) -> None:
        """The foreman lets nothing more start for a while."""
        kernel = self._kernel
        kernel.sleep(kernel.random.randrange(1, 4) * SECOND)
        self._set_paused(paused=True)
        rest = Rest(kernel.now_us)
        kernel.sleep(kernel.random.randrange(10, 90) * SECOND)
        rest.ends_us = kernel.now_us
        self.told.rests.append(rest)
        self._set_paused(paused=False)

    def _set_paused(self, *, paused: bool) -> None:
        def ask(backend: Backend) -> None:
            OrchestrationAdmin(backend.orchestration).set_paused(LANE, paused=paused, by="foreman")

        while isinstance(self._world.request("foreman", ask), Failure):
            self._kernel.sleep(2 * SECOND)

    def _freeze(self) -> None:
        """An instance stands still while it serves, for longer than its slot is its own."""
        kernel = self._kernel
        kernel.sleep(2 * SECOND)
        kernel.random.choice(self._world.backends).instance.frozen_us = kernel.now_us + 200 * SECOND


def _accept(wishes: Sequence[Wish], backend: Backend) -> None:
    queue = backend.orchestration.queue
    orders = [
        Order(
            one.name,
            payload={"order": one.order, "takes_us": one.takes_us},
            account=one.account,
            once=one.order,
            priority=one.priority,
        )
        for one in wishes
    ]
    try:
        backend.orchestration.outbox.commit(queue.rows(orders))
    except AlreadyExists:
        return  # An earlier try was written, and nobody heard of it.
