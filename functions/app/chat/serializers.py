"""Turns and answers as clients see them: JSON objects, SSE frames. Shared by routes and callables."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar, assert_never

from app.api.streaming import ServerSentEvent as Frame
from app.assistant import serializers as assistant
from app.chat.attempt import AnswerEvent, Called, Over, Start, Text, Tick
from app.chat.branching.branches import Placed
from app.chat.branching.tree import Spent
from app.chat.conversation import Conversation
from app.chat.schemas import (
    BranchTurn,
    CancelAnswer,
    ConversationAnswer,
    MessageAnswer,
    SpentAnswer,
    TurnError,
    UsageAnswer,
)
from app.chat.turn import End, Turn
from app.kit.money import to_decimal

T = TypeVar("T")


def conversation(found: Conversation) -> ConversationAnswer:
    """A conversation."""
    return ConversationAnswer(
        id=found.id,
        title=found.title,
        model=found.model,
        system_prompt=found.system_prompt,
        memory="buffer",
        archived=found.archived,
        pinned=found.pinned,
        active_leaf=found.leaf or None,
        spent=spent(found.spent),
        created_at=found.created_at,
        updated_at=found.updated_at,
    )


def message(turn: Turn, end: End | None) -> MessageAnswer:
    """A turn; `end` None while it runs. What could not be read of it is null or empty, and named."""

    def known(name: str, value: T) -> T | None:
        return None if name in turn.unread else value

    return MessageAnswer(
        message_id=turn.id,
        conversation_id=turn.conversation_id,
        status="running" if end is None else end.state,
        content=turn.question,
        images=[*turn.images],
        answer=None if end is None else known("answer", end.answer),
        model=turn.model if end is None else end.answered_by,
        route=_route(turn, end),
        choice=None if turn.choice is None else assistant.choice(turn.choice),
        route_reason=None if end is None else end.route_reason or None,
        finish_reason=None if end is None else known("finish_reason", end.finish_reason),
        reason=None if end is None else known("reason", end.reason),
        usage=None if end is None else known("usage", UsageAnswer(**usage(end))),
        estimated=end is not None and end.estimated,
        reserved=known("reserved", to_decimal(turn.reserved)),
        ceiling=known("ceiling", to_decimal(turn.ceiling)),
        max_output_tokens=known("max_output_tokens", turn.max_output_tokens),
        clamped=turn.clamped,
        cost=None if end is None else known("cost", to_decimal(end.cost)),
        transaction_id=None if end is None else end.transaction_id,
        available=None if end is None else known("available", to_decimal(end.available)),
        created_at=turn.created_at,
        ended_at=None if end is None else known("ended_at", end.ended_at),
        error=_error(end),
        parent_id=turn.parent or None,
        branch=spent(replace(turn, end=end).branch),
        unreadable=sorted(turn.unread),
    )


def placed(found: Placed) -> BranchTurn:
    """A turn in its tree."""
    told = message(found.turn, found.turn.end).model_copy(update={"parent_id": found.parent or None})
    position = found.siblings.index(found.turn.id) + 1
    return BranchTurn(**dict(told), siblings=[*found.siblings], position=position)


def spent(found: Spent | None) -> SpentAnswer | None:
    """What some turns cost together; None where it is not known."""
    if found is None:
        return None
    return SpentAnswer(cost=to_decimal(found.cost), input_tokens=found.input_tokens, output_tokens=found.output_tokens)


def cancelled(message_id: str, turn: Turn | None) -> CancelAnswer:
    """The answer to a cancel. `turn` is None while the turn is running and is being stopped."""
    end = None if turn is None else turn.end
    return CancelAnswer(
        message_id=message_id,
        status="running" if end is None else end.state,
        finish_reason=None if end is None else end.finish_reason,
        cost=None if end is None else to_decimal(end.cost),
        transaction_id=None if end is None else end.transaction_id,
    )


def usage(end: End) -> dict[str, int]:
    """Token counts by the names of the API: cached tokens are part of the input, reasoning is part of the output."""
    return {
        "input_tokens": end.spent.input_tokens,
        "output_tokens": end.spent.output_tokens,
        "cached_tokens": end.usage.get("cached_input", 0),
    }


def frames(event: AnswerEvent, request_id: str) -> list[Frame | None]:
    """The SSE frames of one event of an answer; None stands for a comment that keeps the connection alive."""
    match event:
        case Start():
            return [Frame("start", _start(event.turn))]
        case Text():
            return [Frame("delta", {"text": event.text})]
        case Called():
            return []  # No message offers tools.
        case Tick():
            return [None]
        case Over():
            return [Frame("usage", usage(event.end)), _last(event.turn, event.end, request_id)]
        case _:
            assert_never(event)


def _last(turn: Turn, end: End, request_id: str) -> Frame:
    """`done`, or `error` with the problem object (RFC 9457); either says what the turn really cost (T-27).

    Either names the model that answered, and why it was not the one that was asked (T-109).
    """
    told: dict[str, object] = {
        "message_id": turn.id,
        "cost": to_decimal(end.cost),
        "transaction_id": end.transaction_id,
        "available": to_decimal(end.available),
        "finish_reason": end.finish_reason,
        "reason": end.reason,
        "model": end.answered_by,
    }
    if end.route_reason:
        told |= {"route": _route(turn, end), "route_reason": end.route_reason}
    problem = end.problem
    if problem is None:
        return Frame("done", told)
    described = {
        "type": f"urn:problem-type:{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "request_id": request_id,
    }
    return Frame("error", told | described)


def _route(turn: Turn, end: End | None) -> str:
    return "fallback" if end is not None and end.route_reason else turn.route


def _start(turn: Turn) -> Mapping[str, object]:
    chosen = {} if turn.choice is None else {"choice": assistant.choice(turn.choice).model_dump(mode="json")}
    return {
        **chosen,
        "message_id": turn.id,
        "conversation_id": turn.conversation_id,
        "parent_id": turn.parent or None,
        "model": turn.model,
        "route": turn.route,
        "reserved": to_decimal(turn.reserved),
        "ceiling": to_decimal(turn.ceiling),
        "max_output_tokens": turn.max_output_tokens,
        "clamped": turn.clamped,
    }


def _error(end: End | None) -> TurnError | None:
    if end is None or end.problem is None:
        return None
    problem = end.problem
    return TurnError(code=problem.code, title=problem.title, detail=problem.detail, status=problem.status)
