"""What a feature provides to have its operations run: a `Handler`, whose work receives a `Run` and returns a
`RunOutcome`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.kit.clock import minutes
from app.kit.errors import Failure, Rejection, ensure
from app.kit.stores.documents import Document, Fields, Write
from app.orchestration.queue.operation import Operation, Priority, SecurityLevel
from app.orchestration.queue.retry import PATIENT, RetryPolicy

EffectWrites = Callable[[], Sequence[Write]]
"""Builds the writes of an effect from a fresh read; it is called again when the commit conflicts."""


def no_writes() -> Sequence[Write]:
    """For work whose effect is complete already."""
    return ()


@dataclass(frozen=True, slots=True)
class Done:
    """The work succeeded. `writes` go into the commit that ends the operation, so they happen exactly once (T-84)."""

    result: Fields | None = None
    writes: EffectWrites = no_writes


@dataclass(frozen=True, slots=True)
class Later:
    """The work must wait: run it again at `due_us`. The attempt does not count as a try."""

    due_us: int
    why: str


RunOutcome = Done | Later


class LeaseLost(Failure):
    """Another runner took the operation over. The handler must stop: this attempt can commit nothing more."""


class LeaseOver(Rejection):
    """`LeaseLost` for a fence in another feature's commit: a `Rejection`, so that the commit is refused."""

    status = 409
    code = "lease_over"
    title = "Another runner has taken this over"


class CancelRequested(Failure):
    """Somebody asked to stop the operation. Committed effects stay. A handler may catch this to clean up, and must
    raise it again.
    """


class Run(Protocol):
    """One attempt at an operation, as its handler sees it."""

    @property
    def operation(self) -> Operation: ...

    @property
    def key(self) -> str:
        """Idempotency key for vendors: the same in every attempt at this operation (T-65)."""
        ...

    @property
    def token(self) -> int:
        """The fencing token, for stores that can compare one."""
        ...

    def now_us(self) -> int: ...

    @property
    def fence_path(self) -> str:
        """Path of the document that a fenced commit reads and passes to `fence`."""
        ...

    def fence(self, seen: Document | None) -> Write:
        """A write with which another feature's commit succeeds only while this attempt holds the lease.

        `seen` is the document at `fence_path`, as that commit read it.

        Raises:
            LeaseOver: this attempt no longer holds the lease.
        """
        ...

    def renew(self) -> None:
        """Extends the lease and checks for a cancel request. Work in several pieces calls it between them, although the
        heartbeat extends the lease anyway.

        Raises:
            LeaseLost: another runner took the operation over.
            CancelRequested: somebody asked to stop.
        """
        ...


HandlerWork = Callable[[Run], RunOutcome]

OnDeath = Callable[[Operation, str], Sequence[Write]]
"""Builds writes for the commit in which an operation becomes a dead letter or is cancelled, from it and the reason."""


def no_final_writes(_operation: Operation, _reason: str) -> Sequence[Write]:
    """For operations whose death nothing else must record."""
    return ()


@dataclass(frozen=True, slots=True)
class Lane:
    """A queue in which at most `limit` operations run at once, and per vendor at most as `vendor_limits` says.
    All operations that call one vendor are in one lane, so that its limit is exact.
    """

    name: str
    limit: int = 16
    vendor_limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Handler:
    """How operations of one name are run. `lease_us`: how long an operation stays with a runner that died; a living
    runner extends its lease while it works (T-85).
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
    """Every handler and lane of a deployment, checked when it is built (T-91).

    Raises:
        InvariantViolation: a handler in an unknown lane, two handlers of one name, a vendor in two lanes.
    """

    def __init__(self, handlers: Iterable[Handler], lanes: Iterable[Lane]) -> None:
        self.lanes: Mapping[str, Lane] = {lane.name: lane for lane in lanes}
        self.slot_us: dict[str, int] = dict.fromkeys(self.lanes, 0)
        """For each lane the longest lease of its handlers: how long a runner that died blocks a slot."""
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
        """The handler of that name.

        Raises:
            InvariantViolation: there is none; what nobody runs must not be enqueued (T-91).
        """
        found = self._handlers.get(name)
        ensure(found is not None, f"nobody handles {name}")
        assert found is not None
        return found
