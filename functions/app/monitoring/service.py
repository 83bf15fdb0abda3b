"""Health of the dependencies: they are asked in parallel, with a short timeout, and at most every five seconds.

Owns the verdict. Refuses to know what a dependency is: a probe is a function that returns or raises.
Light on imports, because a cold instance answers its first health question with it.
"""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final, Literal, NamedTuple

from app.kit.clock import Clock, seconds, to_rfc3339
from app.kit.errors import Unavailable
from app.ports import Dependency

HealthStatus = Literal["ok", "degraded", "down"]

PATIENCE_S: Final = 2.0
"""A dependency that needs longer than this to answer counts as failing."""
FRESH_US: Final = seconds(5)
"""A verdict is reused for this long: the route is public, and its callers must not load the dependencies."""


class HealthReport(NamedTuple):
    """The verdict. `failing` gives the reason for each dependency that fails, in words for the public."""

    status: HealthStatus
    at_us: int
    failing: Mapping[str, str]
    dependencies: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """As the route answers it."""
        return {
            "status": self.status,
            "checked_at": to_rfc3339(self.at_us),
            "dependencies": {
                name: {"status": "down", "reason": self.failing[name]} if name in self.failing else {"status": "up"}
                for name in self.dependencies
            },
        }


class Monitoring:
    """The health of this backend, and the start of this instance."""

    def __init__(self, dependencies: tuple[Dependency, ...], clock: Clock, *, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._dependencies = dependencies
        self._clock = clock
        self._last: HealthReport | None = None
        self._lock = threading.Lock()
        self.started_at_us = clock.now_us()

    def health(self) -> HealthReport:
        """The verdict, at most `FRESH_US` old. Concurrent callers share one check."""
        with self._lock:
            now_us = self._clock.now_us()
            if self._last is None or not 0 <= now_us - self._last.at_us < FRESH_US:
                self._last = self._check(now_us)
            return self._last

    def _check(self, now_us: int) -> HealthReport:
        failing: dict[str, str] = {}
        # No `with`: leaving it would wait for the probes that are too slow.
        pool = ThreadPoolExecutor(max_workers=max(1, len(self._dependencies)), thread_name_prefix="probe")
        asked = {dependency.name: pool.submit(dependency.probe) for dependency in self._dependencies}
        done, _ = wait(asked.values(), timeout=self._patience_s)
        pool.shutdown(wait=False, cancel_futures=True)
        for name, answer in asked.items():
            if answer not in done:
                failing[name] = f"no answer within {self._patience_s:g} s"
            elif error := answer.exception():
                failing[name] = error.detail if isinstance(error, Unavailable) else "the check itself failed"
        return HealthReport(self._verdict(failing), now_us, failing, tuple(asked))

    def _verdict(self, failing: Mapping[str, str]) -> HealthStatus:
        if any(dependency.essential and dependency.name in failing for dependency in self._dependencies):
            return "down"
        return "degraded" if failing else "ok"
