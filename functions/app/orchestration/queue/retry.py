"""When to try again: exponential backoff with jitter. Pure: the caller passes the source of randomness."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.kit.clock import seconds
from app.kit.errors import ensure

Draw = Callable[[int], int]
"""A uniform draw from 0 to n - 1; `random.randrange` in production, a seeded one in a simulation."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """At most `tries` attempts. The delay starts at about `first_us` and doubles each time, up to `most_us`."""

    tries: int = 8
    first_us: int = seconds(2)
    most_us: int = seconds(600)

    def delay_us(self, attempt: int, draw: Draw, *, at_least_us: int = 0) -> int:
        """Microseconds to wait after `attempt` (counted from 1) failed.

        Half of the delay is fixed and half is drawn ("equal jitter",
        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), so that operations which failed
        together are not retried together, and none is at once. `at_least_us` is what the failing side asked for.
        """
        ensure(attempt >= 1, "attempts count from one")
        full = min(self.most_us, self.first_us << min(attempt - 1, 40))
        half = full // 2
        return max(at_least_us, half + draw(half + 1))


PATIENT: Final = RetryPolicy()
"""Eight tries within about four minutes: for effects that must happen."""

STEADFAST: Final = RetryPolicy(tries=20, first_us=seconds(2), most_us=seconds(3600))
"""Twenty tries over five to nine hours: for compensations, which have no fallback."""
