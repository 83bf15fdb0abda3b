"""Sagas and subscribers over the real credit system: bought credits, refunds, images, agents, mails, statistics.

Those features do not exist yet. The steps are written as theirs must be: every effect on an account is fenced by the
attempt's lease, every call of a vendor has an idempotency key.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from app.credits.core.commands import Clawback, Deposit, Outcome, Refund, Reserve, Settle, settle_key
from app.credits.core.entry import Reference
from app.credits.core.rejections import ReservationClosed, ReservationSettled, ReservationUnknown
from app.credits.ledger.step import Participant
from app.credits.service import Credits
from app.feature import Feature
from app.kit.clock import minutes, seconds
from app.kit.stores.documents import Document, Documents, Increment, Merge, Replace, Value, Write, int_field, text_field
from app.orchestration.event_bus import Event, Subscription
from app.orchestration.queue.handler import Done, Handler, Lane, Run, RunOutcome
from app.orchestration.queue.operation import Priority, SecurityLevel
from app.orchestration.queue.retry import RetryPolicy
from app.orchestration.sagas.saga_definition import SagaDefinition, SagaStep, StepDone, StepRun
from simulation.outside.vendors import Machine, Mailer, Rail, Refused

PATIENT: Final = RetryPolicy(tries=25, first_us=seconds(1), most_us=seconds(60))
POSTED: Final = ("CreditsSettled", "CreditsGranted", "CreditsDeposited", "CreditsClawedBack", "CreditsRefunded")
IMAGE_PRICE: Final = 7_000_000
THOUGHT_PRICE: Final = 3_000_000
LANES: Final = (Lane("narrow", 8, {"machine": 1}), Lane("single", 1))


@dataclass(frozen=True)
class Shelf:
    """Dependencies of the products."""

    documents: Documents
    credits: Credits
    rail: Rail
    mailer: Mailer
    machine: Machine


def fenced(run: StepRun) -> Participant:
    """Makes a posting succeed only while this attempt holds its lease."""

    def writes(_: Outcome, seen: tuple[Document | None, ...]) -> Sequence[Write]:
        return [run.fence(seen[0])]

    return Participant((run.fence_path,), writes)


def account_of(run: StepRun) -> str:
    """The account of the saga."""
    assert run.account is not None
    return run.account


class Products(Feature):
    """A plugin: the definitions of one instance."""

    def __init__(self, shelf: Shelf) -> None:
        super().__init__()
        self._shelf = shelf

    def lanes(self) -> Sequence[Lane]:
        """A lane with a vendor's limit, and one that runs one at a time."""
        return LANES

    def sagas(self) -> list[SagaDefinition]:
        """All definitions."""
        return [self._buy(), self._refund(), self._image(), self._agent()]

    def _buy(self) -> SagaDefinition:
        steps = (
            SagaStep("open", self._open, self._close, retry=PATIENT, undo_retry=PATIENT),
            SagaStep("paid", waits_for="paid", within_us=minutes(20)),
            SagaStep("grant", self._grant, self._take_back, retry=PATIENT, undo_retry=PATIENT),
            SagaStep("tell", self._tell, retry=PATIENT),
        )
        return SagaDefinition("buy", 1, steps, level=SecurityLevel.MONEY, priority=Priority.HIGH)

    def _open(self, run: StepRun) -> StepDone:
        invoice = self._shelf.rail.open(f"{run.saga_id}:open", run.saga_id, int_field(run.input, "amount"))
        return StepDone({"invoice": invoice})

    def _close(self, run: StepRun) -> StepDone:
        """Voids the invoice, or refunds it when it was paid before."""
        invoice = self._shelf.rail.find(f"{run.saga_id}:open")
        if invoice is not None:
            try:
                self._shelf.rail.close(invoice.id)
            except Refused:
                self._shelf.rail.refund(f"{run.saga_id}:undo", invoice.id)
        return StepDone()

    def _grant(self, run: StepRun) -> StepDone:
        amount = int_field(run.input, "amount")
        deposit = Deposit(run.saga_id, amount, "sim", Reference("payment", run.saga_id))
        self._shelf.credits.post(account_of(run), deposit, fenced(run))
        return StepDone()

    def _take_back(self, run: StepRun) -> StepDone:
        found = self._shelf.credits.store.entry_with(account_of(run), "key", f"deposit:{run.saga_id}")
        if found is not None:
            self._claw(run, run.saga_id, found.amount)
        return StepDone()

    def _tell(self, run: StepRun) -> StepDone:
        self._shelf.mailer.send(f"{run.saga_id}:bought", "bought")
        return StepDone()

    def _refund(self) -> SagaDefinition:
        steps = (
            SagaStep("claw", self._claw_paid, retry=PATIENT),
            SagaStep("pay back", self._pay_back, retry=PATIENT),
        )
        return SagaDefinition("refund", 1, steps, level=SecurityLevel.MONEY, priority=Priority.LOW)

    def _claw_paid(self, run: StepRun) -> StepDone:
        self._claw(run, text_field(run.input, "payment"), int_field(run.input, "amount"))
        return StepDone()

    def _claw(self, run: StepRun, payment: str, amount: int) -> None:
        reference = Reference("payment", payment)
        clawback = Clawback(f"clawback:{payment}", payment, amount, "sim", "refund", reference)
        self._shelf.credits.post(account_of(run), clawback, fenced(run))

    def _pay_back(self, run: StepRun) -> StepDone:
        payment = text_field(run.input, "payment")
        invoice = self._shelf.rail.find(f"{payment}:open")
        assert invoice is not None
        self._shelf.rail.refund(f"{payment}:refund", invoice.id)
        return StepDone()

    def _image(self) -> SagaDefinition:
        steps = (
            SagaStep("reserve", self._reserve, self._release, retry=PATIENT, undo_retry=PATIENT),
            SagaStep("draw", self._draw, after=("reserve",), retry=PATIENT, lane="narrow", vendor="machine"),
            SagaStep("sketch", self._sketch, after=("reserve",), retry=PATIENT),
            SagaStep("title", self._sketch, after=("reserve",), retry=PATIENT),
            SagaStep(
                "settle",
                self._settle,
                self._give_back,
                after=("draw", "sketch", "title"),
                retry=PATIENT,
                undo_retry=PATIENT,
            ),
        )
        return SagaDefinition("image", 1, steps, level=SecurityLevel.MONEY)

    def _reserve(self, run: StepRun) -> StepDone:
        reserve = Reserve(
            id=run.saga_id,
            ceiling=IMAGE_PRICE,
            at_least=IMAGE_PRICE,
            purpose="image",
            reference=Reference("image", run.saga_id),
            expires_in_us=minutes(30),
        )
        self._shelf.credits.reserve(account_of(run), reserve, fenced(run))
        return StepDone()

    def _release(self, run: StepRun) -> StepDone:
        with suppress(ReservationClosed, ReservationUnknown):
            self._shelf.credits.release(account_of(run), run.saga_id, "saga undone", fenced(run))
        return StepDone()

    def _draw(self, run: StepRun) -> StepDone:
        self._shelf.machine.work(minutes=4, renew=run.renew)
        return StepDone()

    def _sketch(self, run: StepRun) -> StepDone:
        self._shelf.machine.work()
        return StepDone()

    def _settle(self, run: StepRun) -> StepDone:
        settle = Settle(run.saga_id, IMAGE_PRICE, Reference("image", run.saga_id))
        self._shelf.credits.settle(account_of(run), settle, fenced(run))
        return StepDone()

    def _give_back(self, run: StepRun) -> StepDone:
        """Refunds the charge if there is one: the step was undone although it ended, or its outcome is unknown."""
        account = account_of(run)
        charge = self._shelf.credits.store.entry_with(account, "key", settle_key(run.saga_id))
        if charge is not None:
            reference = Reference("image", run.saga_id)
            refund = Refund(f"refund:{run.saga_id}", charge, -charge.amount, 0, "saga undone", reference)
            self._shelf.credits.post(account, refund, fenced(run))
        return StepDone()

    def _agent(self) -> SagaDefinition:
        steps = tuple(SagaStep(f"think {n}", self._think, retry=PATIENT) for n in range(3))
        return SagaDefinition("agent", 1, steps, level=SecurityLevel.MONEY)

    def _think(self, run: StepRun) -> StepDone:
        """Reserves, works and settles under one key per thought, so that a repeat charges nothing more (T-84)."""
        account, reference = account_of(run), Reference("agent", run.saga_id)
        reserve = Reserve(run.key, THOUGHT_PRICE, THOUGHT_PRICE, "agent", reference, minutes(30))
        try:
            self._shelf.credits.reserve(account, reserve, fenced(run))
        except ReservationSettled:
            # An earlier attempt settled, and died before its end was committed.
            return StepDone()
        self._shelf.machine.work()
        self._shelf.credits.settle(account, Settle(run.key, THOUGHT_PRICE, reference), fenced(run))
        return StepDone()

    def subscriptions(self) -> list[Subscription]:
        """Subscriptions to the events of the credit system."""
        spent = [Subscription("stats", name, self._count, retry=PATIENT) for name in POSTED]
        feed = Subscription("feed", "CreditsSettled", self._append, ordered=True, retry=PATIENT)
        told = Subscription("notify", "CreditsDeposited", self._notify, retry=PATIENT)
        return [*spent, feed, told]

    def _count(self, event: Event, run: Run) -> RunOutcome:
        amount = int_field(event.data, "amount")
        path = f"stats/{event.account}"
        return Done(None, lambda: [Merge(path, {"amount": Increment(amount), "entries": Increment(1)})])

    def _append(self, event: Event, run: Run) -> RunOutcome:
        path = f"feeds/{event.account}"
        sequence = int_field(event.data, "sequence")

        def writes() -> Sequence[Write]:
            stored = self._shelf.documents.get(path)
            known = stored.fields["seen"] if stored else []
            seen: list[Value] = [*known] if isinstance(known, list) else []
            return [Replace(path, {"seen": [*seen, sequence]}, stored.version if stored else None)]

        return Done(None, writes)

    def _notify(self, event: Event, run: Run) -> RunOutcome:
        self._shelf.mailer.send(f"notify:{event.id}", str(event.account))
        return Done()

    def handlers(self) -> list[Handler]:
        """Plain operations: counted effects, in every priority, some in order."""
        return [
            Handler("count", self._slow, lane="single", retry=PATIENT),
            Handler("count.ordered", self._bump, retry=PATIENT),
            Handler("long", self._long, retry=PATIENT, lane="narrow", vendor="machine"),
            Handler("dull", self._dull, retry=PATIENT, lane="narrow"),
            Handler("errand", self._errand, retry=PATIENT, lane="narrow"),
        ]

    def _bump(self, run: Run) -> RunOutcome:
        path = f"marks/{run.operation.payload['order']}"
        return Done(None, lambda: [Merge(path, {"n": Increment(1)})])

    def _slow(self, run: Run) -> RunOutcome:
        self._shelf.machine.ponder()
        return self._bump(run)

    def _long(self, run: Run) -> RunOutcome:
        self._shelf.machine.work(minutes=6, renew=run.renew)
        return self._bump(run)

    def _dull(self, run: Run) -> RunOutcome:
        """Long work that never calls `renew`: the heartbeat must extend its lease."""
        self._shelf.machine.ponder(400)
        return self._bump(run)

    def _errand(self, run: Run) -> RunOutcome:
        for _ in range(6):
            self._shelf.machine.ponder(10)
        return self._bump(run)
