"""Completions as OpenAI's clients read them: one object, or the chunks of a stream."""

import json
from collections.abc import Callable, Mapping
from typing import Literal, assert_never

from app.chat.answering import AnswerEvent, Over, Start, Text, Tick
from app.chat.door.schemas import (
    AnswerDetails,
    AnswerMessage,
    Choice,
    CompletionAnswer,
    CompletionUsage,
    PromptDetails,
)
from app.chat.turn import End, Turn
from app.kit.clock import from_rfc3339
from app.kit.money import to_decimal

KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"


def completion(turn: Turn, end: End) -> CompletionAnswer:
    """The whole answer."""
    choice = Choice(message=AnswerMessage(content=end.answer), finish_reason=finish_of(end))
    return CompletionAnswer(
        id=turn.id, created=_created(turn), model=end.answered_by, choices=[choice], usage=usage(end)
    )


def finish_of(end: End) -> Literal["stop", "length", "content_filter"]:
    """OpenAI's word for an end. An answer that was charged for and may not be whole ends by `length`."""
    if end.problem is not None and end.problem.code == "content_filter":
        return "content_filter"
    return "stop" if end.finish_reason == "stop" else "length"


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


def line(data: Mapping[str, object]) -> bytes:
    """One event of the stream. It is ASCII, so that no reader ends a line within it."""
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


def _created(turn: Turn) -> int:
    return from_rfc3339(turn.created_at) // 1_000_000
