"""One attempt at an operation: the lease and the line that it holds, and every write that needs them.

An attempt is a view of what is stored; it moves only by commits over exactly the version that it knows. The handler
and the heartbeat may both renew it at once: whoever meets the other's version reads again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.kit.clock import Clock, minutes
from app.kit.documents import Document, Documents, Replace, Version, Write
from app.kit.errors import Fault
from app.kit.heartbeat import Heartbeat
from app.kit.ids import Ids
from app.kit.optimistic import Pause, optimistic
from app.kit.telemetry import log
from app.orchestration.queue import line
from app.orchestration.queue.doorbell import Doorbell
from app.orchestration.queue.handler import CancelRequested, Handler, LeaseLost, LeaseOver
from app.orchestration.queue.operation import SKEW_US, Operation, holds, renew
from app.orchestration.queue.operation_document import from_document, path_of, to_fields
from app.orchestration.queue.outbox import Outbox
from app.orchestration.queue.retry import Draw

LIFE_US: Final = minutes(9)
"""The heartbeat keeps no attempt for longer: the platform has ended every trigger by then, and a thread that hangs in
one must not hold its operation for ever.
"""

_log = log("orchestration")


@dataclass(frozen=True, slots=True)
class RunnerDependencies:
    """What a runner works with."""

    outbox: Outbox
    doorbell: Doorbell
    clock: Clock
    ids: Ids
    draw: Draw
    pause: Pause
    heartbeat: Heartbeat


@dataclass(frozen=True, slots=True)
class Known:
    """The operation as it was last seen, with the versions to write over. `line`: of the line, while it is ours."""

    operation: Operation
    version: Version
    line: Version | None = None


class RunningAttempt:
    """The `Run` of one claimed operation. It is replaced whole, never in parts: two threads may look at it."""

    def __init__(self, means: RunnerDependencies, handler: Handler, known: Known) -> None:
        self._means = means
        self._known = known
        self.handler = handler
        self.token = known.operation.token
        self._ends_us = self.now_us() + LIFE_US

    @property
    def operation(self) -> Operation:
        return self._known.operation

    @property
    def key(self) -> str:
        return self.operation.id

    def now_us(self) -> int:
        return self._means.clock.now_us()

    @property
    def fence_path(self) -> str:
        return line.path_of(self.operation) or path_of(self.operation.id)

    def fence(self, seen: Document | None) -> Write:
        if seen is None or not self._is_fence(seen):
            raise LeaseOver("this attempt has lost its lease", operation_id=self.operation.id)
        # Unchanged, over exactly the version that was read: the end of this attempt meets it and reads again.
        return Replace(seen.path, seen.fields, seen.version)

    def renew(self) -> None:
        now_us = optimistic(self._renew_lease, reread=self.refresh, pause=self._means.pause)
        until_us = now_us + self.handler.lease_us + SKEW_US
        try:
            self._means.doorbell.extend(self.operation.lane, self.operation.id, until_us)
        except Fault as fault:
            # The slot is a courtesy, the lease is kept: nothing that is paid for is begun again for this.
            _log.warning("slot_not_extended", reason=str(fault))

    def _renew_lease(self) -> int:
        """Commits a longer lease; since when it counts."""
        known = self._known
        if known.operation.cancel_requested:
            raise CancelRequested(known.operation.reason or "cancelled")
        now_us = self.now_us()
        longer = renew(known.operation, token=self.token, now_us=now_us, lease_us=self.handler.lease_us)
        self._write(known, longer, ())
        return now_us

    def keep(self) -> None:
        """The heartbeat: renews a lease of which a third is gone, so that work which takes long, and does not say so,
        is not begun a second time (T-85). Who asks to stop, or took over, is heard by the work's own next write.
        """
        now_us, lease = self.now_us(), self.operation.lease
        if now_us >= self._ends_us or lease is None or 3 * (lease.expires_us - now_us) > 2 * self.handler.lease_us:
            return
        try:
            self.renew()
        except (LeaseLost, CancelRequested) as end:
            _log.info("lease_not_kept", reason=str(end))
        except Fault as fault:
            _log.warning("lease_not_kept", reason=str(fault))

    def write(self, operation: Operation, participant: Sequence[Write]) -> None:
        """Commit this state over the version that is known, together with `participant`."""
        self._write(self._known, operation, participant)

    def _write(self, known: Known, operation: Operation, participant: Sequence[Write]) -> None:
        row = Replace(path_of(operation.id), to_fields(operation), known.version)
        held = line.keeping(operation, known.line)
        versions = self._means.outbox.commit([row, *held, *participant])
        self._known = Known(operation, versions[0], versions[1] if held else None)

    def refresh(self) -> None:
        """Read again after a conflict.

        Raises:
            LeaseLost: the operation, or its line, is not ours any more.
        """
        operation = self.operation
        lined = line.path_of(operation)
        stored, held = read_again(self._means.outbox, operation)
        if stored is None:
            raise LeaseLost("the operation is gone")
        current = from_document(stored)
        if not holds(current, self.token):
            raise LeaseLost(f"it is {current.state.value} under token {current.token}, ours is {self.token}")
        if lined and not line.is_ours(held, operation, self.token):
            raise LeaseLost("another of its line has been let through")
        self._known = Known(current, stored.version, held.version if held else None)

    def _is_fence(self, seen: Document) -> bool:
        if self.operation.key is None:
            return holds(from_document(seen), self.token)
        return line.is_ours(seen, self.operation, self.token)


def read_again(documents: Documents, operation: Operation) -> tuple[Document | None, Document | None]:
    """The operation and its line as they stand, after somebody else wrote one of them. One round trip."""
    lined = line.path_of(operation)
    stored, *held = documents.get_all([path_of(operation.id), *([lined] if lined else [])])
    return stored, held[0] if held else None
