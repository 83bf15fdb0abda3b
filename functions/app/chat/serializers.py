"""Turns and answers in the words of clients: JSON objects, SSE frames. Shared by routes and callables."""

from collections.abc import Generator, Mapping
from types import TracebackType
from typing import assert_never

from app.api.streaming import ServerSentEvent as Frame
from app.chat.answering import Answer, Over, Start, Text, Tick
from app.chat.conversation import Conversation
from app.chat.schemas import CancelAnswer, ConversationAnswer, MessageAnswer, TurnError, UsageAnswer
from app.chat.turn import End, Turn
from app.kit.money import to_decimal


def conversation(found: Conversation) -> ConversationAnswer:
    """A conversation."""
    return ConversationAnswer(
        id=found.id,
        title=found.title,
        model=found.model,
        system_prompt=found.system_prompt,
        memory="buffer",
        archived=found.archived,
        created_at=found.created_at,
        updated_at=found.updated_at,
    )


def message(turn: Turn, end: End | None) -> MessageAnswer:
    """A turn; `end` None while it runs."""
    return MessageAnswer(
        message_id=turn.id,
        conversation_id=turn.conversation_id,
        status="running" if end is None else end.state,
        content=turn.question,
        images=[*turn.images],
        answer=None if end is None else end.answer,
        model=turn.model if end is None else end.answered_by,
        route=turn.route,
        finish_reason=None if end is None else end.finish_reason,
        reason=None if end is None else end.reason,
        usage=None if end is None else UsageAnswer(**usage(end)),
        estimated=end is not None and end.estimated,
        reserved=to_decimal(turn.reserved),
        max_output_tokens=turn.max_output_tokens,
        clamped=turn.clamped,
        cost=None if end is None else to_decimal(end.cost),
        transaction_id=None if end is None else end.transaction_id,
        available=None if end is None else to_decimal(end.available),
        created_at=turn.created_at,
        ended_at=None if end is None else end.ended_at,
        error=_error(end),
    )


def cancelled(message_id: str, turn: Turn | None) -> CancelAnswer:
    """What a cancel finds: None for a turn that runs and was told."""
    end = None if turn is None else turn.end
    return CancelAnswer(
        message_id=message_id,
        status="running" if end is None else end.state,
        finish_reason=None if end is None else end.finish_reason,
        cost=None if end is None else to_decimal(end.cost),
        transaction_id=None if end is None else end.transaction_id,
    )


def usage(end: End) -> dict[str, int]:
    """Token counts as API.md names them."""
    counts = end.usage
    cached = counts.get("cached_input", 0)
    return {
        "input_tokens": counts.get("input", 0) + cached,
        "output_tokens": counts.get("output", 0) + counts.get("reasoning", 0) + counts.get("image", 0),
        "cached_tokens": cached,
    }


class Frames(Generator[Frame | None, None, None]):
    """An answer as SSE frames, and None while it has nothing to say.

    Closing it before, while or after it is read closes the answer.
    """

    def __init__(self, answer: Answer, request_id: str) -> None:
        self._answer = answer
        self._request_id = request_id
        self._ready: list[Frame | None] = []

    def send(self, _value: None, /) -> Frame | None:
        """The next frame."""
        while not self._ready:
            self._ready = self._frames()
        return self._ready.pop(0)

    def throw(
        self,
        typ: type[BaseException] | BaseException,
        _val: BaseException | object = None,
        _tb: TracebackType | None = None,
        /,
    ) -> Frame | None:
        """Ends the answer."""
        self._answer.throw(typ)
        raise StopIteration

    def _frames(self) -> list[Frame | None]:
        match event := next(self._answer):
            case Start():
                return [Frame("start", _start(event.turn))]
            case Text():
                return [Frame("delta", {"text": event.text})]
            case Tick():
                return [None]
            case Over():
                return self._last(event.turn, event.end)
            case _:
                assert_never(event)

    def _last(self, turn: Turn, end: End) -> list[Frame | None]:
        frames: list[Frame | None] = [Frame("usage", usage(end))]
        if end.problem is not None:
            return [*frames, Frame("error", _problem(turn, end, self._request_id))]
        done = {
            "message_id": turn.id,
            "cost": to_decimal(end.cost),
            "transaction_id": end.transaction_id,
            "available": to_decimal(end.available),
            "finish_reason": end.finish_reason,
        }
        return [*frames, Frame("done", done)]


def _start(turn: Turn) -> Mapping[str, object]:
    return {
        "message_id": turn.id,
        "conversation_id": turn.conversation_id,
        "model": turn.model,
        "route": turn.route,
        "reserved": to_decimal(turn.reserved),
        "max_output_tokens": turn.max_output_tokens,
        "clamped": turn.clamped,
    }


def _problem(turn: Turn, end: End, request_id: str) -> Mapping[str, object]:
    """The problem object (RFC 9457) of a turn that failed, with what it really cost (T-27)."""
    if end.problem is None:
        return {}
    return {
        "message_id": turn.id,
        "cost": to_decimal(end.cost),
        "transaction_id": end.transaction_id,
        "available": to_decimal(end.available),
        "finish_reason": end.finish_reason,
        "type": f"urn:problem-type:{end.problem.code}",
        "title": end.problem.title,
        "status": end.problem.status,
        "detail": end.problem.detail,
        "code": end.problem.code,
        "request_id": request_id,
    }


def _error(end: End | None) -> TurnError | None:
    if end is None or end.problem is None:
        return None
    problem = end.problem
    return TurnError(code=problem.code, title=problem.title, detail=problem.detail, status=problem.status)
