"""The Markdown of a branch. Pure.

Each line of a question, an answer or a system prompt is quoted (`> `). Only lines of ours begin with anything else, so
no text can pass for a heading, for another speaker, or for the last line, which says that nothing was cut off.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from app.chat.conversation import Conversation
from app.chat.export.exporting import Numbered
from app.chat.turn import Turn
from app.kit.money import to_decimal

_LINE_ENDS: Final = re.compile("\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")
_MARKS: Final = re.compile(r"([\\`*_{}\[\]<>()#+\-!|~&])")


def transcript(conversation: Conversation, branch: Iterable[Numbered]) -> Iterator[str]:
    """The document, piece by piece, the first turn first."""
    yield f"# {_inline(conversation.title) or 'Conversation'}\n\nBegan {conversation.created_at}\n"
    if conversation.system_prompt:
        yield f"\n## System prompt\n\n{_quoted(conversation.system_prompt)}\n"
    count = 0
    for count, one in enumerate(branch, 1):
        yield _missing(count, one) if one.turn is None else _turn(count, one.turn)
    yield f"\n---\n\nEnd of the conversation, {count} turns.\n"


def _turn(count: int, turn: Turn) -> str:
    pictures = f"\n{len(turn.images)} images\n" if turn.images else ""
    asked = f"\n## {count}. Question\n\n{turn.created_at}\n{pictures}\n{_quoted(turn.question)}\n"
    end = turn.end
    if end is None:
        return f"{asked}\n## {count}. Answer\n\nStill running\n"
    facts = [_inline(end.answered_by), end.ended_at, f"{end.spent.input_tokens} and {end.spent.output_tokens} tokens"]
    facts.append("a cost that cannot be read" if "cost" in turn.unread else f"{to_decimal(end.cost)} credits")
    if end.transaction_id:
        facts.append(f"transaction {_inline(end.transaction_id)}")
    if end.finish_reason != "stop":
        facts.append(f"ended by {end.finish_reason}")
    if turn.unread:
        facts.append(f"could not be read: {_inline(', '.join(sorted(turn.unread)))}")
    return f"{asked}\n## {count}. Answer\n\n{', '.join(facts)}\n\n{_quoted(end.answer)}\n"


def _missing(count: int, one: Numbered) -> str:
    return f"\n## {count}. This turn is {one.unavailable}\n\n{_inline(one.id)}\n"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in _LINE_ENDS.split(text))


def _inline(text: str) -> str:
    """On one line, and without a meaning in Markdown."""
    return _MARKS.sub(r"\\\1", " ".join(text.split()))
