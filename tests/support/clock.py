"""A clock and ids that a test or a simulation controls."""

import random
import threading

from app.kit.ids import sortable

_START_US = 1_800_000_000_000_000


class ManualClock:
    """A clock that moves only when it is told to."""

    def __init__(self, at_us: int = _START_US) -> None:
        self._at_us = at_us

    def now_us(self) -> int:
        return self._at_us

    def advance(self, *, minutes: int = 0, seconds: int = 0, us: int = 0) -> None:
        """Moves forward; never back."""
        self._at_us += minutes * 60_000_000 + seconds * 1_000_000 + us

    def set(self, at_us: int) -> None:
        """Jumps to a time, also to an earlier one, because clocks of machines differ."""
        self._at_us = at_us


def no_pause(attempt: int) -> None:
    """A `Pause` that returns at once."""


class SeededIds:
    """The same ids for the same seed; they still sort by creation."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._count = 0

    def new(self, kind: str) -> str:
        with self._lock:
            self._count += 1
            return sortable(kind, 1_800_000_000_000 + self._count, self._random.getrandbits(80))
