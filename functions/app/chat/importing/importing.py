"""Stores conversations from files.

A conversation of a few turns is written in one commit. A longer one is written turns first, and its own document last:
until then nobody sees any of it. The same request goes on with one that was left unfinished, and `leftover` removes it
when that request never comes. The import's record, whose id is a hash of what was sent, makes the same file sent twice
one conversation.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from app.assistant.choice import AUTO
from app.chat import conversation as conversations
from app.chat import turn as turns
from app.chat.branching.tree import MOST_TURNS, is_id
from app.chat.importing import chatgpt, leftover, open_webui, origin, own
from app.chat.importing.draft import (
    ConversationUnreadable,
    ImportedConversation,
    stored_conversation,
    stored_turn,
)
from app.chat.importing.origin import Origin, import_path
from app.chat.store import ChatStore, conversation_path, turn_path
from app.chat.turn import Turn
from app.kit import telemetry
from app.kit.clock import Clock, minutes, to_rfc3339
from app.kit.ids import Ids, derived
from app.kit.optimistic import Pause, optimistic
from app.kit.stores.documents import Create, Document, Replace, Unchanged, Value, Version, Write
from app.models.catalogue import Catalogue
from app.orchestration.queue.operation_queue import Order

MOST_WRITES: Final = 100
"""Turns in one commit. Each has up to 300 words in an index, which count for the size of a commit as well."""
MOST_BYTES: Final = 4 * 1024 * 1024
"""Of texts in one commit; Firestore takes 10 MiB."""
AHEAD_US: Final = minutes(60 * 24)
"""How far a time in a file may be ahead of ours: clocks differ."""
_SHOWN: Final = 200

_log = telemetry.log("chat")
Outcome = Literal["imported", "existing", "refused"]


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one conversation of a request."""

    outcome: Outcome
    conversation_id: str | None
    draft: ImportedConversation | None
    title: str = ""
    reason: str | None = None


class Importing:
    """Imports. `orders` gives the rows that put operations into a commit."""

    def __init__(
        self,
        *,
        store: ChatStore,
        catalogue: Catalogue,
        clock: Clock,
        ids: Ids,
        orders: Callable[[Sequence[Order]], Sequence[Write]],
        pause: Pause,
    ) -> None:
        self._store, self._documents, self._catalogue = store, store.documents, catalogue
        self._clock, self._ids, self._orders, self._pause = clock, ids, orders, pause

    def take(self, uid: str, given: Sequence[Mapping[str, object]]) -> list[Taken]:
        """Imports each conversation, but for those that cannot be read and those behind the 10,000th turn.

        Done again with the same conversations, it finds those that it has imported and goes on with the others.
        """
        taken: list[Taken] = []
        room = MOST_TURNS
        for one in given:
            try:
                draft = self._read(one)
                if len(draft.turns) > room:
                    raise ConversationUnreadable(f"A request imports {MOST_TURNS} turns. Send this one in another.")
            except ConversationUnreadable as refusal:
                title = one.get("title")
                shown = title[:_SHOWN] if isinstance(title, str) else ""
                taken.append(Taken("refused", None, None, shown, refusal.detail))
                continue
            room -= len(draft.turns)
            taken.append(self._imported(uid, derived("imp", _digest(one)), draft))
        counts = {outcome: sum(one.outcome == outcome for one in taken) for outcome in ("imported", "existing")}
        _log.info("conversations_imported", **counts, refused=len(taken) - sum(counts.values()))
        return taken

    def _read(self, value: Mapping[str, object]) -> ImportedConversation:
        now_us = self._clock.now_us()
        if value.get("format") == own.FORMAT:
            return own.read(value, to_rfc3339(now_us + AHEAD_US))
        if "mapping" in value:
            return chatgpt.read(value, now_us)
        if value.keys() & {"chat", "history", "messages"}:
            return open_webui.read(value, now_us)
        raise ConversationUnreadable("It is of no format that is known here.")

    def _imported(self, uid: str, record: str, draft: ImportedConversation) -> Taken:
        """Imports it, again from what is stored when another request did something to it in between."""

        def attempt() -> Taken:
            stored = self._documents.get(import_path(uid, record))
            id = _in_state(stored, leftover.DONE)
            if id is not None and self._store.stands(uid, id):
                return Taken("existing", id, draft)
            return Taken("imported", self._write(uid, record, stored, draft), draft)

        return optimistic(attempt, pause=self._pause)

    def _write(self, uid: str, record: str, stored: Document | None, draft: ImportedConversation) -> str:
        """Writes it and returns its id; raises Conflict when somebody else wrote it."""
        path = import_path(uid, record)
        unfinished = _in_state(stored, leftover.WRITING)
        id = unfinished or self._ids.new("cnv")
        made = self._conversation(id, record, draft)
        shown = Create(conversation_path(uid, id), conversations.write(made))
        batches = [*_batches(stored_turn(uid, id, number, one) for number, one in enumerate(draft.turns))]
        if len(batches) <= 1 and unfinished is None:
            turns_written = [_created(turn) for batch in batches for turn in batch]
            self._documents.commit([_record(path, stored, id, leftover.DONE), shown, *turns_written])
            return id
        version = self._begun(uid, record, stored, id) if stored is None or unfinished is None else stored.version
        for batch in batches:
            over = [Replace(one.path, one.fields) for one in map(_created, batch)]
            # The record stands as long as nobody has begun to remove what was left unfinished.
            self._documents.commit([*over, Unchanged(path, version)])
        self._documents.commit([Replace(path, _fields(id, leftover.DONE), version), shown])
        return id

    def _begun(self, uid: str, record: str, stored: Document | None, id: str) -> Version:
        """Writes that the import has begun, and orders that what may be left of it is removed later."""
        due_us = self._clock.now_us() + leftover.KEPT_US
        order = self._orders([leftover.order(uid, record, id, due_us)])
        begun = _record(import_path(uid, record), stored, id, leftover.WRITING)
        return self._documents.commit([begun, *order])[0]

    def _conversation(self, id: str, record: str, draft: ImportedConversation) -> conversations.Conversation:
        offered = draft.model is None or draft.model == AUTO or self._offers(draft.model)
        came = Origin(record, draft.id, None if offered else draft.model)
        return stored_conversation(id, draft, model=draft.model if offered else None, claim=origin.write(came))

    def _offers(self, model: str) -> bool:
        found = self._catalogue.models.get(model)
        return found is not None and model not in self._catalogue.closed and found.can("text")


def _digest(value: Mapping[str, object]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _in_state(stored: Document | None, state: str) -> str | None:
    """The conversation of a record in this state. A record that is spoilt is written over."""
    if stored is None or stored.fields.get("state") != state:
        return None
    id = stored.fields.get("conversation")
    return id if isinstance(id, str) and is_id(id) else None


def _created(turn: Turn) -> Create:
    return Create(turn_path(turn.account, turn.conversation_id, turn.id), turns.write(turn))


def _record(path: str, stored: Document | None, id: str, state: str) -> Write:
    return Create(path, _fields(id, state)) if stored is None else Replace(path, _fields(id, state), stored.version)


def _fields(id: str, state: str) -> dict[str, Value]:
    return {"conversation": id, "state": state}


def _batches(found: Iterator[Turn]) -> Iterator[list[Turn]]:
    """The turns in portions that one commit takes."""
    batch: list[Turn] = []
    size = 0
    for turn in found:
        own_size = len(turn.question.encode()) + len(turn.end.answer.encode() if turn.end else b"")
        if batch and (len(batch) == MOST_WRITES or size + own_size > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(turn)
        size += own_size
    if batch:
        yield batch
