"""Checks a ledger entry without trusting the server: canonical bytes, SHA-256, Ed25519, the link to the one before.

Written from the published rules alone (docs and `GET /v1/credits/keys`); nothing of the backend's code is imported.
"""

import base64
import hashlib
from collections.abc import Mapping

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from emulators.demo.backend import Json

_UNHASHED = ("hash", "signature")


def problems(entry: Json, key: Mapping[str, str], previous: Json | None) -> list[str]:
    """What is wrong with an entry; nothing for a good one."""
    found = []
    digest = hashlib.sha256(rfc8785.dumps({name: entry[name] for name in entry if name not in _UNHASHED})).digest()
    if digest.hex() != entry["hash"]:
        found.append("hash")
    if not _signed(digest, str(entry["signature"]), key):
        found.append("signature")
    if sum(posting["amount"] for posting in entry["postings"]) != 0:
        found.append("postings")
    if entry["prev_hash"] != (previous["hash"] if previous else "0" * 64):
        found.append("link")
    return found


def _signed(digest: bytes, signature: str, key: Mapping[str, str]) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(_bytes(key["x"])).verify(_bytes(signature), digest)
    except InvalidSignature:
        return False
    return True


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
