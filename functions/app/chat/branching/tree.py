"""The turns of a conversation as a tree, kept as one text in the conversation's document. Pure.

    msg_a:- msg_b msg_c msg_d:1 msg_e:msg_old

Turns stand in the order in which they ended. A turn answers the one before it, unless a colon names another: the index
of a turn in this text, `-` for none (a first message), or the id of a turn that is not in the text, because it was
written before conversations were trees. One text of 30 bytes a turn is read and extended faster than a list.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from app.kit.errors import ensure
from app.kit.stores.documents import Fields, Value

MOST_TURNS: Final = 10_000
"""Of one conversation: 300 KB of its document, beside 96 KiB of window and 64 KB of system prompt."""
FIRST: Final = ""
"""Stands for the parent of a first message."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What some turns cost together, in micro-credits, and their tokens."""

    cost: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            self.cost + other.cost,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
        )

    def write(self) -> list[Value]:
        """As a document holds it: cost, input tokens, output tokens."""
        return [self.cost, self.input_tokens, self.output_tokens]


def read_spent(value: Value) -> Spent | None:
    """What `Spent.write` wrote; None where nothing was written, because it is not known."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    counts = [one for one in value if isinstance(one, int)]
    ensure(len(counts) == len(value) == 3, "a stored sum is a cost and two counts of tokens")
    return Spent(*counts)


@dataclass(frozen=True, slots=True)
class Nodes:
    """A tree, read. `parents` is in the order of its text; a parent may be a turn that is not in it."""

    parents: Mapping[str, str]
    children: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def up(self, turn: str) -> Iterator[str]:
        """The turn, the one it answers, and so on. A turn that is not in the tree ends it, and is told."""
        while turn != FIRST:
            yield turn
            turn = self.parents.get(turn, FIRST)

    def newest_leaf(self, turn: str) -> str:
        """The last turn of the branch through `turn` that always goes on with the newest answer."""
        while below := self.children.get(turn):
            turn = below[-1]
        return turn

    def with_others(self, others: Sequence[tuple[str, str]]) -> "Nodes":
        """The tree with more turns and their parents behind its own, except those that it has."""
        return nodes_of([*self.parents.items(), *(one for one in others if one[0] not in self.parents)])


def nodes_of(pairs: Sequence[tuple[str, str]]) -> Nodes:
    """The tree of these turns and their parents."""
    children: dict[str, list[str]] = {}
    for turn, parent in pairs:
        children.setdefault(parent, []).append(turn)
    return Nodes(dict(pairs), children)


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree in its text."""

    text: str = ""

    def __contains__(self, turn: str) -> bool:
        return self._found(turn) is not None

    def __len__(self) -> int:
        return self.text.count(" ") + bool(self.text)

    def joined(self, turn: str, parent: str) -> "Tree":
        """The tree with one more turn. One that it has stays where it is."""
        if turn in self:
            return self
        token = turn + self._how(parent)
        return Tree(f"{self.text} {token}" if self.text else token)

    def nodes(self) -> Nodes:
        """The tree, read.

        Raises:
            InvariantViolation: the text names a parent that does not stand before its child.
        """
        pairs: list[tuple[str, str]] = []
        for token in self.text.split():
            turn, named, where = token.partition(":")
            pairs.append((turn, _parent(pairs, where if named else str(len(pairs) - 1))))
        return nodes_of(pairs)

    def adopting(self, chain: Sequence[str]) -> "Tree":
        """The tree with a chain of older turns in front, to which turns of the tree may refer."""
        pairs = [*zip(chain, (FIRST, *chain)), *self.nodes().parents.items()]
        return tree_of(pairs)

    def _how(self, parent: str) -> str:
        last = self.text[self.text.rfind(" ") + 1 :].partition(":")[0]
        if parent == FIRST:
            return ":-"
        if parent == last:
            return ""
        found = self._found(parent)
        return f":{parent}" if found is None else f":{self.text.count(' ', 0, found.start('turn'))}"

    def _found(self, turn: str) -> re.Match[str] | None:
        return re.search(rf"(?:^| )(?P<turn>{re.escape(turn)})(?:[ :]|$)", self.text)


def tree_of(pairs: Sequence[tuple[str, str]]) -> Tree:
    """The tree of these turns and their parents, which stand before them."""
    places: dict[str, int] = {}
    tokens: list[str] = []
    for turn, parent in pairs:
        if turn in places:
            continue
        where = "-" if parent == FIRST else str(places.get(parent, parent))
        tokens.append(turn if where == str(len(tokens) - 1) else f"{turn}:{where}")
        places[turn] = len(places)
    return Tree(" ".join(tokens))


def _parent(before: Sequence[tuple[str, str]], where: str) -> str:
    if where == "-":
        return FIRST
    if not where.lstrip("-").isdecimal():
        return where
    ensure(0 <= int(where) < len(before), "a turn stands behind the one that it answers")
    return before[int(where)][0]


def stored_tree(fields: Fields) -> Tree | None:
    """The tree of a conversation; None for one that was last written before conversations were trees."""
    text = fields.get("tree")
    return Tree(text) if isinstance(text, str) else None
