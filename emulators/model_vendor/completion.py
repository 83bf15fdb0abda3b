"""Turns a chat request into the finished answer before the first byte is sent: text, calls, counts, reason.

Owns counting of prompts, limits, reasoning tokens and finish reasons. Refuses to know how it is delivered.
"""

from dataclasses import dataclass
from hashlib import blake2b

import orjson
from pydantic import JsonValue

from emulators.model_vendor import tokens
from emulators.model_vendor.errors import VendorError, bad_request
from emulators.model_vendor.faults import Behaviour
from emulators.model_vendor.models import Model
from emulators.model_vendor.pictures import Seen
from emulators.model_vendor.responder.conversation import Conversation, Offer, Turn
from emulators.model_vendor.responder.respond import Call, extend, respond
from emulators.model_vendor.wire import ChatRequest, Message, NamedToolChoice

_EFFORT = {"none": 0, "minimal": 16, "low": 48, "medium": 128, "high": 384, "xhigh": 768, "max": 1536}


@dataclass(frozen=True, slots=True)
class PromptSize:
    """Prompt tokens and how many of them were in the cache."""

    total: int
    cached: int


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """A tool call with the tokens it is streamed in; `head` are those of its name and frame."""

    id: str
    name: str
    head: int
    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Completion:
    """The whole answer. `generated` = reasoning + everything visible."""

    id: str
    model: str
    pieces: tuple[str, ...]
    calls: tuple[PlannedCall, ...]
    reasoning: int
    finish_reason: str
    prompt: PromptSize

    @property
    def generated(self) -> int:
        """Completion tokens, exactly those that a stream carries plus the reasoning."""
        calls = sum(call.head + len(call.pieces) for call in self.calls)
        return self.reasoning + len(self.pieces) + calls


def complete(
    request: ChatRequest, model: Model, seen: list[tuple[Seen, ...]], cache: tokens.PrefixCache, behaviour: Behaviour
) -> Completion:
    """Answer `request`; `seen` holds what is visible in the pictures of each message."""
    prompt = prompt_size(request, model, seen, cache)
    if prompt.total > model.context_tokens:
        raise _too_long(model, prompt.total)
    if request.limit is not None and request.limit > model.max_output_tokens:
        raise _too_much(model, request.limit)
    conversation = _conversation(request, seen)
    reply = respond(conversation)
    pieces = tokens.split(_stopped(reply.text, request.stop))
    calls = tuple(_planned(call, number) for number, call in enumerate(reply.calls))
    reasoning = _reasoning(request, model)
    finish = "tool_calls" if calls else "stop"
    room = _room(request, model, prompt.total) - reasoning
    if behaviour.empty:
        pieces, calls, finish = [], (), "stop"
    elif behaviour.ignore_max_tokens:
        pieces = _overrun(pieces, request.limit, conversation)
    elif room < len(pieces) + sum(call.head + len(call.pieces) for call in calls):
        pieces, calls, finish = _cut(pieces, calls, max(room, 0))
        reasoning += min(room, 0)
    return Completion(
        id="chatcmpl-sim" + blake2b(orjson.dumps(request.model_dump(mode="json")), digest_size=12).hexdigest(),
        model=behaviour.answers_as or model.id,
        pieces=tuple(pieces),
        calls=calls,
        reasoning=reasoning,
        finish_reason=behaviour.finish or finish,
        prompt=prompt,
    )


def prompt_size(
    request: ChatRequest, model: Model, seen: list[tuple[Seen, ...]], cache: tokens.PrefixCache
) -> PromptSize:
    """Tokens of messages, frames, pictures and tools, and how many of them are a known prefix."""
    texts = [_counted_text(message) for message in request.messages]
    tools = _tools_json(request)
    total = tokens.REPLY_OVERHEAD + sum(
        _message_tokens(message, text) for message, text in zip(request.messages, texts)
    )
    total += sum(picture.tokens for pictures in seen for picture in pictures)
    if tools:
        total += tokens.TOOLS_OVERHEAD + tokens.count(tools)
    if total < tokens.CACHE_MINIMUM:
        return PromptSize(total, 0)
    # Vendors put tools before the messages in the cached prefix.
    prefix = [piece for text in (tools, *texts) for piece in ("\0", *tokens.split(text))]
    return PromptSize(total, min(cache.cached_tokens(prefix, model.id), total))


def _message_tokens(message: Message, text: str) -> int:
    named = 0 if message.name is None else tokens.NAME_OVERHEAD + tokens.count(message.name)
    calls = tokens.TOOL_CALL_OVERHEAD * len(message.tool_calls or ())
    return tokens.MESSAGE_OVERHEAD + named + calls + tokens.count(text)


