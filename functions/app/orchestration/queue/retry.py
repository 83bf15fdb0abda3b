"""When to try again: exponential backoff with jitter, from a source that the caller hands in. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.kit.clock import seconds
from app.kit.errors import ensure

Draw = Callable[[int], int]
"""A uniform draw from 0 to n - 1; `random.randrange` in production, a seeded one in a simulation."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`tries` in all, waiting about `first_us`, doubled each time, never more than `most_us`."""

    tries: int = 8
    first_us: int = seconds(2)
    most_us: int = seconds(600)

    def delay_us(self, attempt: int, draw: Draw, *, at_least_us: int = 0) -> int:
        """How long to wait after `attempt` (from 1) failed.

        Half of the delay is fixed and half is drawn ("equal jitter",
        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), so that those who failed together
        do not come back together, and none at once. `at_least_us` is what the failing side asked for.
        """
        ensure(attempt >= 1, "attempts count from one")
        full = min(self.most_us, self.first_us << min(attempt - 1, 40))
        half = full // 2
        return max(at_least_us, half + draw(half + 1))


PATIENT: Final = RetryPolicy()
"""About twenty minutes of trying: for effects that must happen."""

STEADFAST: Final = RetryPolicy(tries=20, first_us=seconds(2), most_us=seconds(3600))
"""About twelve hours: for compensations, which have no other way out."""
