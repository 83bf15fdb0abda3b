"""How fast operations run on the emulators, what a queue costs, and whether a flood of them loses or doubles one.

    python bench/orchestration.py [operations] [operations in the simulator]

On the emulators: runners in threads play the trigger's instances. Three operations in a hundred fail: half with a
fault, half by the death of their runner. Fails when an operation is lost or has two effects.
"""

import json
import os
import queue
import random
import statistics
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
# In place of this folder, whose orchestration.py would stand before the package of that name.
sys.path[:1] = [str(ROOT), str(ROOT / "functions"), str(ROOT / "tests")]

from bench import _stage  # noqa: E402 - run as a file, the root is not on the path before

OPERATIONS: Final = 2_000
FLOOD: Final = 100_000
RUNNERS: Final = 8
SLOTS: Final = 64
"""Slots of the lane: more than runners, because a runner that dies keeps its slot until its lease ends."""
FAULTS: Final = 0.03
PACED: Final = 300
_WITHIN_S: Final = 420
_SWEEP_S: Final = 5
"""Between sweeps; a minute in production. Short, so that the bench soon finds the dead runners' operations."""


class Killed(BaseException):
    """A runner's death."""


@dataclass
class Figures:
    """The measurements. Times are seconds."""

    entered: dict[str, float] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)
    runs: int = 0


def main() -> int:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else OPERATIONS
    flooded = int(sys.argv[2]) if len(sys.argv) > 2 else FLOOD
    hush()
    with _stage.stores() as stores:
        stand_in_for_triggers(f"http://127.0.0.1:{stores.ports['database']}")
        os.environ.update(stores.environment("http://127.0.0.1:9/v1"))
        good = drain(wanted)
    return 0 if good & flood(flooded) & admitted() else 1


def hush() -> None:
    """Silences the log, in which three operations in a hundred would leave a line."""
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


def stand_in_for_triggers(database: str) -> None:
    """Turns the suite's own triggers off: they match every namespace, and each ring would start a worker."""
    settings, owner = f"{database}/.settings/functionTriggers.json", {"Authorization": "Bearer owner"}
    with urllib.request.urlopen(urllib.request.Request(settings, headers=owner)) as answer:
        names = json.load(answer)
    event = "providers/google.firebase.database/eventTypes/ref.create"
    silent = [{"name": name, "path": "/nowhere", "event": event, "namespacePattern": "nobody"} for name in names]
    urllib.request.urlopen(urllib.request.Request(settings, json.dumps(silent).encode(), owner, method="PUT")).close()


