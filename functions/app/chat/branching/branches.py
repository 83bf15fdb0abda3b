"""The branches of a conversation as they are stored: where a message can be put, and the turns of a branch in pages.

A page costs three Firestore calls, however many turns and branches there are: the conversation with its tree, the turns
that the tree does not have yet, and the turns of the page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from app.chat.branching.tree import FIRST, MOST_TURNS, Nodes, Tree, nodes_of, tree_of
from app.chat.conversation import MOST_TURNS as MOST_SEEN
from app.chat.conversation import Conversation, Exchange, Place, fit
from app.chat.store import ChatStore, NoSuchMessage, conversation_path, parent_of
from app.chat.turn import Turn
from app.kit.clock import Clock
from app.kit.errors import Rejection
from app.kit.stores.documents import Document
from app.kit.stores.rows import GuardedRows

MOST_READ: Final = 20
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
        leaves the turns of the time before trees reads these once; so does a conversation whose tree is spoilt.

        Raises:
            NoSuchMessage, ParentNotEnded, ConversationFull
        """
        if conversation.tree is not None and len(conversation.tree) >= MOST_TURNS:
            raise ConversationFull(f"A conversation has at most {MOST_TURNS} turns. Begin another one.")
        if conversation.id == "" or (parent is None and conversation.whole):
            return conversation.end
        return self._placed(uid, conversation, parent)

    def _placed(self, uid: str, conversation: Conversation, parent: str | None) -> Place:
        """The place behind `parent`; from the turns themselves where the end of the conversation is spoilt."""
        older = Tree()
        if not conversation.whole and conversation.trunk:
            older = self._older(uid, conversation)
            conversation = conversation.restored(older)
        parent = conversation.leaf if parent is None else parent
        held = conversation.place(parent) if conversation.whole or parent == FIRST else None
        place = held or self._behind(uid, conversation, parent)
        return replace(place, adopted=older) if older.text else place

    def _behind(self, uid: str, conversation: Conversation, parent: str) -> Place:
        adopted = Tree()
        if conversation.tree is None or parent not in conversation.tree:
            conversation, adopted = self._adopting(uid, conversation, parent)
        path = [*islice(self._nodes(uid, conversation).up(parent), MOST_SEEN)]
        found = self._turns(uid, conversation.id, path)
        seen = [_exchange(turn) for turn in reversed(found) if _told(turn)]
        spent = found[0].branch if found and found[0].id == parent else None
        return Place(parent, fit([one for one in seen if one.tellable]), spent, adopted)

    def _adopting(self, uid: str, conversation: Conversation, parent: str) -> tuple[Conversation, Tree]:
        [stored] = self._store.stored_turns(uid, conversation.id, [parent])
        if stored is None:
            raise NoSuchMessage
        if parent_of(stored) is not None or not conversation.trunk:
            raise ParentNotEnded("That turn is still running, or its function died. Wait for it, or send it again.")
        older = self._older(uid, conversation)
        if len(older) >= MOST_TURNS:
            raise ConversationFull(f"A conversation of more than {MOST_TURNS} turns cannot be branched.")
        return conversation.adopting(older), older

    def _older(self, uid: str, conversation: Conversation) -> Tree:
        """The turns that the tree lacks, from their documents, without keeping what they say.

        Those of the time before trees are a chain in order of time. The others have a parent, and count only where the
        tree is lost.
        """
        found: list[tuple[str, str | None]] = []
        after: Document | None = None
        while page := self._store.by_time(uid, conversation.id, MOST_READ, after):
            found += [(one.id, parent_of(one)) for one in page if one.fields.get("loose") is not True]
            after = page[-1]
        pairs: list[tuple[str, str]] = []
        last = FIRST
        for id, parent in reversed(found):
            if parent is not None and not conversation.lost:
                continue
            if conversation.tree is not None and id in conversation.tree:
                continue
            pairs.append((id, last if parent is None else parent))
            last = id if parent is None else last
        return tree_of(pairs)

    def _whole(self, uid: str, conversation: Conversation) -> Conversation:
        """The conversation with all its turns in its tree."""
        return conversation.restored(self._older(uid, conversation)) if conversation.trunk else conversation

    def outline(self, uid: str, conversation_id: str) -> Outline:
        """All turns in their order, also those whose documents cannot be read.

        Raises:
            NoSuchConversation
        """
        loose = self._store.loose(uid, conversation_id)  # First, as for a page.
        conversation = self._whole(uid, self._store.conversation(uid, conversation_id)[0])
        nodes = self._nodes(uid, conversation, loose)
        return Outline(conversation, nodes, {turn: number for number, turn in enumerate(nodes.parents)})

    def grown_from(self, uid: str, conversation: Conversation, turn: Turn) -> str:
        """The parent of a turn, also of one of the time before trees."""
        if turn.parent is not None:
            return turn.parent
        return self._nodes(uid, self._whole(uid, conversation)).parents.get(turn.id, FIRST)

    def to(self, uid: str, conversation: Conversation, turn: str) -> Conversation:
        """The conversation whose active branch is the one through `turn`, down to its newest leaf.

        Raises:
            NoSuchMessage, ParentNotEnded
        """
        if conversation.lost:
            conversation = self._whole(uid, conversation)
        if conversation.tree is None or turn not in conversation.tree:
            conversation, _ = self._adopting(uid, conversation, turn)
        leaf = self._nodes(uid, conversation).newest_leaf(turn)
        place = self._placed(uid, conversation, leaf)
        return replace(conversation, leaf=leaf, window=place.window, branch=place.spent)

    def page(self, uid: str, conversation_id: str, limit: int, leaf: str | None, after: str | None) -> BranchPage:
        """At most `limit` turns of the active branch, or of the one through `leaf`, from `after` on.

        Raises:
            NoSuchConversation
            NoSuchMessage: `leaf` is none of its turns.
        """
        # First, because a turn that ends goes from these into the tree: it is in one of the two, whenever it does.
        loose = self._store.loose(uid, conversation_id)
        conversation, _ = self._store.conversation(uid, conversation_id)
        elsewhere = leaf is not None and conversation.trunk and not (conversation.tree and leaf in conversation.tree)
        if conversation.lost or elsewhere:
            conversation = self._whole(uid, conversation)
        if conversation.tree is None:
            return self._trunk(uid, conversation, limit, after)
        nodes = self._nodes(uid, conversation, loose)
        if after is not None and after not in nodes.parents and conversation.trunk:
            return self._trunk(uid, conversation, limit, after)
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
        """Turns of the time before trees, by time; `after` is the first one that is shown, or the newest one is."""
        found = [] if after is None else self._store.turns_with(uid, conversation.id, [after])
        found += self._store.by_time(uid, conversation.id, limit + 1 - len(found), found[0] if found else None)
        read = self._rows.decoded(_JOB, found, self._store.shown)
        old = [turn for turn in read if turn.parent is None or conversation.tree is None]
        pairs = [*zip((turn.id for turn in old), [*(turn.id for turn in old[1:]), FIRST])]
        nodes = nodes_of(pairs[::-1]).with_others([*self._nodes(uid, conversation).parents.items()])
        at = {stored.id for stored in found[:limit]}
        shown = [turn for turn in old if turn.id in at]
        more = len(found) > limit
        placed = [Placed(turn, nodes.parents[turn.id], tuple(nodes.children[nodes.parents[turn.id]])) for turn in shown]
        return BranchPage(placed, found[limit].id if more else None)

    def _nodes(self, uid: str, conversation: Conversation, loose: Sequence[tuple[str, str]] = ()) -> Nodes:
        """The tree, read, with those turns that it does not have yet. What it had to cut is listed as broken."""
        nodes = nodes_of(()) if conversation.tree is None else conversation.tree.nodes()
        nodes = nodes.with_others(loose)
        if not conversation.trunk:
            nodes = nodes.whole()
        if nodes.cut:
            path, places = conversation_path(uid, conversation.id), ", ".join(nodes.cut[:3])
            self._store.report_conversation(path, f"places in the tree that cannot be read: {len(nodes.cut)}, {places}")
        return nodes

    def _turns(self, uid: str, conversation_id: str, ids: Sequence[str]) -> list[Turn]:
        """The turns with these ids, in this order. Those that cannot be read are left out, and listed."""
        return self._rows.decoded(_JOB, self._store.turns_with(uid, conversation_id, ids), self._store.shown)


def _last(conversation: Conversation, nodes: Nodes, leaf: str | None) -> str:
    """The last turn of the active branch, with an answer that is just being given there; or of the branch of `leaf`."""
    if leaf is None:
        return nodes.newest_leaf(conversation.leaf)
    if leaf not in nodes.parents:
        raise NoSuchMessage
    return nodes.newest_leaf(leaf)


def _exchange(turn: Turn) -> Exchange:
    return Exchange(turn.id, turn.question, "" if turn.end is None else turn.end.answer, spent=turn.branch)


def _told(turn: Turn) -> bool:
    """Whether a model can be shown it."""
    whole = turn.unread.isdisjoint({"question", "answer", "state"})
    return whole and turn.end is not None and turn.end.state == "done" and bool(turn.end.answer)
