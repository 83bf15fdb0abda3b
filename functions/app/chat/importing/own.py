"""Reads an export of ours, so that an export of what was imported is the same text again. Pure.

Each text obeys the bounds that the routes set for it.
"""

from typing import Final, get_args

from pydantic import ValidationError

from app.chat.branching.tree import MOST_TURNS, is_id
from app.chat.export.schemas import ConversationExport, ExportedAnswer, ExportedConversation, ExportedTurn
from app.chat.importing.draft import MOST_ANSWER_BYTES, ConversationUnreadable, ImportedConversation, ImportedTurn
from app.chat.schemas import NewConversation, NewMessage
from app.chat.turn import FinishReason, TurnProblem, TurnState
from app.kit.clock import is_stored_time

FORMAT: Final = "credits.conversation"
MOST_CLAIM_BYTES: Final = 16 * 1024


def read(value: object, latest: str) -> ImportedConversation:
    """The conversation of an export. No time in it may lie after `latest`.

    Raises:
        ConversationUnreadable: it is none, or a part of it is larger than it could be here.
    """
    try:
        found = ConversationExport.model_validate(value, strict=True)
        NewConversation.model_validate(found.conversation.model_dump(include={*NewConversation.model_fields}))
    except ValidationError as error:
        raise ConversationUnreadable(_first(error)) from error
    if len(found.turns) > MOST_TURNS:
        raise ConversationUnreadable(f"A conversation has at most {MOST_TURNS} turns.")
    settings = found.conversation
    _check_settings(settings, len(found.turns), latest)
    return ImportedConversation(
        id=settings.id,
        title=settings.title,
        model=settings.model,
        system_prompt=settings.system_prompt,
        memory=settings.memory,
        archived=settings.archived,
        pinned=settings.pinned,
        created_at=settings.created_at,
        updated_at=settings.updated_at,
        active=settings.active_leaf,
        turns=[_turn(number, one, settings, latest) for number, one in enumerate(found.turns)],
    )


def _check_settings(found: ExportedConversation, turns: int, latest: str) -> None:
    if not is_id(found.id):
        raise ConversationUnreadable("conversation.id is no id.")
    if found.active_leaf is not None and not 0 <= found.active_leaf < turns:
        raise ConversationUnreadable("conversation.active_leaf is the number of no turn.")
    for time in (found.created_at, found.updated_at):
        _check_time(time, latest, "conversation")


def _turn(number: int, found: ExportedTurn, settings: ExportedConversation, latest: str) -> ImportedTurn:
    if found.number != number or not (found.parent is None or 0 <= found.parent < number):
        raise ConversationUnreadable(f"turns.{number}: turns are counted from 0, and stand behind their parents.")
    if not is_id(found.id) or (found.turn is None) is (found.unavailable is None):
        raise ConversationUnreadable(f"turns.{number} has no id, or is neither there nor unavailable.")
    told = found.turn
    if told is None:
        at = settings.created_at
        claim = _claim(number, found, None)
        return ImportedTurn(found.parent, "", "", at, at, done=False, finish_reason="error", claim=claim)
    _check(number, told, latest)
    done = told.status == "done"
    error = told.error
    return ImportedTurn(
        parent=found.parent,
        question=told.content,
        answer=told.answer or "",
        images=tuple(told.images),
        created_at=told.created_at,
        ended_at=told.ended_at or told.created_at,
        model=told.model,
        done=done,
        finish_reason=_finish_reason(told.finish_reason, "stop" if done else "error"),
        problem=None if error is None else TurnProblem(error.code, error.title, error.detail, error.status),
        claim=_claim(number, found, told),
    )


def _check(number: int, told: ExportedAnswer, latest: str) -> None:
    try:
        NewMessage.model_validate({"content": told.content or "unreadable", "images": told.images})
    except ValidationError as error:
        raise ConversationUnreadable(f"turns.{number}.{_first(error)}") from error
    if told.status not in get_args(TurnState):
        raise ConversationUnreadable(f"turns.{number}.status is none.")
    if told.error is not None and not 100 <= told.error.status <= 599:
        raise ConversationUnreadable(f"turns.{number}.error.status is none of HTTP.")
    if len((told.answer or "").encode()) > MOST_ANSWER_BYTES:
        raise ConversationUnreadable(f"turns.{number}.answer has more than {MOST_ANSWER_BYTES} bytes.")
    for time in (told.created_at, told.ended_at or told.created_at):
        _check_time(time, latest, f"turns.{number}")


def _check_time(time: str, latest: str, where: str) -> None:
    if not is_stored_time(time) or time > latest:
        raise ConversationUnreadable(f"{where} has a time that is not spelt as exports spell it, or has not come yet.")


def _finish_reason(told: str | None, otherwise: FinishReason) -> FinishReason:
    known: tuple[FinishReason, ...] = get_args(FinishReason)
    return next((one for one in known if one == told), otherwise)


def _claim(number: int, found: ExportedTurn, told: ExportedAnswer | None) -> str:
    """The turn without what is stored of it anyway: its place, question, pictures and answer."""
    answer = None if told is None or told.answer is None else ""
    rest = None if told is None else told.model_copy(update={"content": "", "images": [], "answer": answer})
    claim = found.model_copy(update={"number": 0, "parent": None, "turn": rest}).model_dump_json()
    if len(claim.encode()) > MOST_CLAIM_BYTES:
        raise ConversationUnreadable(f"turns.{number} says more than {MOST_CLAIM_BYTES} bytes beside its texts.")
    return claim


def _first(error: ValidationError) -> str:
    """Where and what is wrong first, without what stands there."""
    wrong = error.errors(include_input=False, include_url=False, include_context=False)[0]
    return f"{'.'.join(str(part) for part in wrong['loc'])[:200]}: {wrong['msg']}."
