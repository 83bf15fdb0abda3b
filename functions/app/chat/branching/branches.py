"""The branches of a conversation as they are stored: where a message can be put, and the turns of a branch in pages.

A page costs three Firestore calls, however many turns and branches there are: the conversation with its tree, the turns
that the tree does not have yet, and the turns of the page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from app.chat import turn as turns
from app.chat.branching.tree import FIRST, MOST_TURNS, Nodes, nodes_of
from app.chat.conversation import MOST_TURNS as MOST_SEEN
from app.chat.conversation import Conversation, Exchange, Place, fit
from app.chat.store import ChatStore, NoSuchMessage
from app.chat.turn import Turn
from app.kit.clock import Clock
from app.kit.errors import Rejection
from app.kit.stores.documents import Document
from app.kit.stores.rows import GuardedRows

MOST_READ: Final = 50
"""Turns of the time before trees that are in memory at once while they are counted."""
_JOB: Final = "turns_list"


class ParentNotEnded(Rejection):
    """The turn to be answered has no end that a branch can go on from."""

    status = 409
    code = "parent_not_ended"
    title = "That turn has not ended"


class ConversationFull(Rejection):
    """The conversation has as many turns as one can have."""

    status = 409
    code = "conversation_full"
    title = "This conversation is full"


@dataclass(frozen=True, slots=True)
class Placed:
    """A turn in its tree: `parent` is empty for a first message; `siblings` are the turns with the same parent, in the
    order in which they came, itself among them.
    """

    turn: Turn
    parent: str
    siblings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BranchPage:
    """Turns of a branch, the last one first; `after` is the turn that follows, None at the beginning of the branch."""

    turns: list[Placed]
    after: str | None


@dataclass(frozen=True, slots=True)
class Outline:
    """A conversation and the order of all its turns, those that run among them. `last` ends its active branch."""

    conversation: Conversation
    nodes: Nodes
    numbers: Mapping[str, int]

    @property
    def last(self) -> str:
        return _last(self.conversation, self.nodes, None)

    def branch(self, leaf: str | None) -> list[str]:
        """The turns of the active branch, or of the one through `leaf`, the first one first.

        Raises:
            NoSuchMessage: `leaf` is none of its turns.
        """
        path = self.nodes.up(_last(self.conversation, self.nodes, leaf))
        return [turn for turn in path if turn in self.numbers][::-1]


class Branches:
    """Finds places and branches."""

    def __init__(self, store: ChatStore, clock: Clock) -> None:
        self._store = store
        self._rows = GuardedRows(store.documents, clock)

    def place(self, uid: str, conversation: Conversation, parent: str | None) -> Place:
        """The place behind `parent`, by default at the end of the active branch.

        Reads nothing when the window holds enough of that branch, and else its last turns in one call. A branch that
        leaves the turns of the time before trees reads these once.

        Raises:
            NoSuchMessage, ParentNotEnded, ConversationFull
        """
        if conversation.tree is not None and len(conversation.tree) >= MOST_TURNS:
            raise ConversationFull(f"A conversation has at most {MOST_TURNS} turns. Begin another one.")
        if parent is None or conversation.id == "":
            return conversation.end
        return conversation.place(parent) or self._behind(uid, conversation, parent)

    def _behind(self, uid: str, conversation: Conversation, parent: str) -> Place:
        adopted: tuple[str, ...] = ()
        if conversation.tree is None or parent not in conversation.tree:
            conversation, adopted = self._adopting(uid, conversation, parent)
        path = [*islice(_nodes(conversation).up(parent), MOST_SEEN)]
        found = self._turns(uid, conversation.id, path)
        seen = [
            _exchange(turn) for turn in reversed(found) if turn.end and turn.end.answer and turn.end.state == "done"
        ]
        spent = found[0].branch if found and found[0].id == parent else None
        return Place(parent, fit([one for one in seen if one.tellable]), spent, adopted)

    def _adopting(self, uid: str, conversation: Conversation, parent: str) -> tuple[Conversation, tuple[str, ...]]:
        found = self._store.turn(uid, conversation.id, parent)
        if found is None:
            raise NoSuchMessage
        if found[0].parent is not None or not conversation.trunk:
            raise ParentNotEnded("That turn is still running, or its function died. Wait for it, or send it again.")
        chain = self.chain(uid, conversation.id)
        return conversation.adopting(chain), chain

    def chain(self, uid: str, conversation_id: str) -> tuple[str, ...]:
        """The turns of the time before trees, the oldest first.

        Raises:
            ConversationFull: there are too many to be branched.
        """
        found = self._rows.decoded(_JOB, self._store.by_time(uid, conversation_id, MOST_TURNS), _turn)
        if len(found) == MOST_TURNS:
            raise ConversationFull(f"A conversation of more than {MOST_TURNS} turns cannot be branched.")
        return tuple(turn.id for turn in reversed(found) if turn.parent is None)

    def outline(self, uid: str, conversation_id: str) -> Outline:
        """All turns in their order, also those whose documents cannot be read.

        Raises:
            NoSuchConversation
        """
        conversation, _ = self._store.conversation(uid, conversation_id)
        if conversation.trunk:
            conversation = conversation.adopting(self._old(uid, conversation_id))
        loose = reversed(self._store.loose(uid, conversation_id))
        nodes = _nodes(conversation).with_others([(one.id, str(one.fields.get("parent") or FIRST)) for one in loose])
        return Outline(conversation, nodes, {turn: number for number, turn in enumerate(nodes.parents)})

    def _old(self, uid: str, conversation_id: str) -> list[str]:
        """The turns of the time before trees, the oldest first, without reading what they say."""
        found: list[str] = []
        after: Document | None = None
        while page := self._store.by_time(uid, conversation_id, MOST_READ, after):
            found += [one.id for one in page if one.fields.get("parent") is None]
            after = page[-1]
        return found[::-1]

    def grown_from(self, uid: str, conversation: Conversation, turn: Turn) -> str:
        """The parent of a turn, also of one of the time before trees."""
        if turn.parent is not None:
            return turn.parent
        nodes = _nodes(conversation.adopting(self.chain(uid, conversation.id)))
        return nodes.parents.get(turn.id, FIRST)

    def to(self, uid: str, conversation: Conversation, turn: str) -> Conversation:
        """The conversation whose active branch is the one through `turn`, down to its newest leaf.

        Raises:
            NoSuchMessage, ParentNotEnded
        """
        if conversation.tree is None or turn not in conversation.tree:
            conversation, _ = self._adopting(uid, conversation, turn)
        leaf = _nodes(conversation).newest_leaf(turn)
        place = conversation.place(leaf) or self._behind(uid, conversation, leaf)
        return replace(conversation, leaf=leaf, window=place.window, branch=place.spent)

    def page(self, uid: str, conversation_id: str, limit: int, leaf: str | None, after: str | None) -> BranchPage:
        """At most `limit` turns of the active branch, or of the one through `leaf`, from `after` on.

        Raises:
            NoSuchConversation
            NoSuchMessage: `leaf` is none of its turns.
        """
        conversation, _ = self._store.conversation(uid, conversation_id)
        if conversation.tree is None and leaf is None:
            return self._trunk(uid, conversation, limit, after)
        if leaf is not None and conversation.trunk and not (conversation.tree and leaf in conversation.tree):
            conversation = conversation.adopting(self.chain(uid, conversation_id))
        nodes = _nodes(conversation)
        if after is not None and after not in nodes.parents and conversation.trunk:
            return self._trunk(uid, conversation, limit, after)
        loose = self._rows.decoded(_JOB, self._store.loose(uid, conversation_id), _turn)
        nodes = nodes.with_others([(turn.id, turn.parent or FIRST) for turn in reversed(loose)])
        path = [*islice(nodes.up(after or _last(conversation, nodes, leaf)), limit + 1)]
        path = [turn for turn in path if turn in nodes.parents or conversation.trunk]
        shown = [turn for turn in path[:limit] if turn in nodes.parents]
        return BranchPage(
            [
                Placed(turn, nodes.parents[turn.id], tuple(nodes.children[nodes.parents[turn.id]]))
                for turn in self._turns(uid, conversation_id, shown)
            ],
            path[len(shown)] if len(path) > len(shown) else None,
        )

    def _trunk(self, uid: str, conversation: Conversation, limit: int, after: str | None) -> BranchPage:
        """Turns of the time before trees, by time; `after` is the first one that is shown."""
        found = [] if after is None else self._store.turns_with(uid, conversation.id, [after])
        if after is not None and not found:
            return BranchPage([], None)
        found += self._store.by_time(uid, conversation.id, limit + 1 - len(found), found[0] if found else None)
        read = self._rows.decoded(_JOB, found, _turn)
        old = [turn for turn in read if turn.parent is None or conversation.tree is None]
        pairs = [*zip((turn.id for turn in old), [*(turn.id for turn in old[1:]), FIRST])]
        nodes = nodes_of(pairs).with_others([*_nodes(conversation).parents.items()])
        at = {stored.id for stored in found[:limit]}
        shown = [turn for turn in old if turn.id in at]
        more = len(found) > limit
        placed = [Placed(turn, nodes.parents[turn.id], tuple(nodes.children[nodes.parents[turn.id]])) for turn in shown]
        return BranchPage(placed, found[limit].id if more else None)

    def _turns(self, uid: str, conversation_id: str, ids: Sequence[str]) -> list[Turn]:
        """The turns with these ids, in this order. Those that cannot be read are left out, and listed."""
        return self._rows.decoded(_JOB, self._store.turns_with(uid, conversation_id, ids), _turn)


def _nodes(conversation: Conversation) -> Nodes:
    return nodes_of(()) if conversation.tree is None else conversation.tree.nodes()


def _last(conversation: Conversation, nodes: Nodes, leaf: str | None) -> str:
    """The last turn of the active branch, with an answer that is just being given there; or of the branch of `leaf`."""
    if leaf is None:
        return nodes.newest_leaf(conversation.leaf)
    if leaf not in nodes.parents:
        raise NoSuchMessage
    return nodes.newest_leaf(leaf)


def _exchange(turn: Turn) -> Exchange:
    return Exchange(turn.id, turn.question, "" if turn.end is None else turn.end.answer, spent=turn.branch)


def _turn(stored: Document) -> Turn:
    return turns.read(stored.fields)
