"""Limits requests by subject: a user, or an address before anybody signed in."""

import threading
from collections.abc import Mapping
from typing import Final

from app.api.rates.limits import RateName, Standing, TooManyRequests
from app.kit import telemetry
from app.kit.clock import Clock, seconds
from app.kit.errors import Failure
from app.kit.stores.realtime import Json, Realtime
from app.rates.counting import WINDOW_US, Count, window_of

MOST_SUBJECTS: Final = 20_000
"""Whose counts an instance remembers. One that meets more forgets all, and lets each begin again."""
MOST_ASKING: Final = 8
"""Requests that wait for the store at once; the others pass by what is known. One that hangs holds no more threads."""
_AWAY_US: Final = seconds(10)
"""For so long a store that did not answer is not asked again: each instance limits by what it counts itself."""
_CLEARED: Final = 15
"""Minutes whose counts each tick of the sweep removes, so that one that stood still for some minutes leaves nothing."""

_log = telemetry.log("rates")


class SharedLimiter:
    """Counts of all instances stand in the Realtime Database below `/rates`. Thread-safe."""

    def __init__(self, realtime: Realtime, clock: Clock, limits: Mapping[RateName, int]) -> None:
        """`limits` are requests a minute; a name without one, or with 0, is not limited."""
        self._realtime = realtime
        self._clock = clock
        self._limits = limits
        self._lock = threading.Lock()
        self._counts: dict[tuple[RateName, str], tuple[int, Count]] = {}
        self._asking: set[tuple[RateName, str]] = set()
        self._away_until_us = 0

    def hit(self, name: RateName, subject: str, times: int = 1) -> Standing | None:
        """See `RateLimiter`. The store is asked outside of the lock, by one thread for each subject."""
        limit = self._limits.get(name, 0) * times
        if not limit:
            return None
        key, now_us = (name, subject), self._clock.now_us()
        window, ends_us = window_of(subject, now_us)
        with self._lock:
            count = self._count(key, window)
            if count.left(limit) <= 0:
                raise _refusal(name, limit, ends_us - now_us)
            count = count._replace(used=count.used + 1)
            self._counts[key] = window, count
            asks = count.must_ask(limit) and key not in self._asking and now_us >= self._away_until_us
            asks = asks and len(self._asking) < MOST_ASKING
            if asks:
                self._asking.add(key)
        if asks:
            count = self._ask(key, window, limit)
        if count.left(limit) < 0:
            raise _refusal(name, limit, ends_us - now_us)
        return Standing(name, limit, count.left(limit), _whole_seconds(ends_us - now_us))

    def check(self, name: RateName, subject: str, times: int = 1) -> None:
        """See `RateLimiter`."""
        limit = self._limits.get(name, 0) * times
        now_us = self._clock.now_us()
        window, ends_us = window_of(subject, now_us)
        with self._lock:
            stored = self._counts.get((name, subject))
        if limit and stored is not None and stored[0] == window and stored[1].left(limit) <= 0:
            raise _refusal(name, limit, ends_us - now_us)

    def clear(self, _: int) -> int:
        """Removes the counts of past minutes."""
        last = self._clock.now_us() // WINDOW_US - 1
        self._realtime.update({_path(last - number): None for number in range(_CLEARED)})
        return 0

    def _count(self, key: tuple[RateName, str], window: int) -> Count:
        stored = self._counts.get(key)
        if stored is not None and stored[0] == window:
            return stored[1]
        if stored is None and len(self._counts) >= MOST_SUBJECTS:
            self._counts.clear()
        return Count()

    def _ask(self, key: tuple[RateName, str], window: int, limit: int) -> Count:
        """Tells the store what passed, and takes the next part. Other threads let pass what is left meanwhile."""
        name, subject = key
        asked = Count()

        def decide(stored: Json) -> Json:
            nonlocal asked
            with self._lock:
                asked = self._count(key, window).asked(stored, limit)
            return asked.shared

        try:
            self._realtime.transact(f"{_path(window)}/{name}/{subject}", decide)
        except Failure as failure:
            _log.warning("rate_limits_unshared", reason=str(failure))
            self._away_until_us = self._clock.now_us() + _AWAY_US
            asked = Count()
        with self._lock:
            self._asking.discard(key)
            now = self._count(key, window)
            if asked.told and now.used:
                now = now._replace(told=asked.told, others=asked.others)
                self._counts[key] = window, now
        return now


def _path(window: int) -> str:
    return f"rates/m{window}"


def _refusal(name: RateName, limit: int, left_us: int) -> TooManyRequests:
    return TooManyRequests(Standing(name, limit, 0, _whole_seconds(left_us)))


def _whole_seconds(us: int) -> int:
    return max(1, -(-us // seconds(1)))
