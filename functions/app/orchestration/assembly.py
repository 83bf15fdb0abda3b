"""Orchestration, put together: what the composition root, the tests and the simulation build from the same parts.

Two steps, because features commit through the outbox and the queue runs the features: `Outbox` comes first, then the
features on top of it, then `assemble` with what they bring.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from app.kit.clock import Clock
from app.kit.documents import Documents
from app.kit.heartbeat import Heartbeat, ThreadHeartbeat
from app.kit.ids import Ids
from app.kit.optimistic import Pause
from app.kit.realtime import Realtime
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

LANES: Final = (Lane("default", 16), Lane("events", 32), Lane("sagas", 32))
"""Every deployment has these; features bring their own beside them."""


@dataclass(frozen=True, slots=True)
class QueueDependencies:
    """What orchestration stands on. `documents` are the bare ones."""

    documents: Documents
    realtime: Realtime
    clock: Clock
    ids: Ids
    draw: Draw
    alarms: Alarms
    pause: Pause = field(kw_only=True)
    heartbeat: Heartbeat = field(default_factory=ThreadHeartbeat)

    def outbox(self) -> Outbox:
        """The documents that every feature commits through."""
        return Outbox(self.documents, Doorbell(self.realtime), self.alarms, self.clock)


@dataclass(frozen=True, slots=True)
class Contributions:
    """What the features bring to be run."""

    handlers: Sequence[Handler] = ()
    subscriptions: Sequence[Subscription] = ()
    sagas: Sequence[SagaDefinition] = ()
    chores: Sequence[Chore] = ()
    lanes: Sequence[Lane] = ()


@dataclass(frozen=True, slots=True)
class Orchestration:
    """The feature."""

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
    ids: Ids


def assemble(
    dependencies: QueueDependencies, contributions: Contributions, outbox: Outbox | None = None
) -> Orchestration:
    """Orchestration of what was brought. `outbox`: the one that the features got, when they were built before.

    Raises:
        InvariantViolation: a handler in a lane that nobody serves, two of one name, a vendor in two lanes.
    """
    outbox = outbox or dependencies.outbox()
    clock, ids, pause = dependencies.clock, dependencies.ids, dependencies.pause
    doorbell = Doorbell(dependencies.realtime)
    bus = EventBus(contributions.subscriptions)
    sagas = Sagas(contributions.sagas, outbox, clock, pause)
    handlers = Handlers([*contributions.handlers, *bus.handlers(), *sagas.handlers()], [*LANES, *contributions.lanes])
    queue = OperationQueue(outbox, handlers, clock, ids, pause)
    bus.deliver_through(queue)
    sagas.run_through(queue)
    sweep = SweeperDependencies(outbox, dependencies.realtime, doorbell, clock, ids, handlers.lanes)
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
        sweeper=Sweeper(sweep, [Chore("sagas", sagas.check), *contributions.chores]),
        letters=DeadLetters(queue, outbox, clock),
        mirror=SagaMirror(outbox, dependencies.realtime),
        clock=clock,
        ids=ids,
    )