def drain(count: int) -> bool:
    """A backlog with faults, then a steady pace without."""
    from app.kit.stores.realtime import FirebaseRealtime
    from app.kit.stores.realtime_http import connect
    from app.outside import RealPorts, firebase

    outside = RealPorts()
    firebase(on_emulator=True)
    asked = CountedRest(connect())
    plant = Plant(outside.documents, FirebaseRealtime(asked), outside.clock, outside.ids)  # type: ignore[arg-type]  # its four methods
    plant.start()
    try:
        began, cpu = time.monotonic(), time.process_time()
        plant.enter(count, batch=50)
        entered_s = time.monotonic() - began
        plant.wait(count)
        took = time.monotonic() - began
        used = 1000 * (time.process_time() - cpu)
        begun_s = max(plant.figures.started.values()) - began
        effects = plant.effects()
        lost = count - sum(value >= 1 for value in effects.values())
        twice = sum(value > 1 for value in effects.values())
        print(
            f"backlog: {count} operations entered in {entered_s:.1f} s, all begun after {begun_s:.1f} s, "
            f"{count / begun_s:.0f}/s at {used / count:.1f} ms of CPU; the last of the killed ended after {took:.0f} s"
        )
        print(f"  {plant.figures.runs} runs at {100 * FAULTS:.0f} % faults; lost {lost}, with two effects {twice}")
        print(f"  per operation: {plant.asked(count)}; {asked.per(count)}")
        plant.faults = 0.0
        plant.figures = Figures()
        plant.pace(PACED, per_second=20)
        waits = sorted(plant.figures.started[one] - plant.figures.entered[one] for one in plant.figures.entered)
        p50, p99 = 1000 * statistics.median(waits), 1000 * waits[int(0.99 * len(waits))]
        print(f"steady: {PACED} at 20/s, from the commit to the start: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
        reads, writes = plant.idle()
        print(
            f"idle: a sweep of an empty queue makes {reads} reads and {writes} writes; between sweeps nothing is asked"
        )
    finally:
        plant.stop()
    return not lost and not twice


class Plant:
    """The real adapters, runners in threads, and a stand-in for the trigger between them."""

    def __init__(self, documents, realtime, clock, ids) -> None:  # type: ignore[no-untyped-def]  # the ports, as outside gives them
        from app.kit.clock import seconds
        from app.kit.concurrency import Threads
        from app.kit.optimistic import full_jitter
        from app.orchestration.assembly import Contributions, QueueDependencies, assemble
        from app.orchestration.queue.handler import Handler, Lane
        from app.orchestration.queue.operation import SecurityLevel
        from app.orchestration.queue.retry import RetryPolicy

        self.figures = Figures()
        self.faults = FAULTS
        self._random = random.Random(7)
        self._name = f"bench{os.getpid()}"
        self._bell: queue.Queue[tuple[str, str] | None] = queue.Queue()
        self._counted = Counted(documents)
        self._ids = ids
        self._alarms = Alarms(self._alarm)
        draw = random.randrange
        pause = full_jitter(Threads(), draw)
        dependencies = QueueDependencies(
            self._counted, Ringing(realtime, self._bell.put), clock, ids, draw, self._alarms, pause=pause
        )
        handler = Handler(
            name="bench.count",
            work=self._work,
            lane=self._name,
            level=SecurityLevel.USER,
            retry=RetryPolicy(tries=30, first_us=seconds(1), most_us=seconds(2)),
            lease_us=seconds(8),
        )
        self.core = assemble(dependencies, Contributions(handlers=[handler], lanes=[Lane(self._name, SLOTS)]))
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(RUNNERS)]
        self._sweeper = threading.Thread(target=self._sweep, daemon=True)
        self._ended = threading.Event()

    def start(self) -> None:
        for thread in (*self._threads, self._sweeper):
            thread.start()

    def stop(self) -> None:
        self._ended.set()
        for _ in self._threads:
            self._bell.put(None)

    def enter(self, count: int, *, batch: int) -> None:
        """Enqueues `count` operations in commits of `batch`."""
        from app.orchestration.queue.operation_queue import Order

        for _ in range(count // batch):
            rows = self.core.queue.rows([Order("bench.count", source="api") for _ in range(batch)])
            now = time.monotonic()
            for row in rows:
                self.figures.entered[row.path.rpartition("/")[2]] = now
            self.core.outbox.commit(rows)

    def pace(self, count: int, *, per_second: int) -> None:
        """Enqueues operations one at a time, evenly."""
        for _ in range(count):
            self.enter(1, batch=1)
            time.sleep(1 / per_second)
        self.wait(count)

    def wait(self, count: int) -> None:
        """Waits until `count` operations succeeded. Reads the store only once all have started, and only those left."""
        deadline = time.monotonic() + _WITHIN_S
        left = [f"operations/{one}" for one in self.figures.entered]
        while time.monotonic() < deadline:
            if len(self.figures.started) >= count:
                read = zip(left, self._read(left))
                left = [path for path, stored in read if stored is None or stored.fields["state"] != "succeeded"]
            if not left:
                return
            time.sleep(0.1)
        raise SystemExit(f"{len(left)} of {count} operations did not end within {_WITHIN_S} s")

    def asked(self, count: int) -> str:
        """Firestore reads and writes so far for each of `count` operations."""
        return f"{self._counted.reads / count:.1f} reads and {self._counted.writes / count:.1f} writes of Firestore"

    def effects(self) -> Mapping[str, int]:
        """How often each operation took effect."""
        marks = self._read([f"marks/{one}" for one in self.figures.entered])
        counts = [stored.fields["n"] if stored else 0 for stored in marks]
        return {one: int(str(count)) for one, count in zip(self.figures.entered, counts)}

    def idle(self) -> tuple[int, int]:
        """Reads and writes of one sweep."""
        before = self._counted.reads, self._counted.writes
        self.core.sweeper.tick()
        return self._counted.reads - before[0], self._counted.writes - before[1]

    def _read(self, paths: list[str]):  # type: ignore[no-untyped-def]  # documents, in chunks
        return [
            one for start in range(0, len(paths), 500) for one in self._counted.bare.get_all(paths[start : start + 500])
        ]

    def _work(self, run):  # type: ignore[no-untyped-def]  # a handler
        from app.kit.errors import Unavailable
        from app.kit.stores.documents import Increment, Merge
        from app.orchestration.queue.handler import Done

        self.figures.runs += 1
        self.figures.started.setdefault(run.operation.id, time.monotonic())
        drawn = self._random.random()
        if drawn < self.faults / 2:
            raise Unavailable("the vendor is away")
        if drawn < self.faults:
            raise Killed
        return Done(None, lambda: [Merge(f"marks/{run.operation.id}", {"n": Increment(1)})])

    def _serve(self) -> None:
        from app.kit.errors import Fault

        while (rung := self._bell.get()) is not None:
            try:
                self.core.runner.serve(*rung)
            except (Killed, Fault):
                continue

    def _alarm(self, operation_id: str) -> None:
        from app.kit.errors import Failure

        try:
            self.core.ring_due({"operation": operation_id})
        except Failure:
            self._alarms.again(operation_id)

    def _sweep(self) -> None:
        while not self._ended.wait(_SWEEP_S):
            if self.faults:
                self.core.sweeper.tick()


class Alarms:
    """Stands in for Cloud Tasks: calls at the due time, and again when the call is refused."""

    def __init__(self, call: Callable[[str], None]) -> None:
        self._call = call

    def set(self, operation_id: str, due_us: int) -> None:
        self._after(due_us / 1e6 - time.time(), operation_id)

    def again(self, operation_id: str) -> None:
        self._after(1.0, operation_id)

    def _after(self, seconds: float, operation_id: str) -> None:
        timer = threading.Timer(max(0.0, seconds), self._call, [operation_id])
        timer.daemon = True
        timer.start()


class Ringing:
    """The Realtime Database with its trigger, which fires for each new ticket."""

    def __init__(self, realtime, rung: Callable[[tuple[str, str]], None]) -> None:  # type: ignore[no-untyped-def]  # the port
        self._realtime = realtime
        self._rung = rung
        self._up: set[str] = set()
        self._lock = threading.Lock()
        self.get, self.first, self.transact = realtime.get, realtime.first, realtime.transact

    def update(self, values) -> None:  # type: ignore[no-untyped-def]  # as the port
        self._realtime.update(values)
        for path, value in values.items():
            parts = path.split("/")
            if parts[:2] == ["orchestration", "queue"] and self._is_new(path, value):
                self._rung((parts[2], parts[3]))

    def _is_new(self, path: str, value: object) -> bool:
        with self._lock:
            was = path in self._up
            (self._up.discard if value is None else self._up.add)(path)
        return value is not None and not was


class CountedRest:
    """The Realtime Database's REST API, counting requests."""

    def __init__(self, bare) -> None:  # type: ignore[no-untyped-def]  # the connection
        self._bare = bare
        self.reads = self.writes = self.refused = 0

    def read(self, path: str, query: str = ""):  # type: ignore[no-untyped-def]  # as the connection
        self.reads += 1
        return self._bare.read(path, query)

    def read_tagged(self, path: str):  # type: ignore[no-untyped-def]  # as the connection
        self.reads += 1
        return self._bare.read_tagged(path)

    def write(self, values) -> None:  # type: ignore[no-untyped-def]  # as the connection
        self.writes += 1
        self._bare.write(values)

    def write_over(self, path: str, etag: str, value):  # type: ignore[no-untyped-def]  # as the connection
        self.writes += 1
        answer = self._bare.write_over(path, etag, value)
        self.refused += answer.status == 412
        return answer

    def per(self, count: int) -> str:
        """Reads and writes so far for each of `count` operations."""
        reads, writes, refused = (number / count for number in (self.reads, self.writes, self.refused))
        return f"{reads:.1f} reads and {writes:.1f} writes of the Realtime Database, {refused:.2f} of them refused"


class Counted:
    """Documents that count their reads and writes."""

    def __init__(self, bare) -> None:  # type: ignore[no-untyped-def]  # the port
        self.bare = bare
        self.reads = self.writes = 0

    def get(self, path: str):  # type: ignore[no-untyped-def]  # as the port
        self.reads += 1
        return self.bare.get(path)

    def get_all(self, paths):  # type: ignore[no-untyped-def]  # as the port
        self.reads += len(paths)
        return self.bare.get_all(paths)

    def query(self, asked):  # type: ignore[no-untyped-def]  # as the port
        found = self.bare.query(asked)
        self.reads += max(1, len(found))
        return found

    def commit(self, writes):  # type: ignore[no-untyped-def]  # as the port
        self.writes += len(writes)
        return self.bare.commit(writes)


def flood(count: int) -> bool:
    """The same in the simulator, in one queue."""
    from simulation.flood import flood as run

    began = time.monotonic()
    found = run(1, count)
    took = time.monotonic() - began
    print(
        f"simulator: {found.accepted} operations in {took:.0f} s, {found.took_us / 3.6e9:.1f} hours of its own time; "
        f"{found.deepest} waited at once"
    )
    print(f"  {found.crashes} instances died, {found.retried} operations were tried more than once")
    print(f"  lost {found.lost}, with two effects {found.twice}")
    return found.accepted == count and not found.lost and not found.twice


def admitted() -> bool:
    """What one lane admits with twenty instances when every call of a store takes 20 ms, in the simulator."""
    from app.orchestration.queue.handler import Lane
    from orchestration.rush import Rush, steady

    rush = steady(Rush(Lane("rush", 64)), per_second=300, seconds=5, accounts=100)
    p50, p95 = (rush.waited_us(share) / 1000 for share in (0.5, 0.95))
    calls, count = rush.calls, len(rush.started)
    print(f"admission at 20 ms a call: {count} orders at 300/s; to the start: p50 {p50:.0f} ms, p95 {p95:.0f} ms")
    print(
        f"  per operation: {calls.realtime / count:.1f} calls of the Realtime Database, "
        f"{calls.refused / count:.2f} refused, {calls.documents / count:.1f} of Firestore with the order"
    )
    return count == 1500 and p95 < 500


if __name__ == "__main__":
    sys.exit(main())
