"""`Documents` that ring after a commit which leaves an operation queued, so that no feature can forget to.

The row in the commit is the promise; the ring only makes it quick. When the ring fails the sweeper finds the row.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from app.kit.clock import Clock
from app.kit.documents import Create, Document, Documents, Query, Replace, Version, Write
from app.kit.telemetry import log
from app.orchestration.queue.admission import Ticket, ticket_of
from app.orchestration.queue.doorbell import Doorbell
from app.orchestration.queue.operation import Operation, OperationState
from app.orchestration.queue.operation_document import COLLECTION, from_document

_PREFIX: Final = f"{COLLECTION}/"
_log = log("orchestration")


class Alarms(Protocol):
    """Something that calls `OperationQueue.ring` for an operation at its due time: Cloud Tasks, or a test's
    scheduler.
    """

    def set(self, operation_id: str, due_us: int) -> None:
        """May raise `Fault`; may fire early, late, twice or never."""
        ...


class NoAlarms:
    """The sweeper alone brings due work back."""

    def set(self, operation_id: str, due_us: int) -> None:
        pass


class Outbox:
    """Every feature commits through this."""

    def __init__(self, documents: Documents, doorbell: Doorbell, alarms: Alarms, clock: Clock) -> None:
        self._documents = documents
        self._doorbell = doorbell
        self._alarms = alarms
        self._clock = clock

    def get(self, path: str) -> Document | None:
        return self._documents.get(path)

    def get_all(self, paths: Sequence[str]) -> list[Document | None]:
        return self._documents.get_all(paths)

    def query(self, query: Query) -> list[Document]:
        return self._documents.query(query)

    def commit(self, writes: Sequence[Write]) -> list[Version]:
        versions = self._documents.commit(writes)
        queued = [operation for write in writes if (operation := _queued(write))]
        if queued:
            self.ring(queued)
        return versions

    def ring(self, operations: Sequence[Operation]) -> None:
        """Put up tickets for what is due and alarms for what is not. Raises nothing: the sweeper stands behind, and the
        commit that was rung for has succeeded, which its caller must not hear otherwise.
        """
        now_us = self._clock.now_us()
        due: dict[str, list[Ticket]] = {}
        try:
            for operation in operations:
                if operation.due_us > now_us:
                    self._alarms.set(operation.id, operation.due_us)
                else:
                    due.setdefault(operation.lane, []).append(ticket_of(operation))
            for lane, tickets in due.items():
                self._doorbell.ring(lane, tickets)
        except Exception as failure:  # noqa: BLE001  # an edge: whatever breaks here, the promise is kept already
            _log.warning("ring_failed", operations=[one.id for one in operations], reason=f"{failure!r}")


def _queued(write: Write) -> Operation | None:
    """The operation that this write leaves waiting, if it is one."""
    if not write.path.startswith(_PREFIX) or not isinstance(write, Create | Replace):
        return None
    if write.fields.get("state") != OperationState.QUEUED:
        return None
    return from_document(Document(write.path, write.fields, Version(0)))
