"""The queue over stores in memory, with a manual clock; the test fires its triggers and alarms."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from app.kit.stores.documents import Write
from app.kit.stores.realtime import Json
from app.orchestration.assembly import Contributions, QueueDependencies, assemble
from app.orchestration.attempt import RunnerDependencies
from app.orchestration.event_bus import Subscription
from app.orchestration.queue.dead_letters import operations_in
from app.orchestration.queue.doorbell import QUEUE
from app.orchestration.queue.handler import Done, Handler, Lane, Run, RunOutcome
from app.orchestration.queue.operation import Operation, OperationState
from app.orchestration.queue.operation_document import COLLECTION, from_document
from app.orchestration.queue.operation_queue import Order
from app.orchestration.runner import Runner
from app.orchestration.sagas.saga_definition import SagaDefinition
from app.orchestration.sweeper import Chore
from support.clock import ManualClock, SeededIds
from support.memory import MemoryDocuments, MemoryRealtime

LANES = (Lane("narrow", limit=1), Lane("vendors", 8, {"acme": 2}))


@dataclass
class Bell:
    """Alarms that are only recorded; `Shop.drain` fires those that are due."""

    set_for: dict[str, int] = field(default_factory=dict)

    def set(self, operation_id: str, due_us: int) -> None:
        self.set_for[operation_id] = due_us


class Beats:
    """A heartbeat for all running work, which beats when the test calls `beat`."""

    def __init__(self) -> None:
        self._beating: list[Callable[[], None]] = []

    @contextmanager
    def during(self, every_us: int, beat: Callable[[], None]) -> Iterator[None]:
        self._beating.append(beat)
        try:
            yield
        finally:
            self._beating.remove(beat)

    def beat(self) -> None:
        for beat in [*self._beating]:
            beat()


class Shop:
    """Orchestration with the given handlers. `drain()` serves triggers and alarms until none is left; while `rings` is
    False, every trigger is lost.
    """

    def __init__(
        self,
        handlers: Iterable[Handler] = (),
        *,
        subscriptions: Iterable[Subscription] = (),
        sagas: Iterable[SagaDefinition] = (),
        chores: Sequence[Chore] = (),
        lanes: Sequence[Lane] = LANES,
        documents: MemoryDocuments | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.ids = SeededIds()
        self.draw = random.Random(0).randrange
        self.documents = documents or MemoryDocuments()
        self.realtime = MemoryRealtime()
        self.alarms = Bell()
        self.heartbeat = Beats()
        self.pauses: list[int] = []
        dependencies = QueueDependencies(
            self.documents,
            self.realtime,
            self.clock,
            self.ids,
            self.draw,
            self.alarms,
            self.heartbeat,
            pause=self.pauses.append,
        )
        contributions = Contributions([*handlers], [*subscriptions], [*sagas], chores, lanes)
        self.orchestration = assemble(dependencies, contributions)
        self.doorbell = self.orchestration.doorbell
        self.outbox = self.orchestration.outbox
        self.bus = self.orchestration.bus
        self.sagas = self.orchestration.sagas
        self.handlers = self.orchestration.handlers
        self.queue = self.orchestration.queue
        self.letters = self.orchestration.letters
        self.sweeper = self.orchestration.sweeper
        self.rings = True
        self._triggered: list[tuple[str, str]] = []
        self.realtime.before_write.append(self._trigger)

    def runner(self) -> Runner:
        """A runner of its own, as another process has."""
        deps = RunnerDependencies(
            self.outbox, self.doorbell, self.clock, self.ids, self.draw, self.pauses.append, self.heartbeat
        )
        return Runner(deps, self.handlers)

    def drain(self) -> None:
        """Serves triggers and due alarms until none is left."""
        while True:
            for operation_id, due_us in [*self.alarms.set_for.items()]:
                if due_us <= self.clock.now_us():
                    del self.alarms.set_for[operation_id]
                    self.queue.ring(operation_id)
            if not self._triggered:
                return
            self.runner().serve(*self._triggered.pop(0))

    def pass_time(self, minutes: int) -> None:
        """Lets minutes pass; in each the sweeper ticks and the queue is drained."""
        for _ in range(minutes):
            self.clock.advance(minutes=1)
            self.sweeper.tick()
            self.drain()

    def operations(self) -> dict[str, Operation]:
        """All operations by id."""
        return {
            document.id: from_document(document)
            for path, document in self.documents.all().items()
            if path.startswith(f"{COLLECTION}/")
        }

    def dead_letters(self) -> list[Operation]:
        """Operations in state `dead`, newest first."""
        return operations_in(self.documents, self.clock, OperationState.DEAD).first(20)

    def states(self) -> list[str]:
        """States of all operations, in order of creation."""
        return [operation.state.value for operation in sorted(self.operations().values(), key=lambda o: o.position)]

    def _trigger(self, values: Mapping[str, Json]) -> None:
        for path, value in values.items():
            if self.rings and value is not None and path.startswith(f"{QUEUE}/") and self.realtime.get(path) is None:
                _, _, lane, ticket = path.split("/")
                self._triggered.append((lane, ticket))


@dataclass
class Spy:
    """A handler's work that records its runs. It raises each of `failures` before it succeeds."""

    failures: list[BaseException] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    effects: Callable[[Run], Sequence[Write]] | None = None

    def __call__(self, run: Run) -> RunOutcome:
        self.runs.append(run.operation.id)
        if self.failures:
            raise self.failures.pop(0)
        effects = self.effects
        return Done({"run": len(self.runs)}, (lambda: effects(run)) if effects else tuple)


def order(name: str = "work", **fields: object) -> Order:
    """An order; keyword arguments as in `Order`."""
    return Order(name, **fields)  # type: ignore[arg-type]  # the tests name real fields
