"""A process that runs operations over the suite's Firestore, as a worker of the functions emulator would, to be killed.

    python -m support.worker

The real credit system and orchestration with a few products. A worker prints the port it serves on and takes POST:
/sweep from the scheduler, /order and /saga from clients, anything else is the event of a ticket that was put up.
"""

import json
import os
import random
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from app.credits.core.commands import Outcome, Refund, Reserve, Settle, settle_key
from app.credits.core.entry import Reference
from app.credits.core.rejections import ReservationClosed, ReservationSettled, ReservationUnknown
from app.credits.ledger.step import Participant
from app.credits.proofs.signing import Signer
from app.credits.service import Credits, CreditsParts
from app.kit.clock import minutes
from app.kit.documents import Document, Increment, Merge, Replace, Value, Write, int_field
from app.kit.errors import Rejection
from app.orchestration import triggers
from app.orchestration.assembly import Contributions, Orchestration, QueueDependencies, assemble
from app.orchestration.event_bus import Event, Subscription
from app.orchestration.queue.handler import Done, Handler, Run
from app.orchestration.queue.operation import SecurityLevel
from app.orchestration.queue.operation_queue import Order
from app.orchestration.queue.outbox import NoAlarms, Outbox
from app.orchestration.sagas.saga_definition import SagaDefinition, SagaStep, StepDone, StepRun
from app.orchestration.sagas.sagas import Beginning
from app.orchestration.sweeper import Chore
from app.outside import RealOutside

PRICE: Final = 1_000_000
RATE: Final = 20
"""Minutes of leases and retries pass this much faster, so that what a killed worker held comes back in seconds."""


