"""Dead letters: operations that failed for good. An administrator replays them, or discards them with a reason.

A dead letter is the operation itself in state `dead`, with its reason and history; nothing is moved or copied.
"""

from collections.abc import Sequence

from app.kit.clock import Clock
from app.kit.stores.documents import Documents, Query, Where, Write
from app.kit.stores.listing import Listing
from app.kit.stores.rows import GuardedRows
from app.orchestration.queue.audit import audit_rows
from app.orchestration.queue.operation import OPEN, Operation, OperationState, discard, replay
from app.orchestration.queue.operation_document import COLLECTION, from_document
from app.orchestration.queue.operation_queue import OperationQueue


class DeadLetters:
    """Acts of administrators on dead letters. Each is written to the audit log, whatever the level of the operation."""

    def __init__(self, queue: OperationQueue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock

    def replay(self, operation_id: str, *, by: str) -> Operation:
        """Queues the operation again, due now and with all its tries.

        Raises:
            NotFound, NotADeadLetter
        """

        def decide(operation: Operation) -> tuple[Operation, Sequence[Write]]:
            now_us = self._clock.now_us()
            again = replay(operation, now_us=now_us, by=by)
            return again, audit_rows(again, now_us=now_us, action="replayed", actor=by)

        return self._queue.change(operation_id, decide)

    def discard(self, operation_id: str, *, by: str, reason: str) -> Operation:
        """Closes the dead letter without another try.

        Raises:
            NotFound, NotADeadLetter
        """

        def decide(operation: Operation) -> tuple[Operation, Sequence[Write]]:
            now_us = self._clock.now_us()
            gone = discard(operation, now_us=now_us, by=by, reason=reason)
            return gone, audit_rows(gone, now_us=now_us, action="discarded", actor=by)

        return self._queue.change(operation_id, decide)


def operations_in(documents: Documents, clock: Clock, state: OperationState) -> Listing[Operation]:
    """The operations in one state, newest first: open ones by creation, the others by their end."""
    field = "created_at" if state in OPEN else "finished_at"
    query = Query(COLLECTION, (Where("state", "==", state.value),), (f"-{field}", "-__name__"))
    return Listing(documents, GuardedRows(documents, clock), "operations_list", query, from_document)
