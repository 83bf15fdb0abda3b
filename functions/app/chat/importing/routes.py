"""`/chat/conversations/import`: conversations from files."""

from typing import TYPE_CHECKING, Final

from flask_openapi import APIBlueprint, Tag

from app.api.auth import caller
from app.api.bodies import takes_files
from app.chat.importing.schemas import ImportAnswer, ImportBody, ImportedAnswer, LeftOut

if TYPE_CHECKING:
    from app.chat.importing.importing import Importing, Taken

_TAG: Final = Tag(name="chat", description="Conversations, and answers that are paid while they stream")


def routes(importing: "Importing") -> APIBlueprint:
    """The blueprint of the import."""
    blueprint = APIBlueprint("chat_import", __name__, abp_tags=[_TAG], url_prefix="/chat")

    @blueprint.post(
        "/conversations/import",
        summary="Import conversations",
        description="Exports of ours, and what ChatGPT and Open WebUI export, element by element. Costs nothing. One "
        "that cannot be read stops no other, and the same one twice makes one. What cannot be kept is counted.",
        responses={200: ImportAnswer},
    )
    @takes_files
    def take(body: ImportBody) -> ImportAnswer:
        return ImportAnswer(items=[_told(one) for one in importing.take(caller().uid, body.conversations)])

    return blueprint


def _told(taken: "Taken") -> ImportedAnswer:
    draft = taken.draft
    left_out = {} if draft is None else draft.left_out
    return ImportedAnswer(
        outcome=taken.outcome,
        conversation_id=taken.conversation_id,
        title=taken.title if draft is None else draft.title,
        turns=0 if draft is None else len(draft.turns),
        left_out=[LeftOut(kind=kind, count=left_out[kind]) for kind in sorted(left_out)],
        reason=taken.reason,
    )
