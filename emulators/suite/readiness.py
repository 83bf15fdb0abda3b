"""Waits until the suite really works: every port listens and every function is loaded. Exit codes are not believed."""

import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import requests

from emulators.suite.install import Unable
from emulators.suite.places import HOST, Ports, origin

PATIENCE_S = 180
_POLL_S = 0.2
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LOADING_FAILED = "Failed to load function definition from source"
_EXITED = re.compile(r"(\w+) Emulator has exited with code")
_ALL_READY = "All emulators ready"
_TAIL_LINES = 25


class Interrupted(Exception):
    """The user wants out before the suite is up."""


@dataclass(frozen=True)
class Watched:
    """A started program: while we wait for it, it must stay alive."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    cwd: Path

    def require_alive(self) -> None:
        code = self.process.poll()
        if code is not None:
            why = f"{self.name} stopped by itself with code {code}; the end of its log:\n{tail(self.log)}"
            raise Unable("\n".join((why, *self._last_words())))

    def _last_words(self) -> Iterator[str]:
        """What the emulators that pulled the CLI down wrote last; it keeps their output in files of its own."""
        for emulator in _EXITED.findall(self.log.read_text(errors="replace")):
            log = self.cwd / f"{emulator.lower()}-debug.log"
            yield f"--- {log}\n{tail(log)}"


@dataclass(frozen=True)
class Wait:
    """The circumstances of waiting: what must stay alive, when to give up, how to tell of progress."""

    programs: tuple[Watched, ...]
    deadline: float
    wanted: Callable[[], bool]
    tell: Callable[[str], None]

    def until(self, what: str, check: Callable[[], bool]) -> None:
        while not check():
            if not self.wanted():
                raise Interrupted
            for program in self.programs:
                program.require_alive()
            if time.monotonic() > self.deadline:
                logs = "\n".join(f"--- {program.log}\n{tail(program.log)}" for program in self.programs)
                raise Unable(f"Gave up waiting for {what} after {PATIENCE_S} s.\n{logs}")
            time.sleep(_POLL_S)


def wait_for_ports(wait: Wait, ports: Ports, names: tuple[str, ...]) -> None:
    """Each emulator's port, telling of every one that comes up."""
    missing = {name: ports.named()[name] for name in names}

    def all_listen() -> bool:
        for name, port in list(missing.items()):
            if _listens(port):
                del missing[name]
                wait.tell(f"{name} listens on {port}")
        return not missing

    wait.until("the emulators' ports", all_listen)


def wait_for_functions(wait: Wait, ports: Ports, expected: set[str]) -> list[str]:
    """All expected functions in the emulator's own list, and its word that everything is started."""
    loaded: list[str] = []
    log = wait.programs[0].log

    def all_loaded() -> bool:
        text = log.read_text(errors="replace")
        if _LOADING_FAILED in text:
            before, _, after = text.partition(_LOADING_FAILED)
            lines = [*before.splitlines()[-_TAIL_LINES:], _LOADING_FAILED + after.splitlines()[0]]
            raise Unable(f"The functions could not be loaded; from {log}:\n{_COLOUR.sub('', chr(10).join(lines))}")
        loaded[:] = _loaded_functions(ports)
        return bool(loaded) and _ALL_READY in text

    wait.until("the functions", all_loaded)
    lacking = expected - set(loaded)
    if lacking:
        raise Unable(
            f"These functions of main.py did not load: {', '.join(sorted(lacking))}; the end of {log}:\n{tail(log)}"
        )
    return sorted(set(loaded))


def wait_for_http(wait: Wait, name: str, url: str) -> None:
    """A 200 from `url`."""

    def answers() -> bool:
        try:
            return requests.get(url, timeout=2).status_code == 200
        except requests.RequestException:
            return False

    wait.until(name, answers)


def tail(log: Path, lines: int = _TAIL_LINES) -> str:
    try:
        return _COLOUR.sub("", "\n".join(log.read_text(errors="replace").splitlines()[-lines:]))
    except OSError:
        return "(no log)"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, port)) == 0


def _loaded_functions(ports: Ports) -> list[str]:
    try:
        backends = requests.get(origin(ports.functions) + "/backends", timeout=2).json()["backends"]
    except (requests.RequestException, ValueError, KeyError):
        return []
    return [str(trigger["entryPoint"]) for backend in backends for trigger in backend.get("functionTriggers", [])]
