"""Sagas as values: a frozen state, and pure functions that return the next state and what starts next.

    running / waiting --all steps done--> succeeded
       +--a step failed--> compensating --all undone--> compensated
                               +--a compensation died--> stuck --its dead letter is replayed--> compensating

A step starts as soon as the steps that it comes `after` are done, so steps may run in parallel and be joined by a later
one. When a step fails, no other starts; those that run finish, then all done steps are undone in reverse order of their
end. A step may wait for a fact from outside, until its timer fires. It blocks no process meanwhile. A fact may arrive
before a step waits for it, twice, or too late.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from app.kit.stores.documents import Fields
from app.orchestration.sagas.saga_definition import SagaDefinition, SagaStep

TIMELINE: Final = 100
"""Most lines kept of a saga's timeline, newest last."""


class SagaStatus(StrEnum):
    """Status of a whole saga. `waiting`: no step runs, and at least one waits for a fact."""

    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    STUCK = "stuck"


ENDED: Final = frozenset({SagaStatus.SUCCEEDED, SagaStatus.COMPENSATED})


class StepStatus(StrEnum):
    """Status of one step. `failed`: it did nothing that must be undone. `doubtful`: it failed and may have done
    something, so it is undone as well. `stuck`: its compensation is a dead letter.
    """

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    DOUBTFUL = "doubtful"
    UNDOING = "undoing"
    UNDONE = "undone"
    STUCK = "stuck"


_TO_UNDO: Final = frozenset({StepStatus.DONE, StepStatus.DOUBTFUL})


@dataclass(frozen=True, slots=True)
class StepState:
    """State of one step. `ended` numbers the ends of steps, so that they are undone in reverse order."""

    status: StepStatus = StepStatus.PENDING
    result: Fields = field(default_factory=dict)
    started_us: int | None = None
    ended: int | None = None
    others: Fields = field(default_factory=dict)
    """What is stored with it and is not known here: another version of the code wrote it. It is kept."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline."""

    at_us: int
    step: str
    what: str
    detail: str = ""
    others: Fields = field(default_factory=dict)
    """As of a step."""


@dataclass(frozen=True, slots=True)
class SagaState:
    """Stored as `sagas/{id}`. `revision` grows by one with every change."""

    id: str
    name: str
    version: int
    account: str | None
    input: Fields
    status: SagaStatus
    steps: Mapping[str, StepState]
    created_us: int
    updated_us: int
    revision: int = 1
    facts: Mapping[str, Fields] = field(default_factory=dict)
    failure: str | None = None
    timeline: tuple[Moment, ...] = ()
    other_steps: Fields = field(default_factory=dict)
    """What is stored beside the steps and is none of this definition; as `others` of a step."""

    def progress(self) -> int:
        """Steps that are done, in thousandths of all steps."""
        done = sum(step.status is StepStatus.DONE for step in self.steps.values())
        return 1000 * done // max(1, len(self.steps))


@dataclass(frozen=True, slots=True)
class Act:
    """Command to run a step's action."""

    step: str


@dataclass(frozen=True, slots=True)
class Undo:
    """Command to run a step's compensation."""

    step: str


@dataclass(frozen=True, slots=True)
class Timer:
    """Command to fail the step at `due_us` if it still waits then."""

    step: str
    due_us: int


SagaCommand = Act | Undo | Timer
Transition = tuple[SagaState, tuple[SagaCommand, ...]]
"""A saga's next state, and the commands to order in the same commit."""


def begin(definition: SagaDefinition, *, id: str, account: str | None, input: Fields, now_us: int) -> Transition:
    """A new saga and its first commands."""
    state = SagaState(
        id=id,
        name=definition.name,
        version=definition.version,
        account=account,
        input=input,
        status=SagaStatus.RUNNING,
        steps={step.name: StepState() for step in definition.steps},
        created_us=now_us,
        updated_us=now_us,
    )
    return _advance(definition, _record(state, now_us, "", "started"))


def acted(definition: SagaDefinition, state: SagaState, step: str, result: Fields, now_us: int) -> Transition:
    """A step's action succeeded. A repeat changes nothing."""
    if state.steps[step].status is not StepStatus.RUNNING:
        return state, ()
    state = _put(state, step, replace(state.steps[step], result=result))
    return _advance(definition, _finish(state, step, StepStatus.DONE, now_us))


