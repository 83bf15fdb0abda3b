"""One attempt at an operation: the lease and the lock that it holds, and every write that needs them.

An attempt commits only over the versions that it last saw. The handler and the heartbeat may renew the lease at the
same time: the one whose commit conflicts reads again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.kit.clock import Clock, minutes
from app.kit.errors import Fault
from app.kit.heartbeat import Heartbeat
from app.kit.ids import Ids
from app.kit.optimistic import Pause, optimistic
from app.kit.stores.documents import Document, Documents, Replace, Unchanged, Version, Write
from app.kit.telemetry import log
from app.orchestration.queue import line
from app.orchestration.queue.doorbell import Doorbell, TakenSlot
from app.orchestration.queue.handler import CancelRequested, Handler, LeaseLost, LeaseOver
from app.orchestration.queue.operation import SKEW_US, Operation, holds, renew
from app.orchestration.queue.operation_document import from_document, path_of, to_fields
from app.orchestration.queue.outbox import Outbox
from app.orchestration.queue.retry import Draw

HEARTBEAT_LIMIT_US: Final = minutes(9)
"""The heartbeat renews no attempt for longer. The platform has ended every trigger by then, and a thread that hangs
must not hold its operation for ever.
"""

_log = log("orchestration")


@dataclass(frozen=True, slots=True)
class RunnerDependencies:
    """Dependencies of a runner."""

    outbox: Outbox
    doorbell: Doorbell
    clock: Clock
    ids: Ids
    draw: Draw
    pause: Pause
    heartbeat: Heartbeat


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The operation as last seen, and the versions to write over. `lock` is None when this attempt holds no lock."""

    operation: Operation
    version: Version
    lock: Version | None = None


class RunningAttempt:
    """The `Run` of one claimed operation. Its snapshot is replaced as a whole, because two threads read it."""

    def __init__(self, deps: RunnerDependencies, handler: Handler, snapshot: Snapshot) -> None:
        self._deps = deps
        self._snapshot = snapshot
        self.handler = handler
        self.token = snapshot.operation.token
        self.slot: TakenSlot | None = None
        """The slot in which it runs; None for work without admission by its lane."""
        self._heartbeat_ends_us = self.now_us() + HEARTBEAT_LIMIT_US

    @property
    def operation(self) -> Operation:
        return self._snapshot.operation

    @property
    def key(self) -> str:
        return self.operation.id

    def now_us(self) -> int:
        return self._deps.clock.now_us()

    @property
    def fence_path(self) -> str:
        return line.path_of(self.operation) or path_of(self.operation.id)

    def fence(self, seen: Document | None) -> Write:
        if seen is None or not self._is_fence(seen):
            raise LeaseOver("this attempt has lost its lease", operation_id=self.operation.id)
        return Unchanged(seen.path, seen.version)

    def renew(self) -> None:
        now_us = optimistic(self._renew_lease, reread=self.refresh, pause=self._deps.pause)
        if self.slot is None:
            return
        try:
            self.slot.extend(now_us=self.now_us(), until_us=now_us + self.handler.lease_us + SKEW_US)
        except Fault as fault:
            # Only the lease matters. To fail here would repeat work that may have cost money.
            _log.warning("slot_extension_failed", reason=str(fault))

    def _renew_lease(self) -> int:
        """Commits a longer lease. Returns the time from which it counts."""
        seen = self._snapshot
        if seen.operation.cancel_requested:
            raise CancelRequested(seen.operation.reason or "cancelled")
        now_us = self.now_us()
        longer = renew(seen.operation, token=self.token, now_us=now_us, lease_us=self.handler.lease_us)
        self._write(seen, longer, ())
        return now_us

    def keep(self) -> None:
        """Called by the heartbeat: renews the lease once a third of it has passed, so that long work which never calls
        `renew` is not started a second time (T-85). A cancel or a takeover stops the work at its own next commit.
        """
        now_us, lease = self.now_us(), self.operation.lease
        if (
            now_us >= self._heartbeat_ends_us
            or lease is None
            or 3 * (lease.expires_us - now_us) > 2 * self.handler.lease_us
        ):
            return
        try:
            self.renew()
        except (LeaseLost, CancelRequested) as end:
            _log.info("lease_renewal_refused", reason=str(end))
        except Fault as fault:
            _log.warning("lease_renewal_failed", reason=str(fault))

    def write(self, operation: Operation, others: Sequence[Write]) -> None:
        """Commits this state over the version that was last seen, together with `others`."""
        self._write(self._snapshot, operation, others)

    def _write(self, seen: Snapshot, operation: Operation, others: Sequence[Write]) -> None:
        row = Replace(path_of(operation.id), to_fields(operation), seen.version, keep_others=True)
        lock = line.lock_writes(operation, seen.lock)
        versions = self._deps.outbox.commit([row, *lock, *others])
        self._snapshot = Snapshot(operation, versions[0], versions[1] if lock else None)

    def refresh(self) -> None:
        """Reads the operation and its lock again after a conflict.

        Raises:
            LeaseLost: this attempt holds one of them no more.
        """
        operation = self.operation
        lock_path = line.path_of(operation)
        stored, lock = read_with_lock(self._deps.outbox, operation)
        if stored is None:
            raise LeaseLost("the operation is gone")
        current = from_document(stored)
        if not holds(current, self.token):
            raise LeaseLost(f"it is {current.state.value} under token {current.token}, ours is {self.token}")
        if lock_path and not line.is_held_by(lock, operation, self.token):
            raise LeaseLost("another operation of its line holds the lock")
        self._snapshot = Snapshot(current, stored.version, lock.version if lock else None)

    def _is_fence(self, seen: Document) -> bool:
        if self.operation.key is None:
            return holds(from_document(seen), self.token)
        return line.is_held_by(seen, self.operation, self.token)


def read_with_lock(documents: Documents, operation: Operation) -> tuple[Document | None, Document | None]:
    """The operation and the lock of its line as they are stored now, in one round trip."""
    lock_path = line.path_of(operation)
    stored, *lock = documents.get_all([path_of(operation.id), *([lock_path] if lock_path else [])])
    return stored, lock[0] if lock else None
