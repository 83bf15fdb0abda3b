"""Builds orchestration, for the composition root, the tests and the simulation.

There are two steps, because features commit through the `Outbox` and the queue runs the features: first
`QueueDependencies.outbox()`, then the features, then `assemble` with their contributions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from app.kit.clock import Clock
from app.kit.concurrency import Concurrency, Threads
from app.kit.errors import Unavailable, ensure
from app.kit.heartbeat import Heartbeat, ThreadHeartbeat
from app.kit.ids import Ids
from app.kit.optimistic import Pause
from app.kit.stores.documents import Documents
from app.kit.stores.realtime import Realtime
from app.kit.telemetry import log
from app.orchestration.attempt import RunnerDependencies
from app.orchestration.event_bus import EventBus, Subscription
from app.orchestration.queue.dead_letters import DeadLetters
from app.orchestration.queue.doorbell import Doorbell
from app.orchestration.queue.handler import Handler, Handlers, Lane
from app.orchestration.queue.operation_queue import OperationQueue
from app.orchestration.queue.outbox import Alarms, Outbox
from app.orchestration.queue.retry import Draw
from app.orchestration.runner import Runner
from app.orchestration.sagas.saga_definition import SagaDefinition
from app.orchestration.sagas.saga_mirror import SagaMirror
from app.orchestration.sagas.sagas import Sagas
from app.orchestration.sweeper import Chore, Sweeper, SweeperDependencies

_log = log("orchestration")

LANES: Final = (Lane("default", 64), Lane("events", 64), Lane("sagas", 64))
"""Lanes of every deployment; features may contribute others."""


@dataclass(frozen=True, slots=True)
class QueueDependencies:
    """Dependencies of the queue. `documents` is the raw store, not the `Outbox`."""

    documents: Documents
    realtime: Realtime
    clock: Clock
    ids: Ids
    draw: Draw
    alarms: Alarms
    pause: Pause = field(kw_only=True)
    heartbeat: Heartbeat = field(default_factory=ThreadHeartbeat)
    concurrency: Concurrency = field(default_factory=Threads)

    def outbox(self) -> Outbox:
        """The `Documents` through which every feature commits."""
        return Outbox(self.documents, Doorbell(self.realtime, self.draw), self.alarms, self.clock)


@dataclass(frozen=True, slots=True)
class Contributions:
    """What the features add to orchestration."""

    handlers: Sequence[Handler] = ()
    subscriptions: Sequence[Subscription] = ()
    sagas: Sequence[SagaDefinition] = ()
    chores: Sequence[Chore] = ()
    lanes: Sequence[Lane] = ()


@dataclass(frozen=True, slots=True)
class Orchestration:
    """Everything that `assemble` has built."""

    outbox: Outbox
    doorbell: Doorbell
    handlers: Handlers
    queue: OperationQueue
    bus: EventBus
    sagas: Sagas
    runner: Runner
    sweeper: Sweeper
    letters: DeadLetters
    mirror: SagaMirror
    clock: Clock

    def run_lane(self, lane: str, ticket: str | None = None) -> int:
        """Runs what is due in a lane, because this ticket was put up there; how many operations.

        Raises:
            Fault: a store is away. The platform may repeat the event; the sweep comes in any case.
        """
        return self.runner.serve(lane, ticket)

    def ring_due(self, data: object) -> None:
        """Puts up the ticket of the operation that an alarm names, as `{"operation": id}`.

        Raises:
            TooEarly: the alarm must be repeated, which its queue does when the function fails.
        """
        operation = data.get("operation") if isinstance(data, Mapping) else None
        ensure(isinstance(operation, str), "an alarm names its operation")
        self.queue.ring(str(operation))

    def show_saga(self, saga_id: str) -> None:
        """Brings the owner's view of a saga up to its document."""
        self.mirror.reflect(saga_id)

    def sweep(self) -> dict[str, object]:
        """Starts overdue operations again and does the features' chores; what was done.

        Raises:
            Unavailable: some chores failed; it names them, and the scheduler shows it.
        """
        swept = self.sweeper.tick()
        rung, lanes, failed = swept.rung, list(swept.lanes), list(swept.failed)
        if rung or failed:
            _log.info(
                "queue_swept", rung=rung, lanes=lanes, chores=swept.chores, failed=failed, complete=swept.complete
            )
        if failed:
            raise Unavailable(f"chores failed: {', '.join(failed)}")
        return {"rung": rung, "lanes": lanes, **swept.chores}


def assemble(
    dependencies: QueueDependencies, contributions: Contributions, outbox: Outbox | None = None
) -> Orchestration:
    """Builds orchestration with the features' contributions. `outbox` is the one through which they commit, if they
    were built before.

    Raises:
        InvariantViolation: the contributions do not fit together; see `Handlers`, `EventBus` and `Sagas`.
    """
    outbox = outbox or dependencies.outbox()
    clock, ids, pause = dependencies.clock, dependencies.ids, dependencies.pause
    doorbell = Doorbell(dependencies.realtime, dependencies.draw)
    bus = EventBus(contributions.subscriptions)
    sagas = Sagas(contributions.sagas, outbox, clock, pause)
    handlers = Handlers([*contributions.handlers, *bus.handlers(), *sagas.handlers()], [*LANES, *contributions.lanes])
    queue = OperationQueue(outbox, handlers, clock, ids, pause)
    bus.bind_queue(queue)
    sagas.bind_queue(queue)
    sweep = SweeperDependencies(
        outbox, dependencies.realtime, doorbell, clock, ids, handlers.lanes, dependencies.concurrency
    )
    return Orchestration(
        outbox=outbox,
        doorbell=doorbell,
        handlers=handlers,
        queue=queue,
        bus=bus,
        sagas=sagas,
        runner=Runner(
            RunnerDependencies(outbox, doorbell, clock, ids, dependencies.draw, pause, dependencies.heartbeat), handlers
        ),
        sweeper=Sweeper(sweep, [Chore("sagas", sagas.check, realtime=True), *contributions.chores]),
        letters=DeadLetters(queue, clock),
        mirror=SagaMirror(outbox, dependencies.realtime),
        clock=clock,
    )
