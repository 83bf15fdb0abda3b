"""Exactly-once effects for deliveries that are no operations: Firestore triggers, webhooks.

The commit of the effect also creates `inbox/{id}`, never before it (T-60); a repeated delivery finds the document and
changes nothing. The id is derived from (handler, event id), because two handlers of one change receive the same event
id (T-45).
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from app.kit.clock import Clock
from app.kit.errors import AlreadyExists
from app.kit.ids import derived
from app.kit.optimistic import Pause, optimistic
from app.kit.stores.documents import Create, Documents, Write

COLLECTION: Final = "inbox"
KEEP: Final = timedelta(days=7)
"""How long deliveries are remembered. Cloud Functions repeats an event for 24 hours
(https://cloud.google.com/functions/docs/bestpractices/retries).
"""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Inbox:
    """Remembers which events each handler has handled."""

    def __init__(self, documents: Documents, clock: Clock, pause: Pause) -> None:
        self._documents = documents
        self._clock = clock
        self._pause = pause

    def once(self, handler: str, event_id: str, effect: Callable[[], Sequence[Write]]) -> bool:
        """Commits `effect`'s writes unless this handler has handled the event before. Returns whether it was new.

        `effect` builds its writes from a fresh read, is called again after a conflict, and does nothing else (T-43).

        Raises:
            AlreadyExists: a create of `effect` met a document; it would meet it again.
            Contended: the commit conflicted too often.
        """
        path = f"{COLLECTION}/{derived('in', handler, event_id)}"
        expires = _EPOCH + timedelta(microseconds=self._clock.now_us()) + KEEP

        def attempt() -> bool | AlreadyExists:
            if self._documents.get(path) is not None:
                return False
            mark = Create(path, {"handler": handler, "event_id": event_id, "expire_at": expires})
            try:
                self._documents.commit([mark, *effect()])
            except AlreadyExists as error:
                if error.path in (path, None):
                    raise
                return error
            return True

        taken = optimistic(attempt, pause=self._pause)
        if isinstance(taken, AlreadyExists):
            raise taken
        return taken