def refused(definition: SagaDefinition, state: SagaState, step: str, reason: str, now_us: int) -> Transition:
    """A step was refused and has done nothing: the others are undone. A repeat changes nothing."""
    return _failed(definition, state, step, (StepStatus.FAILED, reason), now_us)


def died(definition: SagaDefinition, state: SagaState, step: str, reason: str, now_us: int) -> Transition:
    """A step ran out of tries or time, and may have done something: it is undone with the others. A repeat changes
    nothing.
    """
    return _failed(definition, state, step, (StepStatus.DOUBTFUL, reason), now_us)


def undone(definition: SagaDefinition, state: SagaState, step: str, now_us: int) -> Transition:
    """A step's compensation succeeded. A repeat changes nothing."""
    if state.steps[step].status not in (StepStatus.UNDOING, StepStatus.STUCK):
        return state, ()
    return _advance(definition, _finish(state, step, StepStatus.UNDONE, now_us))


def stuck(state: SagaState, step: str, reason: str, now_us: int) -> Transition:
    """A step's compensation became a dead letter. The saga goes on when an administrator replays it."""
    if state.steps[step].status is not StepStatus.UNDOING:
        return state, ()
    state = _finish(state, step, StepStatus.STUCK, now_us, detail=reason)
    return replace(state, status=SagaStatus.STUCK), ()


def learned(definition: SagaDefinition, state: SagaState, fact: str, content: Fields, now_us: int) -> Transition:
    """A fact from outside arrived. Only the first of its name counts; it is kept for steps that start later."""
    if fact in state.facts:
        return state, ()
    state = replace(state, facts={**state.facts, fact: content})
    return _advance(definition, _record(state, now_us, "", "learned", fact))


def timed_out(definition: SagaDefinition, state: SagaState, step: str, now_us: int) -> Transition:
    """A step's timer fired: a step that still waits fails. Before its time the timer changes nothing."""
    known, limit = state.steps[step], definition.step(step).within_us
    if known.status is not StepStatus.WAITING or limit is None or now_us < (known.started_us or 0) + limit:
        return state, ()
    return refused(definition, state, step, f"waited too long for {definition.step(step).waits_for}", now_us)


def cancelled(definition: SagaDefinition, state: SagaState, reason: str, now_us: int) -> Transition:
    """The saga is cancelled: no other step starts, waiting steps fail, and done ones are undone."""
    if state.status not in (SagaStatus.RUNNING, SagaStatus.WAITING) or state.failure is not None:
        return state, ()
    state = _record(replace(state, failure=reason), now_us, "", "cancelled", reason)
    for name, step in state.steps.items():
        if step.status is StepStatus.WAITING:
            state = _finish(state, name, StepStatus.FAILED, now_us, detail=reason)
    return _advance(definition, state)


def commands_of(definition: SagaDefinition, state: SagaState) -> tuple[SagaCommand, ...]:
    """The commands whose operations must exist in this state, so that lost operations can be ordered again."""
    found: list[SagaCommand] = []
    for step in definition.steps:
        known = state.steps[step.name]
        if known.status is StepStatus.RUNNING:
            found.append(Act(step.name))
        elif known.status in (StepStatus.UNDOING, StepStatus.STUCK):
            found.append(Undo(step.name))
        elif known.status is StepStatus.WAITING and step.within_us is not None:
            found.append(Timer(step.name, (known.started_us or 0) + step.within_us))
    return tuple(found)


def _failed(
    definition: SagaDefinition, state: SagaState, step: str, end: tuple[StepStatus, str], now_us: int
) -> Transition:
    if state.steps[step].status not in (StepStatus.RUNNING, StepStatus.WAITING):
        return state, ()
    status, reason = end
    state = _finish(state, step, status, now_us, detail=reason)
    return _advance(definition, replace(state, failure=state.failure or reason))


