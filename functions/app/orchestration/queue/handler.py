"""What a feature hands in to have its operations run: the handler, what it is told, and what it may answer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.kit.clock import minutes
from app.kit.documents import Document, Fields, Write
from app.kit.errors import Failure, Rejection, ensure
from app.orchestration.queue.operation import Operation, Priority, SecurityLevel
from app.orchestration.queue.retry import PATIENT, RetryPolicy

EffectWrites = Callable[[], Sequence[Write]]
"""Decides the writes of an effect from a fresh read; called again when one of them met a newer version."""


def no_writes() -> Sequence[Write]:
    """Of an effect that is complete already."""
    return ()


@dataclass(frozen=True, slots=True)
class Done:
    """The work succeeded. `writes` go into the commit that ends the operation, so they happen exactly once (T-84)."""

    result: Fields | None = None
    writes: EffectWrites = no_writes


@dataclass(frozen=True, slots=True)
class Later:
    """Not yet: look again at `due_us`. Does not count as a try."""

    due_us: int
    why: str


RunOutcome = Done | Later


class LeaseLost(Failure):
    """Another runner took the operation over. Stop; nothing of ours may be written any more."""


class LeaseOver(Rejection):
    """As `LeaseLost`, for a fence in another feature's commit, which a refusal keeps from being written."""

    status = 409
    code = "lease_over"
    title = "Another runner has taken this over"


class CancelRequested(Failure):
    """Somebody asked to stop. What was done stays done; the handler may catch this to tidy up, and must raise it
    again.
    """


class Run(Protocol):
    """One attempt at an operation, as its handler sees it."""

    @property
    def operation(self) -> Operation: ...

    @property
    def key(self) -> str:
        """What to hand to a vendor as idempotency key: the same in every attempt at this operation (T-65)."""
        ...

    @property
    def token(self) -> int:
        """The fencing token, for stores that can compare one."""
        ...

    def now_us(self) -> int: ...

    @property
    def fence_path(self) -> str:
        """The document to read beside what a fenced effect reads; see `fence`."""
        ...

    def fence(self, seen: Document | None) -> Write:
        """A write for an effect that another feature commits: it goes through only while this attempt holds the lease.

        `seen` is the document at `fence_path`, as that commit's attempt read it.

        Raises:
            LeaseOver: it does not any more.
        """
        ...

    def renew(self) -> None:
        """Say that the work goes on, and hear whether it should. The lease is kept without it for as long as the
        platform lets a trigger live; work in pieces asks between them.

        Raises:
            LeaseLost: too late, another runner has it.
            CancelRequested: stop here.
        """
        ...


HandlerWork = Callable[[Run], RunOutcome]

OnDeath = Callable[[Operation, str], Sequence[Write]]
"""Writes for the commit in which an operation becomes a dead letter or is cancelled, with the reason."""


def no_final_writes(_operation: Operation, _reason: str) -> Sequence[Write]:
    """The dead letter itself is all that remains."""
    return ()


@dataclass(frozen=True, slots=True)
class Lane:
    """A queue with its own limits. Operations that call one vendor live in one lane, so that its limit is exact."""

    name: str
    limit: int = 16
    vendor_limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Handler:
    """How operations of one name are run. `lease_us`: how long a dead runner is waited for; a living one keeps its
    lease for as long as it works (T-85).
    """

    name: str
    work: HandlerWork
    lane: str = "default"
    level: SecurityLevel = SecurityLevel.SYSTEM
    priority: Priority = Priority.NORMAL
    retry: RetryPolicy = PATIENT
    lease_us: int = minutes(2)
    vendor: str | None = None
    on_death: OnDeath = no_final_writes


class Handlers:
    """Every handler and lane of a deployment; built once by the composition root, and checked then (T-91)."""

    def __init__(self, handlers: Iterable[Handler], lanes: Iterable[Lane]) -> None:
        self.lanes: Mapping[str, Lane] = {lane.name: lane for lane in lanes}
        self.slot_us: dict[str, int] = dict.fromkeys(self.lanes, 0)
        """How long a slot of each lane is blocked by a runner that died: the longest lease of the lane's handlers."""
        self._handlers: dict[str, Handler] = {}
        vendors: dict[str, str] = {}
        for handler in handlers:
            ensure(handler.name not in self._handlers, f"two handlers are called {handler.name}")
            ensure(handler.lane in self.lanes, f"nobody serves lane {handler.lane} of {handler.name}")
            if handler.vendor:
                known = vendors.setdefault(handler.vendor, handler.lane)
                ensure(known == handler.lane, f"vendor {handler.vendor} is called from two lanes")
            self._handlers[handler.name] = handler
            self.slot_us[handler.lane] = max(self.slot_us[handler.lane], handler.lease_us)

    def find(self, name: str) -> Handler | None:
        """The handler of that name; None when this deployment has none."""
        return self._handlers.get(name)

    def get(self, name: str) -> Handler:
        """The handler of that name, which must exist: nothing is enqueued that nobody runs (T-91)."""
        found = self._handlers.get(name)
        ensure(found is not None, f"nobody handles {name}")
        assert found is not None
        return found
