"""Many plain operations in bad weather: none lost, none with two effects. What `bench/orchestration.py` counts."""

from dataclasses import dataclass
from functools import partial

from app.kit.documents import int_field
from app.kit.errors import Failure
from app.orchestration.operation import State
from app.orchestration.operation_document import from_document
from app.orchestration.operation_queue import Order
from simulation.instance import Backend
from simulation.kernel import Faults
from simulation.world import World

BAD: Faults = Faults(crash=0.0005, unavailable=0.03, conflict=0.01, lost=0.03, repeated=0.05, late=0.02)
"""Three calls in a hundred fail, and the rest of what a platform does."""

BATCH = 50


@dataclass(frozen=True)
class Flood:
    """What became of the operations that were accepted."""

    accepted: int
    lost: int
    twice: int
    retried: int
    steps: int
    waited_us: tuple[int, ...]
    """From when each was due to its end, in virtual time."""


def flood(seed: int, count: int) -> Flood:
    """`count` operations over three instances."""
    world = World(seed, BAD)
    kernel = world.kernel
    kernel.most_steps = 1000 * count
    accepted: list[str] = []

    def enter(number: int) -> None:
        orders = [_order(f"{seed}.{number}.{index}") for index in range(BATCH)]
        for _ in range(100):
            done = world.request("enters", partial(_enter, orders))
            if not isinstance(done, Failure):
                accepted.extend(done)
                return

    for number in range(count // BATCH):
        kernel.start("client", partial(enter, number))
    for _ in range(5):
        kernel.run(kernel.now_us + 60_000_000)
        world.sweep()
    world.settle(rounds=8)
    return _count(world, accepted, kernel.steps)


def _order(name: str) -> Order:
    return Order("count.ordered", payload={"order": name}, once=name)


def _enter(orders: list[Order], backend: Backend) -> list[str]:
    queue = backend.orchestration.queue
    known = [queue.id_of(order.name, order.once or "") for order in orders]
    if backend.orchestration.outbox.get(f"operations/{known[0]}") is None:
        backend.orchestration.outbox.commit(queue.rows(orders))
    return known


def _count(world: World, accepted: list[str], steps: int) -> Flood:
    lost = twice = retried = 0
    waited: list[int] = []
    for identity in accepted:
        stored = world.documents.real.get(f"operations/{identity}")
        operation = from_document(stored) if stored else None
        mark = world.documents.real.get(f"marks/{operation.payload['order']}") if operation else None
        effects = int_field(mark.fields, "n") if mark else 0
        lost += operation is None or operation.state is not State.SUCCEEDED or effects < 1
        twice += effects > 1
        if operation is not None and operation.finished_us is not None:
            retried += operation.attempts > 1
            waited.append(operation.finished_us - operation.created_us)
    return Flood(len(accepted), lost, twice, retried, steps, tuple(waited))
