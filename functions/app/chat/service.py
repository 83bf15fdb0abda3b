"""The use cases of chat. It knows no HTTP.

Another user's conversation is never found, because every path begins with the caller's own id.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from app.assistant.choice import AUTO
from app.chat import deletion
from app.chat.answering import Answer, Answering
from app.chat.branching.branches import Branches, BranchPage
from app.chat.branching.tree import Spent, Tree
from app.chat.conversation import Conversation
from app.chat.importing import origin
from app.chat.importing.origin import import_path
from app.chat.live.flusher import cancel_path
from app.chat.live.running import Running
from app.chat.opening import Ask, Opening
from app.chat.sharing.share import share_path
from app.chat.store import ChatStore, UnreadableMessage
from app.chat.turn import Turn
from app.kit.clock import Clock, to_rfc3339
from app.kit.ids import Ids
from app.kit.optimistic import Pause
from app.kit.stores.documents import Delete, Document, Write
from app.kit.stores.listing import Listing
from app.kit.stores.realtime import Realtime
from app.kit.stores.rows import GuardedRows
from app.metering.billing import Mode
from app.metering.quote import Quote
from app.models.catalogue import Catalogue, UnsuitableModel
from app.orchestration.queue.operation_queue import Order

T = TypeVar("T")
Orders = Callable[[Sequence[Order]], Sequence[Write]]
"""Rows for the commit that causes these orders; see `OperationQueue.rows`."""

_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class ConversationDraft:
    """What a user may decide about a new conversation."""

    title: str = ""
    model: str | None = None
    system_prompt: str = ""
    memory: str = "buffer"


@dataclass(frozen=True, slots=True)
class Amendment:
    """What a user may change; None leaves it as it is."""

    title: str | None = None
    archived: bool | None = None
    pinned: bool | None = None
    model: str | None = None
    system_prompt: str | None = None
    leaf: str | None = None


class Chat:
    """The use cases of chat."""

    def __init__(
        self,
        *,
        store: ChatStore,
        branches: Branches,
        opening: Opening,
        answering: Answering[Ask],
        catalogue: Catalogue,
        running: Running,
        realtime: Realtime,
        clock: Clock,
        ids: Ids,
        orders: Orders,
        pause: Pause,
    ) -> None:
        self._store = store
        self._branches = branches
        self._rows = GuardedRows(store.documents, clock)
        self._opening = opening
        self._answering = answering
        self._catalogue = catalogue
        self._running = running
        self._realtime = realtime
        self._clock = clock
        self._ids = ids
        self._orders = orders
        self._pause = pause

    def create(self, uid: str, draft: ConversationDraft) -> Conversation:
        """A new, empty conversation.

        Raises:
            UnknownModel, UnsuitableModel: the model named cannot chat.
        """
        self._check_model(draft.model)
        now = to_rfc3339(self._clock.now_us())
        conversation = Conversation(
            id=self._ids.new("cnv"),
            title=draft.title,
            model=draft.model,
            system_prompt=draft.system_prompt,
            memory=draft.memory,
            created_at=now,
            updated_at=now,
            tree=Tree(),
            trunk=False,
            branch=Spent(),
            spent=Spent(),
        )
        self._store.create(uid, conversation)
        return conversation

    def read(self, uid: str, conversation_id: str) -> Conversation:
        """One conversation."""
        return self._store.conversation(uid, conversation_id)[0]

    def list(self, uid: str, *, archived: bool | None = None, pinned: bool | None = None) -> Listing[Conversation]:
        """Conversations, the most recently used first; see `ChatStore.conversations`."""
        return self._store.conversations(uid, self._rows, archived=archived, pinned=pinned)

    def amend(self, uid: str, conversation_id: str, amendment: Amendment) -> Conversation:
        """Changes what the amendment names: title, archived, pinned, model, system prompt, and which branch is active.

        Raises:
            NoSuchMessage, ParentNotEnded: the leaf is no turn that a branch can end with.
        """
        self._check_model(amendment.model)
        changes = {
            name: value
            for name in Amendment.__dataclass_fields__
            if name != "leaf" and (value := getattr(amendment, name)) is not None
        }

        def change(found: Conversation, stored: Document) -> Conversation:
            if amendment.leaf is not None:
                found = self._branches.to(uid, found, amendment.leaf)
            changed = replace(found, **changes, updated_at=max(found.updated_at, self._now()))
            self._store.replace(stored, changed)
            return changed

        return self._store.changed(uid, conversation_id, self._pause, change)

    def delete(self, uid: str, conversation_id: str) -> None:
        """Deletes a conversation with its messages: for its user at once, and from the store by an operation.

        Its share ends at once. A turn that is still running is settled as usual; its document is deleted when it ends.
        """

        def bury(found: Conversation, stored: Document) -> None:
            order = self._orders([deletion.order(uid, conversation_id)])
            shared = [Delete(share_path(found.share))] if found.share is not None else []
            came = origin.read(found.claim)
            imported = [Delete(import_path(uid, came.record))] if came is not None else []
            self._store.bury(stored, self._now(), [*order, *shared, *imported])

        self._store.changed(uid, conversation_id, self._pause, bury)

    def turns(self, uid: str, conversation_id: str) -> Listing[Turn]:
        """The turns of all branches of a conversation, newest first."""
        self._store.conversation(uid, conversation_id)
        return self._store.turns(uid, conversation_id, self._rows)

    def branch(
        self, uid: str, conversation_id: str, limit: int, leaf: str | None = None, after: str | None = None
    ) -> BranchPage:
        """A page of a branch, see `Branches.page`."""
        return self._branches.page(uid, conversation_id, limit, leaf, after)

    def again(self, ask: Ask, message_id: str) -> Ask:
        """The question of a turn once more, at the same place: `ask` says whose, and all but its conversation, content,
        images and parent.

        Raises:
            NoSuchMessage, NoSuchConversation: there is none, or it is another user's.
            UnreadableMessage: what was asked is spoilt, or was nothing that an import could keep.
        """
        turn = self._store.find_turn(ask.uid, message_id, ("question", "images"))
        if not turn.question.strip() and not turn.images:
            raise UnreadableMessage
        conversation = self.read(ask.uid, turn.conversation_id)
        parent = self._branches.grown_from(ask.uid, conversation, turn)
        return replace(
            ask, conversation_id=turn.conversation_id, content=turn.question, images=turn.images, parent=parent
        )

    def answer(self, ask: Ask, mode: Mode) -> Answer:
        """The answer to a message, see `Answering.answer`."""
        return self._answering.answer(ask, mode)

    def quote(self, ask: Ask, max_output_tokens: int | None = None) -> Quote:
        """What a message would need and reserve, see `Opening.quote`."""
        return self._opening.quote(ask, max_output_tokens)

    def cancel(self, uid: str, message_id: str) -> Turn | None:
        """Stops a running answer on whichever instance gives it; returns the turn if it has ended already, else None.

        Raises:
            NoSuchMessage: there is none, or it is another user's.
        """
        if self._running.stop(message_id, uid=uid):
            return None
        turn = self._store.find_turn(uid, message_id, ("state", "instance", "finish_reason", "cost"))
        if turn.end is not None:
            return turn
        self._realtime.update({cancel_path(turn.instance, message_id): True})
        return None

    def _check_model(self, model: str | None) -> None:
        if model is not None and model != AUTO and not self._catalogue.get(model).can("text"):
            raise UnsuitableModel("This model does not write text.", model=model)

    def _now(self) -> str:
        return to_rfc3339(self._clock.now_us())
