"""From the body of a completion to what is asked: messages for the gateway, options for the vendor, limits. Pure."""

from typing import Final, NamedTuple

from app.api.problems import ValidationFailed
from app.chat.door import tools
from app.chat.door.completion import CompletionAsk
from app.chat.door.messages import AssistantMessage, ChatMessage, PicturePart, RefusalPart, TextPart, ToolMessage
from app.chat.door.schemas import CompletionBody
from app.chat.door.tools import NamedTool
from app.chat.opening import FOR_EVER_US
from app.credits.public import Spender
from app.models.gateway import Message, MessageRole

_OPTIONS: Final = (
    *("temperature", "top_p", "presence_penalty", "frequency_penalty"),
    *("stop", "seed", "reasoning_effort", "verbosity", "response_format"),
)
"""Parameters that the vendor gets as they are."""
_OF_TOOLS: Final = ("tools", "tool_choice", "parallel_tool_calls")
"""Without tools, a choice among them and calls side by side ask for nothing, and servers refuse them."""
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
    check_tools(body)
    options = body.model_dump(include={*_OPTIONS, *(_OF_TOOLS if body.tools else ())}, exclude_none=True, by_alias=True)
    schema = options.get("response_format", {}).get("json_schema")
    counted = [one for one in (schema, *options.get("tools", ())) if one is not None]
    calls = [call for one in body.messages if isinstance(one, AssistantMessage) for call in _calls(one)]
    messages = [message(one) for one in body.messages]
    results = sum(map(_around, body.messages, messages))
    limits = [limit for limit in (body.max_tokens, body.max_completion_tokens) if limit is not None]
    return CompletionAsk(
        uid=sender.uid,
        model=body.model,
        messages=tuple(messages),
        most_output=min(limits, default=None),
        options=options,
        beside=tuple(tools.counted(one) for one in counted),
        framing=tools.framing(options.get("tools"), calls) + results,
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
    if given.role == "tool" or (given.role == "assistant" and given.tool_calls):
        return _of_tools(given, "\n".join(texts))
    pictures = tuple(part.image_url.url for part in parts if isinstance(part, PicturePart))
    text = "\n".join(texts)
    if not pictures and not given.name:
        return Message(role, text)
    content = [part.model_dump(exclude_none=True) for part in parts] if pictures else text
    name = {"name": given.name} if given.name else {}
    counted = f"{given.name}\n{text}" if given.name else text
    return Message(role, counted, pictures, {"role": role, **name, "content": content})


def _around(given: ChatMessage, sent: Message) -> int:
    """Tokens that a tool's result has beside its text; none for other messages."""
    return tools.around(given.tool_call_id, sent.text) if isinstance(given, ToolMessage) else 0


def _of_tools(given: AssistantMessage | ToolMessage, text: str) -> Message:
    """A message with calls, or with what a tool gave. Its ids are no part of its text; see `tools.framing`."""
    if isinstance(given, ToolMessage):
        return Message("tool", text, (), {"role": "tool", "tool_call_id": given.tool_call_id, "content": text})
    named = {"name": given.name} if given.name else {}
    called = [f"{one.function.name} {one.function.arguments}" for one in given.tool_calls or ()]
    sent = {"role": "assistant", **named, "content": text or None, "tool_calls": _calls(given)}
    return Message("assistant", "\n".join(filter(None, [given.name, text, *called])), (), sent)


def _calls(given: AssistantMessage) -> list[dict[str, object]]:
    return [one.model_dump() for one in given.tool_calls or ()]


def check_tools(body: CompletionBody) -> None:
    """Raises ValidationFailed where a choice, or what a tool gave, has nothing that it belongs to."""
    names = {one.function.name for one in body.tools or ()}
    if body.tool_choice == "required" and not names:
        raise _misplaced("tool_choice", "it needs tools")
    if isinstance(body.tool_choice, NamedTool) and body.tool_choice.function.name not in names:
        raise _misplaced("tool_choice", "function", "name", "no tool of this name is offered")
    made: set[str] = set()
    for place, one in enumerate(body.messages):
        if isinstance(one, AssistantMessage):
            made |= {call.id for call in one.tool_calls or ()}
        if isinstance(one, ToolMessage) and one.tool_call_id not in made:
            raise _misplaced("messages", place, "tool_call_id", "no message before it has a call with this id")


def _misplaced(*where: str | int) -> ValidationFailed:
    *loc, why = where
    return ValidationFailed([{"loc": loc, "msg": why, "type": "value_error"}])


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
