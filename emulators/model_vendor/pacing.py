"""How fast tokens come: a delay before the first, then a steady rate against the clock, so delays never add up.

Owns the schedule. Refuses to know what is sent.
"""

import asyncio
from dataclasses import dataclass
from math import inf

from emulators.model_vendor.faults import Behaviour

BURST = 16
"""Most chunks per write when the schedule does not hold them back."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Milliseconds before the first token, then tokens per second (`inf`: no delay)."""

    first_token_ms: float = 150.0
    tokens_per_second: float = 80.0

    def adjusted(self, behaviour: Behaviour) -> "Speed":
        """This speed with what the request asked for."""
        base = Speed(3000.0, 5.0) if behaviour.slow else self
        first = behaviour.first_token_ms
        rate = behaviour.tokens_per_second
        return Speed(
            base.first_token_ms if first is None else first,
            base.tokens_per_second if rate is None else rate,
        )

    def duration_s(self, tokens: int) -> float:
        """How long a whole answer of so many tokens takes."""
        return self.first_token_ms / 1000 + max(tokens - 1, 0) / self.tokens_per_second

    def generated(self, elapsed_s: float, tokens: int) -> int:
        """How many of `tokens` exist after `elapsed_s`."""
        running = elapsed_s - self.first_token_ms / 1000
        if running < 0:
            return 0
        if self.tokens_per_second == inf:
            return tokens
        return min(tokens, 1 + int(running * self.tokens_per_second))


FAST = Speed(0.0, inf)


class Pacer:
    """The schedule of one answer, started now."""

    __slots__ = ("_loop", "_open", "_speed", "_start")

    def __init__(self, speed: Speed) -> None:
        self._loop = asyncio.get_running_loop()
        self._speed = speed
        self._start = self._loop.time()
        self._open = False

    async def until(self, token: int) -> int:
        """Wait for token number `token` (from 0); how many tokens the clock allows in total by then."""
        rate = self._speed.tokens_per_second
        begin = self._start + self._speed.first_token_ms / 1000
        if rate == inf:
            burst = BURST if self._open else 1
            await asyncio.sleep(0.0 if self._open else max(begin - self._loop.time(), 0.0))
            self._open = True
            return token + burst
        delay = begin + token / rate - self._loop.time()
        if delay > 0:
            await asyncio.sleep(delay)
        return max(token, int((self._loop.time() - begin) * rate)) + 1

    def generated(self, tokens: int) -> int:
        """How many of `tokens` exist by now."""
        return self._speed.generated(self._loop.time() - self._start, tokens)

    def pause(self, seconds: float) -> None:
        """Shift what is still to come, after a stall."""
        self._start += seconds
