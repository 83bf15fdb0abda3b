"""Runs operations: admits a ticket, claims its operation, calls the handler, and commits the end with the effects.

A runner has no transaction open while a handler works. It may die at any point: what it has not committed did not
happen, and its leases expire. It knows nothing of what the operations do.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Literal

from app.kit.clock import minutes
from app.kit.errors import Fault, InvariantViolation, Rejection, Unavailable
from app.kit.optimistic import Contended, optimistic
from app.kit.stores.documents import Document, Unchanged, Version, Write
from app.kit.telemetry import context, log
from app.orchestration.attempt import RunnerDependencies, RunningAttempt, Snapshot, read_with_lock
from app.orchestration.queue import line
from app.orchestration.queue.admission import Wanted
from app.orchestration.queue.audit import audit_rows
from app.orchestration.queue.doorbell import TakenSlot
from app.orchestration.queue.handler import (
    CancelRequested,
    Done,
    EffectWrites,
    Handler,
    Handlers,
    HandlerWork,
    Lane,
    LeaseLost,
    no_writes,
)
from app.orchestration.queue.operation import (
    OPEN,
    SKEW_US,
    Operation,
    OperationState,
    abandon,
    bury,
    claim,
    postpone,
    retry,
    succeed,
)
from app.orchestration.queue.operation_document import from_document, path_of
from app.orchestration.queue.operation_queue import head_of_line
from app.orchestration.queue.retry import PATIENT
from app.orchestration.queue.security import RunnerPlace, may_run
from app.orchestration.queue.ticket import Ticket

BUDGET_US: Final = minutes(4)
"""How long one trigger serves its lane; an event function may run for nine minutes
(https://firebase.google.com/docs/functions/quotas).
"""

_CLAIMS: Final = 3
"""Tries at one claim. Few: whoever was faster has most likely claimed it, and the ticket stays up for the others."""
_Outcome = Literal["served", "left", "lost"]
"""Of a ticket: its operation was run, is for another runner, or is nobody's to run now."""

_log = log("orchestration")


class Runner:
    """Serves lanes. `place` decides which security levels may run here; `owner` names this runner in its leases."""

    def __init__(self, deps: RunnerDependencies, handlers: Handlers, place: RunnerPlace = "trigger") -> None:
        self._deps = deps
        self._handlers = handlers
        self._place = place
        self.owner = deps.ids.new("runner")

    def serve(self, lane_name: str, ticket: str | None = None, *, for_us: int = BUDGET_US) -> int:
        """Runs the operation of a ticket, whose trigger this is, and then what the lane admits until nothing may start
        or `for_us` is over. Returns how many tickets it served.

        Raises:
            Fault: a store is unavailable. The sweeper finds what was left.
            Exception: an operation could not be read, or an invariant was violated; raised after the other tickets
                were served.
        """
        lane = self._handlers.lanes.get(lane_name)
        if lane is None:
            _log.warning("unknown_lane_ignored", lane=lane_name)
            return 0
        broken: list[Exception] = []
        taken = self._serve(lane, ticket, for_us, broken)
        if broken:
            raise broken[0]
        return taken

    def _serve(self, lane: Lane, ticket: str | None, for_us: int, broken: list[Exception]) -> int:
        clock, doorbell = self._deps.clock, self._deps.doorbell
        ends_us, skip = clock.now_us() + for_us, set[str]()
        taken, everything = 0, True
        if ticket is not None:
            own = doorbell.find(lane.name, ticket)
            everything = own is not None and own.is_wake
            if own is not None and not everything:
                now_us = clock.now_us()
                until_us = self._slot_until(lane, now_us)
                slot = doorbell.admit_one(lane, own, now_us=now_us, until_us=until_us)
                if slot is not None:
                    taken += self._serve_slot(lane, slot, skip, broken)
        while clock.now_us() < ends_us:
            now_us = clock.now_us()
            until_us = self._slot_until(lane, now_us)
            slot = doorbell.admit(lane, now_us=now_us, until_us=until_us, wanted=Wanted(everything, skip))
            if slot is None:
                return taken
            served = self._serve_slot(lane, slot, skip, broken)
            taken += served
            # Whoever loses every ticket to other runners leaves new ones to them. Otherwise runners that nobody needs
            # would go on for as long as tickets come, and chase each of them together.
            everything = everything and not (slot.used_up and not served)
        doorbell.wake(lane.name, clock.now_us(), [self._deps.ids.new("w")])
        return taken

    def _serve_slot(self, lane: Lane, slot: TakenSlot, skip: set[str], broken: list[Exception]) -> int:
        """Serves tickets in a slot, one after another, and leaves it; how many were not lost to other runners. Adds to
        `skip` those that it left to them.
        """
        now_us = self._deps.clock.now_us
        try:
            served = 0
            while ticket := slot.next(now_us=now_us(), until_us=self._slot_until(lane, now_us())):
                outcome = self._serve_ticket(ticket, slot, broken)
                served += outcome == "served"
                if outcome == "left":
                    skip.add(ticket.name)
                    self._deps.doorbell.ring(lane.name, [ticket])
        except Fault:
            with suppress(Fault):
                slot.leave(now_us())
            raise
        slot.leave(now_us())
        return served

    def _slot_until(self, lane: Lane, now_us: int) -> int:
        return now_us + self._handlers.slot_us[lane.name] + SKEW_US

    def run(self, operation_id: str) -> OperationState | None:
        """Claims and runs one operation without admission by its lane: for tests, and for work inside a request."""
        stored = self._deps.outbox.get(path_of(operation_id))
        if stored is None:
            return None
        claimed = self._claim(stored)
        if isinstance(claimed, RunningAttempt):
            self._perform(claimed)
        return self._state(operation_id)

    def _state(self, operation_id: str) -> OperationState | None:
        stored = self._deps.outbox.get(path_of(operation_id))
        return from_document(stored).state if stored else None

    def _serve_ticket(self, ticket: Ticket, slot: TakenSlot, broken: list[Exception]) -> _Outcome:
        """Serves one ticket; what became of it. Adds to `broken` what is no `Fault`.

        Raises:
            Fault: a store is unavailable.
        """
        try:
            stored = self._operation_for(ticket)
            claimed = False if stored is None else self._claim(stored)
            if not isinstance(claimed, RunningAttempt):
                return "left" if claimed else "lost"
            claimed.slot = slot
            self._perform(claimed)
        except Fault:
            raise
        except Exception as failure:  # noqa: BLE001  # the queue's edge: a broken operation must not stop its lane
            _log.error("ticket_failed", operation=ticket.operation_id, exc_info=failure)
            broken.append(failure)
        return "served"

    def _operation_for(self, ticket: Ticket) -> Document | None:
        """The operation of a ticket; None when another of its line must run first, for which this rings."""
        if ticket.key is None:
            return self._deps.outbox.get(path_of(ticket.operation_id))
        head = head_of_line(self._deps.outbox, self._deps.clock, f"{ticket.lane}/{ticket.key}")
        if head is None or head.id == ticket.operation_id:
            return head
        self._ring_if_due(head)
        return None

    def _claim(self, stored: Document) -> RunningAttempt | bool:
        """The claimed attempt; when there is none, whether the ticket should stay for another runner."""
        seen: tuple[Document | None, Document | None] = stored, self._lock_of_lost_runner(stored)

        def reread() -> None:
            nonlocal seen
            seen = read_with_lock(self._deps.outbox, from_document(stored))

        try:
            return optimistic(lambda: self._claim_once(*seen), reread=reread, pause=self._deps.pause, tries=_CLAIMS)
        except Contended:
            return True

    def _claim_once(self, stored: Document | None, lock: Document | None) -> RunningAttempt | bool:
        if stored is None:
            return False
        operation = from_document(stored)
        if not may_run(operation.level, self._place):
            return True
        handler = self._handlers.find(operation.name) or _unknown_handler(operation.name)
        claimed = claim(
            operation,
            owner=self.owner,
            now_us=self._deps.clock.now_us(),
            lease_us=handler.lease_us,
            tries=handler.retry.tries,
        )
        if not isinstance(claimed, Operation):
            if claimed == "early":
                self._deps.outbox.ring([operation])
            return False
        other = None if lock is None else self._other_holder(lock, operation)
        if lock is not None and other is not None and self._is_alive(lock, other):
            return False
        attempt = RunningAttempt(self._deps, handler, Snapshot(claimed, stored.version, _lock_to_write(lock, claimed)))
        # Who seems dead may only have stood still, and renews its lease: that changes its row, and not the lock.
        still = () if other is None else (Unchanged(other.path, other.version),)
        attempt.write(claimed, [*self._final_writes(handler, claimed), *still])
        if claimed.state is OperationState.RUNNING:
            return attempt
        self._ring_next(claimed)
        return False

    def _lock_of_lost_runner(self, stored: Document) -> Document | None:
        """The lock left by a runner that seems to be dead. For other operations the lock is assumed to be free."""
        operation = from_document(stored)
        path = line.path_of(operation) if operation.state is OperationState.RUNNING else None
        return None if path is None else self._deps.outbox.get(path)

    def _other_holder(self, lock: Document, operation: Operation) -> Document | None:
        """The other operation of the line that a lock names, as it is stored."""
        holder = line.holder_of(lock)
        if holder is None or holder.operation_id == operation.id:
            return None
        return self._deps.outbox.get(path_of(holder.operation_id))

    def _is_alive(self, lock: Document, other: Document) -> bool:
        """Whether the holder of a lock runs; its end will ring for the next."""
        holder = line.holder_of(lock)
        return holder is not None and line.is_alive(holder, _readable(other), self._deps.clock.now_us())

    def _perform(self, attempt: RunningAttempt) -> None:
        operation = attempt.operation
        with context(operation=operation.id, name=operation.name):
            try:
                self._work(attempt)
            except LeaseLost as lost:
                _log.warning("lease_lost", reason=str(lost), attempt=operation.attempts)
                return
        self._ring_next(operation)

    def _work(self, attempt: RunningAttempt) -> None:
        """Runs one attempt to its committed end.

        Raises:
            LeaseLost: another runner took over, or our own commit of the end succeeded and its answer was lost.
        """
        now_us = self._deps.clock.now_us
        token = attempt.token
        try:
            with self._deps.heartbeat.during(attempt.handler.lease_us // 3, attempt.keep):
                outcome = attempt.handler.work(attempt)
            if isinstance(outcome, Done):
                result = outcome.result
                self._end(
                    attempt, lambda now: succeed(now, token=token, now_us=now_us(), result=result), outcome.writes
                )
            else:
                due_us, why = outcome.due_us, outcome.why
                self._end(attempt, lambda now: postpone(now, token=token, now_us=now_us(), due_us=due_us, detail=why))
        except LeaseLost:
            raise
        except CancelRequested:
            self._end(attempt, lambda now: abandon(now, token=token, now_us=now_us()))
        except Exception as failure:  # noqa: BLE001  # the queue's edge: whatever a handler raises is kept
            self._fail(attempt, failure)

    def _fail(self, attempt: RunningAttempt, failure: Exception) -> None:
        """Retries after a failure that may pass; makes a dead letter after any other, or after the last try."""
        now_us, token = self._deps.clock.now_us, attempt.token
        detail = f"{type(failure).__name__}: {failure}"
        policy, number = attempt.handler.retry, attempt.operation.attempts
        permanent = isinstance(failure, Rejection | InvariantViolation)
        if permanent or number >= policy.tries:
            _log.error(
                "operation_dead_lettered", reason=detail, attempt=number, exc_info=None if permanent else failure
            )
            self._end(attempt, lambda now: bury(now, token=token, now_us=now_us(), reason=detail))
            return
        at_least_us = (failure.retry_after_s or 0) * 1_000_000 if isinstance(failure, Fault) else 0
        due_us = now_us() + policy.delay_us(number, self._deps.draw, at_least_us=at_least_us)
        _log.warning(
            "operation_retried", reason=detail, attempt=number, exc_info=None if isinstance(failure, Fault) else failure
        )
        self._end(attempt, lambda now: retry(now, token=token, now_us=now_us(), due_us=due_us, detail=detail))

    def _end(
        self, attempt: RunningAttempt, decide: Callable[[Operation], Operation], effects: EffectWrites = no_writes
    ) -> None:
        """Commits the end with its effects; decides again after a conflict.

        Raises:
            LeaseLost: another runner took over.
            Contended: it conflicted too often.
        """

        def write() -> None:
            ended = decide(attempt.operation)
            attempt.write(ended, [*effects(), *self._final_writes(attempt.handler, ended)])

        optimistic(write, reread=attempt.refresh, pause=self._deps.pause)

    def _final_writes(self, handler: Handler, ended: Operation) -> Sequence[Write]:
        """Writes that belong to an end: the audit line and, unless it succeeded, those of `Handler.on_death`."""
        if ended.state in OPEN:
            return ()
        audit = audit_rows(ended, now_us=self._deps.clock.now_us())
        if ended.state is OperationState.SUCCEEDED:
            return audit
        try:
            return (*audit, *handler.on_death(ended, ended.reason or ""))
        except (Rejection, InvariantViolation) as failure:
            # The end is written even when the feature cannot record it.
            _log.error("death_handler_failed", operation=ended.id, reason=str(failure))
            return audit

    def _ring_next(self, operation: Operation) -> None:
        """Rings for the operation of the line that may run next. The sweeper repeats a lost ring."""
        if operation.key is None:
            return
        head = head_of_line(self._deps.outbox, self._deps.clock, f"{operation.lane}/{operation.key}")
        if head is not None:
            self._ring_if_due(head)

    def _ring_if_due(self, head: Document) -> None:
        """Rings for the first operation of a line if it is due, or has lost its runner; until then it has its alarm."""
        operation, now_us = from_document(head), self._deps.clock.now_us()
        due_us = operation.due_us if operation.state is OperationState.QUEUED else operation.wake_us
        if due_us is not None and due_us <= now_us:
            self._deps.outbox.ring([operation])


def _readable(stored: Document | None) -> Operation | None:
    """The operation of a document; None as well for one that cannot be read, which no attempt holds any more."""
    try:
        return from_document(stored) if stored else None
    except InvariantViolation:
        return None


def _names(lock: Document, operation: Operation) -> bool:
    holder = line.holder_of(lock)
    return holder is not None and holder.operation_id == operation.id


def _lock_to_write(lock: Document | None, claimed: Operation) -> Version | None:
    """The version of the lock, when this claim takes the lock over or ends the operation that holds it."""
    if lock is None or not (claimed.state is OperationState.RUNNING or _names(lock, claimed)):
        return None
    return lock.version


def _unknown_handler(name: str) -> Handler:
    """For operations of a newer or older deployment: they are retried, and become dead letters in the end."""

    def work(_: object) -> Done:
        raise Unavailable(f"nobody here handles {name}")

    refuse: HandlerWork = work
    return Handler(name=name, work=refuse, retry=PATIENT)
