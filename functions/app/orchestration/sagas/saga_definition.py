"""Definitions of sagas: steps that act or wait, their compensations, and the order between them.

A running saga keeps the version that it started with. A deployment therefore contains every version of which sagas have
not ended.
"""

from dataclasses import dataclass, field
from typing import Protocol

from app.kit.clock import minutes
from app.kit.errors import ensure
from app.kit.stores.documents import Document, Fields, Write
from app.orchestration.queue.handler import EffectWrites, no_writes
from app.orchestration.queue.operation import Priority, SecurityLevel
from app.orchestration.queue.retry import PATIENT, STEADFAST, RetryPolicy


class StepRun(Protocol):
    """One attempt at a step, as passed to its action or compensation."""

    @property
    def saga_id(self) -> str: ...

    @property
    def account(self) -> str | None: ...

    @property
    def input(self) -> Fields:
        """The `SagaStart.input` of the saga."""
        ...

    @property
    def key(self) -> str:
        """Idempotency key for vendors: the same in every attempt at this action (T-65, T-84)."""
        ...

    def result(self, step: str) -> Fields:
        """The result of an earlier step, or the fact that it waited for."""
        ...

    def now_us(self) -> int: ...

    @property
    def fence_path(self) -> str:
        """As `Run.fence_path`."""
        ...

    def fence(self, seen: Document | None) -> Write:
        """As `Run.fence`."""
        ...

    def renew(self) -> None:
        """As `Run.renew`."""
        ...


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step's result, which is stored in the saga, and writes for the commit that stores it."""

    result: Fields = field(default_factory=dict)
    writes: EffectWrites = no_writes


class Action(Protocol):
    def __call__(self, run: StepRun, /) -> StepDone: ...


@dataclass(frozen=True, slots=True)
class SagaStep:
    """One step: it either runs `action` or `waits_for` a fact. `after` names the steps that must be done first; None
    means the step listed before. The step fails when it has not ended `within_us` after its start.
    """

    name: str
    action: Action | None = None
    compensation: Action | None = None
    waits_for: str | None = None
    after: tuple[str, ...] | None = None
    within_us: int | None = None
    retry: RetryPolicy = PATIENT
    undo_retry: RetryPolicy = STEADFAST
    lane: str = "sagas"
    lease_us: int = minutes(2)
    vendor: str | None = None


@dataclass(frozen=True, slots=True)
class SagaDefinition:
    """One version of a saga.

    Raises:
        InvariantViolation: the steps do not fit together.
    """

    name: str
    version: int
    steps: tuple[SagaStep, ...]
    level: SecurityLevel = SecurityLevel.SYSTEM
    priority: Priority = Priority.NORMAL

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for step in self.steps:
            ensure((step.action is None) != (step.waits_for is None), f"step {step.name} either acts or waits")
            ensure(step.name not in seen, f"two steps are called {step.name}")
            ensure(set(self.before(step)) <= seen, f"step {step.name} comes after one that is listed later")
            seen.add(step.name)

    def step(self, name: str) -> SagaStep:
        """The step of that name.

        Raises:
            InvariantViolation: there is none.
        """
        for step in self.steps:
            if step.name == name:
                return step
        ensure(False, f"saga {self.name} version {self.version} has no step {name}")
        raise AssertionError

    def before(self, step: SagaStep) -> tuple[str, ...]:
        """The steps that must be done first."""
        if step.after is not None:
            return step.after
        index = self.steps.index(step)
        return (self.steps[index - 1].name,) if index else ()

    def operation(self, step: str, part: str) -> str:
        """Name of the operations that run a `part` (`act` or `undo`) of a step."""
        return f"{self.name}.v{self.version}.{step}.{part}"
