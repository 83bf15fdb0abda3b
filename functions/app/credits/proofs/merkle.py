"""Merkle trees as RFC 6962 section 2.1 defines them: root, inclusion proofs, their verification. Pure."""

import hashlib
from collections.abc import Sequence


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf; its prefix differs from that of inner nodes, so that none of these passes for a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes; without leaves, the hash of the empty string."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    return levels_of(leaves)[-1][0]


def levels_of(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """All levels from the leaves up. A node without a sibling moves up as it is, which gives RFC 6962's shape."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        above = [node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
        if len(below) % 2:
            above.append(below[-1])
        levels.append(above)
    return levels


def inclusion_proof(levels: Sequence[Sequence[bytes]], index: int) -> list[bytes]:
    """The audit path of leaf `index`: its siblings from the bottom up."""
    path = []
    for level in levels[:-1]:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        index //= 2
    return path


def includes(root: bytes, size: int, index: int, leaf: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` leads from `leaf` at `index` to the root of a tree of `size` leaves (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    here, last, hashed = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if here % 2 or here == last:
            hashed = node_hash(sibling, hashed)
            while here % 2 == 0 and here:
                here, last = here // 2, last // 2
        else:
            hashed = node_hash(hashed, sibling)
        here, last = here // 2, last // 2
    return last == 0 and hashed == root
