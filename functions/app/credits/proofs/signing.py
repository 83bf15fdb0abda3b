"""The ledger's keys: Ed25519, named by RFC 7638 thumbprints, rotated without touching an old entry.

The private seed comes from `LEDGER_SIGNING_KEY`; retired public keys stay published, so that old entries verify. Knows
nothing of accounts or of where public keys are stored.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.credits.core.entry import encode_bytes
from app.kit.canonical import canonical
from app.kit.errors import Invalid

_SEED_BYTES: Final = 32
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """The first and last time that a key may sign, spelled as the times of entries; None for an open end."""

    not_before: str | None = None
    not_after: str | None = None

    def holds(self, at: str) -> bool:
        """Whether something dated `at` may bear the key's signature."""
        return (self.not_before or at) <= at <= (self.not_after or at)


class Signer:
    """The active private key."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != _SEED_BYTES:
            raise ValueError("LEDGER_SIGNING_KEY must be 32 bytes in base64url")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = encode_bytes(self._key.public_key().public_bytes_raw())
        self._kid = thumbprint(self.public)

    @property
    def kid(self) -> str:
        """Thumbprint of the public key."""
        return self._kid

    def sign(self, message: bytes) -> bytes:
        """The signature of `message`."""
        return self._key.sign(message)


class KeyRing:
    """All public keys that ever signed, by `kid`."""

    def __init__(self, public: Mapping[str, str], lifetimes: Mapping[str, Lifetime] | None = None) -> None:
        """`public` maps a `kid` to the raw key in base64url; a key without a lifetime signed at any time.

        Raises:
            Invalid: a key is no Ed25519 key, or its name is not its thumbprint.
        """
        self.public = dict(public)
        self._lifetimes = dict(lifetimes or {})
        self._keys = {kid: _load(kid, x) for kid, x in public.items()}

    def __contains__(self, kid: object) -> bool:
        return kid in self._keys

    def verifies(self, kid: str, signature: str, message: bytes) -> bool:
        """Whether `signature` (base64url) is that key's over `message`."""
        key = self._keys.get(kid)
        if key is None:
            return False
        try:
            key.verify(decode_bytes(signature), message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def add(self, kid: str, x: str, lifetime: Lifetime) -> None:
        """Adds a key, or gives a known one its lifetime; raises Invalid as the constructor does."""
        self._keys[kid] = _load(kid, x)
        self.public[kid], self._lifetimes[kid] = x, lifetime

    def lived(self, kid: str, at: str) -> bool:
        """Whether that key may sign what is dated `at` (T-102)."""
        return self._lifetimes.get(kid, Lifetime()).holds(at)

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The keys as a JWK set (RFC 7517, RFC 8037); the bounds of a lifetime are members of ours."""
        return {"keys": [{**jwk(kid, x), **self._bounds(kid)} for kid, x in sorted(self.public.items())]}

    def _bounds(self, kid: str) -> dict[str, str]:
        life = self._lifetimes.get(kid, Lifetime())
        bounds = {"not_before": life.not_before, "not_after": life.not_after}
        return {name: at for name, at in bounds.items() if at is not None}

    @classmethod
    def from_jwks(cls, jwks: object) -> "KeyRing":
        """From a JWK set; raises Invalid when it is none, or holds a key of another type."""
        keys = jwks.get("keys") if isinstance(jwks, Mapping) else None
        if not isinstance(keys, list) or not keys:
            raise Invalid("A key file is a JWK set with at least one key")
        public: dict[str, str] = {}
        lifetimes: dict[str, Lifetime] = {}
        for key in keys:
            if not isinstance(key, Mapping) or key.get("kty") != "OKP" or key.get("crv") != "Ed25519":
                raise Invalid("Every key must be an Ed25519 key (kty OKP)")
            x = key.get("x")
            if not isinstance(x, str):
                raise Invalid("Every key needs its public part, x")
            kid = thumbprint(x) if x.isascii() else ""
            if key.get("kid", kid) != kid:
                raise Invalid("A key's kid must be its RFC 7638 thumbprint")
            public[kid] = x
            lifetimes[kid] = Lifetime(_bound(key, "not_before"), _bound(key, "not_after"))
        return cls(public, lifetimes)


def jwk(kid: str, x: str) -> dict[str, str]:
    """One public key as a JWK."""
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig", "alg": "EdDSA"}


def thumbprint(x: str) -> str:
    """RFC 7638: SHA-256 over the canonical required members."""
    return encode_bytes(hashlib.sha256(canonical({"crv": "Ed25519", "kty": "OKP", "x": x})).digest())


def decode_bytes(text: str) -> bytes:
    """Decodes base64url without padding; raises ValueError for any but the canonical text."""
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if encode_bytes(raw) != text:
        raise ValueError("not the canonical base64url of its bytes")
    return raw


def _bound(key: Mapping[object, object], name: str) -> str | None:
    at = key.get(name)
    if at is not None and not (isinstance(at, str) and _TIME.fullmatch(at)):
        raise Invalid(f"A key's {name} must be a time such as 2026-11-21T08:30:00.000250Z")
    return at


def _load(kid: str, x: str) -> Ed25519PublicKey:
    try:
        key = Ed25519PublicKey.from_public_bytes(decode_bytes(x))
    except ValueError as error:
        raise Invalid("Not an Ed25519 public key", kid=kid) from error
    if thumbprint(x) != kid:
        raise Invalid("A key's kid must be its RFC 7638 thumbprint", kid=kid)
    return key
