"""Virtual time and a seeded scheduler: the backend runs in one thread, one step at a time, from a seed.

A process is a greenlet. It yields at every call of a store or a vendor. Which process goes on, how long the call took,
whether it failed and whether the instance died is drawn from the seed. Nothing here knows the product.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import greenlet  # type: ignore[import-untyped]  # its stubs are no dependency of ours

START_US = 1_800_000_000_000_000


class Crash(BaseException):
    """Kills a process: raised inside its current call, so that nothing after it is executed."""


class Livelock(Exception):
    """A seed that does not come to an end."""


@dataclass(frozen=True)
class Faults:
    """Probabilities of each fault, per step or per trigger."""

    crash: float = 0.0
    """The instance dies, with every process in it."""
    unavailable: float = 0.0
    """A store's call fails; half of these calls have taken effect."""
    conflict: float = 0.0
    """A commit conflicts although no other process wrote."""
    stall: float = 0.0
    """An instance, with every process in it, stands still for up to four minutes."""
    amnesia: float = 0.0
    """The Realtime Database loses all that is under `/orchestration`; drawn six times per seed."""
    lost: float = 0.0
    """A trigger, alarm or ring never comes."""
    repeated: float = 0.0
    """A trigger comes two to seven times."""
    late: float = 0.0
    """A trigger comes up to two minutes late."""
    vendor: float = 0.0
    """A vendor refuses or breaks."""
    slow: float = 0.0
    """A call takes up to five seconds to reach its store, while other processes go on."""


CALM = Faults()


@dataclass(eq=False)
class Instance:
    """A running copy of the backend, with a memory of its own."""

    number: int
    skew_us: int = 0
    dead: bool = False
    frozen_us: int = 0
    """Until when it stands still."""


@dataclass(eq=False)
class Process:
    """Something that runs: a request, a trigger, a user."""

    name: str
    body: Callable[[], None]
    instance: Instance | None
    ended: Callable[[], None] = lambda: None
    """Called when the process ends in any way, also when it never started."""
    glet: greenlet.greenlet | None = None
    dead: bool = False
    parked: bool = False


