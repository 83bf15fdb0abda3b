"""The turns of a conversation as a tree, kept as one text in the conversation's document. Pure.

    msg_a:- msg_b msg_c msg_d:1 msg_e:msg_old

Turns stand in the order in which they ended. A turn answers the one before it, unless a colon names another: the index
of a turn in this text, `-` for none (a first message), or the id of a turn that is not in the text, because it was
written before conversations were trees. One text of 30 bytes a turn is read and extended faster than a list.

Whatever a text says, it reads as a tree: a turn whose parent does not stand before it counts as a first message, of two
with one id the first one stands, and what is no id is passed over. `Nodes.cut` names them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from app.kit.errors import ensure
from app.kit.stores.documents import Fields, Value, list_field, optional_text

MOST_TURNS: Final = 10_000
"""Of one conversation: 300 KB of its document, beside 96 KiB of window and 64 KB of system prompt."""
FIRST: Final = ""
"""Stands for the parent of a first message."""
_ID: Final = re.compile(r"(?!__)[A-Za-z0-9_-]{1,128}", re.ASCII)
_INDEX: Final = re.compile(r"[0-9]{1,6}", re.ASCII)
_BEFORE: Final = ("", " ")
_BEHIND: Final = ("", " ", ":")
_NO_ID: Final = " "
"""Stands for a parent that cannot be told. No turn has this id."""


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


def read_spent(fields: Fields, name: str) -> Spent | None:
    """What `Spent.write` wrote; None where nothing was written, because it is not known.

    Raises:
        InvariantViolation: anything else stands there.
    """
    value = fields.get(name)
    if value is None:
        return None
    stored = list_field(fields, name)
    counts = [one for one in stored if isinstance(one, int) and not isinstance(one, bool) and one >= 0]
    ensure(len(counts) == len(stored) == 3, "a stored sum is a cost and two counts of tokens")
    return Spent(*counts)


@dataclass(frozen=True, slots=True)
class Nodes:
    """A tree, read. `parents` is in the order of its text; a parent stands before its children, or is not in it.

    `cut` are the turns, or texts, whose place could not be read.
    """

    parents: Mapping[str, str]
    children: Mapping[str, Sequence[str]] = field(default_factory=dict)
    cut: tuple[str, ...] = ()

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
        found = nodes_of([*self.parents.items(), *(one for one in others if one[0] not in self.parents)])
        return replace(found, cut=(*self.cut, *found.cut))

    def whole(self) -> "Nodes":
        """The tree when it should have every turn: one whose parent it lacks counts as a first message."""
        lost = [turn for turn, parent in self.parents.items() if parent != FIRST and parent not in self.parents]
        if not lost:
            return self
        found = nodes_of([*{**self.parents, **dict.fromkeys(lost, FIRST)}.items()])
        return replace(found, cut=(*self.cut, *lost))


def nodes_of(pairs: Sequence[tuple[str, str]]) -> Nodes:
    """The tree of these turns and their parents, without what would make it none."""
    known = {turn for turn, _ in pairs}
    parents: dict[str, str] = {}
    children: dict[str, list[str]] = {}
    cut: list[str] = []
    for turn, named in pairs:
        if turn in parents or not is_id(turn):
            cut.append(turn)
            continue
        stands = named == FIRST or named in parents or (named not in known and is_id(named))
        if not stands:
            cut.append(turn)
        parent = named if stands else FIRST
        parents[turn] = parent
        children.setdefault(parent, []).append(turn)
    return Nodes(parents, children, tuple(cut))


def is_id(value: Value) -> bool:
    """Whether a document can have this id."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree in its text."""

    text: str = ""

    def __contains__(self, turn: str) -> bool:
        return bool(turn) and (turn == self.last or self._position(turn) is not None)

    def __len__(self) -> int:
        return self.text.count(" ") + bool(self.text)

    def joined(self, turn: str, parent: str) -> "Tree":
        """The tree with one more turn. One that it has stays where it is."""
        if turn in self:
            return self
        token = turn + self._how(parent)
        return Tree(f"{self.text} {token}" if self.text else token)

    def nodes(self) -> Nodes:
        """The tree, read."""
        turns: list[str] = []
        pairs: list[tuple[str, str]] = []
        for token in self.text.split(" ") if self.text else ():
            turn, named, where = token.partition(":")
            pairs.append((turn, _parent(turns, where) if named else _parent(turns, str(max(0, len(turns) - 1)))))
            turns.append(turn)
        return nodes_of(pairs)

    @property
    def last(self) -> str:
        """The turn that was joined last, or empty."""
        return self.text[self.text.rfind(" ") + 1 :].partition(":")[0]

    def adopting(self, older: "Tree") -> "Tree":
        """The tree with older turns in front, to which its own may refer."""
        return tree_of([*older.nodes().parents.items(), *self.nodes().parents.items()])

    def _how(self, parent: str) -> str:
        if parent == FIRST:
            return ":-"
        if parent == self.last:
            return ""
        found = self._position(parent)
        return f":{parent}" if found is None else f":{self.text.count(' ', 0, found)}"

    def _position(self, turn: str) -> int | None:
        """Where the text of a turn begins; None where it only stands as the parent of others, or inside longer ids."""
        start = self.text.find(turn)
        while start >= 0:
            end = start + len(turn)
            if self.text[start - 1 : start] in _BEFORE and self.text[end : end + 1] in _BEHIND:
                return start
            start = self.text.find(turn, end)
        return None


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


def _parent(before: Sequence[str], where: str) -> str:
    if where == "-":
        return FIRST
    if not _INDEX.fullmatch(where):
        return where or _NO_ID
    return (before[int(where)] if int(where) < len(before) else "") or _NO_ID


def stored_tree(fields: Fields, name: str) -> Tree | None:
    """The tree of a conversation; None for one that was last written before conversations were trees."""
    text = optional_text(fields, name)
    return None if text is None else Tree(text)
