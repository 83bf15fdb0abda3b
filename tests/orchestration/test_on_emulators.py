"""The queue, the bus and sagas over the real emulators, while triggers misbehave and workers are killed."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from uuid import uuid4

import requests

from app.credits.balance_mirror import view as balance_view
from app.credits.core import entry as ledger
from app.credits.core.entry import Entry, Kind
from app.credits.ledger import document
from app.kit.ids import derived
from app.kit.stores import firestore
from app.kit.stores.documents import Document, Documents, Query, Where
from app.orchestration.queue.operation import OperationState
from app.orchestration.queue.operation_document import from_document
from app.orchestration.sagas.saga import ENDED, SagaStatus
from app.orchestration.sagas.saga_document import from_document as saga_from
from app.orchestration.sagas.saga_mirror import view as saga_view
from app.outside import RealPorts
from app.wiring import System
from emulators.suite.environment import function_variables
from emulators.suite.places import PROJECT
from rtdb.harness import OWNER
from support.fleet import Fleet
from support.suite import RunningSuite, eventually

USERS: Final = 5
SPENDS: Final = 100
SAGAS: Final = 15
FAULTS: Final = {"seed": 7, "duplicate": 0.2, "copies": 2, "drop": 0.1, "delay": 0.3, "delay_ms": 300, "reorder": 0.2}


class Audit:
    """Reads the stores directly, and checks all that must hold at the end."""

    def __init__(self, suite: RunningSuite, documents: Documents) -> None:
        self._suite = suite
        self._documents = documents
        run = uuid4().hex[:12]
        self.users = [f"fleet_{run}_{n}" for n in range(USERS)]
        self.orders = {f"{run}/{n}": self.users[n % USERS] for n in range(SPENDS)}
        self.sagas = {f"saga_{run}_{n}": self.users[n % USERS] for n in range(SAGAS)}
        self.refusing = {saga for n, saga in enumerate(self.sagas) if n % 2}
        variables = function_variables(suite.ports, users_own=False).values
        ports = RealPorts({**suite.environment(), **variables, "FUNCTIONS_EMULATOR": "true"})
        self._credits = System(ports).credits.service

    def operation_of(self, order: str) -> str:
        return derived("op", "worker.spend", order)

    def spent(self) -> int:
        return sum(mark is not None for mark in self._marks([self.operation_of(order) for order in self.orders]))

    def quiet(self) -> bool:
        """Whether every operation and every saga has ended."""
        known = self._operations()
        sagas = [saga_from(one) for one in self._read([f"sagas/{saga}" for saga in self.sagas]) if one]
        ended = len(sagas) == SAGAS and all(one.status in ENDED for one in sagas)
        return ended and all(one.fields["wake_at"] is None for one in known)

    def verify(self) -> None:
        self._operations_ended_well()
        self._sagas_ended_well()
        for uid in self.users:
            self._ledger_holds(uid)
            self._effects_happened_once(uid)
            self._mirror_follows(uid)

    def _operations_ended_well(self) -> None:
        found = {one.id: from_document(one) for one in self._operations()}
        assert {self.operation_of(order) for order in self.orders} <= found.keys(), "an operation was lost"
        wrong = [
            (one.name, one.state, one.reason) for one in found.values() if one.state is not OperationState.SUCCEEDED
        ]
        assert not wrong
        marks = self._marks([self.operation_of(order) for order in self.orders])
        assert [one.fields["n"] if one else 0 for one in marks] == [1] * SPENDS

    def _sagas_ended_well(self) -> None:
        for stored in self._read([f"sagas/{saga}" for saga in self.sagas]):
            assert stored is not None
            state = saga_from(stored)
            assert state.status is (SagaStatus.COMPENSATED if state.id in self.refusing else SagaStatus.SUCCEEDED), (
                state
            )
            assert state.account is not None
            charged = [one for one in self._entries(state.account) if one.draft.reference.id == state.id]
            kinds = [Kind.SETTLE, Kind.REFUND] if state.id in self.refusing else [Kind.SETTLE]
            assert [one.kind for one in charged] == kinds
            assert (sum(one.amount for one in charged) == 0) == (state.id in self.refusing)
            [mark] = self._marks([state.id])
            assert (mark.fields["n"] if mark else 0) == (0 if state.id in self.refusing else 1)
            self._is_shown(f"users/{state.account}/tasks/{state.id}", saga_view(state))

    def _ledger_holds(self, uid: str) -> None:
        stored = self._documents.get(document.account_path(uid))
        assert stored is not None
        account, entries = document.read(stored.fields), self._entries(uid)
        assert not account.reservations and account.reserved == 0
        assert account.balance == sum(one.amount for one in entries) and account.balance >= 0
        keys = [one.key for one in entries]
        assert len(set(keys)) == len(keys)
        report = self._credits.validate_chain(uid)
        assert report.valid, report

    def _effects_happened_once(self, uid: str) -> None:
        settled = [one.sequence for one in self._entries(uid) if one.kind is Kind.SETTLE]
        [stats, feed] = self._read([f"worker_stats/{uid}", f"worker_feeds/{uid}"])
        assert stats is not None and feed is not None
        assert stats.fields["n"] == len(settled)
        assert feed.fields["seen"] == settled, "the ordered subscriber heard all of them, once and in order"

    def _mirror_follows(self, uid: str) -> None:
        stored = self._documents.get(document.account_path(uid))
        assert stored is not None
        account = document.read(stored.fields)
        self._is_shown(f"users/{uid}/balance", balance_view(account, account.updated_at_us))

    def _is_shown(self, path: str, wanted: Mapping[str, object]) -> None:
        def shown() -> bool:
            found = requests.get(self._suite.database(path), headers=OWNER, timeout=30).json()
            return bool(found == wanted)

        eventually(shown, what=f"the mirror {path}")

    def _entries(self, uid: str) -> list[Entry]:
        return [ledger.read(fields) for fields in self._credits.ledger.entries(uid)]

    def _marks(self, names: Sequence[str]) -> list[Document | None]:
        return self._read([f"worker_marks/{name}" for name in names])

    def _read(self, paths: Sequence[str]) -> list[Document | None]:
        return self._documents.get_all(paths)

    def _operations(self) -> list[Document]:
        return [
            found
            for uid in self.users
            for found in self._documents.query(Query("operations", (Where("account", "==", uid),), limit=1000))
        ]


def test_nothing_is_lost_or_done_twice_while_triggers_misbehave_and_workers_are_killed(
    suite: RunningSuite, tmp_path: Path
) -> None:
    """T-38, T-43, T-44, T-84, T-85, T-86: kill -9 twice, and triggers that come twice, late, never and in any order."""
    documents = firestore.connect(PROJECT)
    audit = Audit(suite, documents)
    with Fleet(suite, tmp_path / "workers.log") as fleet, ThreadPoolExecutor(8) as clients:
        fleet.faults(**FAULTS)
        asked = [
            clients.submit(fleet.insist, "/order", {"account": uid, "once": order})
            for order, uid in audit.orders.items()
        ]
        asked += [
            clients.submit(fleet.insist, "/saga", {"id": saga, "account": uid, "refuses": saga in audit.refusing})
            for saga, uid in audit.sagas.items()
        ]
        eventually(lambda: audit.spent() >= SPENDS // 5, what="a fifth of the work")
        fleet.kill(0)
        eventually(lambda: audit.spent() >= SPENDS // 2, what="half of the work")
        fleet.kill(1)
        for each in asked:
            each.result()
        eventually(audit.quiet, what="an end of everything", within_s=60)
        assert fleet.died_over, "no worker was killed over its work"
    audit.verify()
