"""Charges a paid call by how it ended and writes its owner's end in the same commit.

Runs once per attempt, where no cancellation reaches it (T-6, T-31).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from app.credits.public import (
    Credits,
    Outcome,
    Participant,
    ReservationClosed,
    ReservationUnknown,
    Seen,
    Settle,
    Settled,
)
from app.kit import telemetry
from app.kit.clock import Clock, to_rfc3339
from app.kit.concurrency import Concurrency
from app.kit.errors import InvariantViolation, Unavailable
from app.kit.optimistic import Contended, Pause, optimistic
from app.kit.stores.documents import Delete, Documents, Increment, Merge, Replace, Value, Write, text_field
from app.metering import billing
from app.metering.billing import Ending, Mode, Policy, Priced
from app.metering.meter import Measured, storable
from app.metering.paid_call import PaidCall, Settlement
from app.models.usage import TokenUsage

SETTLE_TRIES: Final = 5

_log = telemetry.log("metering")


def between_tries_us(attempt: int) -> tuple[int, int]:
    """Shortest and longest wait after failed settlement number `attempt`, in microseconds: 3.75 to 7.5 s in all.

    A call that cannot be settled is given away, so a store that is away for seconds is waited for.
    """
    most = 500_000 << (attempt - 1)
    return most // 2, most


def patient(concurrency: Concurrency, draw: Callable[[int], int]) -> Pause:
    """Waits after failed settlements, as long as `between_tries_us` says."""

    def pause(attempt: int) -> None:
        least, most = between_tries_us(attempt)
        concurrency.sleep_us(least + draw(most - least))

    return pause


@dataclass(frozen=True, slots=True)
class CallEnd:
    """How a call ended and what it used. `reserved` is what its reservation holds, in micro-credits."""

    ending: Ending
    mode: Mode
    measured: Measured
    reserved: int


@dataclass(frozen=True, slots=True)
class OwnerEnd:
    """What a settlement writes for the owner: the changed `fields` of its document, or None to delete the document.

    `others` go into the same commit.
    """

    fields: Mapping[str, Value] | None
    others: Sequence[Write] = ()


@dataclass(frozen=True, slots=True)
class OwnerRecord:
    """How the owner's end is written. `ended` is pure and is called at every try, with the documents at `reads`."""

    ended: Callable[[Settlement, Seen], OwnerEnd]
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Bill:
    """What is charged, and the usage that explains it."""

    amount: int
    reason: str
    used: TokenUsage
    estimated: bool

    @property
    def tokens(self) -> dict[str, int]:
        return {name: count for name, count in self.used.buckets().items() if count}


