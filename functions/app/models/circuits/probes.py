"""Which instance sends the probe of a half-open circuit: a lease in the circuit's node. Pure.

The lease ends with the circuit's next change, which replaces the node, or at its time.
"""

from app.kit.stores.realtime import Json
from app.models.circuits import circuit as circuits
from app.models.circuits.circuit import PROBE_US
from app.models.circuits.nodes import Told, read_node, whole, write_node


def claimed(node: Json, known: Told, by: str, instance: str, now_us: int) -> Json:
    """The node after `instance`, which knows its circuit to be `known`, took the lease for its probe `by`.

    Unchanged where it may not: another instance has the lease, or it has learned since that the circuit is closed or
    open. What cannot be read or believed is replaced.
    """
    told = read_node(node)
    newer = told is not None and told.at_us >= known.at_us and circuits.believable(told.circuit, told.at_us, now_us)
    latest = told if told is not None and newer else known
    if latest.at_us > known.at_us and circuits.state(latest.circuit, now_us) != "half_open":
        return node
    if leased_until_us(node, now_us) and not holder(node).startswith(instance):
        return node
    return {**write_node(latest), "probe_by": by, "probe_until": now_us + PROBE_US}


def freed(node: Json, by: str) -> Json:
    """The node after the probe `by` ended without saying anything of the model."""
    if not isinstance(node, dict) or holder(node) != by:
        return node
    return {name: value for name, value in node.items() if not name.startswith("probe_")}


def holder(node: Json) -> str:
    """Which probe has the lease, whether or not it is over."""
    by = node.get("probe_by") if isinstance(node, dict) else None
    return by if isinstance(by, str) else ""


def leased_until_us(node: Json, now_us: int) -> int:
    """Until when the lease holds; 0 when it is over, or longer than any that is given."""
    until_us = whole(node, "probe_until") or 0
    return until_us if now_us < until_us <= now_us + PROBE_US else 0
