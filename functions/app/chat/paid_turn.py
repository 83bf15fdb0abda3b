"""A turn as the owner of a paid call: what its document becomes when the call ends, is lost or is found abandoned."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from app.chat import conversation as conversations
from app.chat import turn as turns
from app.chat.conversation import Exchange, Place
from app.chat.live.due_streams import Shown
from app.chat.live.flusher import cancel_path
from app.chat.live.stream_mirror import Closing, StreamMirror, stream_path
from app.chat.search.words import words
from app.chat.store import ChatStore, NoSuchMessage, UnreadableMessage, conversation_path, overdue, turn_path
from app.chat.turn import End, FinishReason, Turn, TurnProblem, TurnState
from app.credits.public import Reference, Seen
from app.kit import telemetry
from app.kit.errors import Fault, InvariantViolation, Rejection
from app.kit.money import to_decimal
from app.kit.stores.documents import Document, Query, Replace, Value
from app.kit.stores.realtime import Json, Realtime
from app.metering.billing import Ending, Mode
from app.metering.orphans import Orphan
from app.metering.paid_call import PaidCall, Settlement
from app.metering.quote import Granted
from app.metering.settling import OwnerEnd, OwnerRecord
from app.models.faults import ModelFault
from app.models.tools.calls import ToolCall

_log = telemetry.log("chat")

_INTERRUPTED: Final = TurnProblem(
    code="answer_interrupted",
    title="The answer was interrupted",
    detail="The answer was interrupted on our side. Nothing was charged; you can send the message again.",
    status=503,
)

CUT_OFF: Final = TurnProblem(
    code="content_filter",
    title="The answer was cut off",
    detail="The model's safety rules ended the answer. What came of it is charged.",
    status=422,
)
UNKNOWN_END: Final = TurnProblem(
    code="unknown_finish",
    title="The answer may not be whole",
    detail="The model ended it for a reason that is not known here. What came of it is charged.",
    status=503,
)


@dataclass(frozen=True, slots=True)
class Finish:
    """How an answer ended: for the billing policy, for the client and for the turn's document."""

    ending: Ending
    finish_reason: FinishReason
    state: TurnState = "done"
    problem: TurnProblem | None = None
    route_reason: str = ""
    calls: tuple[ToolCall, ...] = ()


def paid_call(turn: Turn, request_id: str = "") -> PaidCall:
    """The call that answers this turn."""
    return PaidCall(
        account=turn.account,
        purpose="chat",
        reference=Reference("message", turn.id, request_id),
        path=turn_path(turn.account, turn.conversation_id, turn.id),
        attempt=turn.attempt,
        labels={"conversation": turn.conversation_id},
    )


def granted(draft: Turn, grant: Granted) -> Turn:
    """The turn, with what was reserved for it and what that allows."""
    return replace(
        draft,
        reserved=grant.reserved,
        ceiling=grant.most,
        max_output_tokens=grant.max_output_tokens,
        clamped=grant.clamped,
    )


def problem_of(error: Exception) -> TurnProblem:
    """What the owner of a turn may know of the error that ended it."""
    if isinstance(error, Rejection):
        return TurnProblem(error.code, error.title, error.detail, error.status)
    failed = error if isinstance(error, ModelFault) else ModelFault("")
    code = error.code if isinstance(error, Fault) else "internal_error"
    return TurnProblem(code, failed.title, failed.told, status=503)


def ended(finish: Finish, answer: str, settlement: Settlement) -> End:
    """The end of a turn whose call was settled so."""
    return End(
        state=finish.state,
        finish_reason=finish.finish_reason,
        reason=settlement.reason,
        answer=answer,
        answered_by=settlement.model,
        ended_at=settlement.at,
        cost=settlement.cost,
        available=settlement.available,
        transaction_id=settlement.transaction_id,
        usage=settlement.usage,
        estimated=settlement.estimated,
        problem=finish.problem,
        route_reason=finish.route_reason,
        calls=finish.calls,
    )


def live_end(end: End) -> Closing:
    """The end of a turn as its live text tells it."""
    return Closing(
        end.state,
        end.finish_reason,
        to_decimal(end.cost),
        model=end.answered_by,
        reason=end.reason,
        route_reason=end.route_reason,
    )


