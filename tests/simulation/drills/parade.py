"""A parade: a line of works, one after another, in a lane with room, whose orders take long to reach the store.

The next of a line starts as soon as the one before it has ended; in calm weather the auditor allows nobody to wait for
the sweep.
"""

from collections.abc import Sequence
from typing import Final

from app.kit.clock import seconds
from app.kit.stores.documents import Create, Write
from simulation.drills.orders import Orders
from simulation.world import World

_LONG: Final = 4


class Parade:
    """Comes twice."""

    def __init__(self, world: World) -> None:
        self._world, self._kernel = world, world.kernel
        self._orders = Orders(world, "parade")
        self.found: list[str] = []
        world.documents.tries.append(self._tried)

    def live(self) -> None:
        """A line that comes at once, and single works."""
        for number in range(2):
            self._kernel.sleep(self._kernel.random.randrange(seconds(60)))
            at, random = 64 * self._kernel.now_us, self._kernel.random
            line = [
                self._orders.order("parade", random.uniform(1, 4), line=f"parade-{number}", position=at + 64 * place)
                for place in range(_LONG)
            ]
            self._orders.enter(line)
            self._orders.enter([self._orders.order("parade", 1)])

    def verdict(self) -> list[str]:
        """Each was done once."""
        return self._orders.verdict()

    def _tried(self, writes: Sequence[Write]) -> None:
        """The store takes its time."""
        process = self._kernel.current
        if process is not None and process.name == "parade orders" and isinstance(writes[0], Create):
            self._kernel.sleep(self._kernel.random.randrange(seconds(1), seconds(3)))
