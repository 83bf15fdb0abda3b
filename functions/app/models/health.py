"""The recent health of each model, as this instance saw it. It is only shown: no request is refused because of it.

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
    """The recent outcomes per model. Thread-safe."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._lock = threading.Lock()
        self._seen: dict[str, deque[tuple[int, bool]]] = {}

    def answered(self, model: str) -> None:
        """Notes that the model gave a complete answer."""
        self._note(model, True)

    def failed(self, model: str) -> None:
        """Notes that the vendor's side failed."""
        self._note(model, False)

    def of(self, model: str) -> HealthState:
        """In the last ten minutes: `down` if the last three failed, `degraded` if more than a fifth did, else `up`."""
        since = self._now_us() - _OLDEST_US
        with self._lock:
            recent = [good for at, good in self._seen.get(model, ()) if at >= since]
        if len(recent) >= 3 and not any(recent[-3:]):
            return "down"
        return "degraded" if recent.count(False) * 5 > len(recent) else "up"

    def _note(self, model: str, good: bool) -> None:
        with self._lock:
            self._seen.setdefault(model, deque(maxlen=REMEMBERED)).append((self._now_us(), good))
