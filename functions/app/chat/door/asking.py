"""From the body of a completion to what is asked: messages for the gateway, options for the vendor, limits. Pure."""

import json
from typing import Final, NamedTuple

from app.chat.door.completion import CompletionAsk
from app.chat.door.messages import ChatMessage, PicturePart, RefusalPart, TextPart
from app.chat.door.schemas import CompletionBody
from app.chat.opening import FOR_EVER_US
from app.credits.public import Spender
from app.models.gateway import Message, MessageRole

_OPTIONS: Final = (
    *("temperature", "top_p", "presence_penalty", "frequency_penalty"),
    *("stop", "seed", "reasoning_effort", "verbosity", "response_format"),
)
"""Parameters that the vendor gets as they are."""
_LONGEST_WAIT_S: Final = 3600


class Sender(NamedTuple):
    """Who sends a body, and what its headers say: `timeout` is for how many seconds the client waits, if it says so."""

    uid: str
    spender: Spender | None
    key: str | None
    request_id: str
    timeout: str


def asked(body: CompletionBody, sender: Sender) -> CompletionAsk:
    """What a client asks."""
    options = body.model_dump(include={*_OPTIONS}, exclude_none=True, by_alias=True)
    schema = options.get("response_format", {}).get("json_schema")
    limits = [limit for limit in (body.max_tokens, body.max_completion_tokens) if limit is not None]
    return CompletionAsk(
        uid=sender.uid,
        model=body.model,
        messages=tuple(message(one) for one in body.messages),
        most_output=min(limits, default=None),
        options=options,
        beside=() if schema is None else (json.dumps(schema, ensure_ascii=False),),
        max_cost=body.max_cost,
        key=sender.key,
        request_id=sender.request_id,
        spender=sender.spender,
        waits_us=FOR_EVER_US if body.stream else waits_us(sender.timeout),
    )


def message(given: ChatMessage) -> Message:
    """The message as the gateway sends it. Texts alone become one, as every server takes it; beside pictures they
    keep their places.
    """
    role: MessageRole = "system" if given.role == "developer" else given.role
    parts = [TextPart(type="text", text=given.content)] if isinstance(given.content, str) else given.content or []
    texts = [text for part in parts if (text := _text(part)) is not None]
    if given.role == "assistant" and given.refusal and not parts:
        texts = [given.refusal]
    pictures = tuple(part.image_url.url for part in parts if isinstance(part, PicturePart))
    text = "\n".join(texts)
    if not pictures and not given.name:
        return Message(role, text)
    content = [part.model_dump(exclude_none=True) for part in parts] if pictures else text
    name = {"name": given.name} if given.name else {}
    counted = f"{given.name}\n{text}" if given.name else text
    return Message(role, counted, pictures, {"role": role, **name, "content": content})


def _text(part: TextPart | RefusalPart | PicturePart) -> str | None:
    match part:
        case TextPart():
            return part.text
        case RefusalPart():
            return part.refusal
        case PicturePart():
            return None


def waits_us(timeout: str) -> int:
    """For how long a client waits for a whole answer, less the time for its way, in microseconds; for ever where
    it did not say so. The answer is ended before, because a client that has hung up asks again, and would pay twice.
    """
    try:
        wait_s = float(timeout)
    except ValueError:
        return FOR_EVER_US
    if not 0 < wait_s <= _LONGEST_WAIT_S:
        return FOR_EVER_US
    return int((wait_s - min(2, wait_s / 4)) * 1_000_000)
