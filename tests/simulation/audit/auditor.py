"""Checks what must be true, at every commit and once nothing moves any more. It trusts what vendors and clients have
recorded, not the code under test.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Final

from app.credits.balance_mirror import view
from app.credits.core.entry import Kind
from app.credits.core.events import NAMES
from app.credits.ledger import document as account_document
from app.kit.clock import from_rfc3339
from app.kit.errors import Failure
from app.kit.stores.documents import Fields, int_field, map_field, text_field
from app.kit.stores.realtime import Json
from app.orchestration.queue.doorbell import QUEUE
from app.orchestration.queue.operation import OPEN, Operation, OperationState
from app.orchestration.queue.operation_document import from_document
from app.orchestration.sagas.saga import ENDED, SagaState, SagaStatus, StepStatus
from app.orchestration.sagas.saga_document import from_document as saga_from
from simulation.audit.answers import Streams, turns
from simulation.audit.asking import Askings
from simulation.audit.course import Heads, Sagas, Turns
from simulation.audit.promises import bonus, keyed, sealed
from simulation.audit.readers import Readers
from simulation.audit.records import JUNK, Records
from simulation.audit.windows import Windows
from simulation.machine.kernel import CALM
from simulation.products import IMAGE_PRICE, POSTED, THOUGHT_PRICE
from simulation.workload import Known
from simulation.world import World
from support.memory import Change

_SKEW: Final = 3_000_000
_LEASE: Final = 60_000_000
"""Every lease is longer than this."""
_PROMPT: Final = 25_000_000
"""Without faults no operation waits longer: none needs the sweeper."""

Found = Iterator[str]


class Auditor:
    """Watches every commit, and gives the verdict at the end."""

    def __init__(self, world: World, known: Known) -> None:
        self._world = world
        self._known = known
        self._records = Records(world.documents.real)
        self._streams = Streams(world)
        self._turns, self._saga_moves, self._heads = Turns(world, known), Sagas(world), Heads(world)
        self._askings = Askings(world, known)
        self._windows, self._readers = Windows(world), Readers(world, known)
        self._calm = world.faults == CALM
        self._found: list[str] = []
        self._running: dict[str, set[str]] = {}
        self._born: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        self._lines: dict[str, dict[str, Fields]] = {}
        world.documents.watchers.append(self._committed)
        world.realtime.real.before_write.append(self._mirrored)

    def verdict(self) -> list[str]:
        """Every violation: those found at a commit, then those of the final state."""
        found = [*self._found, *self._world.bugs, *self._known.bugs]
        for check in (
            self._accounts,
            self._operations,
            self._orders,
            self._sagas,
            self._payments,
            self._effects,
            self._mirrors,
        ):
            found += check()
        found += [*self._turns.found, *self._windows.found, *self._saga_moves.found, *self._heads.found]
        found += self._readers.verdict()
        found += turns(self._world, self._known, self._records)
        found += self._streams.verdict(self._known, self._records)
        found += bonus(self._world, self._records)
        found += sealed(self._world, self._records)
        found += keyed(self._world, self._known)
        found += self._askings.verdict()
        return found

    def _committed(self, changes: list[Change]) -> None:
        for path, before, after in changes:
            parts = path.split("/")
            if parts[0] == "accounts" and "entries" in parts[2:3] and before is not None:
                self._found.append(f"entry {path} was changed after it was written")
            elif parts[0] == "accounts" and len(parts) == 2 and after is not None:
                self._found += _account_now(parts[1], after, self._world.kernel.now_us)
            elif parts[0] == "audit_log" and before is not None:
                self._found.append(f"audit line {path} was changed")
            elif parts[0] == "operations" and JUNK not in path:
                self._operation_moved(parts[1], before, after)
            elif parts[0] == "lines" and after is None and before is not None:
                self._found += _given_back(before, {changed for changed, _, _ in changes})

    def _mirrored(self, values: Mapping[str, Json]) -> None:
        """A balance on show is never replaced by an older one, whatever repairs it later."""
        for path, value in values.items():
            shown = self._world.realtime.real.peek(path) if path.endswith("/balance") else None
            if isinstance(shown, dict) and isinstance(value, dict) and _at(value) < _at(shown):
                self._found.append(f"{path} went back from {shown} to {value}")

    def _operation_moved(self, identity: str, was: Fields | None, now: Fields | None) -> None:
        if now is None:
            self._found.append(f"operation {identity} was deleted")
            return
        at_us = self._world.kernel.now_us
        self._count_running(identity, now)
        self._found += self._alone_in_line(identity, was, now)
        if now["state"] not in OPEN:
            self._ended.setdefault(identity, at_us)
        if was is None:
            self._born[identity] = at_us
            return
        if was["state"] not in OPEN and now != was:
            self._found.append(f"operation {identity} moved from its end {was['state']} to {now['state']}")
        if int_field(now, "token") < int_field(was, "token"):
            self._found.append(f"operation {identity}: its token went back")
        if now["state"] == OperationState.RUNNING:
            self._found += _claimed(identity, was, now, at_us)
            ends_us = from_rfc3339(text_field(map_field(now, "lease"), "expires_at"))
            if now["lease"] != was["lease"] and ends_us < at_us + _LEASE and not self._world.faults.stall:
                self._found.append(f"operation {identity} runs with a lease that is over")
        elif was["state"] == OperationState.RUNNING:
            self._found += self._ended_by(identity, was, now)

    def _ended_by(self, identity: str, was: Fields, now: Fields) -> Found:
        """Only the holder of the lease may end an operation; once the lease has expired, any runner may."""
        process = self._world.kernel.current
        owner = text_field(map_field(was, "lease"), "owner")
        expires_us = from_rfc3339(text_field(map_field(was, "lease"), "expires_at"))
        if process is None or self._world.kernel.now_us >= expires_us - _SKEW:
            return
        names = [one.orchestration.runner.owner for one in self._world.backends if one.instance is process.instance]
        if owner not in names:
            yield f"operation {identity} was ended as {now['state']} by {names}, {owner} had the lease"

    def _count_running(self, identity: str, now: Fields) -> None:
        name = text_field(now, "lane")
        lane = self._running.setdefault(name, set())
        if now["state"] == OperationState.RUNNING:
            lane.add(identity)
        else:
            lane.discard(identity)
        limit = self._world.backends[0].orchestration.handlers.lanes[name].limit
        if self._calm and len(lane) > limit:
            self._found.append(f"{len(lane)} run in lane {name}, which takes {limit}")

    def _alone_in_line(self, identity: str, was: Fields | None, now: Fields) -> Found:
        """Operations of one line run one at a time, whatever the Realtime Database has lost."""
        if now["key"] is None:
            return
        at_us = self._world.kernel.now_us
        line = self._lines.setdefault(f"{now['lane']}/{now['key']}", {})
        if now["state"] != OperationState.RUNNING:
            line.pop(identity, None)
            return
        line[identity] = now
        if was is None or was["token"] == now["token"]:
            return
        for other, fields in line.items():
            expires_us = from_rfc3339(text_field(map_field(fields, "lease"), "expires_at"))
            if other != identity and at_us < expires_us - _SKEW:
                yield f"operation {identity} was claimed while {other} of its line ran"

    def _accounts(self) -> Found:
        for uid in self._records.uids():
            account = self._records.account(uid)
            entries = self._records.entries(uid)
            if account.reserved or account.reservations:
                yield f"{uid} has open reservations after the sweep: {[one.id for one in account.reservations]}"
            total = sum(entry.amount for entry in entries)
            if total != account.balance:
                yield f"{uid}: the entries sum to {total}, the balance says {account.balance}"
            try:
                report = self._world.backends[0].credits.validate_chain(uid)
            except Failure as failure:
                yield f"{uid}: the chain cannot be read: {failure}"
                continue
            if not report.valid:
                yield f"{uid}: the chain does not verify: {report.verified.fault}"
            for handler in ("greet", "enrol"):
                yield from self._count(f"opened/{handler}:{uid}", 1)

    def _operations(self) -> Found:
        audited: dict[str, int] = {}
        for line in self._records.documents("audit_log/"):
            if line.fields["action"] == "ended":
                ended = text_field(line.fields, "operation_id")
                audited[ended] = audited.get(ended, 0) + 1
        for operation in self._all_operations:
            if operation.state in OPEN:
                yield f"operation {operation.id} ({operation.name}) is still {operation.state} at the end"
            elif operation.state is OperationState.DEAD and not (
                operation.name == "long" and "Refused" in str(operation.reason)
            ):
                yield f"operation {operation.id} ({operation.name}) died: {operation.reason}"
            if operation.level in ("money", "system") and audited.get(operation.id, 0) != 1:
                yield f"operation {operation.id} ({operation.name}) has {audited.get(operation.id, 0)} audit lines"
            yield from self._promptness(operation)
        for held in self._records.documents("lines/"):
            yield f"line {held.fields['lane']}/{held.fields['key']} is held by nobody that runs"
        tickets = self._world.realtime.real.get(QUEUE)
        if tickets is not None:
            yield f"tickets are left in the queue: {tickets}"

    def _promptness(self, operation: Operation) -> Found:
        if not self._calm:
            return
        if operation.attempts > 1:
            yield f"operation {operation.id} ({operation.name}) was tried {operation.attempts} times in calm weather"
        free_us = max([operation.due_us, *(self._ended.get(one.id, 0) for one in self._before(operation))])
        waited = (operation.finished_us or 0) - free_us - int(str(operation.payload.get("takes_us", 0)))
        if waited > _PROMPT and operation.lane not in ("narrow", "single", "counter", "yard"):
            yield f"operation {operation.id} ({operation.name}) took {waited / 1e6:.1f} s in calm weather"

    def _before(self, operation: Operation) -> list[Operation]:
        """The operations of its line that had to run first."""
        if operation.key is None:
            return []
        line = (operation.lane, operation.key)
        mine = [one for one in self._all_operations if (one.lane, one.key) == line]
        return [one for one in mine if one.position < operation.position]

    def _orders(self) -> Found:
        known = {operation.id: operation for operation in self._all_operations}
        for identity, name in self._known.orders.items():
            if identity not in known:
                yield f"order {identity} ({name}) was accepted and is gone"
        for operation in known.values():
            if operation.name in ("count", "count.ordered", "errand", "long", "dull"):
                done = operation.state is OperationState.SUCCEEDED
                yield from self._count(f"marks/{operation.payload['order']}", 1 if done else 0)
        yield from self._order_of_keys(known)

    def _order_of_keys(self, known: dict[str, Operation]) -> Found:
        lines: dict[str, list[Operation]] = {}
        for operation in known.values():
            if operation.key is not None and operation.finished_us is not None:
                lines.setdefault(f"{operation.lane}/{operation.key}", []).append(operation)
        for line, members in lines.items():
            members.sort(key=lambda one: one.position)
            for first, second in pairwise(members):
                overtaken = self._ended[second.id] < self._ended[first.id]
                if overtaken and self._born[first.id] < self._born[second.id]:
                    yield f"in line {line} {second.id} ended before {first.id}"

    def _sagas(self) -> Found:
        known = {state.id: state for state in self._all_sagas}
        for identity in self._known.sagas:
            if identity not in known:
                yield f"saga {identity} was accepted and is gone"
        for state in known.values():
            if state.status not in ENDED:
                yield f"saga {state.id} is {state.status} at the end"
            if state.status is SagaStatus.SUCCEEDED and any(
                s.status is not StepStatus.DONE for s in state.steps.values()
            ):
                yield f"saga {state.id} succeeded without all of its steps"
            yield from self._charged(state)

    def _charged(self, state: SagaState) -> Found:
        """T-84: what a saga charged is what its steps cost, whatever crashed on the way."""
        if state.name not in ("image", "agent") or state.account is None:
            return
        settled = [entry for entry in self._records.entries(state.account) if entry.kind in (Kind.SETTLE, Kind.REFUND)]
        charged = -sum(entry.amount for entry in settled if entry.draft.reference.id == state.id)
        told = [moment.what for moment in state.timeline]
        lines = [(moment.step, moment.what) for moment in state.timeline]
        if ("settle", "running") in lines:
            first = lines[: lines.index(("settle", "running"))]
            if any((name, "done") not in first for name in ("draw", "sketch", "title")):
                yield f"saga {state.id} went on before everything it joins was done"
        if state.name == "image":
            least = most = IMAGE_PRICE if state.status is SagaStatus.SUCCEEDED else 0
        else:
            # A step whose outcome is unknown may have charged, once.
            least = THOUGHT_PRICE * told.count("done")
            most = least + THOUGHT_PRICE * told.count("doubtful")
        if not least <= charged <= most:
            yield f"saga {state.id} ({state.status}) charged {charged} instead of {least}"

    def _payments(self) -> Found:
        sagas = {state.id: state for state in self._all_sagas}
        for invoice in self._world.rail.invoices.values():
            state = sagas.get(invoice.saga)
            if state is None or state.account is None:
                yield f"invoice {invoice.id} belongs to no saga"
                continue
            entries = self._records.entries(state.account)
            given = sum(e.amount for e in entries if e.key == f"deposit:{invoice.saga}")
            taken = -sum(e.amount for e in entries if e.key == f"clawback:{invoice.saga}")
            kept = (invoice.amount if invoice.state == "captured" else 0) - invoice.refunded
            if kept < 0:
                yield f"invoice {invoice.id}: more was paid back than came in"
            if invoice.told and "paid" not in state.facts:
                yield f"invoice {invoice.id}: the webhook was taken, and its saga does not know of the payment"
            if given - taken != kept:
                yield f"invoice {invoice.id}: {kept} of money is kept, {given} - {taken} of credits given"
            if state.status is SagaStatus.COMPENSATED and invoice.state == "open":
                yield f"invoice {invoice.id} was left open by a saga that was undone"
            refund = sagas.get(f"refund_{invoice.saga}")
            if refund is not None and refund.status is SagaStatus.SUCCEEDED and kept:
                yield f"invoice {invoice.id} was refunded and its money kept"

    def _effects(self) -> Found:
        if self._calm and self._world.outside.machine.most > 1:
            yield f"{self._world.outside.machine.most} works at once for a vendor that takes one"
        mails = self._world.outside.mailer.sent
        for uid in self._records.uids():
            entries = self._records.entries(uid)
            stats = self._world.documents.real.get(f"stats/{uid}")
            counted = (int_field(stats.fields, "amount"), int_field(stats.fields, "entries")) if stats else (0, 0)
            posted = [entry.amount for entry in entries if NAMES[entry.kind] in POSTED]
            if counted != (sum(posted), len(posted)):
                yield f"{uid}: the statistics say {counted}, there are {len(posted)} entries"
            feed = self._world.documents.real.get(f"feeds/{uid}")
            heard = feed.fields["seen"] if feed else []
            expected = [entry.sequence for entry in entries if entry.kind is Kind.SETTLE]
            if heard != expected:
                yield f"{uid}: the ordered subscriber heard {heard}, should have heard {expected}"
            told = sum(key.startswith("notify:") and about == uid for key, about in mails.items())
            deposits = sum(entry.kind is Kind.DEPOSIT for entry in entries)
            if told != deposits:
                yield f"{uid} got {told} mails about {deposits} deposits"
        mailed = {key.partition(":")[0] for key in mails if key.endswith(":bought")}
        tells = {
            (state.id, moment.what) for state in self._all_sagas for moment in state.timeline if moment.step == "tell"
        }
        done, begun = ({id for id, what in tells if what == wanted} for wanted in ("done", "running"))
        # A purchase that was cancelled while its mail was being sent has a mail as well.
        if not done <= mailed <= begun:
            yield "not every purchase, or more than that, was told by mail"

    def _mirrors(self) -> Found:
        for uid in self._records.uids():
            account = self._records.account(uid)
            shown = self._world.realtime.real.get(f"users/{uid}/balance")
            if shown != view(account, account.updated_at_us):
                yield f"{uid}: the mirror shows {shown}"
        for state in self._all_sagas:
            shown = self._world.realtime.real.get(f"users/{state.account}/tasks/{state.id}")
            status = shown.get("status") if isinstance(shown, dict) else None
            if status != state.status.value:
                yield f"saga {state.id} is {state.status}, its mirror shows {status}"

    def _count(self, path: str, expected: int) -> Found:
        stored = self._world.documents.real.get(path)
        count = stored.fields["n"] if stored else 0
        if count != expected:
            yield f"{path} counts {count}, should be {expected}"

    @cached_property
    def _all_operations(self) -> list[Operation]:
        return [from_document(one) for one in self._records.documents("operations/")]

    @cached_property
    def _all_sagas(self) -> list[SagaState]:
        return [saga_from(one) for one in self._records.documents("sagas/")]


def _at(balance: Mapping[str, Json]) -> str:
    return str(balance["updated_at"])


def _account_now(uid: str, fields: Fields, now_us: int) -> Found:
    account = account_document.read(fields)
    held = sum(reservation.amount for reservation in account.reservations)
    there = account.balance + account.debt
    if there < 0 or account.reserved < 0 or account.debt < 0 or account.available(now_us) < 0:
        yield f"{uid}: something is negative: {account.balance}, {account.reserved}, {account.debt}"
    if account.reserved > there:
        yield f"{uid}: {account.reserved} are reserved of {there}"
    if held != account.reserved:
        yield f"{uid}: reservations hold {held}, the account says {account.reserved}"


def _given_back(line: Fields, together_with: set[str]) -> Found:
    if f"operations/{line['operation']}" not in together_with:
        yield f"a line was given back while {line['operation']} held it"


def _claimed(identity: str, was: Fields, now: Fields, at_us: int) -> Found:
    """What must hold of an operation that runs from now on, or goes on running."""
    if was["state"] == OperationState.QUEUED and now["token"] == was["token"]:
        yield f"operation {identity} was claimed without a new token"
    if was["state"] == OperationState.QUEUED and at_us + _SKEW < from_rfc3339(text_field(was, "due_at")):
        yield f"operation {identity} was claimed before its time"
    if was["state"] == OperationState.RUNNING and now["lease"] != was["lease"]:
        expires_us = from_rfc3339(text_field(map_field(was, "lease"), "expires_at"))
        owners = text_field(map_field(was, "lease"), "owner"), text_field(map_field(now, "lease"), "owner")
        if at_us < expires_us - _SKEW and (now["token"] != was["token"] or owners[0] != owners[1]):
            yield f"operation {identity} was taken from a living runner"
