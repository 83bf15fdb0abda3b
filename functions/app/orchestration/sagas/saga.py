"""Sagas as values: a frozen state, and pure functions that say what starts next. Definitions are `saga_definition.py`.

    running --all steps done--> succeeded
       | \\--a step waits for a fact--> (running, the step is `waiting`)
       +--a step failed--> compensating --all undone--> compensated
                               +--a compensation died--> stuck --its letter is replayed--> compensating

Steps run as soon as those they come `after` are done: side by side where they may, joined by whoever comes after
both. When a step fails nothing new starts; what runs is let finish, then everything done is undone in the reverse
order of its end. A step that waits is a state, not a sleep: an outside fact ends it, or its timer. Facts may come
before they are waited for, twice, or too late.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from app.kit.documents import Fields
from app.orchestration.sagas.saga_definition import SagaDefinition, SagaStep

TIMELINE: Final = 100
"""Lines kept of a saga's timeline, newest last."""


class SagaStatus(StrEnum):
    """Of a whole saga. What waits is running: its steps tell."""

    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    STUCK = "stuck"


ENDED: Final = frozenset({SagaStatus.SUCCEEDED, SagaStatus.COMPENSATED})


class StepStatus(StrEnum):
    """Of one step. `failed` has nothing to undo; `doubtful` failed without our knowing what it did, so it is undone as
    well; `undone` is what a compensation leaves.
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
    """Where a step stands. `ended` counts the ends of steps, so that they are undone in reverse."""

    status: StepStatus = StepStatus.PENDING
    result: Fields = field(default_factory=dict)
    started_us: int | None = None
    ended: int | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline."""

    at_us: int
    step: str
    what: str
    detail: str = ""


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

    def progress(self) -> int:
        """Steps done, in thousandths of all."""
        done = sum(step.status is StepStatus.DONE for step in self.steps.values())
        return 1000 * done // max(1, len(self.steps))


@dataclass(frozen=True, slots=True)
class Act:
    """Start an action."""

    step: str


@dataclass(frozen=True, slots=True)
class Undo:
    """Start a compensation."""

    step: str


@dataclass(frozen=True, slots=True)
class Timer:
    """Fail the step at `due_us` if it still waits."""

    step: str
    due_us: int


SagaCommand = Act | Undo | Timer
Moved = tuple[SagaState, tuple[SagaCommand, ...]]


def begin(definition: SagaDefinition, *, id: str, account: str | None, input: Fields, now_us: int) -> Moved:
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
    return _advance(definition, _told(state, now_us, "", "started"))


def acted(definition: SagaDefinition, state: SagaState, step: str, result: Fields, now_us: int) -> Moved:
    """The action of a step has succeeded. A repeat changes nothing."""
    if state.steps[step].status is not StepStatus.RUNNING:
        return state, ()
    state = _put(state, step, replace(state.steps[step], result=result))
    return _advance(definition, _finish(state, step, StepStatus.DONE, now_us))


def refused(definition: SagaDefinition, state: SagaState, step: str, reason: str, now_us: int) -> Moved:
    """A step was refused and has done nothing: undo the others. A repeat changes nothing."""
    return _failed(definition, state, step, (StepStatus.FAILED, reason), now_us)


def died(definition: SagaDefinition, state: SagaState, step: str, reason: str, now_us: int) -> Moved:
    """A step ran out of tries or time, and what it did is not known: undo it with the others. A repeat changes
    nothing.
    """
    return _failed(definition, state, step, (StepStatus.DOUBTFUL, reason), now_us)


def undone(definition: SagaDefinition, state: SagaState, step: str, now_us: int) -> Moved:
    """The compensation of a step has succeeded."""
    if state.steps[step].status not in (StepStatus.UNDOING, StepStatus.STUCK):
        return state, ()
    return _advance(definition, _finish(state, step, StepStatus.UNDONE, now_us))


def stuck(state: SagaState, step: str, reason: str, now_us: int) -> Moved:
    """A compensation is a dead letter: a person must help. Replaying the letter takes the saga on."""
    if state.steps[step].status is not StepStatus.UNDOING:
        return state, ()
    state = _finish(state, step, StepStatus.STUCK, now_us, detail=reason)
    return replace(state, status=SagaStatus.STUCK), ()


def learned(definition: SagaDefinition, state: SagaState, fact: str, content: Fields, now_us: int) -> Moved:
    """An outside fact arrived. Only the first of its name counts; one that nobody waits for yet is kept."""
    if fact in state.facts:
        return state, ()
    state = replace(state, facts={**state.facts, fact: content})
    return _advance(definition, _told(state, now_us, "", "learned", fact))


def timed_out(definition: SagaDefinition, state: SagaState, step: str, now_us: int) -> Moved:
    """A waiting step's timer rang. Before its time, or after the fact came, it changes nothing."""
    known, limit = state.steps[step], definition.step(step).within_us
    if known.status is not StepStatus.WAITING or limit is None or now_us < (known.started_us or 0) + limit:
        return state, ()
    return refused(definition, state, step, f"waited too long for {definition.step(step).waits_for}", now_us)