def _advance(definition: SagaDefinition, state: SagaState) -> Transition:
    """Starts every step that may start now. All transitions end here."""
    if state.failure is not None:
        return _compensate(definition, state)
    commands: list[SagaCommand] = []
    moved = True
    while moved:
        moved = False
        for step in definition.steps:
            state, started = _start(definition, state, step)
            commands += started
            moved = moved or bool(started) or _may_end_waiting(state, step)
            if _may_end_waiting(state, step):
                known = replace(state.steps[step.name], result=_fact(state, step))
                state = _finish(_put(state, step.name, known), step.name, StepStatus.DONE, state.updated_us)
    statuses = {step.status for step in state.steps.values()}
    if statuses == {StepStatus.DONE}:
        state = replace(_record(state, state.updated_us, "", "succeeded"), status=SagaStatus.SUCCEEDED)
    else:
        busy = StepStatus.RUNNING in statuses
        state = replace(state, status=SagaStatus.RUNNING if busy else SagaStatus.WAITING)
    return state, tuple(commands)


def _start(definition: SagaDefinition, state: SagaState, step: SagaStep) -> Transition:
    if state.steps[step.name].status is not StepStatus.PENDING:
        return state, ()
    if any(state.steps[name].status is not StepStatus.DONE for name in definition.before(step)):
        return state, ()
    now_us = state.updated_us
    status = StepStatus.RUNNING if step.action else StepStatus.WAITING
    known = replace(state.steps[step.name], status=status, started_us=now_us)
    state = _record(_put(state, step.name, known), now_us, step.name, status.value)
    if step.action:
        return state, (Act(step.name),)
    if step.within_us is None or _fact_known(state, step):
        return state, ()
    return state, (Timer(step.name, now_us + step.within_us),)


def _compensate(definition: SagaDefinition, state: SagaState) -> Transition:
    """After a failure: waits for steps that run, then undoes the others one at a time, the last first."""
    statuses = {step.status for step in state.steps.values()}
    for name, known in state.steps.items():
        if known.status is StepStatus.WAITING:
            state = _finish(state, name, StepStatus.FAILED, state.updated_us, detail="the saga is being undone")
    if StepStatus.RUNNING in statuses:
        return replace(state, status=SagaStatus.RUNNING), ()
    if statuses & {StepStatus.UNDOING, StepStatus.STUCK}:
        return replace(state, status=SagaStatus.STUCK if StepStatus.STUCK in statuses else SagaStatus.COMPENSATING), ()
    while True:
        done = [name for name, step in state.steps.items() if step.status in _TO_UNDO]
        if not done:
            return replace(_record(state, state.updated_us, "", "compensated"), status=SagaStatus.COMPENSATED), ()
        last = max(done, key=lambda name: state.steps[name].ended or 0)
        if definition.step(last).compensation is not None:
            break
        state = _put(state, last, replace(state.steps[last], status=StepStatus.UNDONE))
    state = _put(state, last, replace(state.steps[last], status=StepStatus.UNDOING))
    state = _record(replace(state, status=SagaStatus.COMPENSATING), state.updated_us, last, "undoing")
    return state, (Undo(last),)


def _finish(state: SagaState, name: str, status: StepStatus, now_us: int, *, detail: str = "") -> SagaState:
    ended = 1 + max((step.ended or 0 for step in state.steps.values()), default=0)
    known = state.steps[name]
    changed = replace(known, status=status, ended=ended)
    return _record(_put(state, name, changed), now_us, name, status.value, detail)


def _put(state: SagaState, name: str, step: StepState) -> SagaState:
    return replace(state, steps={**state.steps, name: step})


def _record(state: SagaState, now_us: int, step: str, what: str, detail: str = "") -> SagaState:
    line = Moment(now_us, step, what, detail[:200])
    at_us = max(state.updated_us, now_us)
    return replace(state, updated_us=at_us, timeline=(*state.timeline, line)[-TIMELINE:])


def _may_end_waiting(state: SagaState, step: SagaStep) -> bool:
    return state.steps[step.name].status is StepStatus.WAITING and _fact_known(state, step)


def _fact_known(state: SagaState, step: SagaStep) -> bool:
    return step.waits_for is not None and step.waits_for in state.facts


def _fact(state: SagaState, step: SagaStep) -> Fields:
    return state.facts[step.waits_for] if step.waits_for else {}
