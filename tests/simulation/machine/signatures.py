"""Signatures that were verified once hold for ever: a sweep verifies every chain, and there are forty in a seed.

What is verified, and when, stays with the code under test; only the curve is not computed again for the same bytes.
"""

from typing import Final, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from app.credits.proofs.signing import KeyRing

_MOST: Final = 20_000


class _Remembering:
    """A public key of a key ring."""

    def __init__(self, key: Ed25519PublicKey, holds: dict[tuple[bytes, bytes], None]) -> None:
        self._key, self._holds = key, holds

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raises InvalidSignature, each time anew, where it does not hold."""
        if (signature, message) in self._holds:
            return
        self._key.verify(signature, message)
        if len(self._holds) >= _MOST:
            self._holds.clear()
        self._holds[signature, message] = None


class _Keys(dict[str, Ed25519PublicKey]):
    """The keys of a ring, which takes new ones and reads known ones again."""

    def __setitem__(self, kid: str, key: Ed25519PublicKey) -> None:
        super().__setitem__(kid, cast(Ed25519PublicKey, _Remembering(key, _HOLDS.setdefault(kid, {}))))


_HOLDS: Final[dict[str, dict[tuple[bytes, bytes], None]]] = {}
"""By key, what was verified in this process."""


def remember_signatures(keys: KeyRing) -> None:
    """Makes the keys of a ring remember what they have verified."""
    remembering = _Keys()
    for kid, key in keys._keys.items():
        remembering[kid] = key
    keys._keys = remembering
