"""Where conversations and turns are stored, and every query on them. It decides nothing."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from app.chat import conversation as conversations
from app.chat import turn as turns
from app.chat.branching.tree import FIRST, is_id
from app.chat.conversation import Conversation
from app.chat.search.words import has_all
from app.chat.turn import Turn
from app.kit.errors import InvariantViolation, NotFound, Rejection
from app.kit.optimistic import Pause, optimistic
from app.kit.stores.broken_rows import reason_of
from app.kit.stores.documents import (
    Create,
    Delete,
    Document,
    Documents,
    Query,
    Replace,
    Where,
    Write,
    list_field,
)
from app.kit.stores.listing import Listing
from app.kit.stores.reading import unread_reason
from app.kit.stores.rows import GuardedRows, place_of_row

T = TypeVar("T")

BATCH: Final = 200
"""Messages deleted in one commit; Firestore takes 500 writes."""
COPIES: Final = 50
"""Documents in which one turn is looked for: somebody may have left copies of it under other names."""
LOOSE: Final = 20
"""Turns that no tree has yet which are read at once."""


def conversation_path(uid: str, conversation_id: str) -> str:
    """The path of one conversation."""
    return f"users/{uid}/conversations/{conversation_id}"


def turn_path(uid: str, conversation_id: str, message_id: str) -> str:
    """The path of one turn."""
    return f"{conversation_path(uid, conversation_id)}/messages/{message_id}"


def overdue(before: str) -> Query:
    """Running turns of all users whose lease ended before this RFC 3339 time, the oldest first."""
    where = (Where("state", "==", "running"), Where("lease_until", "<", before))
    return Query("messages", where, ("lease_until", "__name__"), group=True)


class NoSuchConversation(NotFound):
    """The conversation does not exist, or it is another user's."""

    def __init__(self) -> None:
        super().__init__("There is no such conversation.")


class NoSuchMessage(NotFound):
    """The message does not exist, or it is another user's."""

    def __init__(self) -> None:
        super().__init__("There is no such message.")


class UnreadableMessage(Rejection):
    """The message was stored, and what stands there cannot be read any more."""

    status = 409
    code = "message_unreadable"
    title = "That message cannot be read"

    def __init__(self) -> None:
        super().__init__("What is stored of that message is spoilt. It was reported; nothing was changed or charged.")


