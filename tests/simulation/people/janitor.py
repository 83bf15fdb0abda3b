"""An operator who deletes operations by hand, because they seem to have been waiting for too long: steps of sagas.

What they were for is a saga's, and the sweep's check of sagas has to order it again (T-86).
"""

from typing import Final

from app.kit.stores.documents import Delete, Fields
from app.orchestration.sagas.sagas import TIMER
from simulation.world import World

_TIMES_S: Final = (200, 420, 590)


class Janitor:
    """Cleans up in some seeds."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._kernel = world.kernel

    def comes(self) -> None:
        """Three times in ten minutes."""
        if self._kernel.chance(0.3):
            for at_s in _TIMES_S:
                self._kernel.after(at_s * 1_000_000, self._clean)

    def _clean(self) -> None:
        """Deletes every operation of a saga that waits, with the rights of an administrator of the database."""
        real = self._world.documents.real
        for path, one in sorted(real.all().items()):
            if path.startswith("operations/") and _waits_for_saga(one.fields):
                self._kernel.note(f"an operator deletes {path}")
                real.commit([Delete(path)])


def _waits_for_saga(operation: Fields) -> bool:
    payload = operation.get("payload")
    # A saga that waits for a fact is looked at six hours later, which no seed lasts: its timer stays.
    waits = operation.get("state") == "queued" and operation.get("name") != TIMER
    return waits and isinstance(payload, dict) and "saga" in payload