@dataclass
class Kernel:
    """The scheduler. `on_crash` builds a new instance in place of a dead one; `on_error` gets uncaught exceptions."""

    seed: int
    faults: Faults = CALM
    crashes_left: int = 6
    keep_trace: bool = False
    now_us: int = START_US
    current: Process | None = None
    on_crash: Callable[[Instance], None] = lambda _: None
    on_error: Callable[[Process, BaseException], None] = lambda _, __: None
    trace: list[tuple[int, str, str]] = field(default_factory=list)
    steps: int = 0
    most_steps: int = 60_000
    turn_us: tuple[int, int] = (20, 4_000)
    """How long a turn takes, drawn between these. Turns follow one another, so that many processes at once are slow."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._hub = greenlet.getcurrent()
        self._ready: list[Process] = []
        # A dict keeps the order of creation. A set is ordered by address, and a seed would not run the same twice.
        self._alive: dict[Process, None] = {}
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._doomed: list[Instance] = []

    def spawn(
        self,
        name: str,
        body: Callable[[], None],
        instance: Instance | None = None,
        ended: Callable[[], None] = lambda: None,
    ) -> Process:
        """A new process, which starts at its first turn."""
        process = Process(name, body, instance, ended)
        process.glet = greenlet.greenlet(lambda: self._run(process), parent=self._hub)
        self._alive[process] = None
        self._ready.append(process)
        return process

    def names(self, instance: Instance | None) -> list[str]:
        """Of the processes that live in an instance, or in none: those are people."""
        return [process.name for process in self._alive if process.instance is instance]

    def start(self, name: str, body: Callable[[], None]) -> None:
        """A new process that belongs to no instance."""
        self.spawn(name, body)

    def after(self, delay_us: int, call: Callable[[], None]) -> None:
        """Calls something later, outside any process. It must not pause; it may spawn."""
        self._count += 1
        heapq.heappush(self._timers, (self.now_us + max(0, delay_us), self._count, call))

    def chance(self, probability: float) -> bool:
        """Whether something of this probability happens now."""
        return probability > 0 and self.random.random() < probability

    def pause(self, label: str) -> None:
        """Yields to other processes. Time passes, and the process may be killed here."""
        me = self.current
        if me is None:
            return
        if me.dead:
            raise Crash
        self.note(label)
        if me.instance is not None and self.crashes_left and self.chance(self.faults.crash):
            self.crash(me)
        if me.instance is not None and self.chance(self.faults.stall):
            me.instance.frozen_us = self.now_us + self.random.randrange(240_000_000)
        self._ready.append(me)
        self._hub.switch()
        if me.dead:
            raise Crash

    def linger(self) -> None:
        """Delays a call on its way to a store, with the probability `slow`."""
        if self.current is not None and self.chance(self.faults.slow):
            self.sleep(self.random.randrange(5_000_000))

    def sleep(self, delay_us: int) -> None:
        """Suspends the current process for this long."""
        me = self.current
        if me is None:
            self.now_us += delay_us
            return
        if me.dead:
            raise Crash
        self.after(delay_us, lambda: self._ready.append(me))
        self._hub.switch()
        if me.dead:
            raise Crash

    def park(self) -> None:
        """Suspends the current process until `unpark`."""
        me = self.current
        assert me is not None
        if me.dead:
            raise Crash
        me.parked = True
        self._hub.switch()
        if me.dead:
            raise Crash

    def unpark(self, process: Process) -> None:
        """Lets a parked process go on."""
        if process.parked:
            process.parked = False
            self._ready.append(process)

    def crash(self, me: Process) -> None:
        """Kills the instance of `me`, which is the current process."""
        assert me.instance is not None
        self.crashes_left -= 1
        self.note(f"CRASH of instance {me.instance.number}")
        me.dead = me.instance.dead = True
        self._doomed.append(me.instance)
        raise Crash

    def note(self, what: str) -> None:
        """Counts a step, and adds a line to the trace if one is kept."""
        self.steps += 1
        if self.keep_trace:
            self.trace.append((self.now_us, self.current.name if self.current else "-", what))

    def run(self, until_us: int) -> None:
        """Runs until no process can go on, or the time is reached.

        Raises:
            Livelock: it took more than `most_steps` steps.
        """
        while True:
            if self.steps > self.most_steps:
                raise Livelock(f"{self.steps} steps, and no end")
            if self._doomed:
                self._bury(self._doomed.pop())
            elif self._timers and self._timers[0][0] <= self.now_us:
                heapq.heappop(self._timers)[2]()
            elif self._ready:
                self._turn()
            elif self._timers and self._timers[0][0] <= until_us:
                self.now_us = self._timers[0][0]
            else:
                self.now_us = max(self.now_us, until_us)
                return

    def _turn(self) -> None:
        ready = self._ready
        index = self.random.randrange(len(ready)) if len(ready) > 1 else 0
        ready[index], ready[-1] = ready[-1], ready[index]
        process = ready.pop()
        if process.instance is not None and process.instance.frozen_us > self.now_us:
            self.after(process.instance.frozen_us - self.now_us, lambda: self._ready.append(process))
            return
        self.now_us += self.random.randrange(*self.turn_us)
        self._switch(process)

    def _switch(self, process: Process) -> None:
        if process.dead or process.glet is None:
            return
        self.current = process
        process.glet.switch()
        self.current = None

    def _run(self, process: Process) -> None:
        try:
            process.body()
        except Crash:
            pass
        except Exception as error:  # noqa: BLE001  # the edge of every process
            self.on_error(process, error)
        finally:
            self._alive.pop(process, None)
            process.ended()

    def _bury(self, instance: Instance) -> None:
        for process in [one for one in self._alive if one.instance is instance]:
            process.dead = True
            if process.glet is not None and process.glet:
                self.current = process
                process.glet.throw(Crash)
                self.current = None
            else:
                # It never started, so that `_run` does not do this.
                self._alive.pop(process, None)
                process.ended()
        self._ready = [one for one in self._ready if not one.dead]
        self.on_crash(instance)


@dataclass
class InstanceClock:
    """The clock of one instance, which is wrong by `skew_us`."""

    kernel: Kernel
    skew_us: int = 0

    def now_us(self) -> int:
        return self.kernel.now_us + self.skew_us
