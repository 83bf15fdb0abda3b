"""The node of a circuit in the Realtime Database: what one instance tells the others of it. Pure."""

import re
from typing import Final, NamedTuple
from urllib.parse import unquote

from app.kit.stores.realtime import Json
from app.models.circuits.circuit import Circuit

_MOST: Final = 1 << 53
"""What a node holds is smaller: JavaScript and the database keep such numbers exactly."""
_UNFIT: Final = re.compile(r"[.$#\[\]/%]")


class Told(NamedTuple):
    """A circuit, and when it last opened or closed by the clock of who told it."""

    circuit: Circuit
    at_us: int


def read(found: Json) -> dict[str, Told | None]:
    """The circuits in the nodes by model; None for what cannot be read."""
    return {unquote(key): read_node(node) for key, node in found.items()} if isinstance(found, dict) else {}


def key_of(model: str) -> str:
    """The name of a model as a key of the Realtime Database, which takes none of `. $ # [ ] /`: percent-encoded."""
    return _UNFIT.sub(lambda one: f"%{ord(one[0]):02X}", model)


def read_node(node: Json) -> Told | None:
    """What one node tells; None when it cannot be read."""
    openings, until_us, at_us = (whole(node, name) for name in ("openings", "until", "at"))
    if openings is None or until_us is None or at_us is None:
        return None
    return Told(Circuit(openings=openings, until_us=until_us if openings else 0), at_us)


def write_node(told: Told) -> dict[str, Json]:
    """The node that tells this."""
    return {"openings": told.circuit.openings, "until": told.circuit.until_us, "at": told.at_us}


def whole(node: Json, name: str) -> int | None:
    """The number in this field of a node, None when it is none."""
    value = node.get(name) if isinstance(node, dict) else None
    return value if type(value) is int and 0 <= value < _MOST else None
