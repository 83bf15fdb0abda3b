"""One running copy of the backend: the real services over the simulated stores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from app.chat import deletion
from app.chat.assembly import ChatNeeds, ChatSystem
from app.chat.assembly import assemble as assemble_chat
from app.chat.live.stream_mirror import SteppedStreamMirror
from app.credits.balance_mirror import BalanceMirror
from app.credits.core import events
from app.credits.proofs.signing import Signer
from app.credits.service import Credits, CreditsParts, CreditsSettings
from app.kit.documents import Write
from app.kit.money import credits
from app.kit.optimistic import jitter_us
from app.models import catalogue
from app.models.gateway import Gateway
from app.models.pricing import PriceBook
from app.orchestration.assembly import Contributions, Orchestration, QueueDependencies, assemble
from app.orchestration.queue.inbox import Inbox
from app.orchestration.sweeper import Chore
from simulation.kernel import Instance, InstanceClock, Kernel, KernelPulse
from simulation.products import LANES, Products, Shelf
from simulation.stepped import GroupCommit
from simulation.stores import SimDocuments, SimRealtime
from simulation.vendors import Machine, Mailer, Models, Rail
from support.clock import SeededIds

BOOK = PriceBook(catalogue.load())
SIGNER = Signer(bytes(range(32)))
WELCOME = credits(40)


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
    models: Models


class KernelAlarms:
    """Cloud Tasks: at least once in the end, early or late."""

    def __init__(self, kernel: Kernel, ring: "Ringer") -> None:
        self._kernel = kernel
        self._ring = ring

    def set(self, operation_id: str, due_us: int) -> None:
        kernel = self._kernel
        kernel.pause("alarm set")
        if not kernel.chance(kernel.faults.lost):
            delay = due_us - kernel.now_us + kernel.random.randrange(-1_000_000, 2_000_000)
            kernel.after(delay, lambda: self._ring(operation_id))


class Ringer:
    """Named by the world: what an alarm does when it fires."""

    def __call__(self, operation_id: str) -> None:
        raise NotImplementedError


class Backend:
    """The services of one instance."""

    def __init__(self, outside: Outside, instance: Instance, ring: Ringer) -> None:
        self.instance = instance
        kernel, documents, realtime = outside.kernel, outside.documents, outside.realtime
        clock = InstanceClock(kernel, instance.skew_us)

        def pause(attempt: int) -> None:
            kernel.sleep(jitter_us(attempt, draw=kernel.random.randrange))

        dependencies = QueueDependencies(
            documents=documents,
            realtime=realtime,
            clock=clock,
            ids=outside.ids,
            draw=kernel.random.randrange,
            alarms=KernelAlarms(kernel, ring),
            pause=pause,
            heartbeat=KernelPulse(kernel, instance),
        )
        outbox = dependencies.outbox()

        self.credits = Credits(
            CreditsParts(
                documents=outbox,
                clock=clock,
                signer=SIGNER,
                settings=CreditsSettings(welcome_bonus=WELCOME, low_threshold=credits(5)),
                publish=self._publish,
                pause=pause,
            )
        )
        vars(self.credits)["_lanes"] = GroupCommit(self.credits.store)
        self.chat: ChatSystem = assemble_chat(
            ChatNeeds(
                documents=outbox,
                realtime=realtime,
                clock=clock,
                ids=outside.ids,
                credits=self.credits,
                gateway=cast(Gateway, outside.models),
                book=BOOK,
                orders=lambda orders: self.orchestration.queue.rows(orders),
                pause=pause,
                mirror=SteppedStreamMirror(realtime, clock),
            )
        )
        self.balance_mirror = BalanceMirror(outbox, realtime)
        products = Products(Shelf(outbox, self.credits, outside.rail, outside.mailer, outside.machine))
        contributions = Contributions(
            # So few at once that the conversations here, which are short, take several.
            handlers=[*products.handlers(), deletion.handler(outbox, batch=2)],
            subscriptions=products.subscriptions(),
            sagas=products.sagas(),
            chores=[
                Chore("reservations", lambda limit: self.credits.expire_due(limit).accounts),
                Chore("chat", lambda _: self.chat.sweep()),
            ],
            lanes=LANES,
        )
        self.orchestration: Orchestration = assemble(dependencies, contributions, outbox)
        self.inbox = Inbox(outbox, clock, pause)
        self.runner_name = self.orchestration.runner.owner

    def _publish(self, told: Sequence[events.AccountEvent]) -> Sequence[Write]:
        return self.orchestration.bus.rows(told)
