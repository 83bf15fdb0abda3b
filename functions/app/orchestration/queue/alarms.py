"""Alarms on Cloud Tasks: one task per due time, which calls the function `due` with the operation's id.

Tasks are not named: the queue may have rung already when one fires, and ringing twice is harmless.
"""

import math
from datetime import UTC, datetime
from typing import Final

from app.kit.errors import Unavailable

FUNCTION: Final = "due"
"""The task function's name. Without an underscore: names of task queues have none."""


class CloudTaskAlarms:
    """Over firebase_admin.functions, which must be initialised by the composition root."""

    def __init__(self, region: str) -> None:
        self._queue = f"locations/{region}/functions/{FUNCTION}"

    def set(self, operation_id: str, due_us: int) -> None:
        from firebase_admin import functions
        from firebase_admin.exceptions import FirebaseError

        # Whole seconds, rounded up: a task that fires early has to come again.
        at = datetime.fromtimestamp(math.ceil(due_us / 1_000_000), UTC)
        try:
            # The emulator answers 400 to a body that is not wrapped in `data`; the SDK does not wrap it.
            queue = functions.task_queue(self._queue)
            queue.enqueue({"data": {"operation": operation_id}}, functions.TaskOptions(schedule_time=at))
        except (FirebaseError, ValueError) as error:
            raise Unavailable(f"Cloud Tasks took no alarm: {error}") from error
