"""Answers whose instance stands still until the sweep has ended their turn, and which come to their end after all:
before the sweep tells of it, or while it does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from app.kit.clock import minutes, seconds
from app.kit.stores.documents import Version
from app.kit.stores.realtime import Json
from simulation.drills.sleep import stands_still
from simulation.machine.kernel import Instance, Process
from simulation.world import World
from support.memory import Change

_LEASE_US: Final = seconds(335)
"""Of a turn, by all clocks."""
_MOST_US: Final = minutes(9)
_MEANWHILE_US: Final = seconds(30)
"""For so long the sweep stands still, or waits for the Realtime Database, while the other one ends."""


@dataclass
class _Asleep:
    """A turn whose instance stands still. `late`: until the sweep tells of its end, and not only ends it."""

    late: bool
    awake: bool = False


class Outlived:
    """Knows whose instance stands still."""

    def __init__(self, world: World) -> None:
        self._world, self._kernel = world, world.kernel
        self._asleep: dict[str, _Asleep] = {}
        """By the path of the turn."""
        self._seen: dict[tuple[Process, str], Version | None] = {}
        self.found: list[str] = []
        world.documents.watchers.append(self._committed)
        world.documents.reads.append(self._was_read)
        world.realtime.tries.append(self._told)

    def sleeps(self, path: str, instance: Instance) -> None:
        """The instance that gives this answer stands still from now on."""
        asleep = self._asleep[path] = _Asleep(late=self._kernel.chance(0.5))
        stands_still(self._world, instance, lambda: asleep.awake, most_us=_MOST_US, lease_us=_LEASE_US)

    def _committed(self, changes: list[Change]) -> None:
        process = self._kernel.current
        if process is None or process.instance is None or not process.name.startswith("chore"):
            return
        for path, _, after in changes:
            asleep = self._asleep.get(path)
            if asleep is not None and after is not None and after["state"] == "error" and not asleep.late:
                asleep.awake = True
                process.instance.frozen_us = self._kernel.now_us + _MEANWHILE_US

    def _was_read(self, path: str, version: Version | None) -> None:
        if self._kernel.current is not None and path in self._asleep:
            self._seen[self._kernel.current, path] = version

    def _told(self, values: Mapping[str, Json]) -> None:
        process = self._kernel.current
        if process is None or not process.name.startswith("chore"):
            return
        for path, asleep in self._asleep.items():
            live = f"/streams/{path.rpartition('/')[2]}/"
            told = {name.rpartition(live)[2]: value for name, value in values.items() if live in name}
            if not told:
                continue
            turn = self._world.documents.real.get(path)
            seen = turn is not None and self._seen.get((process, path)) == turn.version
            if told.get("status") == "error" and seen and turn is not None and turn.fields["state"] == "done":
                self.found.append(f"{path} has come to its end, and whoever read that tells of a crash: {told}")
            if asleep.late and not asleep.awake:
                asleep.awake = True
                self._kernel.sleep(_MEANWHILE_US)
