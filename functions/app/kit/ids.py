"""Opaque, URL-safe ids that sort by creation time: 48 bits of milliseconds, 80 random bits, in Crockford base 32."""

import hashlib
import secrets
from typing import Final, Protocol

from app.kit.clock import Clock

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"


class Ids(Protocol):
    """A source of fresh ids; a simulation hands in a seeded one."""

    def new(self, kind: str) -> str:
        """A fresh id such as `msg_01j9...`; `kind` is a short prefix that says what it names."""
        ...


class RandomIds:
    """Ids from the clock and the system's entropy."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def new(self, kind: str) -> str:
        return sortable(kind, self._clock.now_us() // 1000, secrets.randbits(80))


def sortable(kind: str, at_ms: int, entropy: int) -> str:
    """The id made of these parts: `kind`, an underscore, 26 characters."""
    number = (at_ms << 80) | (entropy & ((1 << 80) - 1))
    text = "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -5, -5))
    return f"{kind}_{text}"


def derived(kind: str, *parts: str) -> str:
    """An id that depends on its parts alone, such as the document id of an idempotency key.

    Parts are joined with a length before each, so that `("ab", "c")` and `("a", "bc")` differ.
    """
    joined = "".join(f"{len(part)}:{part}" for part in parts)
    number = int.from_bytes(hashlib.sha256(joined.encode()).digest()[:16], "big")
    text = "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -5, -5))
    return f"{kind}_{text}"
