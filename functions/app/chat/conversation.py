"""A conversation as a frozen value: its settings, and the window of recent turns that the model sees. Pure.

The window is stored in the conversation's own document, so that a message reads one document however long the
conversation has become.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from app.kit.errors import InvariantViolation
from app.kit.stores.documents import Fields, Value, list_field, text_field

MOST_TURNS: Final = 24
MOST_BYTES: Final = 96 * 1024
"""Of the window: far below Firestore's megabyte, and within the context of every text model of the catalogue."""

OPEN: Final = "open"
DELETING: Final = "deleting"
_TITLE_LENGTH: Final = 60


@dataclass(frozen=True, slots=True)
class Exchange:
    """One finished turn as the model sees it again."""

    message_id: str
    question: str
    answer: str

    @property
    def size(self) -> int:
        """UTF-8 bytes of its texts."""
        return len(self.question.encode()) + len(self.answer.encode())


@dataclass(frozen=True, slots=True)
class Conversation:
    """Times are RFC 3339 text. `model` None: the first of the catalogue that fits a message."""

    id: str
    title: str
    model: str | None
    system_prompt: str
    memory: str
    created_at: str
    updated_at: str
    archived: bool = False
    window: tuple[Exchange, ...] = ()

    def after(self, exchange: Exchange, at: str) -> "Conversation":
        """The conversation after one more turn, in which a turn stands once however often it is recorded.

        The oldest turns that no longer fit are dropped from the window.
        """
        title = self.title or titled(exchange.question)
        others = (one for one in self.window if one.message_id != exchange.message_id)
        return replace(self, title=title, updated_at=max(at, self.updated_at), window=fit((*others, exchange)))


def titled(question: str) -> str:
    """A title for a list: the beginning of the question, on one line."""
    line = " ".join(question.split())
    return line if len(line) <= _TITLE_LENGTH else line[: _TITLE_LENGTH - 1].rstrip() + "…"


def fit(
    exchanges: Sequence[Exchange], *, most_bytes: int = MOST_BYTES, most_turns: int = MOST_TURNS
) -> tuple[Exchange, ...]:
    """The most recent exchanges that fit both bounds. One that does not fit drops all before it as well."""
    kept: list[Exchange] = []
    left = most_bytes
    for exchange in reversed(exchanges[-most_turns:]):
        left -= exchange.size
        if left < 0:
            break
        kept.append(exchange)
    return tuple(reversed(kept))


def write(conversation: Conversation) -> dict[str, Value]:
    """The document."""
    return {
        "state": OPEN,
        "title": conversation.title,
        "model": conversation.model,
        "system_prompt": conversation.system_prompt,
        "memory": conversation.memory,
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
        "archived": conversation.archived,
        "window": [
            {"message_id": one.message_id, "question": one.question, "answer": one.answer}
            for one in conversation.window
        ],
    }


def read(id: str, fields: Fields) -> Conversation | None:
    """The value of a document; None while the conversation is being deleted."""
    if text_field(fields, "state") != OPEN:
        return None
    model = fields.get("model")
    return Conversation(
        id=id,
        title=text_field(fields, "title"),
        model=model if isinstance(model, str) else None,
        system_prompt=text_field(fields, "system_prompt"),
        memory=text_field(fields, "memory"),
        created_at=text_field(fields, "created_at"),
        updated_at=text_field(fields, "updated_at"),
        archived=fields.get("archived") is True,
        window=tuple(_exchange(one) for one in list_field(fields, "window")),
    )


def tombstone(at: str) -> dict[str, Value]:
    """The document while its messages are being deleted. Lists order by `updated_at`, so without it none shows this."""
    return {"state": DELETING, "deleted_at": at}


def _exchange(value: Value) -> Exchange:
    if not isinstance(value, dict):
        raise InvariantViolation("a window holds maps")
    return Exchange(text_field(value, "message_id"), text_field(value, "question"), text_field(value, "answer"))
