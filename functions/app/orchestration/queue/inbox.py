"""Exactly-once effects for deliveries that are no operations: Firestore triggers, webhooks.

The effect's commit creates `inbox/{...}` as well; a repeat meets it and changes nothing. The key is (handler, event
id), because two handlers of one change are told the same event id (T-45). Marked with success, never before it
(T-60).
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from app.kit.clock import Clock
from app.kit.documents import Create, Documents, Write
from app.kit.errors import AlreadyExists
from app.kit.ids import derived
from app.kit.optimistic import Pause, optimistic

COLLECTION: Final = "inbox"
KEEP: Final = timedelta(days=7)
"""Longer than any platform goes on delivering."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Inbox:
    """Remembers what each handler has done."""

    def __init__(self, documents: Documents, clock: Clock, pause: Pause) -> None:
        self._documents = documents
        self._clock = clock
        self._pause = pause

    def once(self, handler: str, event_id: str, effect: Callable[[], Sequence[Write]]) -> bool:
        """Commit `effect`'s writes unless this handler has had this event; whether it was new.

        `effect` decides from a fresh read and is called again when that was outdated; it does nothing else (T-43).

        Raises:
            AlreadyExists: a create of `effect` met a document; it would meet it again.
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
