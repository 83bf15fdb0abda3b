"""Finds a user's own conversations by their titles, and turns by their texts, in four calls a page at most."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.chat.conversation import Conversation
from app.chat.search.words import asked, excerpt
from app.chat.store import ChatStore
from app.chat.turn import Turn
from app.kit.clock import Clock
from app.kit.stores.listing import Fits, Place
from app.kit.stores.rows import GuardedRows

MOST_TITLES: Final = 20
"""Conversations that are found by their titles; they stand on the first page, before the turns."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A conversation whose title was found, or a turn of it. `at`: when it was last used, or asked."""

    conversation: Conversation
    message_id: str | None
    excerpt: str
    at: str


@dataclass(frozen=True, slots=True)
class Hits:
    """A page; `after` is where it ended, None on the last one."""

    items: list[Hit]
    after: Place | None


class Finding:
    """Searches. A word must be whole, in a title its beginning is enough; all words of a question must be found."""

    def __init__(self, store: ChatStore, clock: Clock) -> None:
        self._store = store
        self._rows = GuardedRows(store.documents, clock)

    def find(self, uid: str, question: str, limit: int, after: Place, fits: Fits) -> Hits:
        """At most `limit` turns, the newest first, and on the first page the titles before them."""
        sought = asked(question)
        if not sought:
            return Hits([], None)
        titled = [] if after else self._store.titled(uid, sought, self._rows).page(MOST_TITLES).items
        told = self._store.told(uid, sought, self._rows).page(limit, after, fits)
        standing = self._standing(uid, [*dict.fromkeys(turn.conversation_id for turn in told.items)])
        hits = [Hit(one, None, one.title, one.updated_at) for one in titled]
        hits += [
            _hit(turn, standing[turn.conversation_id], sought)
            for turn in told.items
            if turn.conversation_id in standing
        ]
        return Hits(hits, told.after)

    def _standing(self, uid: str, ids: Sequence[str]) -> dict[str, Conversation]:
        """Those conversations that are not being deleted, by their ids."""
        return {one.id: one for one in self._store.conversations_with(uid, ids, self._rows)}


def _hit(turn: Turn, conversation: Conversation, sought: Sequence[str]) -> Hit:
    answer = "" if turn.end is None else turn.end.answer
    return Hit(conversation, turn.id, excerpt((turn.question, answer), sought), turn.created_at)