def cancelled(definition: SagaDefinition, state: SagaState, reason: str, now_us: int) -> Moved:
    """Its owner wants it stopped: nothing new starts, waiting ends, what was done is undone."""
    if state.status not in (SagaStatus.RUNNING, SagaStatus.WAITING) or state.failure is not None:
        return state, ()
    state = _told(replace(state, failure=reason), now_us, "", "cancelled", reason)
    for name, step in state.steps.items():
        if step.status is StepStatus.WAITING:
            state = _finish(state, name, StepStatus.FAILED, now_us, detail=reason)
    return _advance(definition, state)


def commands_of(definition: SagaDefinition, state: SagaState) -> tuple[SagaCommand, ...]:
    """The commands that must be under way in this state: what a lost operation is rebuilt from."""
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


def _failed(definition: SagaDefinition, state: SagaState, step: str, end: tuple[StepStatus, str], now_us: int) -> Moved:
    if state.steps[step].status not in (StepStatus.RUNNING, StepStatus.WAITING):
        return state, ()
    status, reason = end
    state = _finish(state, step, status, now_us, detail=reason)
    return _advance(definition, replace(state, failure=state.failure or reason))


def _advance(definition: SagaDefinition, state: SagaState) -> Moved:
    """Start whatever may start, until nothing more follows; every change of a saga ends here."""
    if state.failure is not None:
        return _retreat(definition, state)
    commands: list[SagaCommand] = []
    moved = True
    while moved:
        moved = False
        for step in definition.steps:
            state, started = _start(definition, state, step)
            commands += started
            moved = moved or bool(started) or _just_learned(state, step)
            if _just_learned(state, step):
                known = replace(state.steps[step.name], result=_fact(state, step))
                state = _finish(_put(state, step.name, known), step.name, StepStatus.DONE, state.updated_us)
    statuses = {step.status for step in state.steps.values()}
    if statuses == {StepStatus.DONE}:
        state = replace(_told(state, state.updated_us, "", "succeeded"), status=SagaStatus.SUCCEEDED)
    else:
        busy = StepStatus.RUNNING in statuses
        state = replace(state, status=SagaStatus.RUNNING if busy else SagaStatus.WAITING)
    return state, tuple(commands)


def _start(definition: SagaDefinition, state: SagaState, step: SagaStep) -> Moved:
    if state.steps[step.name].status is not StepStatus.PENDING:
        return state, ()
    if any(state.steps[name].status is not StepStatus.DONE for name in definition.before(step)):
        return state, ()
    now_us = state.updated_us
    status = StepStatus.RUNNING if step.action else StepStatus.WAITING
    known = replace(state.steps[step.name], status=status, started_us=now_us)
    state = _told(_put(state, step.name, known), now_us, step.name, status.value)
    if step.action:
        return state, (Act(step.name),)
    if step.within_us is None or _fact_known(state, step):
        return state, ()
    return state, (Timer(step.name, now_us + step.within_us),)


def _retreat(definition: SagaDefinition, state: SagaState) -> Moved:
    """After a failure: wait for what runs, then undo one step after the other, the last first."""
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
            return replace(_told(state, state.updated_us, "", "compensated"), status=SagaStatus.COMPENSATED), ()
        last = max(done, key=lambda name: state.steps[name].ended or 0)
        if definition.step(last).compensation is not None:
            break
        state = _put(state, last, replace(state.steps[last], status=StepStatus.UNDONE))
    state = _put(state, last, replace(state.steps[last], status=StepStatus.UNDOING))
    state = _told(replace(state, status=SagaStatus.COMPENSATING), state.updated_us, last, "undoing")
    return state, (Undo(last),)


def _finish(state: SagaState, name: str, status: StepStatus, now_us: int, *, detail: str = "") -> SagaState:
    ended = 1 + max((step.ended or 0 for step in state.steps.values()), default=0)
    known = state.steps[name]
    changed = replace(known, status=status, ended=ended)
    return _told(_put(state, name, changed), now_us, name, status.value, detail)


def _put(state: SagaState, name: str, step: StepState) -> SagaState:
    return replace(state, steps={**state.steps, name: step})


def _told(state: SagaState, now_us: int, step: str, what: str, detail: str = "") -> SagaState:
    line = Moment(now_us, step, what, detail[:200])
    at_us = max(state.updated_us, now_us)
    return replace(state, updated_us=at_us, timeline=(*state.timeline, line)[-TIMELINE:])


def _just_learned(state: SagaState, step: SagaStep) -> bool:
    return state.steps[step.name].status is StepStatus.WAITING and _fact_known(state, step)


def _fact_known(state: SagaState, step: SagaStep) -> bool:
    return step.waits_for is not None and step.waits_for in state.facts


def _fact(state: SagaState, step: SagaStep) -> Fields:
    return state.facts[step.waits_for] if step.waits_for else {}
