"""What is made of one conversation of a file, and the values that are stored for it. Pure.

An imported turn costs nothing here: it has no reservation and no entry, and adds nothing to any total. What an export
of ours says of its cost is kept as a claim, which a later export repeats.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from app.chat.branching.tree import FIRST, Spent, Tree, tree_of
from app.chat.conversation import MOST_TURNS, Conversation, Exchange, fit
from app.chat.turn import End, FinishReason, Turn, TurnProblem
from app.kit.errors import Rejection
from app.kit.ids import derived

MOST_ANSWER_BYTES: Final = 512 * 1024
"""As of an answer that is given here."""
IMPORTED: Final = "imported"
"""The route of an imported turn, and the reason of its cost of nothing."""


class ConversationUnreadable(Rejection):
    """A conversation of a file cannot be imported. The others are."""

    status = 422
    code = "conversation_unreadable"
    title = "This conversation cannot be imported"


@dataclass(frozen=True, slots=True)
class ImportedTurn:
    """A turn of a file. `parent` is the number of the turn that it answers, which stands before it. `claim` is what an
    export of ours says of it beside its texts. Times are RFC 3339 text.
    """

    parent: int | None
    question: str
    answer: str
    created_at: str
    ended_at: str
    images: tuple[str, ...] = ()
    model: str = ""
    done: bool = True
    finish_reason: FinishReason = "stop"
    problem: TurnProblem | None = None
    claim: str | None = None


@dataclass(frozen=True, slots=True)
class ImportedConversation:
    """A conversation of a file. `active` is the number of a turn of its active branch; None: the newest one.

    `left_out` counts by kind what was in the file and cannot be kept. `id` is the one that an export of ours names.
    """

    title: str
    created_at: str
    updated_at: str
    turns: Sequence[ImportedTurn]
    active: int | None = None
    model: str | None = None
    system_prompt: str = ""
    memory: str = "buffer"
    archived: bool = False
    pinned: bool = False
    id: str | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)


def message_id(conversation_id: str, number: int) -> str:
    """The id of an imported turn. An id from a file is never one here: it could be another user's."""
    return derived("msg", conversation_id, IMPORTED, str(number))


def stored_turn(uid: str, conversation_id: str, number: int, draft: ImportedTurn) -> Turn:
    """The turn as it is stored: it has ended, whatever the file says of it."""
    end = End(
        state="done" if draft.done else "error",
        finish_reason=draft.finish_reason,
        reason=IMPORTED,
        answer=draft.answer,
        answered_by=draft.model,
        ended_at=draft.ended_at,
        problem=draft.problem,
    )
    return Turn(
        id=message_id(conversation_id, number),
        account=uid,
        conversation_id=conversation_id,
        attempt=1,
        request_hash="",
        question=draft.question,
        images=draft.images,
        model=draft.model,
        route=IMPORTED,
        reservation_id="",
        reserved=0,
        max_output_tokens=0,
        clamped=False,
        instance="",
        created_at=draft.created_at,
        lease_until=draft.created_at,
        end=end,
        parent=FIRST if draft.parent is None else message_id(conversation_id, draft.parent),
        before=Spent(),
        claim=draft.claim,
    )


def stored_conversation(id: str, draft: ImportedConversation, *, model: str | None, claim: str) -> Conversation:
    """The conversation as it is stored, with its tree and what a model sees of its active branch."""
    tree = _tree(id, draft)
    active = FIRST if draft.active is None else message_id(id, draft.active)
    leaf = tree.nodes().newest_leaf(active)
    return Conversation(
        id=id,
        title=draft.title,
        model=model,
        system_prompt=draft.system_prompt,
        memory=draft.memory,
        created_at=draft.created_at,
        updated_at=draft.updated_at,
        archived=draft.archived,
        pinned=draft.pinned,
        window=_window(draft, tree, leaf),
        tree=tree,
        trunk=False,
        leaf=leaf,
        branch=Spent(),
        spent=Spent(),
        claim=claim,
    )


def _tree(id: str, draft: ImportedConversation) -> Tree:
    ids = [message_id(id, number) for number in range(len(draft.turns))]
    return tree_of([(own, FIRST if one.parent is None else ids[one.parent]) for own, one in zip(ids, draft.turns)])


def _window(draft: ImportedConversation, tree: Tree, leaf: str) -> tuple[Exchange, ...]:
    nodes = tree.nodes()
    numbers = {own: number for number, own in enumerate(nodes.parents)}
    path: Iterator[str] = islice(nodes.up(leaf), MOST_TURNS)
    seen = [(own, draft.turns[numbers[own]]) for own in path]
    told = [Exchange(own, one.question, one.answer, spent=Spent()) for own, one in reversed(seen) if one.done]
    return fit([one for one in told if one.tellable])
