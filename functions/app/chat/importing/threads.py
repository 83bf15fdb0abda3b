"""Turns from a tree of messages, which is how other programs keep a conversation. Pure.

A turn is a user's message with what was answered below it, up to the user's next message or to the end of the branch.
So two answers to one message are two turns beside each other, as a regeneration makes them here.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from app.chat.branching.tree import MOST_TURNS
from app.chat.importing.draft import MOST_ANSWER_BYTES, ConversationUnreadable, ImportedTurn
from app.chat.schemas import MOST_CONTENT
from app.kit.clock import to_rfc3339

MOST_TEXT: Final = 16 * 1024 * 1024
"""Characters of all turns of a conversation. A text that stands above a fork is a part of several turns."""


@dataclass(frozen=True, slots=True)
class ForeignMessage:
    """A message of a file. `role` None: nothing of it is kept, but what stands below it is. `at_us` None: not known."""

    id: str
    parent: str | None
    role: Literal["user", "assistant"] | None
    text: str = ""
    at_us: int | None = None
    model: str = ""
    images: tuple[str, ...] = ()
    failed: bool = False


@dataclass(frozen=True, slots=True)
class ForeignTree:
    """Messages, the children that they name, in their order, and the one that was shown last. `since_us` stands for a
    time that is not known.
    """

    messages: Mapping[str, ForeignMessage]
    children: Mapping[str, Sequence[str]]
    current: str | None
    since_us: int


@dataclass(frozen=True, slots=True)
class _Said:
    """An answer in pieces, the last one first: branches share what stands above their fork."""

    message: ForeignMessage
    before: "_Said | None"


@dataclass(frozen=True, slots=True)
class _Open:
    """Where a walk stands: behind the turn `parent`, below a question, with what was answered so far. `number` is the
    turn that this makes, if it was made already.
    """

    parent: int | None = None
    question: ForeignMessage | None = None
    said: _Said | None = None
    number: int | None = None


@dataclass(slots=True)
class _Walk:
    tree: ForeignTree
    below: Mapping[str | None, Sequence[str]]
    counts: "Counter[str]"
    turns: list[ImportedTurn] = field(default_factory=list)
    ends: dict[str, int] = field(default_factory=dict)
    size: int = 0

    def visit(self, id: str, open: _Open) -> list[tuple[str, _Open]]:
        """The turn that ends with this message, if one does; returns its children and where each begins."""
        message = self.tree.messages[id]
        if message.role == "user":
            open = _Open(open.parent if open.question is None else open.number, message)
        elif message.role == "assistant" and open.question is None:
            self.counts["answer_without_question"] += bool(message.text.strip())
        elif message.role == "assistant" and (message.text.strip() or message.failed):
            open = _Open(open.parent, open.question, _Said(message, open.said))
        children = self.below.get(id, ())
        asked = [self.tree.messages[child].role == "user" for child in children]
        if open.question is not None and open.number is None and (not children or any(asked)):
            open = _Open(open.parent, open.question, open.said, self._made(open, open.question))
        if open.number is not None:
            self.ends[id] = open.number
        return [(child, open) for child in children]

    def _made(self, open: _Open, question: ForeignMessage) -> int:
        if len(self.turns) == MOST_TURNS:
            raise ConversationUnreadable(f"A conversation has at most {MOST_TURNS} turns.")
        said = self._pieces(open.said, len(question.text))
        answer = "\n\n".join(one.text for one in said if one.text.strip())
        asked_us = self.tree.since_us if question.at_us is None else question.at_us
        times = [one.at_us for one in said if one.at_us is not None]
        done = bool(answer.strip()) and not said[-1].failed
        self.turns.append(
            ImportedTurn(
                parent=open.parent,
                question=cut(question.text, MOST_CONTENT, self.counts),
                answer=_cut_bytes(answer, MOST_ANSWER_BYTES, self.counts),
                created_at=to_rfc3339(asked_us),
                ended_at=to_rfc3339(max([asked_us, *times])),
                images=question.images,
                model=next((one.model[:200] for one in reversed(said) if one.model), ""),
                done=done,
                finish_reason="stop" if done else "error",
            )
        )
        return len(self.turns) - 1

    def _pieces(self, last: _Said | None, size: int) -> list[ForeignMessage]:
        """The messages of an answer, the first one first."""
        self.size += size
        said: list[ForeignMessage] = []
        while last is not None:
            said.append(last.message)
            self.size += len(last.message.text) + 2
            if self.size > MOST_TEXT:
                raise ConversationUnreadable("Its branches repeat more text than can be kept.")
            last = last.before
        return said[::-1]


def turns_of(tree: ForeignTree, counts: "Counter[str]") -> tuple[list[ImportedTurn], int | None]:
    """All turns, each behind the one that it answers, and the number of the one that was shown last.

    Messages that no walk from a first message meets are counted as `unreachable_message`.

    Raises:
        ConversationUnreadable: it is larger than a conversation can be.
    """
    walk = _Walk(tree, _below(tree), counts)
    waiting = [(id, _Open()) for id in reversed(walk.below.get(None, ()))]
    met = 0
    while waiting:
        met += 1
        waiting += reversed(walk.visit(*waiting.pop()))
    if met < len(tree.messages):
        counts["unreachable_message"] += len(tree.messages) - met
    last = tree.current if tree.current in tree.messages else None
    for _ in range(met):
        if last is None or not walk.below.get(last):
            break
        last = walk.below[last][-1]
    return walk.turns, None if last is None else walk.ends.get(last)


def _below(tree: ForeignTree) -> dict[str | None, list[str]]:
    """The children of each message, which name their parent. One whose parent is not there is a first message."""
    below: dict[str | None, list[str]] = {}
    for id, message in tree.messages.items():
        below.setdefault(message.parent if message.parent in tree.messages else None, []).append(id)
    for parent, named in tree.children.items():
        if len(found := below.get(parent, ())) > 1:
            places = {child: place for place, child in enumerate(named)}
            below[parent] = sorted(found, key=lambda child: places.get(child, len(places)))
    return below


def cut(text: str, most: int, counts: "Counter[str]") -> str:
    """The first `most` characters; that something was cut off is counted."""
    counts["text_cut"] += len(text) > most
    return text[:most]


def _cut_bytes(text: str, most: int, counts: "Counter[str]") -> str:
    encoded = text.encode()
    counts["text_cut"] += len(encoded) > most
    return encoded[:most].decode(errors="ignore")
