"""Turns whose function was killed: the lease ran out and nobody settled. For the sweeper.

The credits go back whole (`crashed` in the billing policy), the turn ends in `error`, the live mirror says so, and the
same idempotency key may try again. A turn whose conversation is gone goes too.
"""

from dataclasses import dataclass

from app.chat import turn as turns
from app.chat.live.flusher import cancel_path
from app.chat.live.stream_mirror import Closing, StreamMirror
from app.chat.store import ChatStore
from app.chat.turn import End, Turn, TurnProblem
from app.credits.core.commands import Outcome
from app.credits.core.rejections import ReservationClosed, ReservationUnknown
from app.credits.ledger.step import Participant
from app.credits.service import Credits
from app.kit import telemetry
from app.kit.clock import Clock, to_rfc3339
from app.kit.documents import Delete, Document, Replace, Write
from app.kit.errors import Conflict, Fault, InvariantViolation, Unavailable
from app.kit.realtime import Realtime
from app.metering.billing import Ending, Mode, Policy

_log = telemetry.log("chat")

_PROBLEM = TurnProblem(
    code="answer_interrupted",
    title="The answer was interrupted",
    detail="The answer was interrupted on our side. Nothing was charged; you can send the message again.",
    status=503,
)


@dataclass(frozen=True, slots=True)
class OrphanParts:
    """What closing orphans needs."""

    store: ChatStore
    credits: Credits
    mirror: StreamMirror
    realtime: Realtime
    clock: Clock
    policy: Policy


def close_orphans(parts: OrphanParts, limit: int = 100) -> int:
    """Ends the turns whose lease is over; how many. A turn that settles in the meantime is left as it is.

    One that cannot be read or closed is named in the log and stays due; the others do not wait for it.
    """
    closed = 0
    for stored in parts.store.overdue(to_rfc3339(parts.clock.now_us()), limit):
        try:
            turn = turns.read(stored.fields)
            _close(parts, turn, stored)
        except Conflict:
            _log.info("a turn moved while it was closed", path=stored.path)
            continue
        except (Unavailable, InvariantViolation) as error:
            _log.error("a turn could not be closed", path=stored.path, exc_info=error)
            continue
        _forget_cancel(parts.realtime, turn)
        parts.mirror.open(turn.account, turn.id, turn.model, keep=True)
        parts.mirror.close(turn.id, Closing("error", "error", "0"))
        parts.mirror.drained(turn.id)
        closed += 1
    return closed


def _forget_cancel(realtime: Realtime, turn: Turn) -> None:
    """Word that was left for an instance which is no more."""
    try:
        realtime.update({cancel_path(turn.instance, turn.id): None})
    except Fault as fault:
        _log.warning("a cancel could not be removed", turn=turn.id, why=str(fault))


def _close(parts: OrphanParts, turn: Turn, stored: Document) -> None:
    reason = parts.policy[Ending.CRASHED, Mode.STREAM].reason
    end = End(
        state="error",
        finish_reason="error",
        reason=reason,
        answer="",
        answered_by=turn.model,
        ended_at=to_rfc3339(parts.clock.now_us()),
        problem=_PROBLEM,
    )
    write: Write = Replace(stored.path, {**stored.fields, **turns.write_end(end)}, stored.version)
    if not parts.store.stands(turn.account, turn.conversation_id):
        write = Delete(stored.path, stored.version)

    asked: list[bool] = []

    def writes(_: Outcome, seen: tuple[Document | None, ...]) -> list[Write]:
        asked.append(True)
        found = seen[0]
        return [write] if found is not None and found.version == stored.version else []

    try:
        parts.credits.release(turn.account, turn.reservation_id, reason, Participant((stored.path,), writes))
    except (ReservationClosed, ReservationUnknown):
        asked.clear()
    if not asked:
        # The reservation was given back before, by the sweep of accounts or by a retry; the turn itself is left.
        parts.store.documents.commit([write])
