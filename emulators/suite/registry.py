"""Who runs which suite on this machine: one small file per living launcher, in the user's temporary folder.

It keeps two suites of one or of several checkouts from choosing the same ports or the same range of worker ports. It
refuses to end anything: that is the launcher's business.
"""

import contextlib
import fcntl
import itertools
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from emulators.suite.install import ROOT, Unable
from emulators.suite.places import (
    FIRST_WORKER_PORT,
    HOST,
    LARGEST_OFFSET,
    WORKER_PORTS_PER_SUITE,
    WORKER_RANGES,
    Ports,
)
from emulators.suite.processes import listening_on

FREE_OFFSETS = range(3000, 9000, 100)
_STEP = 100


@dataclass(frozen=True)
class Claim:
    """One launcher's hold on an offset and on a range of worker ports."""

    offset: int
    slot: int
    pid: int
    started: float
    root: str

    @property
    def worker_ports(self) -> tuple[int, int]:
        first = FIRST_WORKER_PORT + self.slot * WORKER_PORTS_PER_SUITE
        return first, first + WORKER_PORTS_PER_SUITE - 1

    def is_alive(self) -> bool:
        """Whether the process that made the claim still runs, and not another one under its number."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.started) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def claim(offset: int | None) -> Claim:
    """Reserve `offset`, or the first free one for None. Raises `Unable` with the sentence to print."""
    with _exclusive() as folder:
        everyone = _read(folder)
        others = [other for other in everyone if other.is_alive()]
        for dead in set(everyone) - set(others):
            (folder / f"{dead.pid}.json").unlink(missing_ok=True)
        chosen = _free_offset(others) if offset is None else offset
        _refuse_if_taken(chosen, others)
        slots = {other.slot for other in others}
        slot = next((slot for slot in range(WORKER_RANGES) if slot not in slots), None)
        if slot is None:
            raise Unable(f"{WORKER_RANGES} suites run on this machine already: stop one of them.")
        me = psutil.Process()
        mine = Claim(offset=chosen, slot=slot, pid=me.pid, started=me.create_time(), root=str(ROOT))
        (folder / f"{me.pid}.json").write_text(json.dumps(asdict(mine)))
        return mine


def release(held: Claim) -> None:
    with _exclusive() as folder:
        (folder / f"{held.pid}.json").unlink(missing_ok=True)


def running(offset: int) -> Claim | None:
    """The living launcher of this checkout at `offset`, if there is one."""
    with _exclusive() as folder:
        for other in _read(folder):
            if other.offset == offset and other.root == str(ROOT) and other.is_alive():
                return other
    return None


def refuse_busy_ports(offset: int) -> None:
    """Raise `Unable` for the first port that cannot be used, naming it, its holder and offsets that work."""
    ports = Ports.at(offset)
    for name, port in ports.unreachable().items():
        raise Unable(
            f"PORT_OFFSET={offset} puts {name} on port {port}, which browsers and fetch refuse: "
            f"choose another, for example {_some(working_offsets(offset))}."
        )
    for name, port in ports.named().items():
        if not _can_listen(port):
            holder = listening_on(port)
            who = f"process {holder.pid} (`{_command(holder)}`)" if holder else "another process"
            raise Unable(
                f"Port {port}, which the suite needs for {name}, is held by {who}: "
                f"stop it, or move all ports with PORT_OFFSET={_some(working_offsets(offset))}."
            )


def working_offsets(near: int) -> Iterator[int]:
    """Multiples of 100 at which a suite could start now, also beside one at offset 0; the nearest to `near` first."""
    with _exclusive() as folder:
        others = [other for other in _read(folder) if other.is_alive() and other.pid != os.getpid()]
    yield from _working_offsets(near, others)


def _working_offsets(near: int, others: list[Claim]) -> Iterator[int]:
    def distance(offset: int) -> tuple[int, int]:
        return abs(offset - near), -offset

    candidates = sorted(range(_STEP, LARGEST_OFFSET + 1, _STEP), key=distance)
    return (offset for offset in candidates if not Ports.at(offset).overlap(Ports()) and _is_free(offset, others))


def _is_free(offset: int, others: list[Claim]) -> bool:
    ports = Ports.at(offset)
    claimed = any(ports.overlap(Ports.at(other.offset)) for other in others)
    return not claimed and not ports.unreachable() and all(map(_can_listen, ports.named().values()))


def _some(offsets: Iterator[int]) -> str:
    """The first three, as words: `1100, 900 or 1200`."""
    *most, last = map(str, itertools.islice(offsets, 3))
    return f"{', '.join(most)} or {last}" if most else last


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:80] or str(process.name())
    except psutil.Error:
        return "unknown"


def _can_listen(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def _free_offset(others: list[Claim]) -> int:
    for offset in FREE_OFFSETS:
        if _is_free(offset, others):
            return offset
    raise Unable("No port offset is free for a test suite: stop one of the suites that run on this machine.")


def _refuse_if_taken(offset: int, others: list[Claim]) -> None:
    for other in others:
        if Ports.at(offset).overlap(Ports.at(other.offset)):
            where = "here" if other.root == str(ROOT) else f"in {other.root}"
            raise Unable(
                f"A suite already runs {where} on these ports (process {other.pid}, offset {other.offset}): "
                f"stop it with Ctrl-C there or `kill {other.pid}`, "
                f"or start this one beside it with PORT_OFFSET={_some(_working_offsets(offset, others))}."
            )


def _read(folder: Path) -> list[Claim]:
    claims = []
    for file in folder.glob("*.json"):
        with contextlib.suppress(ValueError, TypeError, OSError):
            claims.append(Claim(**json.loads(file.read_text())))
    return claims


@contextlib.contextmanager
def _exclusive() -> Iterator[Path]:
    folder = Path(tempfile.gettempdir()) / f"credits-suites-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
