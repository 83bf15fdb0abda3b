"""Completions as OpenAI's clients read them: one object, or the chunks of a stream."""

import json
from collections.abc import Callable, Mapping
from typing import assert_never

from app.chat.attempt import AnswerEvent, Called, Over, Start, Text, Tick
from app.chat.door.schemas import (
    AnswerDetails,
    AnswerMessage,
    CallOfAnswer,
    Choice,
    CompletionAnswer,
    CompletionUsage,
    FinishReason,
    FunctionOfAnswer,
    PromptDetails,
)
from app.chat.turn import End, Turn
from app.kit.clock import from_rfc3339
from app.kit.money import to_decimal
from app.models.tools.calls import ToolCall

KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"


def completion(turn: Turn, end: End) -> CompletionAnswer:
    """The whole answer."""
    calls = [CallOfAnswer(id=one.id, function=_function(one)) for one in end.calls]
    message = AnswerMessage(content=end.answer if end.answer or not calls else None, tool_calls=calls or None)
    choice = Choice(message=message, finish_reason=finish_of(end))
    return CompletionAnswer(
        id=turn.id, created=_created(turn), model=end.answered_by, choices=[choice], usage=usage(end)
    )


def written(answer: CompletionAnswer) -> str:
    """The answer as JSON. Some clients take `tool_calls` for a list wherever it stands."""
    none = answer.choices[0].message.tool_calls is None
    return answer.model_dump_json(exclude={"choices": {"__all__": {"message": {"tool_calls"}}}} if none else None)


def _function(call: ToolCall) -> FunctionOfAnswer:
    return FunctionOfAnswer(name=call.name, arguments=call.arguments)


def finish_of(end: End) -> FinishReason:
    """OpenAI's word for an end. An answer that was charged for and may not be whole ends by `length`."""
    if end.problem is not None and end.problem.code == "content_filter":
        return "content_filter"
    if end.finish_reason != "stop":
        return "length"
    return "tool_calls" if end.calls else "stop"


def failed(end: End) -> bool:
    """Whether the answer broke off and nothing is charged for it: then it is an error, which may be tried again."""
    return end.state == "error" and not end.cost


def usage(end: End) -> CompletionUsage:
    """Tokens by OpenAI's names, and the cost."""
    read, written = end.spent.input_tokens, end.spent.output_tokens
    return CompletionUsage(
        prompt_tokens=read,
        completion_tokens=written,
        total_tokens=read + written,
        prompt_tokens_details=PromptDetails(cached_tokens=end.usage.get("cached_input", 0)),
        completion_tokens_details=AnswerDetails(reasoning_tokens=end.usage.get("reasoning", 0)),
        cost=to_decimal(end.cost),
        transaction_id=end.transaction_id,
        estimated=end.estimated,
    )


class Chunks:
    """The frames of one streamed completion. `broken` gives the error object of an answer that failed."""

    def __init__(self, *, include_usage: bool, broken: Callable[[End], Mapping[str, object]]) -> None:
        self._include_usage = include_usage
        self._broken = broken
        self._turn: Turn | None = None

    def __call__(self, event: AnswerEvent) -> list[bytes]:
        match event:
            case Start():
                self._turn = event.turn
                return [self._chunk(event.turn, event.turn.model, {"role": "assistant", "content": ""})]
            case Text():
                turn = self._turn
                return [] if turn is None else [self._chunk(turn, turn.model, {"content": event.text})]
            case Called():
                turn = self._turn
                return [] if turn is None else [self._chunk(turn, turn.model, {"tool_calls": [_piece(event)]})]
            case Tick():
                return [KEEP_ALIVE]
            case Over():
                return self._last(event.turn, event.end)
            case _:
                assert_never(event)

    def _last(self, turn: Turn, end: End) -> list[bytes]:
        if failed(end):
            return [line(self._broken(end))]
        frames = [self._chunk(turn, end.answered_by, {}, finish_of(end))]
        if self._include_usage:
            frames.append(line({**self._head(turn, end.answered_by), "choices": [], "usage": usage(end).model_dump()}))
        return [*frames, DONE]

    def _chunk(self, turn: Turn, model: str, delta: Mapping[str, object], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return line({**self._head(turn, model), "choices": [choice]})

    def _head(self, turn: Turn, model: str) -> dict[str, object]:
        head = {"id": turn.id, "object": "chat.completion.chunk", "created": _created(turn), "model": model}
        return {**head, "usage": None} if self._include_usage else head


def _piece(event: Called) -> dict[str, object]:
    """A piece of a call as OpenAI's clients put them together: only the first one has an id, a type and a name."""
    if not event.name:
        return {"index": event.index, "function": {"arguments": event.arguments}}
    function = {"name": event.name, "arguments": event.arguments}
    return {"index": event.index, "id": event.id, "type": "function", "function": function}


def line(data: Mapping[str, object]) -> bytes:
    """One event of the stream. It is ASCII, so that no reader ends a line within it."""
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


def _created(turn: Turn) -> int:
    return from_rfc3339(turn.created_at) // 1_000_000