def record(turn: Turn, finish: Finish, answer: str, place: Place) -> OwnerRecord:
    """Writes the end of a turn, joins it to the conversation's tree at its `place`, and shows later models an answer
    that is done.

    When the conversation is gone or being deleted, the turn is deleted too: it may have been written after the deletion
    listed the messages. The conversation's version is a precondition of every end, so that no turn appears again below
    a conversation that was deleted.
    """

    def written(settlement: Settlement, seen: Seen) -> OwnerEnd:
        stored = seen[0]
        found = None if stored is None else conversations.read(turn.conversation_id, stored.fields)
        if stored is None or found is None:
            return OwnerEnd(None)
        end = ended(finish, answer, settlement)
        told = end.answer and end.state == "done"
        exchange = Exchange(turn.id, turn.question, end.answer) if told else None
        after = found.grown(turn.id, place, exchange, end.spent, end.ended_at)
        over = Replace(stored.path, conversations.write(after), stored.version, keep_others=True)
        sought: list[Value] = [*words(turn.question, end.answer)]
        return OwnerEnd({**turns.write_end(end), "loose": False, "words": sought}, [over])

    return OwnerRecord(written, reads=(conversation_path(turn.account, turn.conversation_id),))


class AbandonedTurns:
    """Turns whose function was killed, for `Orphans`.

    They end in `error`, the live text says so, and the same idempotency key may try again.
    """

    job = "chat_orphans"

    def __init__(self, *, store: ChatStore, mirror: StreamMirror, realtime: Realtime) -> None:
        self._store = store
        self._mirror = mirror
        self._realtime = realtime

    def overdue(self, before: str) -> Query:
        return overdue(before)

    def orphan(self, stored: Document) -> Orphan:
        turn = turns.read(stored.fields)
        return abandoned(turn, deleted=not self._store.stands(turn.account, turn.conversation_id))

    def ended(self, settlement: Settlement) -> Mapping[str, Value]:
        finish = Finish(Ending.CRASHED, "error", state="error", problem=_INTERRUPTED)
        return turns.write_end(ended(finish, "", settlement))

    def closed(self, stored: Document, settlement: Settlement) -> None:
        turn = turns.read(stored.fields)
        if self._cleaned_up(turn):
            return
        now = self._store.turn(turn.account, turn.conversation_id, turn.id)
        if now is None or now[0].attempt != turn.attempt:
            return  # It was asked again meanwhile, and the live text is that of the new attempt.
        if now[0].end is not None and now[0].end.reason != settlement.reason:
            return  # Whoever was taken for dead came to its end after all, and has told it.
        self._tell(turn, Closing("error", "error", to_decimal(settlement.cost), reason=settlement.reason))
        now = self._store.turn(turn.account, turn.conversation_id, turn.id)
        end = now[0].end if now is not None and now[0].attempt == turn.attempt else None
        if end is not None and end.reason != settlement.reason:
            self._tell(turn, live_end(end))  # It came to its end while we wrote, and we may have written over it.

    def _tell(self, turn: Turn, closing: Closing) -> None:
        self._mirror.open(turn.account, turn.id, turn.model, attempt=turn.attempt, keep=True)
        self._mirror.close(turn.id, closing, attempt=turn.attempt)
        self._mirror.drained(turn.id)

    def _cleaned_up(self, turn: Turn) -> bool:
        """Removes a cancel that was left for an instance which is gone; of a deleted conversation the live text as
        well. Whether the conversation is deleted.
        """
        values: dict[str, Json] = {cancel_path(turn.instance, turn.id): None}
        try:
            if deleted := not self._store.stands(turn.account, turn.conversation_id):
                values[stream_path(turn.account, turn.id)] = None
            self._realtime.update(values)
        except Fault as fault:
            _log.warning("cancel_not_removed", turn=turn.id, reason=str(fault))
            return False
        return deleted


def abandoned(turn: Turn, *, deleted: bool = False) -> Orphan:
    """The call of a turn that never ended. How it was asked for and what text reached its user are not known."""
    return Orphan(paid_call(turn), Mode.STREAM, turn.model, turn.reserved, deleted=deleted)


def shown(store: ChatStore) -> Callable[[str, str], Shown | None]:
    """What the live text of a user's message should show; None when its turn or its conversation is gone.

    It raises InvariantViolation for a turn that cannot be read.
    """

    def find(uid: str, message_id: str) -> Shown | None:
        try:
            turn = store.find_turn(uid, message_id)
        except NoSuchMessage:
            return None
        except UnreadableMessage as error:
            raise InvariantViolation(error.detail) from error
        if not store.stands(uid, turn.conversation_id):
            return None
        closing = None if turn.end is None else live_end(turn.end)
        answer = "" if turn.end is None else turn.end.answer
        return Shown(turn.attempt, turn.model, turn.created_at, closing, answer)

    return find
