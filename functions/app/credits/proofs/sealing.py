"""Checkpoints: the heads of all changed accounts in one signed Merkle root, each checkpoint chained to the one before.

A chain alone cannot show that its tail was cut. A checkpoint can: it records the last entry of each account, under one
root for all accounts, so that an operator cannot remove one account's entries without breaking a root that everybody
holds. Leaves are salted: a proof for one account says nothing about its neighbours. RFC 6962 tree, Ed25519 signature.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.credits.core.account import GENESIS_HASH
from app.credits.core.entry import Signs, encode_bytes
from app.credits.proofs import merkle
from app.credits.proofs.signing import KeyRing
from app.credits.proofs.verification import Link
from app.kit.canonical import canonical
from app.kit.clock import to_rfc3339
from app.kit.errors import InvariantViolation
from app.kit.stores.documents import Fields, Value, int_field, text_field

TYPE: Final = "credits-checkpoint"
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_UNSIGNED: Final = ("hash", "signature")
_SEAL: Final = frozenset({"checkpoint", "account", "sequence", "head_hash", "salt", "index", "proof"})
_CHECKPOINT: Final = frozenset(
    {"type", "number", "size", "root", "sealed_at", "through", "prev_hash", "key_id", "hash", "signature"}
)


@dataclass(frozen=True, slots=True)
class SealedHead:
    """The last entry of one account."""

    account: str
    sequence: int
    head_hash: str


@dataclass(frozen=True, slots=True)
class Sealed:
    """A checkpoint and, for each account in it, the seal that proves it."""

    checkpoint: Fields
    seals: Mapping[str, Fields]
    leaves: tuple[Fields, ...]


@dataclass(frozen=True, slots=True)
class Previous:
    """The checkpoint before."""

    number: int = 0
    hash: str = GENESIS_HASH


@dataclass(frozen=True, slots=True)
class SealedLink:
    """The last sealed entry of an account, what the chain had come to there, and the checkpoint that sealed it."""

    link: Link
    number: int

    @property
    def sequence(self) -> int:
        """Sequence of that entry."""
        return self.link.sequence

    @property
    def head_hash(self) -> str:
        """Hash of that entry."""
        return self.link.head_hash


@dataclass(frozen=True, slots=True)
class Coverage:
    """The last checkpoint that covers an account, and the account's place in it."""

    seal: Fields
    checkpoint: Fields

    def holds(self, keys: KeyRing) -> bool:
        """Whether signature and inclusion proof are right."""
        return checkpoint_holds({**self.checkpoint}, keys) and seal_holds({**self.seal}, self.checkpoint)

    @property
    def sequence(self) -> int:
        """Sequence of the last entry that it covers."""
        return int_field(self.seal, "sequence")

    @property
    def head_hash(self) -> str:
        """Hash of that entry."""
        return text_field(self.seal, "head_hash")


def seal_heads(heads: Sequence[SealedHead], previous: Previous, at_us: int, through_us: int, signer: Signs) -> Sealed:
    """One checkpoint over `heads`. Deterministic: the same heads under the same key give the same root."""
    number = previous.number + 1
    leaves = [_leaf(head, number, signer) for head in sorted(heads, key=lambda head: head.account)]
    levels = merkle.levels_of([merkle.leaf_hash(canonical(leaf)) for leaf in leaves])
    body: dict[str, Value] = {
        "type": TYPE,
        "number": number,
        "size": len(leaves),
        "root": merkle.root_of(levels[0]).hex(),
        "sealed_at": to_rfc3339(at_us),
        "through": to_rfc3339(through_us),
        "prev_hash": previous.hash,
        "key_id": signer.kid,
    }
    hashed = hashlib.sha256(canonical(body)).digest()
    checkpoint = {**body, "hash": hashed.hex(), "signature": encode_bytes(signer.sign(hashed))}
    seals: dict[str, Fields] = {}
    for index, leaf in enumerate(leaves):
        proof = [step.hex() for step in merkle.inclusion_proof(levels, index)]
        seals[str(leaf["account"])] = {"checkpoint": number, **leaf, "index": index, "proof": proof}
    return Sealed(checkpoint, seals, tuple(leaves))


def checkpoint_holds(checkpoint: object, keys: KeyRing) -> bool:
    """Whether a checkpoint has its shape, its hash and a signature of one of `keys`."""
    if not isinstance(checkpoint, Mapping) or checkpoint.keys() != _CHECKPOINT or checkpoint["type"] != TYPE:
        return False
    try:
        body = canonical({name: value for name, value in checkpoint.items() if name not in _UNSIGNED})
    except InvariantViolation:
        return False
    hashed = hashlib.sha256(body).digest()
    if hashed.hex() != checkpoint["hash"]:
        return False
    return keys.verifies(str(checkpoint["key_id"]), str(checkpoint["signature"]), hashed)


def seal_holds(seal: object, checkpoint: Mapping[str, object]) -> bool:
    """Whether the seal's leaf stands under the checkpoint's root."""
    if not isinstance(seal, Mapping) or seal.keys() != _SEAL or not _same(seal["checkpoint"], checkpoint["number"]):
        return False
    index, size, proof = seal["index"], checkpoint["size"], seal["proof"]
    if type(index) is not int or type(size) is not int or not isinstance(proof, list):
        return False
    leaf = {name: seal[name] for name in ("account", "sequence", "head_hash", "salt")}
    try:
        if not all(isinstance(step, str) and _HASH.fullmatch(step) for step in proof):
            return False
        path = [bytes.fromhex(step) for step in proof]
        root = bytes.fromhex(str(checkpoint["root"]))
        return merkle.includes(root, size, index, merkle.leaf_hash(canonical(leaf)), path)
    except (ValueError, TypeError, InvariantViolation):
        return False


def _same(one: object, other: object) -> bool:
    """Whether both are equal and of one type: in Python `True` equals 1."""
    return type(one) is type(other) and one == other


def _leaf(head: SealedHead, number: int, signer: Signs) -> dict[str, Value]:
    # Ed25519 is deterministic and nobody else can compute it, so a hash of it is a salt that needs no storage.
    secret = signer.sign(canonical({"salt": head.account, "checkpoint": number}))
    salt = hashlib.sha256(secret).hexdigest()[:32]
    return {"account": head.account, "sequence": head.sequence, "head_hash": head.head_hash, "salt": salt}