class Settling:
    """Ends paid calls. `pause` waits while the store does not answer, `between_writers` after a lost race."""

    def __init__(
        self,
        *,
        credits: Credits,
        documents: Documents,
        clock: Clock,
        policy: Policy,
        pause: Pause,
        between_writers: Pause,
    ) -> None:
        self._credits = credits
        self._documents = documents
        self._clock = clock
        self._policy = policy
        self._pause = pause
        self._between_writers = between_writers

    def settle(self, call: PaidCall, end: CallEnd, record: OwnerRecord) -> Settlement:
        """Charges and records, again while the store does not answer: the same settlement twice is one (T-6).

        Raises:
            Unavailable: the last of `SETTLE_TRIES` tries failed as well. Whether it was written is not known. If it was
                not, the call ends as `settlement_failed`: the sweep finds it once its lease is over.
        """
        at, attempt = to_rfc3339(self._clock.now_us()), 1
        if end.measured.doubted:
            _log.warning("vendor_usage_doubted", reservation=call.reservation_id, model=end.measured.model)
        if end.measured.undeclared:
            _log.error("hidden_reasoning_undeclared", reservation=call.reservation_id, model=end.measured.model)
        while True:
            try:
                return self._settle(call, end, record, at)
            except Unavailable as fault:
                if attempt == SETTLE_TRIES:
                    reason = self._policy[Ending.SETTLEMENT_FAILED, end.mode].reason
                    _log.error(
                        "settlement_failed", reservation=call.reservation_id, billed_as=reason, reason=str(fault)
                    )
                    raise
            self._pause(attempt)
            attempt += 1

    def _settle(self, call: PaidCall, end: CallEnd, record: OwnerRecord, at: str) -> Settlement:
        bill = _bill(self._policy, end)
        tokens = bill.tokens

        def settlement(outcome: Settled) -> Settlement:
            return Settlement(
                reason=bill.reason,
                at=at,
                model=end.measured.model,
                cost=outcome.reservation.captured,
                available=self._credits.available(outcome.account),
                transaction_id=None if outcome.entry is None else outcome.entry.id,
                usage=tokens,
                estimated=bill.estimated,
            )

        def writes(outcome: Outcome, seen: Seen) -> list[Write]:
            if not isinstance(outcome, Settled):
                raise InvariantViolation("a settle is answered by a settlement")
            owner = record.ended(settlement(outcome), seen)
            return [_changed(call.path, owner.fields), *owner.others]

        settle = Settle(
            reservation_id=call.reservation_id,
            amount=bill.amount,
            reference=call.reference,
            price_book=end.measured.price_book,
            usage=call.usage(
                end.measured.model, tokens=tokens, estimated=bill.estimated, vendor=storable(end.measured.raw)
            ),
            reason=bill.reason,
        )
        try:
            return settlement(self._credits.settle(call.account, settle, Participant(record.reads, writes)))
        except (ReservationClosed, ReservationUnknown) as closed:
            # The lease was over before the call ended, and its reservation was given back: nothing can be charged.
            _log.error("reservation_lost", reservation=call.reservation_id, ending=end.ending, reason=str(closed))
            late = Settlement(
                reason=self._policy[Ending.RESERVATION_LOST, end.mode].reason,
                at=at,
                model=end.measured.model,
                available=self._credits.available(self._credits.account(call.account)),
            )
            return replace(late, replaced=self._record_late(call, late, record))

    def _record_late(self, call: PaidCall, settlement: Settlement, record: OwnerRecord) -> bool:
        """Writes the end over exactly the attempt that it belongs to, again when another writer was faster. Whether a
        later attempt has taken its place, so that nothing is written.
        """

        def attempt() -> bool:
            stored, *seen = self._documents.get_all((call.path, *record.reads))
            if stored is None or text_field(stored.fields, "reservation_id") != call.reservation_id:
                return stored is not None
            owner = record.ended(settlement, tuple(seen))
            if owner.fields is None:
                over: Write = Delete(stored.path, stored.version)
            else:
                over = Replace(stored.path, {**stored.fields, **owner.fields}, stored.version)
            self._documents.commit([over, *owner.others])
            return False

        try:
            return optimistic(attempt, pause=self._between_writers)
        except Contended as contended:
            _log.error("late_end_not_recorded", reservation=call.reservation_id, reason=str(contended))
            return False


def _changed(path: str, fields: Mapping[str, Value] | None) -> Write:
    if fields is None:
        return Delete(path)
    changes: dict[str | tuple[str, ...], Value | Increment] = {}
    changes.update(fields)
    return Merge(path, changes)


def _bill(policy: Policy, end: CallEnd) -> _Bill:
    """The charge by the table, with the usage that it stands for: the vendor's count, or else our estimate."""
    measured = end.measured
    priced = Priced(usage=measured.reported_price, delivered=measured.delivered_price, reserved=end.reserved)
    charge = billing.charge(policy, end.ending, end.mode, priced)
    price = measured.reported_price
    if measured.reported is not None and price is not None and charge.amount in (0, min(price, end.reserved)):
        return _Bill(charge.amount, charge.reason, measured.reported, estimated=False)
    return _Bill(charge.amount, charge.reason, measured.delivered, estimated=True)
