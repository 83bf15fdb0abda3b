"""`/chat/conversations/{id}/export`: a whole conversation as JSON, or a branch of it as Markdown."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Final

import flask
from flask_openapi import APIBlueprint, Tag

from app.api.auth import caller
from app.chat import serializers
from app.chat.branching.branches import Outline
from app.chat.export.exporting import Exporting, Numbered
from app.chat.export.schemas import (
    ConversationExport,
    ExportedAnswer,
    ExportedConversation,
    ExportedTurn,
    ExportParameters,
)
from app.chat.export.transcript import transcript
from app.chat.importing import origin
from app.chat.schemas import ConversationPath
from app.chat.turn import Turn
from app.kit.errors import Invalid

_TAG: Final = Tag(name="chat", description="Conversations, and answers that are paid while they stream")
_BEFORE: Final = 2
"""Pieces that are made before the status is sent, so that a store that does not answer is a 503."""


def routes(exporting: Exporting) -> APIBlueprint:
    """The blueprint of the export."""
    blueprint = APIBlueprint("chat_export", __name__, abp_tags=[_TAG], url_prefix="/chat")

    @blueprint.get(
        "/conversations/<conversation_id>/export",
        summary="Export",
        description="JSON has all branches, Markdown (`text/markdown`) one. A turn that cannot be read is named. "
        "A file without its end, the closing brace or the last line, was cut off.",
        responses={200: ConversationExport},
    )
    def export(path: ConversationPath, query: ExportParameters) -> flask.Response:
        uid = caller().uid
        if query.leaf is not None and query.format == "json":
            raise Invalid("The JSON has all branches; `leaf` is for format=markdown.")
        outline = exporting.outline(uid, path.conversation_id)
        if query.format == "markdown":
            found = exporting.numbered(uid, outline, outline.branch(query.leaf))
            return _file(
                transcript(outline.conversation, found), "text/markdown; charset=utf-8", f"{path.conversation_id}.md"
            )
        found = exporting.numbered(uid, outline, [*outline.nodes.parents])
        return _file(_json(outline, found), "application/json", f"{path.conversation_id}.json")

    return blueprint


def _file(pieces: Iterator[str], content_type: str, name: str) -> flask.Response:
    """The pieces, made while they are sent."""
    first = [*islice(pieces, _BEFORE)]
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return flask.Response(chain(first, pieces), headers=headers, content_type=content_type)


def _json(outline: Outline, found: Iterable[Numbered]) -> Iterator[str]:
    """The text of a `ConversationExport`, a turn a line."""
    yield f'{{"format":"credits.conversation","version":1,\n"conversation":{_settings(outline)},\n"turns":[\n'
    joint = ""
    for one in found:
        yield joint + _numbered(one).model_dump_json()
        joint = ",\n"
    yield "\n]}\n"


def _settings(outline: Outline) -> str:
    one = outline.conversation
    came = origin.read(one.claim)
    return ExportedConversation(
        id=one.id if came is None or came.id is None else came.id,
        title=one.title,
        model=came.model if one.model is None and came is not None else one.model,
        system_prompt=one.system_prompt,
        memory=one.memory,
        archived=one.archived,
        pinned=one.pinned,
        active_leaf=outline.numbers.get(outline.last),
        created_at=one.created_at,
        updated_at=one.updated_at,
    ).model_dump_json()


def _numbered(one: Numbered) -> ExportedTurn:
    if one.turn is not None and one.turn.claim is not None:
        return _claimed(one, one.turn, one.turn.claim)
    turn = None if one.turn is None else _answer(one.turn)
    return ExportedTurn(number=one.number, parent=one.parent, id=one.id, unavailable=one.unavailable, turn=turn)


def _claimed(one: Numbered, turn: Turn, claim: str) -> ExportedTurn:
    """An imported turn as its file had it."""
    found = ExportedTurn.model_validate_json(claim)
    place = {"number": one.number, "parent": one.parent}
    if found.turn is None:
        return found.model_copy(update=place)
    answer = None if found.turn.answer is None or turn.end is None else turn.end.answer
    texts = {"content": turn.question, "images": [*turn.images], "answer": answer}
    return found.model_copy(update={**place, "turn": found.turn.model_copy(update=texts)})


def _answer(turn: Turn) -> ExportedAnswer:
    told = dict(serializers.message(turn, turn.end))
    return ExportedAnswer.model_validate({name: told[name] for name in ExportedAnswer.model_fields})
