"""The recent health of each model, as this instance saw it. It is only shown; who is asked is decided by its circuit.

Refuses to know why a model failed, or what is done about it.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median_low
from typing import Final, Literal

HealthState = Literal["up", "degraded", "down"]

REMEMBERED: Final = 20
"""Outcomes per model."""
REFUSED: Final = 5
"""When one model has refused the requests of so many users in a row, the fault is ours and a person is alarmed."""
_OLDEST_US: Final = 10 * 60 * 1_000_000


@dataclass(frozen=True, slots=True)
class Recent:
    """What a model did in the last ten minutes: how many requests it answered or failed, and how many it answered.

    `first_text_us`: how long its answers took to their first text, the median; None when there was none.
    """

    requests: int
    answered: int
    first_text_us: int | None


class ModelHealth:
    """The recent outcomes per model. Thread-safe."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._lock = threading.Lock()
        self._seen: dict[str, deque[tuple[int, int | None]]] = {}
        """When a request ended, and in microseconds when its first text had come; None for a failure."""
        self._gone: dict[str, int] = {}
        self._refused: dict[str, set[str]] = {}

    @property
    def now_us(self) -> int:
        """The time by the clock that outcomes are noted with."""
        return self._now_us()

    def answered(self, model: str, first_text_us: int = 0) -> None:
        """Notes that the model gave a complete answer, and how long its first text was waited for."""
        with self._lock:
            self._gone.pop(model, None)
            self._refused.pop(model, None)
        self._note(model, first_text_us)

    def failed(self, model: str) -> None:
        """Notes that the vendor's side failed."""
        self._note(model, None)

    def gone(self, model: str) -> None:
        """Notes that the vendor does not know the model: it is down until it answers, or for ten minutes."""
        with self._lock:
            self._gone[model] = self._now_us()
        self._note(model, None)

    def refused(self, model: str, account: str) -> bool:
        """Notes that the vendor refused a user's request, which makes no model sick.

        Returns True once when `REFUSED` accounts were refused in a row, with no answer in between.
        """
        with self._lock:
            accounts = self._refused.setdefault(model, set())
            before = len(accounts)
            if before < REFUSED:
                accounts.add(account)
            return before < len(accounts) == REFUSED

    def of(self, model: str) -> HealthState:
        """In the last ten minutes: `down` if the last three failed, `degraded` if more than a fifth did, else `up`."""
        since = self._now_us() - _OLDEST_US
        with self._lock:
            if self._gone.get(model, since - 1) >= since:
                return "down"
            recent = [took is not None for at, took in self._seen.get(model, ()) if at >= since]
        if len(recent) >= 3 and not any(recent[-3:]):
            return "down"
        return "degraded" if recent.count(False) * 5 > len(recent) else "up"

    def recent(self, model: str) -> Recent:
        """What it did lately, of the last `REMEMBERED` requests."""
        since = self._now_us() - _OLDEST_US
        with self._lock:
            seen = [took for at, took in self._seen.get(model, ()) if at >= since]
        times = [took for took in seen if took is not None]
        return Recent(len(seen), len(times), median_low(times) if times else None)

    def _note(self, model: str, first_text_us: int | None) -> None:
        with self._lock:
            self._seen.setdefault(model, deque(maxlen=REMEMBERED)).append((self._now_us(), first_text_us))
