"""Security rules of the Realtime Database: reads a rules file and decides who may read and write what.

Knows nothing of connections, storage or users; the tree comes in as a `Node`, the user as JSON.
"""

from rtdb_emulator.rules.decision import Decision, ReadRequest, WriteRequest
from rtdb_emulator.rules.errors import RulesError
from rtdb_emulator.rules.ruleset import Ruleset
from rtdb_emulator.rules.values import Json, Node, QuerySpec

__all__ = [
    "Decision",
    "Json",
    "Node",
    "QuerySpec",
    "ReadRequest",
    "RulesError",
    "Ruleset",
    "WriteRequest",
]
