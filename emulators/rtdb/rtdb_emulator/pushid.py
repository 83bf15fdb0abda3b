"""Push ids: 20 characters that sort by the time they were made. Clock and randomness come in."""

from collections.abc import Callable
from typing import Final

ALPHABET: Final = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
_RANDOM_BITS: Final = 72


class PushIds:
    """Strictly ascending ids, also within one millisecond and when the clock steps back."""

    def __init__(self, random_bits: Callable[[int], int]) -> None:
        self._random_bits = random_bits
        self._last_ms = -1
        self._random = 0

    def next(self, now_ms: int) -> str:
        """A new id for this moment."""
        if now_ms > self._last_ms:
            self._last_ms = now_ms
            # One bit less than there is room for, so that counting up cannot overflow within a millisecond.
            self._random = self._random_bits(_RANDOM_BITS - 1)
        else:
            self._random += 1
        return _encode(self._last_ms, 8) + _encode(self._random, 12)


def _encode(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        digits.append(ALPHABET[number & 63])
        number >>= 6
    return "".join(reversed(digits))
