"""Reads a conversation that Open WebUI exports: alone, or as an element of the list of all of them. Pure.

An element is `{"id", "title", "chat": {...}, "created_at", ...}`; the oldest exports have the chat itself. Its
`history.messages` is a tree by id, whose shown branch ends at `history.currentId`; before that there was a list.
https://github.com/open-webui/open-webui, backend/open_webui/models/chats.py
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from app.chat.importing.draft import ConversationUnreadable, ImportedConversation
from app.chat.importing.foreign import (
    MOST_IMAGES,
    Object,
    conversation_of,
    list_of,
    object_of,
    text_of,
    time_of,
    without_marked,
)
from app.chat.importing.threads import ForeignMessage, ForeignTree

_MARKED: Final = {'<details type="reasoning"': "thought", '<details type="tool_calls"': "tool_call"}
"""Parts of an answer that are left out, by how they begin, and the kinds under which they are counted."""
_ADDRESS: Final = re.compile(r"https?://[!-~]{1,2000}")


def read(value: Object, now_us: int) -> ImportedConversation:
    """The conversation; times of before 1970 or after `now_us` are not taken as they are.

    Raises:
        ConversationUnreadable: it has no messages that could be read, or too many.
    """
    chat = object_of(value.get("chat")) or value
    history = object_of(chat.get("history"))
    messages = history.get("messages")
    found = messages if isinstance(messages, Mapping) and messages else _chain(list_of(chat.get("messages")))
    if not found and not isinstance(messages, Mapping) and not isinstance(chat.get("messages"), list):
        raise ConversationUnreadable("chat holds no messages.")
    counts: Counter[str] = Counter()
    reader = _Reader(counts, now_us)
    nodes = {id: object_of(node) for id, node in found.items()}
    tree = ForeignTree(
        messages={id: reader.message(id, node) for id, node in nodes.items()},
        children={id: [text_of(child) for child in list_of(node.get("childrenIds"))] for id, node in nodes.items()},
        current=text_of(history.get("currentId")) or next(reversed(nodes), None),
        since_us=time_of(value.get("created_at"), now_us) or time_of(chat.get("timestamp"), now_us) or now_us,
    )
    counts["tag"] += len(list_of(object_of(value.get("meta")).get("tags")) or list_of(chat.get("tags")))
    counts["folder"] += bool(value.get("folder_id"))
    prompts = [
        text_of(chat.get("system")),
        text_of(object_of(chat.get("params")).get("system")),
        *reader.prompts(nodes),
    ]
    said = [*dict.fromkeys(prompt for prompt in prompts if prompt.strip())]
    counts["system_message"] += max(0, len(said) - 1)
    return conversation_of(
        tree,
        counts,
        title=text_of(value.get("title")) or text_of(chat.get("title")),
        updated_us=time_of(value.get("updated_at"), now_us),
        prompt=next(iter(said), ""),
        archived=value.get("archived") is True,
        pinned=value.get("pinned") is True,
    )


def _chain(messages: Sequence[object]) -> dict[str, Object]:
    """The messages of a list by their ids, each below the one before it unless it names its parent."""
    found: dict[str, Object] = {}
    last: str | None = None
    for number, message in enumerate(map(object_of, messages)):
        id = text_of(message.get("id"))
        id = f"-{number}" if not id or id in found else id
        found[id] = message if "parentId" in message else {**message, "parentId": last}
        last = id
    return found


@dataclass(frozen=True, slots=True)
class _Reader:
    counts: "Counter[str]"
    now_us: int

    def prompts(self, nodes: Mapping[str, Object]) -> list[str]:
        """The texts of system messages."""
        return [self._text(node) for node in nodes.values() if node.get("role") == "system"]

    def message(self, id: str, node: Object) -> ForeignMessage:
        """What is kept of a message."""
        role = self._role(node)
        return ForeignMessage(
            id=id,
            parent=text_of(node.get("parentId")) or None,
            role=role,
            text="" if role is None else self._text(node),
            at_us=time_of(node.get("timestamp"), self.now_us),
            model=text_of(node.get("model")),
            images=self._images(node),
            failed=bool(node.get("error")),
        )

    def _role(self, node: Object) -> Literal["user", "assistant"] | None:
        match node.get("role"):
            case "user":
                return "user"
            case "assistant":
                self.counts["error_message"] += bool(node.get("error"))
                self.counts["citation"] += len(list_of(node.get("sources")) or list_of(node.get("citations")))
                return "assistant"
            case "system":
                return None
        self.counts["tool_message" if node.get("role") == "tool" else "unknown_content"] += 1
        return None

    def _text(self, node: Object) -> str:
        content = node.get("content")
        text = content if isinstance(content, str) else self._parts(list_of(content))
        if not text.strip():
            text = self._output(node)
        for opening, kind in _MARKED.items():
            text, count = without_marked(text, opening, "</details>")
            self.counts[kind] += count
        return text.strip("\n")

    def _parts(self, parts: Sequence[object]) -> str:
        found: list[str] = []
        for part in map(object_of, parts):
            if part.get("type") in ("text", "output_text"):
                found.append(text_of(part.get("text")))
            else:
                self.counts["image" if part.get("type") == "image_url" else "unknown_content"] += 1
        return "\n\n".join(found)

    def _output(self, node: Object) -> str:
        """The text of an answer that is kept as a list of what its model gave out."""
        found: list[str] = []
        for one in map(object_of, list_of(node.get("output"))):
            if one.get("type") == "message":
                found.append(self._parts(list_of(one.get("content"))))
            else:
                self.counts["thought" if one.get("type") == "reasoning" else "tool_call"] += 1
        return "\n\n".join(text for text in found if text)

    def _images(self, node: Object) -> tuple[str, ...]:
        """The addresses of a message's pictures. Those that are no addresses, and files, are counted."""
        found: list[str] = []
        for one in map(object_of, list_of(node.get("files"))):
            address = text_of(one.get("url"))
            picture = one.get("type") == "image"
            if picture and node.get("role") == "user" and _ADDRESS.fullmatch(address) and len(found) < MOST_IMAGES:
                found.append(address)
            else:
                self.counts["image" if picture else "file"] += 1
        return tuple(found)
