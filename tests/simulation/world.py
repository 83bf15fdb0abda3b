"""The simulated platform: instances that die and are replaced, triggers, alarms, webhooks and the scheduler."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from app.kit.errors import Failure, Fault, Unavailable
from app.kit.stores.documents import Fields, Increment, Merge
from app.kit.stores.realtime import Json
from app.orchestration.queue.operation_queue import TooEarly
from simulation.instance import Archive, Backend, Outside, People
from simulation.machine.kernel import CALM, Faults, Instance, Kernel, Process
from simulation.machine.stores import SimDocuments, SimRealtime
from simulation.outside.auth import Auth
from simulation.outside.model_vendor import ModelVendor
from simulation.outside.vendors import Machine, Mailer, Rail
from simulation.pager import Pager
from support.clock import SeededIds
from support.memory import Change

T = TypeVar("T")
INSTANCES = 3
_FORGOTTEN = ("queue", "lanes", "turns", "sweeper", "cancels")


class World:
    """Everything but the users and the auditor."""

    def __init__(self, seed: int, faults: Faults, *, keep_trace: bool = False) -> None:
        self.kernel = kernel = Kernel(seed, faults, keep_trace=keep_trace)
        self.faults = faults
        self.documents = SimDocuments(kernel)
        self.realtime = SimRealtime(kernel)
        self.rail = Rail(kernel, self._webhook)
        self.outside = Outside(
            kernel=kernel,
            documents=self.documents,
            realtime=self.realtime,
            ids=SeededIds(seed),
            rail=self.rail,
            mailer=Mailer(kernel),
            machine=Machine(kernel),
            models=ModelVendor(kernel),
            archive=Archive(kernel),
            people=People(kernel),
            tokens=Auth(kernel),
        )
        self.pager = Pager(kernel)
        self.bugs: list[str] = []
        self.deaf: set[str] = set()
        """Accounts whose mirrors hear of no change."""
        self.backends = [self._start(number) for number in range(INSTANCES)]
        kernel.on_crash = self._replace
        kernel.on_error = self._uncaught
        self.documents.watchers.append(self._document_triggers)
        self.realtime.watchers.append(self._queue_trigger)
        for _ in range(6):
            if kernel.chance(faults.amnesia):
                kernel.after(kernel.random.randrange(400_000_000), self._forget)
        self._events = 0

    def request(self, label: str, body: Callable[[Backend], T], backend: Backend | None = None) -> T | Failure:
        """What a client gets from an instance, or the failure. Must be called by a process; waits for the end."""
        kernel, me = self.kernel, self.kernel.current
        assert me is not None
        outcome: list[T | Failure] = [Unavailable("the connection broke")]
        served = backend or self._any()

        def run() -> None:
            try:
                outcome[0] = body(served)
            except Failure as failure:
                outcome[0] = failure

        kernel.spawn(label, run, served.instance, lambda: kernel.unpark(me))
        kernel.park()
        return outcome[0]

    def alarm(self, operation_id: str) -> None:
        """Cloud Tasks calls, and calls again when it is refused."""
        backend = self._any()

        def run() -> None:
            try:
                backend.orchestration.ring_due({"operation": operation_id})
            except (TooEarly, Unavailable):
                self.kernel.after(1_000_000, lambda: self.alarm(operation_id))

        self.kernel.spawn("alarm", run, backend.instance)

    def comes_online(self, uid: str) -> None:
        """A client writes its presence."""
        self._deliver("open_account", lambda b: b.system.credits.open_account(uid))

    def sweep(self) -> None:
        """The scheduler fires; sometimes twice."""
        for _ in range(2 if self.kernel.chance(self.kernel.faults.repeated) else 1):
            backend = self._any()
            self.kernel.spawn("sweep", partial(self._swept, backend), backend.instance)

    def settle(self, *, rounds: int = 24) -> None:
        """The storm is over: sweeps at growing intervals until nothing can be left."""
        kernel = self.kernel
        kernel.faults = CALM
        for number in range(rounds):
            kernel.run(kernel.now_us + 60_000_000 * (1 + number // 3))
            self.sweep()
        # Some users stay for an hour, and what an instance told of its answers is forgotten 90 minutes later.
        kernel.run(kernel.now_us + 3_600_000_000)
        self.sweep()
        kernel.run(kernel.now_us + 60_000_000)
        # The next ticket of a lane would take down what was left of ended operations; here nothing more comes.
        for lane in self.backends[0].orchestration.handlers.lanes:
            kernel.spawn("last look", partial(_serve, lane, self.backends[0]), self.backends[0].instance)
        kernel.run(kernel.now_us + 1_000_000)

    def _forget(self) -> None:
        self.kernel.note("the Realtime Database loses the queue and its slots")
        self.realtime.real.update({f"orchestration/{name}": None for name in _FORGOTTEN})

    def _start(self, number: int) -> Backend:
        skew = self.kernel.random.randrange(-1_500_000, 1_500_000) if self.faults != CALM else 0
        return Backend(self.outside, Instance(number, skew), self.alarm)

    def _replace(self, dead: Instance) -> None:
        self.backends = [one if one.instance is not dead else self._start(dead.number + 10) for one in self.backends]

    def awake(self) -> Backend:
        """Some instance that does not stand still, if there is one."""
        ready = [one for one in self.backends if one.instance.frozen_us <= self.kernel.now_us]
        return self.kernel.random.choice(ready or self.backends)

    def _any(self) -> Backend:
        return self.kernel.random.choice(self.backends)

    def _swept(self, backend: Backend) -> None:
        try:
            backend.orchestration.sweep()
        except Fault:
            return

    def _uncaught(self, process: Process, error: BaseException) -> None:
        if not isinstance(error, Fault):
            self.bugs.append(f"{process.name} raised {type(error).__name__}: {error}")

    def _webhook(self, event: str, invoice: str) -> bool:
        saga = self.rail.invoices[invoice].saga
        told: object = Unavailable("no instance was there to answer")
        # Deployments and cold starts: nobody is there more often than any vendor fails.
        if not self.kernel.chance(3 * self.kernel.faults.vendor):
            paid = {"invoice": invoice, "event": event}
            told = self.request("webhook", lambda b: b.orchestration.sagas.tell(saga, "paid", paid))
        return not isinstance(told, Failure)

    def _document_triggers(self, changes: list[Change]) -> None:
        for path, before, after in changes:
            parts = path.split("/")
            if parts[0] == "accounts" and len(parts) == 2:
                self._account_written(parts[1], before, after)
            elif parts[0] == "sagas":
                self._deliver("show_saga", partial(_show, parts[1]))

    def _account_written(self, uid: str, before: Fields | None, after: Fields | None) -> None:
        # One in a while never comes: the scheduled comparison is there for that.
        if not self.kernel.chance(self.kernel.faults.lost / 2) and uid not in self.deaf:
            self._deliver("mirror", lambda b: b.system.credits.account_written(after))
        if before is None:
            self._events += 1
            event = f"event-{self._events}"
            for handler in ("greet", "enrol"):
                self._deliver(handler, partial(_opened, handler, event, uid))

    def _queue_trigger(self, path: str, _: Json) -> None:
        parts = path.split("/")
        if parts[:2] == ["orchestration", "queue"] and not self.kernel.chance(self.kernel.faults.lost):
            self._deliver("run", partial(_serve, parts[2], ticket=parts[3]), sure=False)

    def _deliver(self, name: str, call: Callable[[Backend], object], *, sure: bool = True) -> None:
        """A trigger: some copies, some late; a `sure` one again until it has succeeded."""
        kernel = self.kernel
        copies = kernel.random.randrange(2, 8) if kernel.chance(kernel.faults.repeated) else 1
        done: list[bool] = []

        def fire() -> None:
            backend = self._any()

            def run() -> None:
                call(backend)
                done.append(True)

            kernel.spawn(name, run, backend.instance)

        def again() -> None:
            if not done:
                fire()
                kernel.after(60_000_000, again)

        for _ in range(copies):
            late = kernel.random.randrange(120_000_000) if kernel.chance(kernel.faults.late) else 0
            kernel.after(late + kernel.random.randrange(1_000, 80_000), fire)
        if sure:
            kernel.after(180_000_000, again)


def _serve(lane: str, backend: Backend, ticket: str | None = None) -> None:
    try:
        backend.orchestration.run_lane(lane, ticket)
    except Fault:
        return


def _show(saga: str, backend: Backend) -> None:
    backend.orchestration.show_saga(saga)


def _opened(handler: str, event: str, uid: str, backend: Backend) -> None:
    backend.inbox.once(handler, event, lambda: [Merge(f"opened/{handler}:{uid}", {"n": Increment(1)})])
