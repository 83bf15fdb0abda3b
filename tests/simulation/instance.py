"""One running copy of the backend: `app.wiring.System` over simulated ports, with the products plugged in."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Protocol

from app.api.firebase_tokens import FirebaseTokens
from app.credits.service import Credits
from app.kit.concurrency import Concurrency
from app.kit.environment import Environment
from app.kit.errors import Unavailable
from app.kit.heartbeat import Heartbeat
from app.kit.optimistic import full_jitter
from app.orchestration.assembly import Orchestration
from app.orchestration.queue.inbox import Inbox
from app.orchestration.queue.retry import Draw
from app.ports import Dependency, Identity
from app.wiring import System
from simulation.edge import SimulatedSystem
from simulation.machine.concurrency import Greenlets, TaskHeartbeat
from simulation.machine.kernel import Instance, InstanceClock, Kernel
from simulation.machine.signatures import remember_signatures
from simulation.machine.stores import Outage, SimDocuments, SimRealtime
from simulation.outside import book
from simulation.outside.auth import Auth, WatchedTokens
from simulation.outside.counter import CounterFeature, Desk
from simulation.outside.model_vendor import ModelVendor
from simulation.outside.vendor_network import VendorNetwork
from simulation.outside.vendors import Machine, Mailer, Rail
from simulation.products import Products, Shelf
from support.clock import SeededIds
from support.world import ENVIRONMENT

WELCOME: Final = 40_000_000
ON_VERIFIED: Final = 5_000_000
PER_CROWD: Final = 3
VARIABLES: Final = ENVIRONMENT | {
    **book.VARIABLES,
    "WELCOME_BONUS_CHECKS": "on",
    "WELCOME_BONUS_AMOUNT": "50",
    "WELCOME_BONUS_ON_VERIFIED": "5",
    "WELCOME_BONUS_ON_PURCHASE": "5",
    "WELCOME_BONUS_PER_CROWD_DAILY": str(PER_CROWD),
}


class Archive:
    """Cloud Storage: keeps what is new, sometimes without saying so."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.outage = Outage()
        self.kept: dict[str, bytes] = {}

    def keep(self, name: str, content: bytes) -> bool:
        self._fail("archive asked")
        new = name not in self.kept
        self.kept.setdefault(name, content)
        self._fail("archived")
        return new

    def read(self, name: str) -> bytes | None:
        self._fail("archive read")
        return self.kept.get(name)

    def _fail(self, label: str) -> None:
        self._kernel.pause(label)
        self.outage.check(self._kernel)
        if self._kernel.current is not None and self._kernel.chance(self._kernel.faults.unavailable / 2):
            raise Unavailable("the archive does not answer")


class People:
    """The identity provider: who signed in how."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.known: dict[str, Identity] = {}
        self.deserving: list[str] = []
        """Who may have a bonus from the start, in whichever of their accounts."""

    def __call__(self, uid: str) -> Identity:
        self._kernel.pause("identity asked")
        if self._kernel.current is not None and self._kernel.chance(self._kernel.faults.unavailable / 2):
            raise Unavailable("the identity provider does not answer")
        return self.known.get(uid, Identity(uid))


@dataclass
class Outside:
    """What all instances share."""

    kernel: Kernel
    documents: SimDocuments
    realtime: SimRealtime
    ids: SeededIds
    rail: Rail
    mailer: Mailer
    machine: Machine
    models: ModelVendor
    archive: Archive
    people: People
    tokens: Auth
    desk: Desk = field(default_factory=Desk)


class Ring(Protocol):
    """What an alarm does when it fires."""

    def __call__(self, operation_id: str) -> None: ...


@dataclass(frozen=True)
class KernelAlarms:
    """Cloud Tasks: at least once in the end, early or late."""

    kernel: Kernel
    ring: Ring

    def set(self, operation_id: str, due_us: int) -> None:
        kernel = self.kernel
        kernel.pause("alarm set")
        if not kernel.chance(kernel.faults.lost):
            delay = due_us - kernel.now_us + kernel.random.randrange(-1_000_000, 2_000_000)
            kernel.after(delay, lambda: self.ring(operation_id))


class SimPorts:
    """`app.ports.Ports` of one instance."""

    dependencies: tuple[Dependency, ...] = ()

    def __init__(self, outside: Outside, instance: Instance, ring: Ring) -> None:
        kernel = outside.kernel
        # With few tokens nearly every answer is held for in several steps, with many nearly none.
        usual = "16" if kernel.seed % 3 else "3072"
        self.environment: Final = Environment(VARIABLES | {"USUAL_ANSWER_TOKENS": usual})
        self.clock = InstanceClock(kernel, instance.skew_us)
        self.ids = outside.ids
        self.draw: Draw = kernel.random.randrange
        self.concurrency: Concurrency = Greenlets(kernel, instance)
        self.heartbeat: Heartbeat = TaskHeartbeat(self.concurrency)
        self.network = VendorNetwork(kernel, outside.models)
        self.documents = outside.documents
        self.realtime = outside.realtime
        self.alarms = KernelAlarms(kernel, ring)
        self.archive = outside.archive
        self.verify_token = WatchedTokens(FirebaseTokens(self.clock, outside.tokens), outside.tokens)
        self.identities = outside.people

    def start_logging(self) -> None:
        """Leaves the logs as the simulation wants them."""


class Backend:
    """The system of one instance."""

    def __init__(self, outside: Outside, instance: Instance, ring: Ring) -> None:
        self.instance = instance

        def products(system: System) -> Products:
            shelf = Shelf(system.outbox, system.credits.service, outside.rail, outside.mailer, outside.machine)
            return Products(shelf)

        def counter(_: System) -> CounterFeature:
            return CounterFeature(outside.kernel, outside.desk)

        self.system = SimulatedSystem(SimPorts(outside, instance, ring), [products, counter])
        remember_signatures(self.credits.ledger.keys)

    @property
    def orchestration(self) -> Orchestration:
        """The queue and what runs it."""
        return self.system.orchestration

    @property
    def credits(self) -> Credits:
        """The credit system."""
        return self.system.credits.service

    @cached_property
    def inbox(self) -> Inbox:
        """For deliveries that no feature takes yet."""
        ports = self.system.ports
        return Inbox(self.system.outbox, ports.clock, full_jitter(ports.concurrency, ports.draw))
