"""What must be true of conversations' windows: they hold what was answered, whole or shortened, and lose nothing."""

from collections.abc import Iterator, Mapping
from typing import Final

from app.chat.conversation import OPEN, SHORTENED
from app.kit.stores.documents import Document, Fields, list_field, map_field, text_field

_MOST_TURNS: Final = 24
_MOST_BYTES: Final = 96 * 1024

Found = Iterator[str]


def windows(chat: list[Document]) -> Found:
    """`chat`: all documents of chat."""
    messages: dict[str, dict[str, Fields]] = {}
    for one in chat:
        conversation, below, message = one.path.partition("/messages/")
        if below:
            messages.setdefault(conversation, {})[message] = one.fields
    for one in chat:
        if "/messages/" not in one.path and one.fields["state"] == OPEN:
            yield from _window(one, messages.get(one.path, {}))


def _window(conversation: Document, messages: Mapping[str, Fields]) -> Found:
    held = [map_field({"one": one}, "one") for one in list_field(conversation.fields, "window")]
    ids = [text_field(one, "message_id") for one in held]
    size = sum(len((text_field(one, "question") + text_field(one, "answer")).encode()) for one in held)
    if len({*ids}) < len(ids) or len(ids) > _MOST_TURNS or size > _MOST_BYTES:
        yield f"{conversation.path} holds {ids}, {size} bytes"
    for one in held:
        turn = messages.get(text_field(one, "message_id"))
        if turn is None or turn["state"] != "done":
            yield f"{conversation.path} holds {one['message_id']}, which was not answered"
            continue
        for name in ("question", "answer"):
            text = text_field(one, name)
            if not text.strip() or (text != turn[name] and SHORTENED not in text):
                yield f"{conversation.path} holds {text!r} as {name} of {one['message_id']}"
    done = [id for id, turn in messages.items() if turn["state"] == "done" and turn["answer"]]
    if len(done) <= _MOST_TURNS and {*done} - {*ids}:
        yield f"{conversation.path} forgot { ({*done} - {*ids}) }"
