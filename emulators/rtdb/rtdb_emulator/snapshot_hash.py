"""The hash of a snapshot that clients compute too. Pure; cached in inner nodes, lazily."""

import struct
from base64 import b64encode
from hashlib import sha1

from rtdb_emulator.ordering import KeyOrder, ValueOrder, key_order, value_order
from rtdb_emulator.tree import Inner, Node, Scalar, priority_of, scalar_of


def snapshot_hash(node: Node) -> str:
    """The digest of a node; the empty string for an empty one."""
    if isinstance(node, Inner):
        if node.hash is None:
            node.hash = _inner_hash(node)
        return node.hash
    value = scalar_of(node)
    return "" if value is None else _digest(_prefix(node) + _scalar(value))


def _inner_hash(node: Inner) -> str:
    ordered = sorted(node.children.items(), key=_priority_then_key)
    return _digest(_prefix(node) + "".join(f":{key}:{snapshot_hash(below)}" for key, below in ordered))


def _priority_then_key(item: tuple[str, Node]) -> tuple[ValueOrder, KeyOrder]:
    key, node = item
    return value_order(priority_of(node)), key_order(key)


def _prefix(node: Node) -> str:
    priority = priority_of(node)
    return "" if priority is None else f"priority:{_scalar(priority)}:"


def _scalar(value: Scalar) -> str:
    if isinstance(value, bool):
        return "boolean:true" if value else "boolean:false"
    if isinstance(value, str):
        return "string:" + value
    return "number:" + struct.pack(">d", value).hex()


def _digest(text: str) -> str:
    return b64encode(sha1(text.encode(), usedforsecurity=False).digest()).decode()
