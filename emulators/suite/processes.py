"""Starting, recognising and ending the suite's processes. It ends only what carries the suite's mark."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import psutil

MARK = "CREDITS_SUITE"
_KILL_S = 5.0
_POLL_S = 0.05
LEASH = Path(__file__).parent / "leash" / "leash.py"


def spawn(command: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, tied to this process, both streams into `log`.

    Call it from the main thread: the kernel ties a child to the thread that started it.
    """
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-S", "-E", str(LEASH), str(os.getpid()), *command],
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def marked(mark: str) -> list[psutil.Process]:
    """Every living process of the suite with this mark, except the calling one and its ancestors."""
    kin = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process for process in psutil.process_iter() if process.pid not in kin and _carries(process, mark)]


def _carries(process: psutil.Process, mark: str) -> bool:
    try:
        return bool(process.environ().get(MARK) == mark) and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False


def workers_of(mark: str, function: str) -> list[psutil.Process]:
    """The processes that serve one deployed function: shell, gunicorn master and worker."""
    found = []
    for process in marked(mark):
        try:
            if process.environ().get("FUNCTION_TARGET") == function:
                found.append(process)
        except psutil.Error:
            continue
    return found


def end(processes: Iterable[psutil.Process], *, first: signal.Signals, patience_s: float) -> list[psutil.Process]:
    """Ask with `first`, wait, then kill what is left. Returns those that had to be killed."""
    targets = list(processes)
    _signal_each(targets, first)
    stubborn = _outlasting(targets, patience_s)
    _signal_each(stubborn, signal.SIGKILL)
    _outlasting(stubborn, _KILL_S)
    return stubborn


def end_orphans(orphans: Iterable[psutil.Process], *, patience_s: float) -> None:
    """End what a killed launcher left. The leash has told the CLI already where there is one, and a second signal would
    cut its export short; so wait first, insist later."""
    waiting = list(orphans)
    if not sys.platform.startswith("linux"):
        _signal_each((each for each in waiting if _runs(each, "firebase.cjs")), signal.SIGINT)
    end(_outlasting(waiting, patience_s), first=signal.SIGTERM, patience_s=_KILL_S)


def _runs(process: psutil.Process, program: str) -> bool:
    try:
        return any(program in argument for argument in process.cmdline())
    except psutil.Error:
        return False


def _outlasting(processes: list[psutil.Process], patience_s: float) -> list[psutil.Process]:
    """Those that still run when patience ends. One that nobody has buried yet counts as gone: orphans wait for init."""
    deadline = time.monotonic() + patience_s
    while left := [process for process in processes if _lives(process)]:
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_S)
    return left


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def sweep(mark: str, *, patience_s: float) -> None:
    """End all that carry the mark. Looked at twice: a process that is just becoming another program shows no
    environment."""
    for _ in range(2):
        end(marked(mark), first=signal.SIGTERM, patience_s=patience_s)


def _signal_each(processes: Iterable[psutil.Process], which: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(which)
        except psutil.Error:
            continue


def listening_on(port: int) -> psutil.Process | None:
    """The process that listens on a local TCP port, where the system tells."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    for connection in connections:
        address = connection.laddr
        if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
            try:
                return psutil.Process(connection.pid)
            except psutil.Error:
                return None
    return None
