"""`/chat/...`: conversations, messages answered as JSON or as a stream, cancel."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import flask
from flask_openapi import APIBlueprint, Tag

from app.api.auth import caller, spends
from app.api.context import request_id, wanted
from app.api.idempotency import REPLAYED, idempotency_key, takes_key
from app.api.paging import Cursors, as_id, time_and_id
from app.api.schemas import Page, Problem
from app.api.streaming import sse_of, streams
from app.chat import serializers
from app.chat.opening import Ask
from app.chat.schemas import (
    BranchParameters,
    BranchTurn,
    CancelAnswer,
    ConversationAnswer,
    ConversationChange,
    ConversationFilter,
    ConversationPath,
    MessageAnswer,
    MessagePath,
    NewConversation,
    NewMessage,
    Regeneration,
)
from app.chat.service import Amendment, Chat, ConversationDraft
from app.metering.billing import Mode
from app.metering.paid_call import spender_of

_TAG: Final = Tag(name="chat", description="Conversations, and answers that are paid while they stream")
_STREAM: Final = "text/event-stream"


class ConversationPage(Page[ConversationAnswer]):
    """Conversations, the most recently used first."""


class MessagePage(Page[BranchTurn]):
    """Turns of one branch, the last one first."""


def routes(chat: Chat) -> APIBlueprint:
    """The blueprint of chat."""
    blueprint = APIBlueprint("chat", __name__, abp_tags=[_TAG], url_prefix="/chat")
    _conversations(blueprint, chat)
    _messages(blueprint, chat)
    return blueprint


def _conversations(blueprint: APIBlueprint, chat: Chat) -> None:
    @blueprint.post("/conversations", summary="Begin a conversation", responses={201: ConversationAnswer})
    def create(body: NewConversation) -> tuple[ConversationAnswer, int]:
        draft = ConversationDraft(body.title, body.model, body.system_prompt, body.memory)
        return serializers.conversation(chat.create(caller().uid, draft)), 201

    @blueprint.get("/conversations", summary="Your conversations", responses={200: ConversationPage})
    def list_all(query: ConversationFilter) -> ConversationPage:
        uid = caller().uid
        # A list without filters keeps the cursors that it has always had.
        filters = () if query.archived is query.pinned is None else (query.archived, query.pinned)
        cursors = Cursors("conversations", time_and_id, (uid, *filters))
        listing = chat.list(uid, archived=query.archived, pinned=query.pinned)
        page, more = cursors.listed(listing, serializers.conversation, query.limit, query.cursor)
        return ConversationPage(items=[*page], next_cursor=more)

    @blueprint.get("/conversations/<conversation_id>", summary="One conversation", responses={200: ConversationAnswer})
    def read(path: ConversationPath) -> ConversationAnswer:
        return serializers.conversation(chat.read(caller().uid, path.conversation_id))

    @blueprint.patch(
        "/conversations/<conversation_id>",
        summary="Change, or switch branches",
        responses={200: ConversationAnswer},
    )
    def change(path: ConversationPath, body: ConversationChange) -> ConversationAnswer:
        amendment = Amendment(body.title, body.archived, body.pinned, body.model, body.system_prompt, body.active_leaf)
        return serializers.conversation(chat.amend(caller().uid, path.conversation_id, amendment))

    @blueprint.delete(
        "/conversations/<conversation_id>",
        summary="Delete with all messages",
        description="It is gone at once. Its messages are deleted right after; what they cost stays in the ledger.",
        responses={204: None},
    )
    def delete(path: ConversationPath) -> tuple[str, int]:
        chat.delete(caller().uid, path.conversation_id)
        return "", 204


def _messages(blueprint: APIBlueprint, chat: Chat) -> None:
    @blueprint.get(
        "/conversations/<conversation_id>/messages",
        summary="Its turns",
        description="The active branch, or the one through the turn `leaf`. A page may be short before the last one.",
        responses={200: MessagePage},
    )
    def list_turns(path: ConversationPath, query: BranchParameters) -> MessagePage:
        uid = caller().uid
        cursors = Cursors("messages", _id, (uid, path.conversation_id, query.leaf))
        after = cursors.read(query.cursor)
        page = chat.branch(uid, path.conversation_id, query.limit, query.leaf, None if after is None else after[0])
        more = None if page.after is None else cursors.write((page.after,))
        return MessagePage(items=[serializers.placed(one) for one in page.turns], next_cursor=more)

    @blueprint.post(
        "/conversations/<conversation_id>/messages",
        summary="Ask, and pay for the answer",
        description="JSON, or with `Accept: text/event-stream` the events `start`, `delta` (many), `usage`, and then "
        "`done` or `error`. With `quote_id` at the price of a quote.",
        responses={200: MessageAnswer, **dict.fromkeys((402, 403, 404, 409, 422, 429), Problem)},
    )
    @takes_key
    @streams
    @spends
    def answer(path: ConversationPath, body: NewMessage) -> flask.Response:
        ask = Ask(
            uid=caller().uid,
            conversation_id=path.conversation_id,
            content=body.content,
            images=tuple(body.images),
            model=body.model,
            max_cost=body.max_cost,
            key=idempotency_key(),
            request_id=request_id(),
            parent=body.parent,
            quote=body.quote_id,
            spender=spender_of(caller()),
        )
        return _answered(chat, ask)

    @blueprint.post(
        "/messages/<message_id>/regenerate",
        summary="Ask the same again",
        description="Its answer stands beside the first one. Answered and paid as a message is.",
        responses={200: MessageAnswer, 402: Problem, 403: Problem, 429: Problem},
    )
    @takes_key
    @streams
    @spends
    def regenerate(path: MessagePath, body: Regeneration) -> flask.Response:
        key, who = idempotency_key(), caller()
        ask = Ask(who.uid, "", "", model=body.model, max_cost=body.max_cost, key=key, request_id=request_id())
        ask = replace(ask, spender=spender_of(who))
        return _answered(chat, chat.again(ask, path.message_id))

    @blueprint.post(
        "/messages/<message_id>/cancel",
        summary="Stop a running answer",
        description="What was produced is charged, the rest of the reservation returns. 202 while it is being stopped.",
        responses={200: CancelAnswer, 202: CancelAnswer},
    )
    def cancel(path: MessagePath) -> tuple[CancelAnswer, int]:
        turn = chat.cancel(caller().uid, path.message_id)
        return serializers.cancelled(path.message_id, turn), 202 if turn is None else 200


def _answered(chat: Chat, ask: Ask) -> flask.Response:
    """The answer as the request accepts it: JSON, or events."""
    streamed = wanted(_STREAM, "application/json", default="application/json") == _STREAM
    begun = chat.answer(ask, Mode.STREAM if streamed else Mode.JSON)
    if streamed:
        response = sse_of(begun.events, functools.partial(serializers.frames, request_id=request_id()))
    else:
        over = begun.over()
        text = serializers.message(over.turn, over.end).model_dump_json()
        response = flask.Response(text, mimetype="application/json")
    if begun.replayed:
        response.headers[REPLAYED] = "true"
    return response


def _id(parts: Sequence[object]) -> tuple[str]:
    """The shape of a place in a branch."""
    (id,) = parts
    return (as_id(id),)
