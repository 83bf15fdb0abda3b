"""How the models have been doing lately, as this instance saw it: enough to warn a user, never a reason to refuse.

Refuses to know why a model failed.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

HealthState = Literal["up", "degraded", "down"]

REMEMBERED: Final = 20
"""Outcomes per model."""
_OLDEST_US: Final = 10 * 60 * 1_000_000


class ModelHealth:
    """The recent outcomes. Thread-safe."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._lock = threading.Lock()
        self._seen: dict[str, deque[tuple[int, bool]]] = {}

    def answered(self, model: str) -> None:
        """The model gave a whole answer."""
        self._note(model, True)

    def failed(self, model: str) -> None:
        """The model's side failed."""
        self._note(model, False)

    def of(self, model: str) -> HealthState:
        """`down` when the last three all failed, `degraded` when a fifth did, of the last ten minutes; else `up`."""
        since = self._now_us() - _OLDEST_US
        with self._lock:
            recent = [good for at, good in self._seen.get(model, ()) if at >= since]
        if len(recent) >= 3 and not any(recent[-3:]):
            return "down"
        return "degraded" if recent.count(False) * 5 > len(recent) else "up"

    def _note(self, model: str, good: bool) -> None:
        with self._lock:
            self._seen.setdefault(model, deque(maxlen=REMEMBERED)).append((self._now_us(), good))
