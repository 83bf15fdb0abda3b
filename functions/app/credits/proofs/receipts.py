"""Statements that anybody can check with a JOSE library and our key set: receipts, and signatures over whole reports.

JWS compact serialization (RFC 7515) with `alg: EdDSA` (RFC 8037). Stores nothing.
"""

from app.credits.core.entry import encode_bytes
from app.credits.proofs.signing import Signer
from app.kit.canonical import canonical
from app.kit.stores.documents import Fields

RECEIPT_TYPE = "credits-receipt+jws"


def receipt(entry: Fields, signer: Signer) -> str:
    """The entry, exactly as it is hashed and stored, in a JWS."""
    return jws(canonical(entry), signer, RECEIPT_TYPE)


def jws(payload: bytes, signer: Signer, type: str) -> str:
    """`payload` in a JWS, signed with the active key."""
    header = canonical({"alg": "EdDSA", "kid": signer.kid, "typ": type})
    signed = f"{encode_bytes(header)}.{encode_bytes(payload)}"
    return f"{signed}.{encode_bytes(signer.sign(signed.encode()))}"
