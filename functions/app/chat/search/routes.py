"""`/chat/search`: one's own titles and texts."""

import re
from collections.abc import Sequence
from typing import Final

from flask_openapi import APIBlueprint, Tag

from app.api.auth import caller
from app.api.paging import Cursors, as_time
from app.api.schemas import Page
from app.chat.search.finding import Finding, Hit
from app.chat.search.schemas import SearchHit, SearchParameters

_TAG: Final = Tag(name="chat", description="Conversations, and answers that are paid while they stream")
_ID: Final = "[A-Za-z0-9-][A-Za-z0-9_-]{0,127}"


class SearchPage(Page[SearchHit]):
    """Titles first, then turns, the newest first."""


def routes(finding: Finding) -> APIBlueprint:
    """The blueprint of the search."""
    blueprint = APIBlueprint("chat_search", __name__, abp_tags=[_TAG], url_prefix="/chat")

    @blueprint.get(
        "/search",
        summary="Search your conversations",
        description="Finds titles, and the questions and answers of all branches. A page may be short before the last.",
        responses={200: SearchPage},
    )
    def search(query: SearchParameters) -> SearchPage:
        uid = caller().uid

        def shape(parts: Sequence[object]) -> tuple[str, str]:
            """A time, and the path of a turn of this user."""
            at, path = parts
            if not isinstance(path, str) or not re.fullmatch(
                rf"users/{re.escape(uid)}/conversations/{_ID}/messages/{_ID}", path
            ):
                raise ValueError("no turn of this user")
            return as_time(at), path

        def fits(place: Sequence[object]) -> bool:
            try:
                shape(place)
            except ValueError:
                return False
            return True

        cursors = Cursors("chat_search", shape, (uid, query.q))
        after = cursors.read(query.cursor) or ()
        found = finding.find(uid, query.q, query.limit, after, fits)
        more = None if found.after is None else cursors.write(shape(found.after))
        return SearchPage(items=[*map(_shown, found.items)], next_cursor=more)

    return blueprint


def _shown(hit: Hit) -> SearchHit:
    one = hit.conversation
    return SearchHit(conversation_id=one.id, title=one.title, message_id=hit.message_id, excerpt=hit.excerpt, at=hit.at)