class ChatStore:
    """Reads conversations and turns, and writes what goes into no settlement.

    Documents of which a field cannot be read are listed in `rows` as broken, and read as far as possible.
    """

    def __init__(self, documents: Documents, rows: GuardedRows | None = None) -> None:
        self.documents = documents
        self._rows = rows

    def conversation(self, uid: str, conversation_id: str) -> tuple[Conversation, Document]:
        """One conversation and the document that it was read from.

        Raises:
            NoSuchConversation: there is none, or it is being deleted.
        """
        stored = self.documents.get(conversation_path(uid, conversation_id))
        found = None if stored is None else self._conversation(stored)
        if stored is None or found is None:
            raise NoSuchConversation
        return found, stored

    def report_conversation(self, path: str, reason: str) -> None:
        """Lists a conversation that was read in part."""
        if self._rows is not None:
            self._rows.report("conversations_list", {path: reason})

    def shown(self, stored: Document) -> Turn:
        """The turn of a document, as its owner may see it; see `turns.shown`."""
        turn = turns.shown(stored)
        if turn.unread and self._rows is not None:
            self._rows.report("turns_list", {stored.path: unread_reason(turn.unread)})
        return turn

    def stands(self, uid: str, conversation_id: str) -> bool:
        """Whether there is such a conversation that is not being deleted."""
        stored = self.documents.get(conversation_path(uid, conversation_id))
        return stored is not None and conversations.read(conversation_id, stored.fields) is not None

    def conversations(
        self, uid: str, rows: GuardedRows, *, archived: bool | None = None, pinned: bool | None = None
    ) -> Listing[Conversation]:
        """The most recently used first; those alone that are archived or pinned, or are not."""
        where = [] if archived is None else [Where("archived", "==", archived)]
        where += [Where("pinned", "==", True)] if pinned else []
        query = Query(f"users/{uid}/conversations", tuple(where), ("-updated_at",))

        def read(stored: Document) -> Conversation | None:
            # Conversations of before have no field `pinned`, so a query for those that are not would pass them over.
            found = self._conversation(stored)
            return None if found is None or (pinned is False and found.pinned) else found

        return Listing(self.documents, rows, "conversations_list", query, read)

    def titled(self, uid: str, words: Sequence[str], rows: GuardedRows) -> Listing[Conversation]:
        """The conversations whose titles have all these words, the most recently used first."""
        where = (Where("words", "array_contains", words[0]),)
        query = Query(f"users/{uid}/conversations", where, ("-updated_at",))
        return Listing(
            self.documents, rows, "conversations_list", query, _having(words, ("title",), self._conversation)
        )

    def told(self, uid: str, words: Sequence[str], rows: GuardedRows) -> Listing[Turn]:
        """The turns of a user, in whichever conversation, that have all these words, the newest first."""
        where = (Where("account", "==", uid), Where("words", "array_contains", words[0]))
        query = Query("messages", where, ("-created_at",), group=True)
        return Listing(self.documents, rows, "turns_list", query, _having(words, ("question", "answer"), self.shown))

    def conversations_with(self, uid: str, ids: Sequence[str], rows: GuardedRows) -> list[Conversation]:
        """These conversations, but for those that are gone or being deleted."""
        found = self.documents.get_all([conversation_path(uid, id) for id in ids]) if ids else []
        stored = [one for one in found if one is not None]
        return [one for one in rows.decoded("conversations_list", stored, self._conversation) if one is not None]

    def _conversation(self, stored: Document) -> Conversation | None:
        found = conversations.read(stored.id, stored.fields)
        if found is not None and found.unread:
            self.report_conversation(stored.path, unread_reason(found.unread))
        return found

    def create(self, uid: str, conversation: Conversation) -> None:
        """Writes a new conversation."""
        path = conversation_path(uid, conversation.id)
        self.documents.commit([Create(path, conversations.write(conversation))])

    def changed(self, uid: str, conversation_id: str, pause: Pause, write: Callable[[Conversation, Document], T]) -> T:
        """Reads the conversation and writes it, again when an answer wrote it in between."""
        return optimistic(lambda: write(*self.conversation(uid, conversation_id)), pause=pause)

    def replace(self, stored: Document, conversation: Conversation) -> None:
        """Writes over exactly the document that was read."""
        fields = conversations.write(conversation)
        self.documents.commit([Replace(stored.path, fields, stored.version, keep_others=True)])

    def turn(self, uid: str, conversation_id: str, message_id: str) -> tuple[Turn, Document] | None:
        """One turn, or None.

        Raises:
            UnreadableMessage: a field of it cannot be read.
        """
        stored = self.documents.get(turn_path(uid, conversation_id, message_id))
        return None if stored is None else (self._readable(stored), stored)

    def _readable(self, stored: Document, needs: Collection[str] | None = None) -> Turn:
        try:
            found = self.shown(stored)
        except InvariantViolation as error:
            raise UnreadableMessage from error
        if found.unread if needs is None else found.unread.intersection(needs):
            raise UnreadableMessage
        return found

    def turns(self, uid: str, conversation_id: str, rows: GuardedRows) -> Listing[Turn]:
        """The newest first."""
        query = Query(f"{conversation_path(uid, conversation_id)}/messages", order_by=("-created_at",))
        return Listing(self.documents, rows, "turns_list", query, self.shown)

    def turns_with(self, uid: str, conversation_id: str, ids: Sequence[str]) -> list[Document]:
        """The documents of these turns, in this order; those that are gone are left out."""
        found = self.stored_turns(uid, conversation_id, ids) if ids else []
        return [stored for stored in found if stored is not None]

    def stored_turns(self, uid: str, conversation_id: str, ids: Sequence[str]) -> list[Document | None]:
        """The documents of these turns, in this order; None for one that is gone."""
        return self.documents.get_all([turn_path(uid, conversation_id, id) for id in ids])

    def by_time(self, uid: str, conversation_id: str, limit: int, after: Document | None = None) -> list[Document]:
        """Turns, the newest first, behind `after`."""
        place = () if after is None else (after.fields.get("created_at"), after.id)
        collection = f"{conversation_path(uid, conversation_id)}/messages"
        return self.documents.query(Query(collection, order_by=("-created_at",), limit=limit, start_after=place))

    def loose(self, uid: str, conversation_id: str) -> list[tuple[str, str]]:
        """The turns that the tree does not have yet and their parents, the oldest first: those that run, and those
        whose functions died. Their texts are not kept in memory.
        """
        collection = f"{conversation_path(uid, conversation_id)}/messages"
        query = Query(collection, (Where("loose", "==", True),), ("-created_at",), LOOSE)
        found: list[tuple[str, str]] = []
        while True:
            page = self.documents.query(query)
            self._report_unreadable(page)
            found += [(one.id, parent_of(one) or FIRST) for one in page]
            if len(page) < LOOSE:
                return found[::-1]
            query = replace(query, start_after=place_of_row(query, page[-1]))

    def _report_unreadable(self, page: Sequence[Document]) -> None:
        """Lists those of these turns that cannot be read, or not wholly."""
        broken: dict[str, str] = {}
        for stored in page:
            try:
                unread = turns.shown(stored).unread
            except InvariantViolation as error:
                broken[stored.path] = reason_of(error)
                continue
            if unread:
                broken[stored.path] = unread_reason(unread)
        if broken and self._rows is not None:
            self._rows.report("turns_list", broken)

    def find_turn(self, uid: str, message_id: str, needs: Collection[str] | None = None) -> Turn:
        """A turn of this user, in whichever conversation.

        Raises:
            NoSuchMessage: there is none, or it is another user's.
            UnreadableMessage: a field of it cannot be read, and is one of those that the caller `needs`, or all count.
        """
        query = Query("messages", where=(Where("id", "==", message_id),), limit=COPIES, group=True)
        for stored in self.documents.query(query):
            if stored.path.startswith(f"users/{uid}/") and stored.id == message_id:
                return self._readable(stored, needs)
        raise NoSuchMessage

    def bury(self, stored: Document, at: str, order: Sequence[Write]) -> None:
        """Makes a conversation disappear for its user, in one commit with the `order` that deletes it."""
        self.documents.commit([Replace(stored.path, conversations.tombstone(at), stored.version), *order])

    def message_paths(self, conversation: str, limit: int) -> list[str]:
        """The paths of at most `limit` messages of the conversation at this path."""
        return [stored.path for stored in self.documents.query(Query(f"{conversation}/messages", limit=limit))]

    def delete(self, paths: Sequence[str]) -> None:
        """Deletes the documents at these paths, whether they are there or not."""
        self.documents.commit([Delete(path) for path in paths])


def parent_of(stored: Document) -> str | None:
    """The parent that a turn's document names; None in one from before trees, or where it cannot be read."""
    parent = stored.fields.get("parent")
    return parent if isinstance(parent, str) and (is_id(parent) or parent == FIRST) else None


def _having(
    words: Sequence[str], texts: Sequence[str], read: Callable[[Document], T | None]
) -> Callable[[Document], T | None]:
    """Reads a row that has all these words; the query has looked for the first one alone. `texts` name its texts."""

    def found(stored: Document) -> T | None:
        has = [word for word in list_field(stored.fields, "words") if isinstance(word, str)]
        said = [text for name in texts if isinstance(text := stored.fields.get(name), str)]
        return read(stored) if has_all(words, has, *said) else None

    return found
