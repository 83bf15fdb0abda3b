"""A second feature that pays for its calls, as small as one can be: images, and whatever else is not a chat."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.credits.core.entry import Reference
from app.kit.stores.documents import Document, Fields, Query, Value, Version, Where, int_field, text_field
from app.metering.billing import Ending, Mode, Policy, default_policy
from app.metering.holding import Holding
from app.metering.meter import Measured, Meter
from app.metering.orphans import Orphan, Orphans
from app.metering.paid_call import PaidCall, Settlement
from app.metering.quote import LEAST_OUTPUT, Granted, Outputs, quote
from app.metering.reserving import Reserving, Start
from app.metering.settling import CallEnd, OwnerEnd, OwnerRecord, Settling
from app.models.catalogue import load
from app.models.pricing import Demand, PriceBook
from support.clock import ManualClock
from support.credits_world import CreditsWorld

BOOK = PriceBook(load())
IMAGE = BOOK.catalogue.get("image")
SMALL = BOOK.catalogue.get("small")
USUAL = 100
"""Output tokens that a call which writes text begins with."""
LEASE_US = 600_000_000


@dataclass(frozen=True)
class Task:
    """A call that was reserved for."""

    call: PaidCall
    grant: Granted
    meter: Meter
    holding: Holding


class Gallery:
    """Image tasks at `tasks/{id}`, each a paid call. An image is whole or nothing, so all of it is reserved at once;
    `captions` are written instead by the small model, and reserve more as they grow.
    """

    job = "gallery_orphans"

    def __init__(
        self, money: CreditsWorld, mode: Mode = Mode.IMAGE, policy: Policy | None = None, *, captions: bool = False
    ) -> None:
        self.clock: ManualClock = money.clock
        self.documents, self.mode, self.pauses, self.told = money.documents, mode, list[int](), list[str]()
        credits, table = money.credits, policy or default_policy()
        self.model = SMALL if captions else IMAGE
        self.reserving = Reserving(credits=credits, pause=self.pauses.append)
        self.settling = Settling(
            credits=credits,
            documents=self.documents,
            clock=self.clock,
            policy=table,
            pause=self.pauses.append,
            between_writers=lambda _: None,
        )
        self.orphans = Orphans(credits=credits, documents=self.documents, clock=self.clock, policy=table)

    def begin(self, id: str, attempt: int = 1, replaces: Version | None = None) -> Task:
        call = PaidCall("alice", "image", Reference("task", id), f"tasks/{id}", attempt)
        least = LEAST_OUTPUT if self.model is SMALL else 4_000
        quoted = quote(BOOK, self.model, Demand(20, 4_000), outputs=Outputs(least, USUAL))

        def begun(grant: Granted) -> Fields:
            return {
                "id": id,
                "attempt": attempt,
                "reservation_id": call.reservation_id,
                "reserved": grant.reserved,
                "delivered": 0,
                "state": "running",
                "due_us": self.clock.now_us() + LEASE_US,
            }

        grant = self.reserving.reserve(call, quoted, begun, lease_us=LEASE_US, start=Start(replaces))
        meter = Meter(BOOK, self.model, prompt=["a cat"], granted=grant)
        return Task(call, grant, meter, self.reserving.holding(call, quoted, grant))

    def end(self, task: Task, ending: Ending, measured: Measured | None = None) -> Settlement:
        end = CallEnd(ending, self.mode, measured or task.meter.measured(), task.holding.held)
        return self.settling.settle(task.call, end, OwnerRecord(lambda told, _: OwnerEnd(self.ended(told))))

    def sweep(self) -> int:
        ended = self.orphans.sweep(self)
        assert self.orphans.tell(self) == ended
        return ended

    def overdue(self, before: str) -> Query:
        return Query("tasks", (Where("due_us", "<", self.clock.now_us()),), ("due_us", "__name__"))

    def orphan(self, stored: Document) -> Orphan:
        reference = Reference("task", text_field(stored.fields, "id"))
        call = PaidCall("alice", "image", reference, stored.path, int_field(stored.fields, "attempt"))
        reserved, delivered = int_field(stored.fields, "reserved"), int_field(stored.fields, "delivered")
        return Orphan(call, self.mode, self.model.id, reserved, delivered)

    def ended(self, settlement: Settlement) -> Mapping[str, Value]:
        return {"state": "ended", "due_us": None, "cost": settlement.cost, "reason": settlement.reason}

    def closed(self, stored: Document, settlement: Settlement) -> None:
        self.told.append(stored.id)
