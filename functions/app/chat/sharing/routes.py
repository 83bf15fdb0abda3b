"""`/chat/conversations/{id}/share` for its owner, and `/shared/{token}` for everybody who has the token."""

from collections.abc import Sequence
from typing import Final

import flask
from flask_openapi import APIBlueprint, Tag

from app.api.auth import caller, public
from app.api.paging import Cursors, as_integer
from app.api.schemas import PageParameters, Problem
from app.chat.branching.tree import MOST_TURNS
from app.chat.schemas import ConversationPath
from app.chat.sharing.schemas import ShareAnswer, SharedConversation, SharedTurn, SharePath
from app.chat.sharing.share import Share
from app.chat.sharing.sharing import Sharing
from app.chat.turn import Turn

_TAG: Final = Tag(name="chat", description="Conversations, and answers that are paid while they stream")
_HEADERS: Final = {"X-Robots-Tag": "noindex, nofollow"}
"""No search engine lists it. The edge adds what forbids caches and referrers."""


def routes(sharing: Sharing) -> APIBlueprint:
    """The blueprint of shares."""
    blueprint = APIBlueprint("chat_sharing", __name__, abp_tags=[_TAG])
    _own(blueprint, sharing)
    _shared(blueprint, sharing)
    return blueprint


def _own(blueprint: APIBlueprint, sharing: Sharing) -> None:
    @blueprint.post(
        "/chat/conversations/<conversation_id>/share",
        summary="Share a branch by a link",
        description="The active branch as far as it has ended. Once more: the same link also shows what came since.",
        responses={200: ShareAnswer, 404: Problem, 409: Problem},
    )
    def share(path: ConversationPath) -> ShareAnswer:
        return _answer(sharing.share(caller().uid, path.conversation_id))

    @blueprint.get(
        "/chat/conversations/<conversation_id>/share",
        summary="Its link, if it is shared",
        responses={200: ShareAnswer, 404: Problem},
    )
    def read(path: ConversationPath) -> ShareAnswer:
        return _answer(sharing.of(caller().uid, path.conversation_id))

    @blueprint.delete(
        "/chat/conversations/<conversation_id>/share",
        summary="Take the link back",
        description="It shows nothing from then on. Sharing again makes another link.",
        responses={204: None, 404: Problem},
    )
    def take_back(path: ConversationPath) -> tuple[str, int]:
        sharing.take_back(caller().uid, path.conversation_id)
        return "", 204


def _shared(blueprint: APIBlueprint, sharing: Sharing) -> None:
    @blueprint.get(
        "/shared/<token>",
        summary="Read what somebody shared",
        responses={200: SharedConversation, 404: Problem},
    )
    @public
    def shared(path: SharePath, query: PageParameters) -> flask.Response:
        cursors = Cursors("shared", _place, (path.token,))
        position = cursors.read(query.cursor)
        page = sharing.page(path.token, query.limit, 0 if position is None else position[0])
        told = SharedConversation(
            items=[_turn(one) for one in page.turns],
            next_cursor=None if page.after is None else cursors.write((page.after,)),
            title=page.title,
            shared_at=page.share.shared_at,
            count=page.count,
        )
        return flask.Response(told.model_dump_json(), headers=_HEADERS, mimetype="application/json")


def _place(parts: Sequence[object]) -> tuple[int]:
    (place,) = parts
    return (as_integer(place, least=1, most=MOST_TURNS),)


def _answer(share: Share) -> ShareAnswer:
    return ShareAnswer(token=share.token, path=f"/v1/shared/{share.token}", shared_at=share.shared_at)


def _turn(turn: Turn) -> SharedTurn:
    answered = turn.end is not None and bool(turn.end.answer)
    return SharedTurn(
        content=turn.question,
        images=len(turn.images),
        answer=turn.end.answer if turn.end is not None and answered else None,
        model=turn.model if turn.end is None else turn.end.answered_by or turn.model,
        created_at=turn.created_at,
    )
