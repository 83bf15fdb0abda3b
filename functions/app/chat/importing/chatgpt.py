"""Reads a conversation of ChatGPT's `conversations.json`, as its users export it. Pure.

The format is documented by nobody; this follows files of 2023 to 2026. `mapping` has a node per message with its
parent and children, and `current_node` is the last one that was shown. Of the messages those are kept that ChatGPT
shows: texts, code that it ran, and what that printed.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from app.chat.importing.draft import ConversationUnreadable, ImportedConversation
from app.chat.importing.foreign import (
    Object,
    conversation_of,
    list_of,
    object_of,
    text_of,
    time_of,
    without_marked,
)
from app.chat.importing.threads import ForeignMessage, ForeignTree

_FENCE: Final = re.compile("`{3,}")
_KINDS: Final = {
    "thoughts": "thought",
    "reasoning_recap": "thought",
    "user_editable_context": "custom_instructions",
    "model_editable_context": "custom_instructions",
}
"""Contents that are left out, by the kinds under which they are counted."""
_PARTS: Final = {
    "image_asset_pointer": "image",
    "audio_asset_pointer": "audio",
    "real_time_user_audio_video_asset_pointer": "audio",
    "video_container_asset_pointer": "video",
}
_RUNS: Final = frozenset({"all", "python", ""})
"""Whom an assistant's message goes to, where its user sees it."""


def read(value: Object, now_us: int) -> ImportedConversation:
    """The conversation; times of before 1970 or after `now_us` are not taken as they are.

    Raises:
        ConversationUnreadable: it has no messages that could be read, or too many.
    """
    mapping = value.get("mapping")
    if not isinstance(mapping, Mapping):
        raise ConversationUnreadable("mapping holds no messages.")
    counts: Counter[str] = Counter()
    reader = _Reader(counts, now_us)
    since_us = time_of(value.get("create_time"), now_us) or now_us
    nodes = {id: object_of(node) for id, node in mapping.items()}
    tree = ForeignTree(
        messages={id: reader.message(id, node) for id, node in nodes.items()},
        children={id: [text_of(child) for child in list_of(node.get("children"))] for id, node in nodes.items()},
        current=text_of(value.get("current_node")) or None,
        since_us=since_us,
    )
    return conversation_of(
        tree,
        counts,
        title=text_of(value.get("title")),
        updated_us=time_of(value.get("update_time"), now_us),
        archived=value.get("is_archived") is True,
        pinned=value.get("is_starred") is True,
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    counts: "Counter[str]"
    now_us: int

    def message(self, id: str, node: Object) -> ForeignMessage:
        """What is kept of a node."""
        parent = text_of(node.get("parent")) or None
        message = object_of(node.get("message"))
        metadata = object_of(message.get("metadata"))
        role, text = self._kept(message, metadata)
        if role is not None:
            self._count_files(metadata)
        return ForeignMessage(
            id=id,
            parent=parent,
            role=role,
            text=text,
            at_us=time_of(message.get("create_time"), self.now_us),
            model=text_of(metadata.get("model_slug")),
        )

    def _kept(self, message: Object, metadata: Object) -> tuple[Literal["user", "assistant"] | None, str]:
        """Whose message it is and what it says; or None, and what is left out is counted."""
        content = object_of(message.get("content"))
        kind = text_of(content.get("content_type"))
        role = text_of(object_of(message.get("author")).get("role"))
        if kind in _KINDS or metadata.get("user_context_message_data"):
            return self._left_out(_KINDS.get(kind, "custom_instructions"))
        hidden = metadata.get("is_visually_hidden_from_conversation") is True or message.get("weight") == 0
        blank = not _says_anything(content)
        if hidden or role == "system":
            return self._left_out("hidden_message" if role != "system" else "system_message", unless=blank)
        if role == "tool" and kind != "execution_output":
            said = self._texts(content)  # Pictures that it made are counted.
            return self._left_out("tool_message", unless=not said and (blank or kind == "multimodal_text"))
        if role == "assistant" and text_of(message.get("recipient")) not in _RUNS:
            return self._left_out("tool_call", unless=blank)
        read: Callable[[Object], str] | None = {
            "text": self._texts,
            "multimodal_text": self._texts,
            "code": _fenced,
            "execution_output": _fenced,
        }.get(kind)
        if read is None or role not in ("user", "assistant", "tool"):
            return self._left_out("unknown_content", unless=blank)
        return "user" if role == "user" else "assistant", read(content)

    def _left_out(self, kind: str, *, unless: bool = False) -> tuple[None, str]:
        self.counts[kind] += not unless
        return None, ""

    def _texts(self, content: Object) -> str:
        """The parts that are texts, without the marks of citations."""
        found: list[str] = []
        for part in list_of(content.get("parts")):
            if isinstance(part, str):
                text, citations = without_marked(part, "\ue200", "\ue201")
                self.counts["citation"] += citations
                found.append(text)
                continue
            kind = text_of(object_of(part).get("content_type"))
            if kind == "audio_transcription":
                found.append(text_of(object_of(part).get("text")))
            else:
                self.counts[_PARTS.get(kind, "unknown_content")] += 1
        return "\n\n".join(text for text in found if text)

    def _count_files(self, metadata: Object) -> None:
        """Counts attachments. Pictures among them are parts of the message as well."""
        for one in map(object_of, list_of(metadata.get("attachments"))):
            mime = text_of(one.get("mime_type")) or text_of(one.get("mimeType"))
            self.counts["file"] += not mime.startswith("image/")


def _says_anything(content: Object) -> bool:
    parts = list_of(content.get("parts"))
    texts = [
        *(text_of(part) for part in parts),
        *(text_of(content.get(name)) for name in ("text", "result", "content")),
    ]
    return any(text.strip() for text in texts) or any(not isinstance(part, str) for part in parts)


def _fenced(content: Object) -> str:
    """Code, or what it printed, as a block of Markdown."""
    text = text_of(content.get("text"))
    if not text.strip():
        return ""
    language = text_of(content.get("language"))
    fence = "`" * max([3, *(len(found) + 1 for found in _FENCE.findall(text))])
    return f"{fence}{language if language.isalnum() and language != 'unknown' else ''}\n{text}\n{fence}"
