"""Measures how long each phase of an answer takes, for one line in the log. Knows no time of day."""

import time
from typing import Final

_US: Final = 1_000


class Stopwatch:
    """Microseconds per phase, in the order in which they ended."""

    __slots__ = ("_last", "spent")

    def __init__(self) -> None:
        self.spent: dict[str, int] = {}
        self._last = time.perf_counter_ns()

    def end(self, phase: str) -> None:
        """Adds the time since the last `end` (or the start) to `phase`."""
        now = time.perf_counter_ns()
        self.spent[phase] = self.spent.get(phase, 0) + (now - self._last) // _US
        self._last = now