class FastClock:
    """Every process of a fleet reads the same time, counted from when the fleet started."""

    def __init__(self) -> None:
        self._from_us = int(os.environ["WORKER_CLOCK_FROM_US"])

    def now_us(self) -> int:
        return self._from_us + RATE * (time.time_ns() // 1000 - self._from_us)


class Unshippable(Rejection):
    """The last step of a saga refuses."""

    status = 409
    code = "unshippable"
    title = "This cannot be shipped"


def build() -> Orchestration:
    """The deployment over what the environment names."""
    outside, clock = RealOutside(), FastClock()
    dependencies = QueueDependencies(
        outside.documents, outside.realtime, clock, outside.ids, random.randrange, NoAlarms(), pause=outside.pause
    )
    outbox = dependencies.outbox()
    late: list[Orchestration] = []
    signer = Signer(outside.settings.ledger_signing_key)
    parts = CreditsParts(outbox, clock, signer, publish=lambda events: late[0].bus.rows(events), pause=outside.pause)
    products = Products(Credits(parts), outbox)
    chore = Chore("overdue", lambda limit: products.credits.expire_due(limit).accounts)
    contributions = Contributions(products.handlers(), products.subscriptions(), products.sagas(), (chore,))
    late.append(assemble(dependencies, contributions, outbox))
    return late[0]


class Products:
    """Every effect on an account is fenced by the attempt's lease."""

    def __init__(self, credits: Credits, documents: Outbox) -> None:
        self.credits = credits
        self._documents = documents

    def handlers(self) -> list[Handler]:
        """A charge."""
        return [Handler("worker.spend", self._spend, level=SecurityLevel.MONEY)]

    def subscriptions(self) -> list[Subscription]:
        """Two who hear of the same event, one of them in order."""
        return [
            Subscription("worker.stats", "CreditsSettled", self._count),
            Subscription("worker.feed", "CreditsSettled", self._append, ordered=True),
        ]

    def sagas(self) -> list[SagaDefinition]:
        """Three steps; the last refuses when the input says so, and then the two before it are undone."""
        steps = (
            SagaStep("hold", self._hold, self._let_go),
            SagaStep("charge", self._charge, self._give_back),
            SagaStep("ship", self._ship),
        )
        return [SagaDefinition("worker.order", 1, steps, level=SecurityLevel.MONEY)]

    def _spend(self, run: Run) -> Done:
        uid = str(run.operation.account)
        self._reserve_and_settle(uid, run)
        return Done(None, lambda: [Merge(f"worker_marks/{run.operation.id}", {"n": Increment(1)})])

    def _reserve_and_settle(self, uid: str, run: Run) -> None:
        reference = Reference("run", run.key)
        with suppress(ReservationSettled):  # an earlier attempt came this far, and died before it could say so
            self.credits.reserve(uid, Reserve(run.key, PRICE, PRICE, "run", reference, minutes(30)), fenced(run))
            self.credits.settle(uid, Settle(run.key, PRICE, reference), fenced(run))

    def _count(self, event: Event, run: Run) -> Done:
        return Done(None, lambda: [Merge(f"worker_stats/{event.account}", {"n": Increment(1)})])

    def _append(self, event: Event, run: Run) -> Done:
        path = f"worker_feeds/{event.account}"

        def writes() -> Sequence[Write]:
            stored = self._documents.get(path)
            known = stored.fields["seen"] if stored else []
            seen: list[Value] = [*known] if isinstance(known, list) else []
            told = int_field(event.data, "sequence")
            return [Replace(path, {"seen": [*seen, told]}, stored.version if stored else None)]

        return Done(None, writes)

    def _hold(self, run: StepRun) -> StepDone:
        reference = Reference("saga", run.saga_id)
        hold = Reserve(run.saga_id, PRICE, PRICE, "saga", reference, minutes(30))
        self.credits.reserve(str(run.account), hold, fenced(run))
        return StepDone()

    def _let_go(self, run: StepRun) -> StepDone:
        with suppress(ReservationClosed, ReservationUnknown):
            self.credits.release(str(run.account), run.saga_id, "undone", fenced(run))
        return StepDone()

    def _charge(self, run: StepRun) -> StepDone:
        settle = Settle(run.saga_id, PRICE, Reference("saga", run.saga_id))
        self.credits.settle(str(run.account), settle, fenced(run))
        return StepDone()

    def _give_back(self, run: StepRun) -> StepDone:
        charge = self.credits.store.entry_with(str(run.account), "key", settle_key(run.saga_id))
        if charge is not None:
            reference = Reference("saga", run.saga_id)
            refund = Refund(f"refund:{run.saga_id}", charge, -charge.amount, 0, "undone", reference)
            self.credits.post(str(run.account), refund, fenced(run))
        return StepDone()

    def _ship(self, run: StepRun) -> StepDone:
        if run.input["refuses"]:
            raise Unshippable("nobody lives there")
        return StepDone({}, lambda: [Merge(f"worker_marks/{run.saga_id}", {"n": Increment(1)})])


def fenced(run: Run | StepRun) -> Participant:
    """The effect goes through only while this attempt holds the lease."""

    def writes(_: Outcome, seen: tuple[Document | None, ...]) -> Sequence[Write]:
        return [run.fence(seen[0])]

    return Participant((run.fence_path,), writes)


def answer(orchestration: Orchestration, path: str, body: dict[str, str]) -> None:
    """One request; a repeat of it changes nothing."""
    match path:
        case "/sweep":
            triggers.sweep(orchestration)
        case "/order":
            order = Order("worker.spend", account=body["account"], once=body["once"])
            orchestration.queue.enqueue(order)
        case "/saga":
            given = {"refuses": bool(body["refuses"])}
            orchestration.sagas.start(Beginning(body["id"], "worker.order", body["account"], given))
        case _:
            triggers.run_operation(orchestration, body["ref"].split("/")[2])


def serve() -> None:
    """Until killed, or until whoever started it is gone, which ends our standard input."""
    orchestration = build()

    class Requests(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or b"{}")
            status = 200
            try:
                answer(orchestration, self.path, body)
            except Exception as failure:  # noqa: BLE001  # the platform's edge: the event has failed
                sys.stderr.write(f"{self.path}: {failure!r}\n")
                status = 500
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    serve()
