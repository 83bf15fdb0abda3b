"""Runs operations: admits a ticket, claims its operation, lets the handler work, and writes the end with the effects.

Holds no lock and no transaction. A runner may die anywhere: what it had not committed did not happen, and what it
held is over with its lease. Knows nothing of what the operations do.
"""

from collections.abc import Callable, Sequence
from typing import Final

from app.kit.clock import minutes
from app.kit.documents import Document, Version, Write
from app.kit.errors import Fault, InvariantViolation, Rejection, Unavailable
from app.kit.optimistic import Contended, optimistic
from app.kit.telemetry import context, log
from app.orchestration.attempt import Known, RunnerDependencies, RunningAttempt, read_again
from app.orchestration.queue import line
from app.orchestration.queue.admission import Ticket
from app.orchestration.queue.audit import audit_rows
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

BUDGET_US: Final = minutes(4)
"""How long one trigger goes on serving its lane; below the platform's nine minutes for events."""

_CLAIMS: Final = 3
"""Tries at one claim. Few: whoever was faster has most likely claimed it, and the ticket stays up for the others."""
_log = log("orchestration")


class Runner:
    """Serves lanes. `place` says which security levels may run here; `owner` stands in the leases it takes."""

    def __init__(self, means: RunnerDependencies, handlers: Handlers, place: RunnerPlace = "trigger") -> None:
        self._means = means
        self._handlers = handlers
        self._place = place
        self.owner = means.ids.new("runner")

    def serve(self, lane_name: str, *, for_us: int = BUDGET_US) -> int:
        """Run what the lane admits until nothing may start or the time is over; how many tickets were taken.

        Raises:
            Fault: a store is away. Whatever was left is found by the sweeper.
            Exception: an operation could not be read, or one of our own promises was broken; raised when all the
                others were served.
        """
        lane = self._handlers.lanes.get(lane_name)
        if lane is None:
            _log.warning("lane_unknown", lane=lane_name)
            return 0
        broken: list[Exception] = []
        taken = self._serve(lane, for_us, broken)
        if broken:
            raise broken[0]
        return taken

    def _serve(self, lane: Lane, for_us: int, broken: list[Exception]) -> int:
        lane_name, clock, doorbell = lane.name, self._means.clock, self._means.doorbell
        ends_us, taken = clock.now_us() + for_us, 0
        passing: set[str] = set()
        while clock.now_us() < ends_us:
            now_us = clock.now_us()
            until_us = now_us + self._handlers.slot_us[lane_name] + SKEW_US
            ticket = doorbell.admit(lane, now_us=now_us, until_us=until_us, passing=passing)
            if ticket is None:
                return taken
            taken += 1
            keep = self._take(ticket, broken)
            doorbell.release(lane_name, ticket, keep=keep)
            if keep:
                passing.add(ticket.name)
        doorbell.wake(lane_name, clock.now_us(), [self._means.ids.new("w")])
        return taken

    def run(self, operation_id: str) -> OperationState | None:
        """Claim and run one operation without asking its lane: for tests and for work inside a request."""
        stored = self._means.outbox.get(path_of(operation_id))
        if stored is None:
            return None
        claimed = self._claim(stored)
        if isinstance(claimed, RunningAttempt):
            self._perform(claimed)
        return self._state(operation_id)

    def _state(self, operation_id: str) -> OperationState | None:
        stored = self._means.outbox.get(path_of(operation_id))
        return from_document(stored).state if stored else None

    def _take(self, ticket: Ticket, broken: list[Exception]) -> bool:
        """Serve one ticket; whether it should stay up for another runner. What must not happen is added to `broken`.

        Raises:
            Fault: a store is away.
        """
        try:
            stored = self._stored(ticket)
            claimed = False if stored is None else self._claim(stored)
            if isinstance(claimed, RunningAttempt):
                self._perform(claimed)
                return False
        except Fault:
            raise
        except Exception as failure:  # noqa: BLE001  # the queue's edge: one that is broken must not stop its lane
            _log.error("ticket_broken", operation=ticket.operation_id, exc_info=failure)
            broken.append(failure)
            return False
        return claimed

    def _stored(self, ticket: Ticket) -> Document | None:
        """The operation of a ticket; None when it must wait for another of its line, which is rung instead."""
        if ticket.key is None:
            return self._means.outbox.get(path_of(ticket.operation_id))
        head = head_of_line(self._means.outbox, f"{ticket.lane}/{ticket.key}")
        if head is None or head.id == ticket.operation_id:
            return head
        self._ring(head)
        return None

    def _claim(self, stored: Document) -> RunningAttempt | bool:
        """A claimed attempt; or whether the ticket should stay up."""
        seen: tuple[Document | None, Document | None] = stored, self._line_left_by(stored)

        def reread() -> None:
            nonlocal seen
            seen = read_again(self._means.outbox, from_document(stored))

        try:
            return optimistic(lambda: self._claim_once(*seen), reread=reread, pause=self._means.pause, tries=_CLAIMS)
        except Contended:
            return True

    def _claim_once(self, stored: Document | None, lined: Document | None) -> RunningAttempt | bool:
        if stored is None:
            return False
        operation = from_document(stored)
        if not may_run(operation.level, self._place):
            return True
        handler = self._handlers.find(operation.name) or _stranger(operation.name)
        claimed = claim(
            operation,
            owner=self.owner,
            now_us=self._means.clock.now_us(),
            lease_us=handler.lease_us,
            tries=handler.retry.tries,
        )
        if not isinstance(claimed, Operation):
            if claimed == "early":
                self._means.outbox.ring([operation])
            return False
        if lined is not None and self._is_held_by_another(lined, operation):
            return False
        attempt = RunningAttempt(self._means, handler, Known(claimed, stored.version, _ours_to_write(lined, claimed)))
        attempt.write(claimed, self._endings(handler, claimed))
        if claimed.state is OperationState.RUNNING:
            return attempt
        self._next_in_line(claimed)
        return False

    def _line_left_by(self, stored: Document) -> Document | None:
        """The line of an operation whose runner seems to be gone; of any other, nobody is thought to hold it."""
        operation = from_document(stored)
        path = line.path_of(operation) if operation.state is OperationState.RUNNING else None
        return None if path is None else self._means.outbox.get(path)

    def _is_held_by_another(self, lined: Document, operation: Operation) -> bool:
        """Whether another of the line runs; its end rings whoever is next."""
        holder = line.holder_of(lined)
        if holder.operation_id == operation.id:
            return False
        stored = self._means.outbox.get(path_of(holder.operation_id))
        return line.is_held(holder, from_document(stored) if stored else None, self._means.clock.now_us())

    def _perform(self, attempt: RunningAttempt) -> None:
        operation = attempt.operation
        with context(operation=operation.id, name=operation.name):
            try:
                self._work(attempt)
            except LeaseLost as lost:
                _log.warning("lease_lost", reason=str(lost), attempt=operation.attempts)
                return
        self._next_in_line(operation)

    def _work(self, attempt: RunningAttempt) -> None:
        """One attempt from its start to its written end.

        Raises:
            LeaseLost: somebody else ends it, or we have without hearing so.
        """
        now_us = self._means.clock.now_us
        token = attempt.token
        try:
            with self._means.heartbeat.during(attempt.handler.lease_us // 3, attempt.keep):
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
        """Retry what the world did; bury what will not get better."""
        now_us, token = self._means.clock.now_us, attempt.token
        detail = f"{type(failure).__name__}: {failure}"
        policy, number = attempt.handler.retry, attempt.operation.attempts
        hopeless = isinstance(failure, Rejection | InvariantViolation)
        if hopeless or number >= policy.tries:
            _log.error("dead_letter", reason=detail, attempt=number, exc_info=None if hopeless else failure)
            self._end(attempt, lambda now: bury(now, token=token, now_us=now_us(), reason=detail))
            return
        at_least_us = (failure.retry_after_s or 0) * 1_000_000 if isinstance(failure, Fault) else 0
        due_us = now_us() + policy.delay_us(number, self._means.draw, at_least_us=at_least_us)
        _log.warning(
            "retry_later", reason=detail, attempt=number, exc_info=None if isinstance(failure, Fault) else failure
        )
        self._end(attempt, lambda now: retry(now, token=token, now_us=now_us(), due_us=due_us, detail=detail))

    def _end(
        self, attempt: RunningAttempt, decide: Callable[[Operation], Operation], effects: EffectWrites = no_writes
    ) -> None:
        """Commit the end and everything that belongs to it; decided again when one of the documents moved."""

        def write() -> None:
            ended = decide(attempt.operation)
            attempt.write(ended, [*effects(), *self._endings(attempt.handler, ended)])

        optimistic(write, reread=attempt.refresh, pause=self._means.pause)

    def _endings(self, handler: Handler, ended: Operation) -> Sequence[Write]:
        """What an end brings with it: the audit line, and word to the owner of what died."""
        if ended.state in OPEN:
            return ()
        audit = audit_rows(ended, now_us=self._means.clock.now_us())
        if ended.state is OperationState.SUCCEEDED:
            return audit
        try:
            return (*audit, *handler.on_death(ended, ended.reason or ""))
        except (Rejection, InvariantViolation) as failure:
            # The letter must be written even when nobody can be told; the failure stands in the log.
            _log.error("death_untold", operation=ended.id, reason=str(failure))
            return audit

    def _next_in_line(self, operation: Operation) -> None:
        """Ring whoever waited for this operation; a lost ring is repeated by the sweeper."""
        if operation.key is None:
            return
        head = head_of_line(self._means.outbox, f"{operation.lane}/{operation.key}")
        if head is not None:
            self._ring(head)

    def _ring(self, head: Document) -> None:
        """Ring the first of a line, if it may run: what is not due has an alarm of its own."""
        operation = from_document(head)
        if operation.state is OperationState.QUEUED and operation.due_us <= self._means.clock.now_us():
            self._means.outbox.ring([operation])


def _ours_to_write(lined: Document | None, claimed: Operation) -> Version | None:
    """The version of the line's document, where this claim takes it over or, as an end, gives it back."""
    if lined is None or not (
        claimed.state is OperationState.RUNNING or line.holder_of(lined).operation_id == claimed.id
    ):
        return None
    return lined.version


def _stranger(name: str) -> Handler:
    """For an operation of a deployment newer or older than this one: tried again later, then a dead letter."""

    def work(_: object) -> Done:
        raise Unavailable(f"nobody here handles {name}")

    refuse: HandlerWork = work
    return Handler(name=name, work=refuse, retry=PATIENT)
