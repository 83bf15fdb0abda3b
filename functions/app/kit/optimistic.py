"""Optimistic writes: what reads, decides and writes is done again when another writer was faster.

The database refuses a write over a document that moved (`Conflict`). Nothing was written then, and the one loop here
waits and calls again, up to a bound. The wait is drawn between nothing and a ceiling that doubles ("full jitter",
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), so that writers who met once do not meet
again at every try.

A service does not sleep by itself: whoever builds it hands it a `Pause`, which is made of the ports (`full_jitter`).
"""

from collections.abc import Callable
from typing import Final, TypeVar

from app.kit.concurrency import Concurrency
from app.kit.errors import Conflict, Unavailable

Pause = Callable[[int], None]
"""Waits after failed attempt number n, counted from 1."""

TRIES: Final = 12
"""Enough for some writers that meet by chance: whoever gives up has waited three quarters of a second on average."""

_FIRST_US: Final = 4_000
_LONGEST_US: Final = 256_000

T = TypeVar("T")


class Contended(Unavailable):
    """Other writers were faster too many times in a row."""


def jitter_us(
    attempt: int, draw: Callable[[int], int], *, first_us: int = _FIRST_US, longest_us: int = _LONGEST_US
) -> int:
    """How long to wait after failed attempt number `attempt`: anything below a ceiling that starts at `first_us`,
    doubles with each attempt and stays at `longest_us`. `draw` gives a random number below its argument.
    """
    return draw(min(longest_us, first_us << (attempt - 1)))


def full_jitter(concurrency: Concurrency, draw: Callable[[int], int]) -> Pause:
    """Sleeps for `jitter_us` after each failed attempt."""
    return lambda attempt: concurrency.sleep_us(jitter_us(attempt, draw))


def _nothing() -> None:
    """For an `attempt` that reads by itself."""


def optimistic(
    attempt: Callable[[], T], *, pause: Pause, reread: Callable[[], object] = _nothing, tries: int = TRIES
) -> T:
    """Calls `attempt`, which reads, decides and writes, until it meets no `Conflict`: at most `tries` times.

    `reread` is called before every attempt but the first. It is for an `attempt` that begins on what was read before,
    which saves a read where nobody was faster.

    Raises:
        Contended: every attempt met a conflict; the last one is its cause.
    """
    for number in range(1, tries):
        try:
            return attempt()
        except Conflict:
            pause(number)
        reread()
    try:
        return attempt()
    except Conflict as conflict:
        raise Contended(f"other writers were faster {tries} times in a row: {conflict}") from conflict
