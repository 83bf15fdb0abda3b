"""A process that runs operations over the suite's Firestore, as a worker of the functions emulator does. Tests kill it.

    python -m support.worker

It holds the real credit system and orchestration with a few products. It prints the port that it serves on and takes
POST: /sweep from the scheduler, /order and /saga from clients, anything else is the event of a created ticket.
"""

import json
import os
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
from app.credits.service import Credits
from app.feature import Feature
from app.kit.clock import Clock, minutes
from app.kit.errors import Rejection
from app.kit.once import once
from app.kit.stores.documents import Document, Increment, Merge, Replace, Value, Write, int_field
from app.orchestration.assembly import Orchestration
from app.orchestration.event_bus import Event, Subscription
from app.orchestration.queue.handler import Done, Handler, Run
from app.orchestration.queue.operation import SecurityLevel
from app.orchestration.queue.operation_queue import Order
from app.orchestration.queue.outbox import Alarms, NoAlarms, Outbox
from app.orchestration.sagas.saga_definition import SagaDefinition, SagaStep, StepDone, StepRun
from app.orchestration.sagas.sagas import SagaStart
from app.outside import RealPorts
from app.wiring import System

PRICE: Final = 1_000_000
RATE: Final = 20
"""Minutes of leases and retries pass this much faster, so that what a killed worker held comes back in seconds."""


class FastClock:
    """Shows the same time in every process of a fleet, counted from the fleet's start."""

    def __init__(self) -> None:
        self._from_us = int(os.environ["WORKER_CLOCK_FROM_US"])

    def now_us(self) -> int:
        return self._from_us + RATE * (time.time_ns() // 1000 - self._from_us)


class Unshippable(Rejection):
    """Raised by the last step of a saga."""

    status = 409
    code = "unshippable"
    title = "This cannot be shipped"


class WorkerPorts(RealPorts):
    """The stores that the environment names, with a clock that hurries and without alarms."""

    @once
    def clock(self) -> Clock:
        return FastClock()

    @once
    def alarms(self) -> Alarms:
        return NoAlarms()


def build() -> Orchestration:
    """The deployment, with products of its own."""
    return System(WorkerPorts(), [lambda system: Products(system.credits.service, system.outbox)]).orchestration


class Products(Feature):
    """Every effect on an account is fenced by the attempt's lease."""

    def __init__(self, credits: Credits, documents: Outbox) -> None:
        super().__init__()
        self.credits = credits
        self._documents = documents

    def handlers(self) -> list[Handler]:
        """One operation, which charges an account."""
        return [Handler("worker.spend", self._spend, level=SecurityLevel.MONEY)]

    def subscriptions(self) -> list[Subscription]:
        """Two subscriptions to one event, one of them ordered."""
        return [
            Subscription("worker.stats", "CreditsSettled", self._count),
            Subscription("worker.feed", "CreditsSettled", self._append, ordered=True),
        ]

    def sagas(self) -> list[SagaDefinition]:
        """Three steps. The last refuses when the input says so, and then the two before it are undone."""
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
        with suppress(ReservationSettled):  # an earlier attempt settled, and died before its end was committed
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
    """Makes a posting succeed only while this attempt holds its lease."""

    def writes(_: Outcome, seen: tuple[Document | None, ...]) -> Sequence[Write]:
        return [run.fence(seen[0])]

    return Participant((run.fence_path,), writes)


def answer(orchestration: Orchestration, path: str, body: dict[str, str]) -> None:
    """Handles one request; a repeated one changes nothing."""
    match path:
        case "/sweep":
            orchestration.sweep()
        case "/order":
            order = Order("worker.spend", account=body["account"], once=body["once"])
            orchestration.queue.enqueue(order)
        case "/saga":
            given = {"refuses": bool(body["refuses"])}
            orchestration.sagas.start(SagaStart(body["id"], "worker.order", body["account"], given))
        case _:
            _, _, lane, ticket = body["ref"].split("/")
            orchestration.run_lane(lane, ticket)


def serve() -> None:
    """Serves until it is killed, or until the death of its parent process ends its standard input."""
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
