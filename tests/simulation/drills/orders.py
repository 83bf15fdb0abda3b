"""Orders plain work with a mark for each effect, for people who do nothing but that."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from app.kit.errors import AlreadyExists, Failure
from app.kit.stores.documents import Fields, int_field
from app.orchestration.queue.operation_queue import Order
from simulation.instance import Backend
from simulation.world import World

SECOND: Final = 1_000_000


class Orders:
    """The orders of one person. The name of each is its key for repeats, and that of its mark."""

    def __init__(self, world: World, who: str) -> None:
        self._world, self._who, self._count = world, who, 0
        self.accepted: dict[str, str] = {}
        """By order, its operation."""

    def order(self, name: str, takes_s: float, *, line: str | None = None, position: int | None = None) -> Order:
        """An order of `name`, which takes so long."""
        self._count += 1
        once = f"{self._who}_{self._count}"
        payload: Fields = {"order": once, "takes_us": round(takes_s * SECOND)}
        return Order(name, payload, account=self._who, key=line, position=position, once=once)

    def enter(self, orders: Sequence[Order]) -> list[str]:
        """Commits them together, again until they were accepted; their operations. Must be called by a process."""
        queue = self._world.backends[0].orchestration.queue
        ids = [queue.id_of(one.name, str(one.once)) for one in orders]
        self.accepted |= {str(one.once): id for one, id in zip(orders, ids)}
        entering = partial(_accept, orders)
        while isinstance(self._world.request(f"{self._who} orders", entering, self._world.awake()), Failure):
            self._world.kernel.sleep(3 * SECOND)
        return ids

    def verdict(self) -> list[str]:
        """Each was done once."""
        marks = {once: self._world.documents.real.get(f"marks/{once}") for once in self.accepted}
        counts = {once: int_field(mark.fields, "n") if mark else 0 for once, mark in marks.items()}
        return [f"{once} was accepted and done {count} times" for once, count in counts.items() if count != 1]


def _accept(orders: Sequence[Order], backend: Backend) -> None:
    try:
        backend.orchestration.outbox.commit(backend.orchestration.queue.rows(orders))
    except AlreadyExists:
        return  # An earlier try was written, and nobody heard of it.
