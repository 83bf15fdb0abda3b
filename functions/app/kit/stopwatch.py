"""How long each phase of an answer took, for one line in the log. Says nothing about what time it is."""

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
        """The time since the last phase ended is this one's."""
        now = time.perf_counter_ns()
        self.spent[phase] = self.spent.get(phase, 0) + (now - self._last) // _US
        self._last = now
