"""A lane under load, in virtual time: twenty instances, every call of a store takes 20 ms. For `test_rush.py` and
`bench/orchestration.py`.

A conditional write of the Realtime Database fails when its node or anything below it changed since it was read, and is
repeated as `FirebaseRealtime` does. Triggers come 1 to 80 ms after a ticket was created, once, and an instance serves
twenty at a time, as `main.py` says.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from app.kit.errors import Conflict, Unavailable
from app.kit.optimistic import full_jitter, jitter_us, optimistic
from app.kit.stores.documents import Document, Query, Version, Write
from app.kit.stores.realtime import Json
from app.orchestration.assembly import Contributions, Orchestration, QueueDependencies, assemble
from app.orchestration.queue.doorbell import QUEUE
from app.orchestration.queue.handler import Done, Handler, Lane, Run, RunOutcome
from app.orchestration.queue.operation_queue import Order
from app.orchestration.queue.outbox import NoAlarms
from simulation.machine.concurrency import Greenlets
from simulation.machine.kernel import Instance, InstanceClock, Kernel, Process
from simulation.machine.stores import IndexedDocuments, QuickRealtime
from support.clock import SeededIds

INSTANCES: Final = 20
PER_INSTANCE: Final = 20
CALL_US: Final = 20_000
_TRIES: Final = 25
_FRESH_US: Final = 5_000


@dataclass
class Calls:
    """How often the stores were asked, and how many conditional writes were refused."""

    documents: int = 0
    realtime: int = 0
    refused: int = 0


class SlowDocuments:
    """Documents whose every call takes `CALL_US`, half of it before it takes effect."""

    def __init__(self, kernel: Kernel, real: IndexedDocuments, calls: Calls) -> None:
        self._kernel = kernel
        self._real = real
        self._calls = calls

    def get(self, path: str) -> Document | None:
        with self._call():
            return self._real.get(path)

    def get_all(self, paths: Sequence[str]) -> list[Document | None]:
        with self._call():
            return self._real.get_all(paths)

    def query(self, query: Query) -> list[Document]:
        with self._call():
            return self._real.query(query)

    def commit(self, writes: Sequence[Write]) -> list[Version]:
        with self._call():
            return self._real.commit(writes)

    @contextmanager
    def _call(self) -> Iterator[None]:
        self._calls.documents += 1
        self._kernel.sleep(CALL_US // 2)
        try:
            yield
        finally:
            self._kernel.sleep(CALL_US // 2)


class SlowRealtime:
    """One instance's connection to the Realtime Database: its threads take turns at a path."""

    def __init__(self, kernel: Kernel, real: QuickRealtime, calls: Calls) -> None:
        self._kernel = kernel
        self._real = real
        self._calls = calls
        self._turns: dict[str, deque[Process]] = {}

    def get(self, path: str) -> Json:
        with self._call():
            return self._real.get(path)

    def first(self, path: str, limit: int, *, start_at: str = "") -> dict[str, Json]:
        with self._call():
            return self._real.first(path, limit, start_at=start_at)

    def update(self, values: Mapping[str, Json]) -> None:
        with self._call():
            self._real.update(values)

    def transact(self, path: str, decide: Callable[[Json], Json]) -> Json:
        seen: list[Json] = []

        def attempt() -> Json:
            if not seen:
                seen.append(self.get(path))
            wanted = decide(seen[0])
            if wanted == seen[0]:
                return wanted
            with self._call():
                stored = self._real.get(path)
                if stored != seen[0]:
                    self._calls.refused += 1
                    seen[0] = stored
                    raise Conflict(f"somebody else wrote at {path}")
                self._real.update({path: wanted})
            return wanted

        def pause(number: int) -> None:
            pause_us = jitter_us(number, self._kernel.random.randrange, first_us=1_000, longest_us=100_000)
            self._kernel.sleep(pause_us)
            if pause_us > _FRESH_US:
                seen.clear()

        with self._turn(path):
            return optimistic(attempt, pause=pause, tries=_TRIES)

    @contextmanager
    def _turn(self, path: str) -> Iterator[None]:
        me = self._kernel.current
        assert me is not None
        waiting = self._turns.setdefault(path, deque())
        waiting.append(me)
        if waiting[0] is not me:
            self._kernel.park()
        try:
            yield
        finally:
            waiting.popleft()
            if waiting:
                self._kernel.unpark(waiting[0])
            else:
                del self._turns[path]

    @contextmanager
    def _call(self) -> Iterator[None]:
        self._calls.realtime += 1
        self._kernel.sleep(CALL_US // 2)
        try:
            yield
        finally:
            self._kernel.sleep(CALL_US // 2)


class NoHeartbeat:
    """For work that is shorter than its lease."""

    @contextmanager
    def during(self, every_us: int, beat: Callable[[], None]) -> Iterator[None]:
        yield


@dataclass
class Admission:
    """One start: which order it was, and how long after its commit began it started."""

    order: str
    account: str | None
    waited_us: int
    at_us: int


@dataclass(frozen=True)
class Kind:
    """Operations of one name: how long their work takes, and whose vendor they call."""

    name: str
    takes_us: int = 0
    vendor: str | None = None


@dataclass
class Rush:
    """Twenty instances that serve one lane. `enter` orders, `run` lets time pass."""

    lane: Lane
    kinds: Sequence[Kind] = (Kind("work"),)
    seed: int = 1
    calls: Calls = field(default_factory=Calls)
    started: list[Admission] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    most: Counter[str] = field(default_factory=Counter)
    """Most operations at work at once: of the lane as "", and of each vendor."""

    def __post_init__(self) -> None:
        self.kernel = kernel = Kernel(self.seed, turn_us=(0, 2), most_steps=10**9)
        kernel.on_error = lambda process, error: self.failed.append(f"{process.name}: {error!r}")
        self._documents, self.realtime = IndexedDocuments(), QuickRealtime()
        self.realtime.before_write.append(self._trigger)
        self._working = Counter[str]()
        self._ids = SeededIds(self.seed)
        self._serving: Counter[int] = Counter(dict.fromkeys(range(INSTANCES), 0))
        self._instances = [self._start(number) for number in range(INSTANCES)]
        self._backlog = deque[str]()
        self._entered: dict[str, int] = {}

    @property
    def orchestration(self) -> Orchestration:
        """One of the instances."""
        return self._instances[0]

    def enter(self, orders: Sequence[Order], *, after_us: int = 0) -> None:
        """A client commits these orders, together, after a while."""
        backend = self.kernel.random.choice(self._instances)

        def commit() -> None:
            for order in orders:
                self._entered[str(order.payload["order"])] = self.kernel.now_us
            backend.outbox.commit(backend.queue.rows(orders))

        self.kernel.after(after_us, lambda: self.kernel.start("enters", commit))

    def run(self, for_us: int) -> None:
        """Lets time pass."""
        self.kernel.run(self.kernel.now_us + for_us)

    def per_second(self) -> float:
        """Starts a second, from the first to the last."""
        took_us = self.started[-1].at_us - self.started[0].at_us
        return len(self.started) / (took_us / 1e6)

    def waited_us(self, share: float) -> int:
        """What this share of the started ones waited at most."""
        return sorted(one.waited_us for one in self.started)[int(share * (len(self.started) - 1))]

    def _start(self, number: int) -> Orchestration:
        kernel = self.kernel
        draw, waiting = kernel.random.randrange, Greenlets(kernel, Instance(number))
        dependencies = QueueDependencies(
            SlowDocuments(kernel, self._documents, self.calls),
            SlowRealtime(kernel, self.realtime, self.calls),
            InstanceClock(kernel),
            self._ids,
            draw,
            NoAlarms(),
            NoHeartbeat(),
            pause=full_jitter(waiting, draw),
        )
        handlers = [
            Handler(kind.name, self._work(kind), lane=self.lane.name, vendor=kind.vendor) for kind in self.kinds
        ]
        return assemble(dependencies, Contributions(handlers=handlers, lanes=[self.lane]))

    def _work(self, kind: Kind) -> Callable[[Run], RunOutcome]:
        def work(run: Run) -> RunOutcome:
            name, now_us = str(run.operation.payload["order"]), self.kernel.now_us
            self.started.append(Admission(name, run.operation.account, now_us - self._entered[name], now_us))
            counted = ["", *([kind.vendor] if kind.vendor else [])]
            self._working.update(counted)
            self.most |= self._working
            self.kernel.sleep(kind.takes_us)
            self._working.subtract(counted)
            return Done()

        return work

    def _trigger(self, values: Mapping[str, Json]) -> None:
        for path, value in values.items():
            if value is not None and path.startswith(f"{QUEUE}/") and self.realtime.peek(path) is None:
                ticket = path.rpartition("/")[2]
                self.kernel.after(self.kernel.random.randrange(1_000, 80_000), partial(self._fire, ticket))

    def _fire(self, ticket: str) -> None:
        number = min(self._serving, key=lambda one: (self._serving[one], one))
        if self._serving[number] >= PER_INSTANCE:
            self._backlog.append(ticket)
            return
        self._serving[number] += 1
        self.kernel.spawn("serves", partial(self._serve, number, ticket), ended=lambda: self._ended(number))

    def _serve(self, number: int, ticket: str) -> None:
        try:
            self._instances[number].run_lane(self.lane.name, ticket)
        except Unavailable as fault:
            # The platform repeats the event.
            self.failed.append(f"{fault}")
            self.kernel.after(10_000_000, partial(self._fire, ticket))

    def _ended(self, number: int) -> None:
        self._serving[number] -= 1
        if self._backlog:
            self._fire(self._backlog.popleft())


def steady(rush: Rush, *, per_second: int, seconds: int, accounts: int) -> Rush:
    """Orders that come one by one, evenly, from many accounts; returns what ran them."""
    for number in range(per_second * seconds):
        account = f"account-{number % accounts}"
        order = Order("work", payload={"order": str(number)}, account=account)
        rush.enter([order], after_us=number * 1_000_000 // per_second)
    rush.run((seconds + 30) * 1_000_000)
    return rush
