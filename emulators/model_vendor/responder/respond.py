"""Chooses who answers: tools, pictures, memory, sums, code, text work, knowledge, in this order.

Owns the order and the last polish. Refuses to know how any of them works.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from emulators.model_vendor.responder import (
    arithmetic,
    code,
    compose,
    dates,
    everyday,
    jsonform,
    languages,
    memory,
    smalltalk,
    textwork,
    tools,
    units,
    vision,
)
from emulators.model_vendor.responder.conversation import Conversation
from emulators.model_vendor.responder.knowledge import mentioned
from emulators.model_vendor.responder.style import fitted, wished
from emulators.model_vendor.responder.tools import Call

__all__ = ["Call", "Reply", "extend", "respond"]


@dataclass(frozen=True, slots=True)
class Reply:
    """Text, or calls to make first."""

    text: str
    calls: tuple[Call, ...] = ()


def _everyday(conversation: Conversation) -> str | None:
    """Only when no known topic is named: a story about hashing is still about hashing."""
    return None if mentioned(conversation.question) else everyday.talk(conversation)


Skill = Callable[[Conversation], str | None]
_SKILLS: tuple[Skill, ...] = (
    tools.report,
    vision.describe,
    memory.recall,
    textwork.work,
    languages.translate,
    code.write,
    units.convert,
    dates.reckon,
    arithmetic.reckon,
    smalltalk.chat,
    _everyday,
)


def respond(conversation: Conversation) -> Reply:
    """The reply; the same for the same conversation."""
    calls = tools.choose(conversation)
    if calls:
        return Reply("", calls)
    if conversation.json_schema is not None:
        return Reply(jsonform.fill(conversation, conversation.json_schema))
    style = wished(conversation.instructions, conversation.question)
    text = next((found for skill in _SKILLS if (found := skill(conversation)) is not None), None)
    composed = text is None
    if text is None:
        text = languages.about(conversation, style.language) or compose.answer(conversation)
    more: Iterator[str] = compose.further(conversation, text) if composed or style.words else iter(())
    text = fitted(text, style, more)
    return Reply(jsonform.wrap(conversation, text) if conversation.json_object else text)


def extend(conversation: Conversation, text: str, *, words: int) -> str:
    """`text` with as many further sentences as make about `words` words, if there is so much to say."""
    parts = [text]
    have = len(text.split())
    for sentence in compose.further(conversation, text):
        if have >= words:
            break
        parts.append(sentence)
        have += len(sentence.split())
    return " ".join(parts)