def _counted_text(message: Message) -> str:
    calls = "".join(call.function.name + call.function.arguments for call in message.tool_calls or ())
    return message.text + calls


def _tools_json(request: ChatRequest) -> str:
    """Tools and answer schema as they count: never longer than what the caller wrote."""
    offered: list[dict[str, JsonValue]] = [tool.model_dump(exclude_unset=True) for tool in request.tools or ()]
    if request.response_format is not None and request.response_format.json_schema is not None:
        offered.append(request.response_format.json_schema.schema_)
    return orjson.dumps(offered).decode() if offered else ""


def _too_long(model: Model, total: int) -> VendorError:
    return bad_request(
        f"This model's maximum context length is {model.context_tokens} tokens. However, your messages resulted in "
        f"{total} tokens. Please reduce the length of the messages.",
        param="messages",
        code="context_length_exceeded",
    )


def _too_much(model: Model, limit: int) -> VendorError:
    return bad_request(
        f"max_tokens is too large: {limit}. This model supports at most {model.max_output_tokens} completion tokens.",
        param="max_tokens",
        code="invalid_value",
    )


def _room(request: ChatRequest, model: Model, prompt: int) -> int:
    limit = min(model.max_output_tokens, model.context_tokens - prompt)
    return limit if request.limit is None else min(request.limit, limit)


def _reasoning(request: ChatRequest, model: Model) -> int:
    if not model.reasons:
        return 0
    budget = _EFFORT[request.reasoning_effort or "medium"]
    question = request.messages[-1].text
    spread = blake2b(question.encode("utf-8", "replace"), digest_size=4).digest()
    return budget + int.from_bytes(spread) % max(budget // 2, 1)


def _cut(
    pieces: list[str], calls: tuple[PlannedCall, ...], room: int
) -> tuple[list[str], tuple[PlannedCall, ...], str]:
    kept = pieces[:room]
    room -= len(kept)
    shorter: list[PlannedCall] = []
    for call in calls:
        if room < call.head:
            break
        arguments = call.pieces[: room - call.head]
        shorter.append(PlannedCall(call.id, call.name, call.head, arguments))
        room -= call.head + len(arguments)
    return kept, tuple(shorter), "length"


def _overrun(pieces: list[str], limit: int | None, conversation: Conversation) -> list[str]:
    """More than the caller allowed, as a vendor that does not know the parameter would send."""
    if limit is None or len(pieces) > limit:
        return pieces
    wanted = limit + max(16, limit // 2)
    longer = tokens.split(extend(conversation, "".join(pieces), words=wanted))
    while len(longer) < wanted:
        longer += longer
    return longer[:wanted]


def _stopped(text: str, stop: str | tuple[str, ...] | None) -> str:
    for mark in (stop,) if isinstance(stop, str) else stop or ():
        if mark:
            text = text.partition(mark)[0]
    return text


def _planned(call: Call, number: int) -> PlannedCall:
    digest = blake2b(f"{number}:{call.name}:{call.arguments}".encode(), digest_size=12).hexdigest()
    head = tokens.TOOL_CALL_OVERHEAD + tokens.count(call.name)
    return PlannedCall(f"call_{digest}", call.name, head, tuple(tokens.split(call.arguments)))


def _conversation(request: ChatRequest, seen: list[tuple[Seen, ...]]) -> Conversation:
    names = {call.id: call.function.name for message in request.messages for call in message.tool_calls or ()}
    turns = tuple(
        Turn(message.role, message.text, pictures, names.get(message.tool_call_id or "", message.name or ""))
        for message, pictures in zip(request.messages, seen)
    )
    choice = request.tool_choice
    offers = tuple(
        Offer(tool.function.name, tool.function.description, tool.function.parameters or {})
        for tool in request.tools or ()
    )
    forced = choice.function.name if isinstance(choice, NamedToolChoice) else None
    if forced is not None:
        offers = tuple(offer for offer in offers if offer.name == forced)
        if not offers:
            raise bad_request(f"Tool choice function {forced} not found in 'tools' parameter.", param="tool_choice")
    json_format = request.response_format
    schema = None if json_format is None or json_format.json_schema is None else json_format.json_schema.schema_
    return Conversation(
        turns=turns,
        offers=() if choice == "none" else offers,
        must_call=choice == "required" or forced is not None,
        parallel=request.parallel_tool_calls is not False,
        json_schema=schema if json_format is not None and json_format.type == "json_schema" else None,
        json_object=json_format is not None and json_format.type == "json_object",
        seed=request.seed or 0,
    )
