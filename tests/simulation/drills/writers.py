"""What must hold of everybody who writes, at each commit: that they still may, that they have seen what they write
over, and that what belongs together is written together.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from app.kit.clock import from_rfc3339
from app.kit.stores.documents import (
    Fields,
    Replace,
    Version,
    Write,
    as_map,
    int_field,
    list_field,
    map_field,
    text_field,
)
from app.kit.stores.realtime import Json
from app.orchestration.queue.operation import OperationState
from simulation.audit.records import JUNK
from simulation.machine.kernel import Process
from simulation.world import World
from support.memory import Change

_OPERATIONS: Final = "operations/"
_JOBS: Final = "jobs/"
_SKEW_US: Final = 3_000_000


class Writers:
    """Watches every process that writes."""

    def __init__(self, world: World) -> None:
        self._world, self._kernel = world, world.kernel
        self.claims: dict[Process, tuple[str, int]] = {}
        """By process, the operation that it claimed last and the token of that claim."""
        self._seen: dict[tuple[Process, str], Version | None] = {}
        self._refused: dict[tuple[Process, str], str] = {}
        self._found: list[str] = []
        documents = world.documents
        documents.watchers.append(self._committed)
        documents.reads.append(self._was_read)
        documents.tries.append(self._tried)
        documents.conflicts.append(self._met)
        world.realtime.real.before_write.append(self._mirrored)

    def verdict(self) -> list[str]:
        """Every violation."""
        gave_up = [what for (process, _), what in self._refused.items() if not process.dead]
        return [*self._found, *gave_up]

    def _committed(self, changes: list[Change]) -> None:
        process = self._kernel.current
        created = {path for path, before, after in changes if before is None and after is not None}
        for path, before, after in changes:
            begun = path.startswith("sagas/") and path in created and JUNK not in path
            if begun and not any(one.startswith(_OPERATIONS) for one in created):
                self._found.append(f"{path} was begun by a commit that orders none of its steps")
            if process is not None and path.startswith(_OPERATIONS) and after is not None:
                self._claimed(process, path, before, after)
        if process is not None and process in self.claims:
            self._fenced(process, changes)
        for path, before, after in changes:
            if path.startswith("lines/") and before is not None and after is not None:
                self._kept(before, after, {changed for changed, _, _ in changes})

    def _kept(self, before: Fields, after: Fields, together_with: set[str]) -> None:
        """Nobody takes a line's lock from an operation that runs (T-85)."""
        held = self._world.documents.real.get(f"operations/{before['operation']}")
        if before["operation"] == after["operation"] or held is None or held.path in together_with:
            return
        lease = held.fields.get("lease")
        if held.fields["state"] != OperationState.RUNNING or held.fields["token"] != before["token"]:
            return
        ends_us = from_rfc3339(text_field(as_map(lease), "expires_at"))
        if ends_us > self._kernel.now_us + _SKEW_US:
            self._found.append(f"the lock of {after['key']} was taken from {held.path} for {after['operation']}")

    def _claimed(self, process: Process, path: str, before: Fields | None, after: Fields) -> None:
        if after["state"] == OperationState.RUNNING and (before is None or before["token"] != after["token"]):
            self.claims[process] = path, int_field(after, "token")

    def _fenced(self, process: Process, changes: Sequence[Change]) -> None:
        """A step posts to an account only while nobody else has its operation (T-85)."""
        path, token = self.claims[process]
        stored = self._world.documents.real.get(path)
        saga = None if stored is None else map_field(stored.fields, "payload").get("saga")
        if stored is None or not isinstance(saga, str):
            return
        if int_field(stored.fields, "token") == token and (path, stored.fields["state"]) in self._states(path, changes):
            return
        about = (saga.removeprefix("refund_"), stored.id)
        for changed, before, after in changes:
            if (
                changed.startswith("accounts/")
                and after is not None
                and any(name in text for name in about for text in _posted(before, after))
            ):
                self._found.append(f"{path} posted to {changed} after somebody else had claimed it")
                return

    def _states(self, path: str, changes: Sequence[Change]) -> set[tuple[str, object]]:
        """In which states an operation may be at its own posting: it runs, or this very commit ends it."""
        ended = {(one, after["state"]) for one, _, after in changes if one == path and after is not None}
        return ended | {(path, OperationState.RUNNING.value)}

    def _was_read(self, path: str, version: Version | None) -> None:
        process = self._kernel.current
        if process is None:
            return
        if path.startswith(_OPERATIONS):
            self._refused.pop((process, path), None)
        elif path.startswith(_JOBS):
            self._seen[process, path] = version

    def _tried(self, writes: Sequence[Write]) -> None:
        """Nobody writes a job's list of broken rows over one that they have not read (T-105)."""
        process = self._kernel.current
        if process is None:
            return
        for write in writes:
            if not isinstance(write, Replace) or not write.path.startswith(_JOBS) or "broken" not in write.fields:
                continue
            # What it says it has read is what it has read; a write that says nothing is never refused.
            if write.version is None or write.version != self._seen.get((process, write.path)):
                self._found.append(f"{write.path} is written over whatever somebody else has listed there")

    def _met(self, writes: Sequence[Write]) -> None:
        """Whoever ends an operation and was refused because somebody was faster looks again, and does not leave it."""
        process = self._kernel.current
        if process is None or process not in self.claims:
            return
        path, _ = self.claims[process]
        for write in writes:
            if isinstance(write, Replace) and write.path == path and write.fields["state"] != OperationState.RUNNING:
                self._refused[process, path] = f"{path} was to be ended as {write.fields['state']} and was left"

    def _mirrored(self, values: Mapping[str, Json]) -> None:
        """A saga's progress on show is never replaced by an older one."""
        for path, value in values.items():
            if "/tasks/" not in path or not isinstance(value, dict):
                continue
            shown = self._world.realtime.real.peek(path)
            if isinstance(shown, dict) and _revision(value) < _revision(shown):
                self._found.append(f"{path} went back from {shown} to {value}")


def _posted(before: Fields | None, after: Fields) -> list[str]:
    """What a commit added to an account: a new entry's text, and the ids of new reservations."""
    if "reservations" not in after:
        return [str(after)] if before is None else []
    known = _reservations(before) if before is not None else set()
    return sorted(_reservations(after) - known)


def _reservations(account: Fields) -> set[str]:
    return {text_field(one, "id") for one in list_field(account, "reservations") if isinstance(one, Mapping)}


def _revision(shown: Mapping[str, Json]) -> int:
    revision = shown.get("revision")
    return revision if isinstance(revision, int) else 0
