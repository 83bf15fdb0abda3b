"""`Documents` that ring for every operation that a commit leaves queued, so that no feature can forget to.

The operation's document guarantees that it runs; ringing only makes it start at once. When ringing fails, the sweeper
finds the document.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from app.kit.clock import Clock
from app.kit.stores.documents import Create, Document, Documents, Query, Replace, Version, Write
from app.kit.telemetry import log
from app.orchestration.queue.doorbell import Doorbell
from app.orchestration.queue.operation import Operation, OperationState
from app.orchestration.queue.operation_document import COLLECTION, from_document
from app.orchestration.queue.ticket import Ticket, ticket_of

_PREFIX: Final = f"{COLLECTION}/"
_log = log("orchestration")


class Alarms(Protocol):
    """Calls `OperationQueue.ring` for an operation at its due time: Cloud Tasks, or a test's scheduler."""

    def set(self, operation_id: str, due_us: int) -> None:
        """The alarm may fire early, late, twice or never. May raise `Fault`."""
        ...


class NoAlarms:
    """Sets none: the sweeper alone rings for operations that become due."""

    def set(self, operation_id: str, due_us: int) -> None:
        pass


class Outbox:
    """The `Documents` through which every feature commits."""

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
        """Creates tickets for operations that are due and sets alarms for the others. Raises nothing: their commit has
        succeeded, and the sweeper repairs what fails here.
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
        except Exception as failure:  # noqa: BLE001  # an edge: the operations are committed already
            _log.warning("ring_failed", operations=[one.id for one in operations], reason=f"{failure!r}")


def _queued(write: Write) -> Operation | None:
    """The operation that this write leaves queued, if it does."""
    if not write.path.startswith(_PREFIX) or not isinstance(write, Create | Replace):
        return None
    if write.fields.get("state") != OperationState.QUEUED:
        return None
    return from_document(Document(write.path, write.fields, Version(0)))
