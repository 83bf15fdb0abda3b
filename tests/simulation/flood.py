"""Many plain operations under faults: none may be lost, none may have two effects. For `bench/orchestration.py`."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from app.kit.errors import Failure, Fault
from app.kit.stores.documents import int_field
from app.kit.stores.realtime import Json
from app.orchestration.queue.operation import OperationState
from app.orchestration.queue.operation_document import from_document
from app.orchestration.queue.operation_queue import Order
from simulation.instance import Backend
from simulation.machine.kernel import Faults
from simulation.world import World

BAD: Faults = Faults(crash=0.0001, unavailable=0.03, conflict=0.01, lost=0.03, repeated=0.05, late=0.02)
"""Three calls in a hundred fail, an instance dies for about every six hundred operations, and triggers are lost,
repeated and late.
"""

BATCH = 50
CLIENTS = 8
_PATIENCE_US = 10_000_000
_MINUTE_US = 60_000_000
_QUEUE = "orchestration/queue/default"


@dataclass(frozen=True)
class Flood:
    """What became of the operations that were accepted."""

    accepted: int
    lost: int
    twice: int
    retried: int
    deepest: int
    """Most tickets that waited at once."""
    crashes: int
    steps: int
    took_us: int
    """Virtual time from the first order to the end of the last operation."""
    waited_us: tuple[int, ...]
    """From when each was due to its end, in virtual time."""


def flood(seed: int, count: int) -> Flood:
    """Enqueues `count` operations at three instances, much faster than they run."""
    world = World(seed, BAD)
    kernel = world.kernel
    kernel.most_steps, kernel.crashes_left = 1000 * count, count
    depths = [0]
    world.realtime.watchers[:] = [partial(_trigger, world), lambda _, __: depths.append(_waiting(world))]
    began_us = kernel.now_us
    accepted: dict[int, list[str]] = {}
    for client in range(CLIENTS):
        kernel.start("client", partial(_enter, world, range(client, count // BATCH, CLIENTS), accepted))
    while len(accepted) < count // BATCH or _waiting(world) > BATCH or _open(world, accepted):
        kernel.run(kernel.now_us + _MINUTE_US)
        world.sweep()
    crashes = count - kernel.crashes_left
    world.settle(rounds=8)
    known = [identity for batch in sorted(accepted) for identity in accepted[batch]]
    return _count(world, known, Flood(len(known), 0, 0, 0, max(depths), crashes, kernel.steps, began_us, ()))


def _enter(world: World, batches: Iterable[int], accepted: dict[int, list[str]]) -> None:
    """A client that repeats each of its batches until it is accepted: an instance that dies loses the request."""
    kernel = world.kernel

    def ask(batch: int, backend: Backend) -> None:
        with suppress(Failure):
            accepted[batch] = _accepted(backend, [_order(f"{kernel.seed}.{batch}.{index}") for index in range(BATCH)])

    for batch in batches:
        while batch not in accepted:
            backend = kernel.random.choice(world.backends)
            kernel.spawn("enters", partial(ask, batch, backend), backend.instance)
            kernel.sleep(_PATIENCE_US)


def _trigger(world: World, path: str, _: Json) -> None:
    """The queue's trigger as deployed, where an event that ends in a fault is repeated. In the seeds it is not."""
    kernel, parts = world.kernel, path.split("/")

    def fire() -> None:
        backend = kernel.random.choice(world.backends)
        kernel.spawn("run", partial(run, backend), backend.instance)

    def run(backend: Backend) -> None:
        try:
            backend.orchestration.run_lane(parts[2], parts[3])
        except Fault:
            kernel.after(_PATIENCE_US, fire)

    if parts[:2] == ["orchestration", "queue"] and not kernel.chance(kernel.faults.lost):
        for _copy in range(2 if kernel.chance(kernel.faults.repeated) else 1):
            kernel.after(kernel.random.randrange(1_000, 80_000), fire)


def _waiting(world: World) -> int:
    """How many tickets exist."""
    tickets = world.realtime.real.peek(_QUEUE)
    return len(tickets) if isinstance(tickets, dict) else 0


def _open(world: World, accepted: dict[int, list[str]]) -> bool:
    """Whether an operation has not ended. Tickets do not tell: a runner may die after an end, before it removes one."""
    paths = [f"operations/{identity}" for batch in accepted.values() for identity in batch]
    return any(one is None or one.fields["wake_at"] is not None for one in world.documents.real.get_all(paths))


def _order(name: str) -> Order:
    return Order("count.ordered", payload={"order": name}, once=name)


def _accepted(backend: Backend, orders: list[Order]) -> list[str]:
    queue = backend.orchestration.queue
    known = [queue.id_of(order.name, order.once or "") for order in orders]
    if backend.orchestration.outbox.get(f"operations/{known[0]}") is None:
        backend.orchestration.outbox.commit(queue.rows(orders))
    return known


def _count(world: World, accepted: list[str], seen: Flood) -> Flood:
    lost = twice = retried = 0
    ended_us = began_us = seen.took_us
    waited: list[int] = []
    for identity in accepted:
        stored = world.documents.real.get(f"operations/{identity}")
        operation = from_document(stored) if stored else None
        mark = world.documents.real.get(f"marks/{operation.payload['order']}") if operation else None
        effects = int_field(mark.fields, "n") if mark else 0
        lost += operation is None or operation.state is not OperationState.SUCCEEDED or effects < 1
        twice += effects > 1
        if operation is not None and operation.finished_us is not None:
            retried += operation.attempts > 1
            ended_us = max(ended_us, operation.finished_us)
            waited.append(operation.finished_us - operation.created_us)
    return replace(seen, lost=lost, twice=twice, retried=retried, took_us=ended_us - began_us, waited_us=tuple(waited))
