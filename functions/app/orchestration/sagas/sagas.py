"""Runs sagas: each transition is one commit of the saga's state, the operations that it orders, and the step's effects.

Actions and compensations run as operations, with no transaction open. `saga_mirror.py` shows a saga to its owner.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from app.kit.clock import Clock, to_rfc3339
from app.kit.errors import AlreadyExists, NotFound, Rejection, Unavailable, ensure
from app.kit.optimistic import Pause, optimistic
from app.kit.stores.documents import Create, Document, Documents, Fields, Query, Replace, Where, Write, text_field
from app.kit.stores.listing import Listing
from app.kit.stores.rows import GuardedRows
from app.orchestration.queue.handler import Done, Handler, Run, RunOutcome
from app.orchestration.queue.operation import Operation, OperationState, SecurityLevel
from app.orchestration.queue.operation_queue import OperationQueue, Order
from app.orchestration.queue.retry import STEADFAST
from app.orchestration.sagas.saga import (
    Act,
    SagaCommand,
    SagaState,
    SagaStatus,
    StepStatus,
    Timer,
    Transition,
    Undo,
    acted,
    begin,
    cancelled,
    commands_of,
    died,
    learned,
    refused,
    stuck,
    timed_out,
    undone,
)
from app.orchestration.sagas.saga_definition import SagaDefinition, SagaStep, StepDone
from app.orchestration.sagas.saga_document import COLLECTION, from_document, path_of, to_fields

TIMER: Final = "sagas.timer"

Decide = Callable[[SagaDefinition, SagaState], Transition]


@dataclass(frozen=True, slots=True)
class SagaStart:
    """A saga to start. The caller derives `id` from what the saga is about, so that a repeat starts nothing."""

    id: str
    name: str
    account: str | None = None
    input: Fields = field(default_factory=dict)


class Sagas:
    """Every saga of a deployment.

    Raises:
        InvariantViolation: two definitions have one name and version.
    """

    def __init__(self, definitions: Iterable[SagaDefinition], documents: Documents, clock: Clock, pause: Pause) -> None:
        self._definitions: dict[tuple[str, int], SagaDefinition] = {}
        self._newest: dict[str, int] = {}
        for definition in definitions:
            identity = (definition.name, definition.version)
            ensure(identity not in self._definitions, f"two definitions are {definition.name} v{definition.version}")
            self._definitions[identity] = definition
            self._newest[definition.name] = max(definition.version, self._newest.get(definition.name, 0))
        self._documents = documents
        self._clock = clock
        self._rows = GuardedRows(documents, clock)
        self._pause = pause
        self._queue: OperationQueue | None = None

    def bind_queue(self, queue: OperationQueue) -> None:
        """Sets the queue that runs the steps. It is built later, because it needs the sagas' handlers."""
        self._queue = queue

    def handlers(self) -> list[Handler]:
        """Handlers of the operations that run steps and timers."""
        found = [Handler(name=TIMER, work=self._time_out, lane="sagas", level=SecurityLevel.SYSTEM, retry=STEADFAST)]
        for definition in self._definitions.values():
            for step in definition.steps:
                found += self._step_handlers(definition, step)
        return found

    def rows(self, start: SagaStart) -> list[Write]:
        """Writes that start a saga in its newest version, for the commit that causes it."""
        version = self._newest.get(start.name, 0)
        definition = self._definition(start.name, version)
        state, commands = begin(
            definition,
            id=start.id,
            account=start.account,
            input=start.input,
            now_us=self._clock.now_us(),
        )
        return [Create(path_of(state.id), to_fields(state)), *self._orders(definition, state, commands)]

    def start(self, start: SagaStart) -> SagaState:
        """Starts a saga in a commit of its own. A saga with this id that has started already is returned as it is."""
        with suppress(AlreadyExists):
            self._documents.commit(self.rows(start))
        return self.get(start.id)

    def get(self, saga_id: str) -> SagaState:
        """The stored saga.

        Raises:
            NotFound: there is none.
        """
        return from_document(self._stored(saga_id))

    def tell(self, saga_id: str, fact: str, content: Fields) -> SagaState:
        """Delivers a fact from outside. Only the first of its name counts; a saga that has ended just stores it.

        Raises:
            NotFound: there is no such saga.
            Contended: it conflicted too often; deliver the fact again.
        """
        return self._change(saga_id, lambda d, s: learned(d, s, fact, content, self._clock.now_us()))

    def cancel(self, saga_id: str, reason: str) -> SagaState:
        """Stops a saga and undoes what it did; an ended one stays as it is.

        Raises:
            NotFound, Contended: as `tell`.
        """
        return self._change(saga_id, lambda d, s: cancelled(d, s, reason, self._clock.now_us()))

    def listing(self, status: SagaStatus | None) -> Listing[SagaState]:
        """Sagas, newest first."""
        where = () if status is None else (Where("status", "==", status.value),)
        query = Query(COLLECTION, where, ("-created_at", "-__name__"))
        return Listing(self._documents, self._rows, "sagas_list", query, from_document)

    def check(self, limit: int) -> int:
        """For the sweeper: repairs sagas that should have moved by now, by ordering an operation that is missing, or by
        handling the end of one that the saga did not record. Returns how many it looked at.
        """
        overdue = (Where("check_at", "<=", to_rfc3339(self._clock.now_us())),)
        query = Query(COLLECTION, overdue, ("check_at", "__name__"))
        return self._rows.due("sagas", query, self._check, limit=limit).done

    def move(self, saga_id: str, decide: Decide) -> Sequence[Write]:
        """The writes of one transition, decided from a fresh read; none when nothing changes."""
        stored = self._stored(saga_id)
        state = from_document(stored)
        definition = self._definition(state.name, state.version)
        moved, commands = decide(definition, state)
        if moved == state:
            return ()
        moved = replace(moved, revision=state.revision + 1)
        over = Replace(stored.path, to_fields(moved), stored.version, keep_others=True)
        return [over, *self._orders(definition, moved, commands)]

    def _change(self, saga_id: str, decide: Decide) -> SagaState:
        def attempt() -> None:
            writes = self.move(saga_id, decide)
            if writes:
                self._documents.commit(writes)

        optimistic(attempt, pause=self._pause)
        return self.get(saga_id)

    def _check(self, stored: Document) -> None:
        state = from_document(stored)
        # No dependency is away when a version is not deployed: the row is broken for this deployment.
        ensure((state.name, state.version) in self._definitions, f"version {state.version} of {state.name} is deployed")
        self._repair(state.id)

    def _repair(self, saga_id: str) -> None:
        def decide(definition: SagaDefinition, state: SagaState) -> Transition:
            now_us = self._clock.now_us()
            for command in commands_of(definition, state):
                operation = self._operation_of(definition, state, command)
                if operation is None:
                    # This transition orders the lost operation again, and changes only the saga's time.
                    return replace(state, updated_us=now_us), (command,)
                if isinstance(command, Timer) and command.due_us <= now_us:
                    return timed_out(definition, state, command.step, now_us)
                if operation.state in (OperationState.QUEUED, OperationState.RUNNING, OperationState.SUCCEEDED):
                    continue
                reason = operation.reason or "its operation ended"
                if isinstance(command, Act):
                    return died(definition, state, command.step, reason, now_us)
                if isinstance(command, Undo):
                    return stuck(state, command.step, reason, now_us)
            return replace(state, updated_us=now_us), ()

        self._change(saga_id, decide)

    def _operation_of(self, definition: SagaDefinition, state: SagaState, command: SagaCommand) -> Operation | None:
        order = self._order(definition, state, command)
        try:
            return self._bound_queue().get(self._bound_queue().id_of(order.name, order.once or ""))
        except NotFound:
            return None

    def _orders(self, definition: SagaDefinition, state: SagaState, commands: Sequence[SagaCommand]) -> list[Write]:
        return self._bound_queue().rows([self._order(definition, state, command) for command in commands])

    def _order(self, definition: SagaDefinition, state: SagaState, command: SagaCommand) -> Order:
        step = definition.step(command.step)
        common = Order(
            name=TIMER,
            payload={"saga": state.id, "step": step.name},
            source="saga",
            account=state.account,
            once=f"{state.id}/{step.name}",
        )
        if isinstance(command, Timer):
            return replace(common, due_us=command.due_us)
        name = definition.operation(step.name, "act" if isinstance(command, Act) else "undo")
        if isinstance(command, Act) and step.within_us is not None:
            return replace(common, name=name, deadline_us=state.updated_us + step.within_us)
        return replace(common, name=name)

    def _step_handlers(self, definition: SagaDefinition, step: SagaStep) -> list[Handler]:
        if step.action is None:
            return []
        act = Handler(
            name=definition.operation(step.name, "act"),
            work=lambda run: self._act(step, run),
            lane=step.lane,
            level=definition.level,
            priority=definition.priority,
            retry=step.retry,
            lease_us=step.lease_us,
            vendor=step.vendor,
            on_death=lambda operation, reason: self.move(
                _saga_of(operation), lambda d, s: died(d, s, step.name, reason, self._clock.now_us())
            ),
        )
        if step.compensation is None:
            return [act]
        undo = replace(
            act,
            name=definition.operation(step.name, "undo"),
            work=lambda run: self._undo(step, run),
            retry=step.undo_retry,
            on_death=lambda operation, reason: self.move(
                _saga_of(operation), lambda _, s: stuck(s, step.name, reason, self._clock.now_us())
            ),
        )
        return [act, undo]

    def _act(self, step: SagaStep, run: Run) -> RunOutcome:
        saga_id = _saga_of(run.operation)
        state = self.get(saga_id)
        if state.steps[step.name].status is not StepStatus.RUNNING or step.action is None:
            return Done()
        try:
            done = step.action(_StepRun(run, state))
        except Rejection as rejection:
            reason = f"{rejection.code}: {rejection.detail}"
            # A refused first attempt has done nothing. Before a later one, an attempt may have acted without an answer.
            end = refused if run.operation.attempts == 1 else died
            return Done(
                {"refused": reason},
                lambda: self.move(saga_id, lambda d, s: end(d, s, step.name, reason, self._clock.now_us())),
            )
        return self._done(saga_id, done, lambda d, s: acted(d, s, step.name, done.result, self._clock.now_us()))

    def _undo(self, step: SagaStep, run: Run) -> RunOutcome:
        saga_id = _saga_of(run.operation)
        state = self.get(saga_id)
        if state.steps[step.name].status not in (StepStatus.UNDOING, StepStatus.STUCK) or step.compensation is None:
            return Done()
        done = step.compensation(_StepRun(run, state))
        return self._done(saga_id, done, lambda d, s: undone(d, s, step.name, self._clock.now_us()))

    def _done(self, saga_id: str, done: StepDone, decide: Decide) -> Done:
        """The step's writes are committed with the saga's transition, or not at all when the saga does not change."""

        def writes() -> Sequence[Write]:
            moved = self.move(saga_id, decide)
            return [*moved, *done.writes()] if moved else ()

        return Done(None, writes)

    def _time_out(self, run: Run) -> RunOutcome:
        """Runs a timer's operation."""
        saga_id, step = _saga_of(run.operation), text_field(run.operation.payload, "step")
        return Done(None, lambda: self.move(saga_id, lambda d, s: timed_out(d, s, step, self._clock.now_us())))

    def _definition(self, name: str, version: int) -> SagaDefinition:
        found = self._definitions.get((name, version))
        if found is None:
            # During a deploy an instance that knows this version may start later; the operation is retried until then.
            raise Unavailable(f"nobody here knows version {version} of saga {name}")
        return found

    def _stored(self, saga_id: str) -> Document:
        stored = self._documents.get(path_of(saga_id))
        if stored is None:
            raise NotFound("There is no such saga", saga_id=saga_id)
        return stored

    def _bound_queue(self) -> OperationQueue:
        ensure(self._queue is not None, "sagas need their queue before they start")
        assert self._queue is not None
        return self._queue


class _StepRun:
    """The `StepRun` over an operation's `Run`."""

    def __init__(self, run: Run, state: SagaState) -> None:
        self._run = run
        self._state = state

    @property
    def saga_id(self) -> str:
        return self._state.id

    @property
    def account(self) -> str | None:
        return self._state.account

    @property
    def input(self) -> Fields:
        return self._state.input

    @property
    def key(self) -> str:
        return self._run.key

    def result(self, step: str) -> Fields:
        return self._state.steps[step].result

    def now_us(self) -> int:
        return self._run.now_us()

    @property
    def fence_path(self) -> str:
        return self._run.fence_path

    def fence(self, seen: Document | None) -> Write:
        return self._run.fence(seen)

    def renew(self) -> None:
        self._run.renew()


def _saga_of(operation: Operation) -> str:
    return text_field(operation.payload, "saga")
