"""Reads a conversation for its export: the order of all turns at once, their texts page by page while they are sent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from app.chat.branching.branches import Branches, Outline
from app.chat.store import ChatStore
from app.chat.turn import Turn
from app.kit.clock import Clock
from app.kit.stores.rows import GuardedRows

PAGE: Final = 20
"""Turns in memory at once. The largest conversation of 10,000 turns takes 500 reads."""

_JOB: Final = "turns_list"


@dataclass(frozen=True, slots=True)
class Numbered:
    """A turn in its place; without the turn, why it is not there. `parent` is None for a first message."""

    number: int
    parent: int | None
    id: str
    turn: Turn | None
    unavailable: Literal["unreadable", "missing"] | None = None


class Exporting:
    """Reads what is exported."""

    def __init__(self, store: ChatStore, branches: Branches, clock: Clock) -> None:
        self._store = store
        self._branches = branches
        self._rows = GuardedRows(store.documents, clock)

    def outline(self, uid: str, conversation_id: str) -> Outline:
        """The conversation and the order of its turns, without their texts; raises NoSuchConversation."""
        return self._branches.outline(uid, conversation_id)

    def numbered(self, uid: str, outline: Outline, ids: Sequence[str]) -> Iterator[Numbered]:
        """These turns of it, in this order. One that cannot be read is named, and listed as broken."""
        places = outline.numbers
        for start in range(0, len(ids), PAGE):
            page = ids[start : start + PAGE]
            for id, stored in zip(page, self._store.stored_turns(uid, outline.conversation.id, page)):
                parent = places.get(outline.nodes.parents[id])
                if stored is None:
                    yield Numbered(places[id], parent, id, None, "missing")
                    continue
                read = self._rows.decoded(_JOB, [stored], self._store.shown)
                yield Numbered(places[id], parent, id, *((read[0], None) if read else (None, "unreadable")))
