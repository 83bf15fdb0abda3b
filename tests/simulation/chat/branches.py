"""A conversation as whoever works on it must find it: rebuilt from what was sent and from what was answered.

A turn answers the one that its sender named, or the end of the active branch. Each one that was answered becomes that
end; one that failed does so only where it goes on with it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from app.kit.money import from_decimal

ROOT: Final = ""
_SEEN: Final = 24
"""Turns of its branch that a model is sent."""

Found = Iterator[str]
Json = Mapping[str, object]


@dataclass
class Node:
    """A turn that has ended, and the one that it answers."""

    parent: str
    question: str
    answer: str
    cost: int
    state: str

    @property
    def told(self) -> bool:
        """Whether a model is told of it later."""
        return self.state == "done" and bool(self.answer.strip())


@dataclass
class Branches:
    """All turns of one conversation, in the order in which they first ended."""

    nodes: dict[str, Node] = field(default_factory=dict)
    leaf: str = ROOT
    unseen: bool = False
    """Whether its model is told of turns from before, which are not among `nodes`."""

    def up(self, turn: str) -> list[str]:
        """The branch that ends with a turn, the first one first."""
        found: list[str] = []
        while turn != ROOT:
            found.insert(0, turn)
            turn = self.nodes[turn].parent
        return found

    def children(self, parent: str) -> list[str]:
        """The turns that answer it, the oldest first."""
        return [id for id, node in self.nodes.items() if node.parent == parent]

    def below(self, turn: str) -> str:
        """The end of the branch through a turn that always takes the newest answer."""
        while found := self.children(turn):
            turn = found[-1]
        return turn

    def joins(self, turn: str, node: Node) -> Found:
        """Takes in a turn that has ended. What is wrong when it was answered before."""
        before = self.nodes.get(turn)
        if before is not None and (before.cost or before.state == "done" == node.state) and before != node:
            yield f"{turn} was {before}, and became {node}"
        self.nodes[turn] = node
        hides = bool(before) and turn != self.leaf and bool(self.children(turn))
        if not hides and (node.parent == self.leaf or turn == self.leaf or (node.answer and node.state == "done")):
            self.leaf = turn

    def answered(self, told: Json, parent: str, question: str) -> Found:
        """What is wrong with the answer to a message. Call it behind `joins`."""
        turn = str(told["message_id"])
        if (told["parent_id"] or ROOT, told["content"]) != (parent, question):
            yield f"{turn} tells {told['content']!r} behind {told['parent_id']!r}; sent was {question!r}, {parent!r}"
        cost = sum(self.nodes[one].cost for one in self.up(turn))
        branch = cast(Json, told["branch"] or {})
        if branch and from_decimal(str(branch["cost"])) != cost:
            yield f"the branch up to {turn} cost {cost}, told was {branch}"

    def shown(self, conversation: Json) -> Found:
        """What is wrong with the conversation as it is read."""
        if (conversation["active_leaf"] or ROOT) != self.leaf:
            yield f"the active branch ends with {conversation['active_leaf']}, and should with {self.leaf!r}"
        spent = cast(Json, conversation["spent"] or {})
        cost = sum(node.cost for node in self.nodes.values())
        if spent and from_decimal(str(spent["cost"])) != cost:
            yield f"all turns cost {cost}, told was {spent}"

    def listed(self, turns: Sequence[Json], leaf: str) -> Found:
        """What is wrong with the list of a branch, which has its last turn first."""
        ids = [str(one["message_id"]) for one in turns]
        if ids != self.up(leaf)[::-1]:
            yield f"the branch of {leaf!r} is {self.up(leaf)}, listed was {ids[::-1]}"
            return
        for one in turns:
            node, siblings = self.nodes[str(one["message_id"])], cast(Sequence[str], one["siblings"])
            if [*siblings] != self.children(node.parent) or siblings[int(str(one["position"])) - 1] != one[
                "message_id"
            ]:
                yield f"{one['message_id']} stands as {one['position']} of {siblings}: {self.children(node.parent)}"
            if (one["answer"] or "", from_decimal(str(one["cost"]))) != (node.answer, node.cost):
                yield f"{one['message_id']} is listed as {one}, and was {node}"

    def exported(self, file: Json) -> Found:
        """What is wrong with the file of all branches."""
        turns = cast(Sequence[Json], file["turns"])
        ids = [str(one["id"]) for one in turns]
        wanted = {id: self.nodes[id].parent for id in self.nodes}
        found = {str(one["id"]): ROOT if one["parent"] is None else ids[int(str(one["parent"]))] for one in turns}
        if found != wanted or len(ids) != len(found):
            yield f"exported was {found}, and there is {wanted}"
            return
        for one in turns:
            turn, node = cast(Json, one["turn"] or {}), self.nodes[str(one["id"])]
            if (turn.get("content"), turn.get("answer") or "") != (node.question, node.answer):
                yield f"{one['id']} was exported as {turn}, and is {node}"

    def seen(self, prompt: Sequence[str], parent: str) -> Found:
        """What is wrong with what a model was sent before the question: the last turns of the branch, and no others."""
        said = [self.nodes[one] for one in self.up(parent) if self.nodes[one].told]
        wanted = [text for node in said[-_SEEN:] for text in (node.question, node.answer)]
        if not self.unseen and [*prompt[:-1]] != wanted:
            yield f"a model was sent {[*prompt]} behind {parent!r}, where was said {wanted}"
