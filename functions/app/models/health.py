"""The recent health of each model, as this instance saw it. It is shown, and of two models the well one is chosen.

Whether a model is asked at all is decided by its circuit.

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
SEVERAL: Final = 2
"""So many users must have met failures before a model counts as unwell for the others."""
_OLDEST_US: Final = 10 * 60 * 1_000_000


@dataclass(frozen=True, slots=True)
class Recent:
    """What a model did in the last ten minutes: how many requests it answered or failed, and how many it answered.

    `first_text_us`: how long its answers took to their first text, the median; None when there was none.
    """

    requests: int
    answered: int
    first_text_us: int | None


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How a request ended: answered, its first text after so long, if there was any; or failed, for this account."""

    at_us: int
    answered: bool
    first_text_us: int | None = None
    account: str = ""


class ModelHealth:
    """The recent outcomes per model. Thread-safe."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._lock = threading.Lock()
        self._seen: dict[str, deque[_Outcome]] = {}
        self._gone: dict[str, int] = {}
        self._refused: dict[str, set[str]] = {}

    @property
    def now_us(self) -> int:
        """The time by the clock that outcomes are noted with."""
        return self._now_us()

    def answered(self, model: str, first_text_us: int | None = None) -> None:
        """Notes that the model gave a complete answer, and how long its first text was waited for, if it wrote one."""
        with self._lock:
            self._gone.pop(model, None)
            self._refused.pop(model, None)
        self._note(model, _Outcome(self._now_us(), answered=True, first_text_us=first_text_us))

    def failed(self, model: str, account: str) -> None:
        """Notes that the vendor's side failed for this account."""
        self._note(model, _Outcome(self._now_us(), answered=False, account=account))

    def gone(self, model: str, account: str) -> None:
        """Notes that the vendor does not know the model: it is down until it answers, or for ten minutes."""
        with self._lock:
            self._gone[model] = self._now_us()
        self.failed(model, account)

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
        recent = [one.answered for one in self._recent(model)]
        if len(recent) >= 3 and not any(recent[-3:]):
            return "down"
        return "degraded" if recent.count(False) * 5 > len(recent) else "up"

    def well(self, model: str) -> bool:
        """Whether it answers nearly all of its requests. What one user alone met makes it unwell for nobody."""
        met = {one.account for one in self._recent(model) if not one.answered}
        return len(met) < SEVERAL or self.of(model) == "up"

    def recent(self, model: str) -> Recent:
        """What it did lately, of the last `REMEMBERED` requests."""
        seen = self._recent(model)
        times = [one.first_text_us for one in seen if one.first_text_us is not None]
        return Recent(len(seen), sum(one.answered for one in seen), median_low(times) if times else None)

    def _recent(self, model: str) -> list[_Outcome]:
        since = self._now_us() - _OLDEST_US
        with self._lock:
            return [one for one in self._seen.get(model, ()) if one.at_us >= since]

    def _note(self, model: str, outcome: _Outcome) -> None:
        with self._lock:
            self._seen.setdefault(model, deque(maxlen=REMEMBERED)).append(outcome)
