"""The second half of a paid answer: charge what the ending costs, and write the turn and the window in the same commit.

Runs where no cancellation reaches it, once per attempt (T-6, T-31). Nothing that comes after can undo it (T-8).
"""

from dataclasses import dataclass
from typing import Final

from app.chat import conversation as conversations
from app.chat import turn as turns
from app.chat.conversation import Exchange
from app.chat.opening import Opened
from app.chat.store import ChatStore, conversation_path, turn_path
from app.chat.turn import End, FinishReason, Turn, TurnProblem, TurnState
from app.credits.core.commands import Outcome, Settle, Settled
from app.credits.core.entry import Reference
from app.credits.core.rejections import ReservationClosed, ReservationUnknown
from app.credits.ledger.step import Participant
from app.credits.service import Credits
from app.kit import telemetry
from app.kit.clock import Clock, to_rfc3339
from app.kit.documents import Delete, Document, Increment, Merge, Replace, Value, Write
from app.kit.errors import Conflict, InvariantViolation
from app.metering import billing
from app.metering.billing import Ending, Mode, Policy, Priced
from app.metering.meter import Measured, Meter, storable
from app.models.pricing import PriceBook
from app.models.usage import TokenUsage

_log = telemetry.log("chat")

_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Finish:
    """How an answer ended, in the words of each reader: the billing policy, the client, the turn."""

    ending: Ending
    finish_reason: FinishReason
    state: TurnState = "done"
    problem: TurnProblem | None = None


@dataclass(frozen=True, slots=True)
class SettlingParts:
    """What settling is made of."""

    store: ChatStore
    credits: Credits
    book: PriceBook
    clock: Clock
    policy: Policy


@dataclass(frozen=True, slots=True)
class _Bill:
    amount: int
    reason: str
    usage: dict[str, int]
    estimated: bool
    entry_usage: dict[str, Value]


class Settling:
    """Ends turns."""

    def __init__(self, parts: SettlingParts) -> None:
        self._parts = parts

    def settle(self, opened: Opened, meter: Meter, finish: Finish, answer: str, mode: Mode) -> End:
        """Charges and records. The end as it was recorded."""
        turn = opened.turn
        bill = self._bill(turn, meter, finish, mode)
        at = to_rfc3339(self._parts.clock.now_us())

        def end(outcome: Settled) -> End:
            return End(
                state=finish.state,
                finish_reason=finish.finish_reason,
                reason=bill.reason,
                answer=answer,
                answered_by=meter.model.id,
                ended_at=at,
                cost=outcome.reservation.captured,
                available=self._parts.credits.available(outcome.account),
                transaction_id=None if outcome.entry is None else outcome.entry.id,
                usage=bill.usage,
                estimated=bill.estimated,
                problem=finish.problem,
            )

        def writes(outcome: Outcome, seen: tuple[Document | None, ...]) -> list[Write]:
            if not isinstance(outcome, Settled):
                raise InvariantViolation("a settle is answered by a settlement")
            return record(turn, end(outcome), seen[0])

        settle = Settle(
            reservation_id=turn.reservation_id,
            amount=bill.amount,
            reference=Reference("message", turn.id, opened.ask.request_id),
            price_book=self._parts.book.version,
            usage=bill.entry_usage,
            reason=bill.reason,
        )
        reads = (conversation_path(turn.account, turn.conversation_id),)
        try:
            return end(self._parts.credits.settle(turn.account, settle, Participant(reads, writes)))
        except (ReservationClosed, ReservationUnknown) as closed:
            return self._too_late(turn, finish, answer, closed)

    def _bill(self, turn: Turn, meter: Meter, finish: Finish, mode: Mode) -> _Bill:
        measured = meter.measured()
        priced = Priced(usage=measured.reported_price, delivered=measured.delivered_price, reserved=turn.reserved)
        charge = billing.charge(self._parts.policy, finish.ending, mode, priced)
        used, estimated = _basis(measured, charge.amount, turn.reserved)
        buckets: dict[str, int] = {name: count for name, count in used.buckets().items() if count}
        return _Bill(
            amount=charge.amount,
            reason=charge.reason,
            usage=buckets,
            estimated=estimated,
            entry_usage={
                "model": meter.model.id,
                "task": "chat",
                "conversation": turn.conversation_id,
                "tokens": dict[str, Value](buckets),
                "estimated": estimated,
                "vendor": storable(meter.raw),
            },
        )

    def _too_late(self, turn: Turn, finish: Finish, answer: str, closed: Exception) -> End:
        """The lease ended under a running answer and the sweeper gave the reservation back: the answer is free."""
        _log.error("a turn ended after its reservation", turn=turn.id, attempt=turn.attempt, why=str(closed))
        account = self._parts.credits.account(turn.account)
        end = End(
            state=finish.state,
            finish_reason=finish.finish_reason,
            reason="reservation_lost",
            answer=answer,
            answered_by=turn.model,
            ended_at=to_rfc3339(self._parts.clock.now_us()),
            available=self._parts.credits.available(account),
            problem=finish.problem,
        )
        self._record_late(turn, end)
        return end

    def _record_late(self, turn: Turn, end: End) -> None:
        """Writes the end over exactly the attempt that it belongs to, again when an answer beside it was faster."""
        store = self._parts.store
        for _ in range(_TRIES):
            found = store.turn(turn.account, turn.conversation_id, turn.id)
            if found is None or found[0].attempt != turn.attempt:
                return
            stored = found[1]
            conversation = store.documents.get(conversation_path(turn.account, turn.conversation_id))
            over = Replace(stored.path, {**stored.fields, **turns.write_end(end)}, stored.version)
            writes = record(turn, end, conversation)
            try:
                store.documents.commit([over if isinstance(write, Merge) else write for write in writes])
            except Conflict:
                continue
            return
        _log.error("a late turn could not be recorded", turn=turn.id, attempt=turn.attempt)


def record(turn: Turn, end: End, conversation: Document | None) -> list[Write]:
    """The writes that end a turn. When its conversation is gone or going the turn goes too: it may have been written
    after the last look of the deletion.

    The conversation's version is a precondition of every end: a turn does not come back below one that was deleted.
    """
    path = turn_path(turn.account, turn.conversation_id, turn.id)
    found = None if conversation is None else conversations.read(turn.conversation_id, conversation.fields)
    if conversation is None or found is None:
        return [Delete(path)]
    ended: dict[str | tuple[str, ...], Value | Increment] = {}
    ended.update(turns.write_end(end))
    if end.answer and end.state == "done":
        found = found.after(Exchange(turn.id, turn.question, end.answer), end.ended_at)
    return [Merge(path, ended), Replace(conversation.path, conversations.write(found), conversation.version)]


def _basis(measured: Measured, amount: int, reserved: int) -> tuple[TokenUsage, bool]:
    """The usage that the charge stands for, and whether it is our estimate."""
    price = measured.reported_price
    if measured.reported is not None and price is not None and amount in (0, min(price, reserved)):
        return measured.reported, False
    return measured.delivered, True
