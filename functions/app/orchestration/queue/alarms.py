"""Alarms on Cloud Tasks: one task per due time, which calls the function `due` with the operation's id.

Tasks have no names and are therefore not deduplicated: ringing for an operation twice is harmless.
"""

import math
from datetime import UTC, datetime
from typing import Final

from app.kit.errors import Unavailable

FUNCTION: Final = "due"
"""Name of the task function and so of its queue, which may hold letters, digits and hyphens only
(https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues).
"""


class CloudTaskAlarms:
    """`Alarms` over firebase_admin.functions; the composition root initialises the SDK before."""

    def __init__(self, region: str) -> None:
        self._queue = f"locations/{region}/functions/{FUNCTION}"

    def set(self, operation_id: str, due_us: int) -> None:
        from firebase_admin import functions
        from firebase_admin.exceptions import FirebaseError

        # Rounded up to whole seconds: a task that fires too early fails and is repeated (`TooEarly`).
        at = datetime.fromtimestamp(math.ceil(due_us / 1_000_000), UTC)
        try:
            # The emulator answers 400 to a body that is not wrapped in `data`; the SDK does not wrap it.
            queue = functions.task_queue(self._queue)
            queue.enqueue({"data": {"operation": operation_id}}, functions.TaskOptions(schedule_time=at))
        except (FirebaseError, ValueError) as error:
            raise Unavailable(f"Cloud Tasks took no alarm: {error}") from error
