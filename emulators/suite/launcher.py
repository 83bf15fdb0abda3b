"""Starts one suite, watches it, and takes all of it down again, whatever way it ends."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from emulators.suite import registry, screen, seed
from emulators.suite.environment import (
    FUNCTIONS,
    FunctionVariables,
    cli_environment,
    function_variables,
    write_configuration,
)
from emulators.suite.functions_source import deployed_functions
from emulators.suite.install import ROOT, Unable
from emulators.suite.jars import Jar, find_jars
from emulators.suite.java import Java, find_java
from emulators.suite.places import PROJECT, Places, Ports, origin
from emulators.suite.processes import MARK, end, end_orphans, marked, spawn, sweep
from emulators.suite.readiness import (
    PATIENCE_S,
    Interrupted,
    Wait,
    Watched,
    wait_for_functions,
    wait_for_http,
    wait_for_ports,
)
from emulators.suite.schedules import Ticker, scheduled_functions

EMULATORS = ("auth", "functions", "firestore", "storage", "tasks", "eventarc", "hosting", "database")
_EXPORT_S = 60.0
_LEFTOVER_S = 4.0
_ORPHANS_S = 20.0
_WATCH_S = 0.5


@dataclass(frozen=True)
class Options:
    """How this suite is to be run.

    offset: added to every port; None chooses a free one.
    fresh: forget the data first.
    lasting: keep the data for the next start.
    users_own: use the user's keys and settings, and make demo users.
    schedules: fire scheduled functions.
    owner: end when this process does.
    announce: also write the state there.
    """

    offset: int | None = 0
    fresh: bool = False
    lasting: bool = True
    users_own: bool = True
    schedules: bool = True
    owner: int | None = None
    announce: Path | None = None


@dataclass(frozen=True)
class State:
    """What others may know about a running suite; written as JSON."""

    pid: int
    started: float
    offset: int
    mark: str
    ready: bool
    ports: dict[str, int]
    stand_ins: list[str]


class Suite:
    """One run. `run` returns the exit code of the command."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._wish = threading.Event()  # set when the suite should end
        self._reason = ""
        self._programs: list[Watched] = []

    def run(self) -> int:
        """Start, serve until asked to stop, stop. Raises `Unable` when it cannot be done."""
        started = time.monotonic()
        screen.begin()
        java, jars = find_java(), find_jars(download=False)
        with self._listening_for_signals(), self._claimed() as places:
            ports = Ports.at(places.offset)
            try:
                self._prepare(places)
                variables = function_variables(ports, users_own=self._options.users_own)
                write_configuration(places, ports, variables)
                self._start(places, variables, jars, java)
                self._wait_until_ready(places, variables)
                self._serve(places, variables, jars, started)
            except Interrupted:
                screen.tell(f"interrupted while starting: {self._reason}")
            finally:
                self._stop(places)
        return 0

    @contextlib.contextmanager
    def _claimed(self) -> Iterator[Places]:
        claim = registry.claim(self._options.offset)
        try:
            self._worker_ports = claim.worker_ports
            yield Places(claim.offset)
        finally:
            registry.release(claim)

    def _prepare(self, places: Places) -> None:
        """Nobody on our ports, nothing left of an earlier run, and the data as wanted."""
        leftovers = marked(places.mark)
        if leftovers:
            screen.tell(f"ending {len(leftovers)} processes that an earlier run left behind")
            end_orphans(leftovers, patience_s=_ORPHANS_S)
        registry.refuse_busy_ports(places.offset)
        if self._options.fresh:
            shutil.rmtree(places.data, ignore_errors=True)
        shutil.rmtree(places.work / "tmp", ignore_errors=True)
        for abandoned in places.work.glob("firebase-export-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        if not _is_complete(places.export):
            # Without the rest, the mirror of a run that was killed would only contradict the new one.
            places.database_file.unlink(missing_ok=True)

    def _start(self, places: Places, variables: FunctionVariables, jars: dict[str, Jar], java: Java) -> None:
        environment = cli_environment(places, variables, jars, java)
        environment["SUITE_WORKER_PORTS"] = "{}-{}".format(*self._worker_ports)
        command = ["node", str(ROOT / "emulators/suite/firebase.cjs"), "emulators:start", "--project", PROJECT]
        command += ["--config", str(places.config), "--only", ",".join(EMULATORS)]
        if _is_complete(places.export):
            command += ["--import", str(places.export)]
        if self._options.lasting:
            command += ["--export-on-exit", str(places.export)]
        self._launch("firebase", command, places, environment)
        if variables.simulates_models:
            ports = Ports.at(places.offset)
            vendor = [sys.executable, "-m", "emulators.model_vendor", "--port", str(ports.models)]
            self._launch("model-vendor", vendor, places, {**os.environ, MARK: places.mark, "PYTHONPATH": str(ROOT)})
        self._state = State(
            pid=os.getpid(),
            started=psutil.Process().create_time(),
            offset=places.offset,
            mark=places.mark,
            ready=False,
            ports=Ports.at(places.offset).named(),
            stand_ins=[jar.emulator for jar in jars.values() if jar.is_stand_in],
        )
        self._publish(places)

    def _launch(self, name: str, command: list[str], places: Places, environment: dict[str, str]) -> None:
        log = places.logs / f"{name}.log"
        process = spawn(command, log=log, cwd=places.work, env=environment)
        self._programs.append(Watched(name, process, log, places.work))

    def _wait_until_ready(self, places: Places, variables: FunctionVariables) -> None:
        ports = Ports.at(places.offset)
        wait = Wait(
            programs=tuple(self._programs),
            deadline=time.monotonic() + PATIENCE_S,
            wanted=lambda: not self._is_over(),
            tell=screen.tell,
        )
        if variables.simulates_models:
            wait_for_http(wait, "the model vendor simulator", origin(ports.models) + "/healthz")
            screen.tell(f"model vendor simulator answers on {ports.models}")
        wait_for_ports(wait, ports, EMULATORS)
        functions = wait_for_functions(wait, ports, deployed_functions(FUNCTIONS / "main.py"))
        screen.tell(f"{len(functions)} functions loaded: {', '.join(functions)}")

    def _serve(self, places: Places, variables: FunctionVariables, jars: dict[str, Jar], started: float) -> None:
        ports = Ports.at(places.offset)
        problem = seed.seed(ports) if self._options.users_own else None
        self._state = replace(self._state, ready=True)
        self._publish(places)
        screen.table(places, variables, jars)
        if problem:
            screen.warn(problem)
        screen.tell(
            f"up in {time.monotonic() - started:.1f} s; Ctrl-C stops everything"
            + (" and keeps the data" if self._options.lasting else "")
        )
        ticker = Ticker(ports, screen.warn)
        if self._options.schedules:
            ticker.start(scheduled_functions(ports))
        try:
            while not self._is_over():
                for program in self._programs:
                    program.require_alive()
                self._wish.wait(_WATCH_S)
        finally:
            ticker.stop()

    def _is_over(self) -> bool:
        owner = self._options.owner
        if owner is not None and not psutil.pid_exists(owner):
            self._reason = f"its owner, process {owner}, has ended"
            self._wish.set()
        return self._wish.is_set()

    def _on_signal(self, which: int, _frame: object) -> None:
        self._reason = signal.Signals(which).name
        self._wish.set()

    def _stop(self, places: Places) -> None:
        """firebase first, so that it can export; then whatever still carries our mark."""
        if self._programs:
            because = f" ({self._reason})" if self._reason else ""
            screen.tell(f"stopping{because}" + (", exporting the data" if self._options.lasting else ""))
        self._wish.clear()
        for program in self._programs:
            _finish(program.process, self._wish.is_set)
        sweep(places.mark, patience_s=_LEFTOVER_S)
        places.config.unlink(missing_ok=True)
        places.state.unlink(missing_ok=True)
        if self._options.announce:
            self._options.announce.unlink(missing_ok=True)
        if not self._options.lasting:
            shutil.rmtree(places.data, ignore_errors=True)
        if self._programs:
            screen.tell("stopped")

    def _publish(self, places: Places) -> None:
        for path in filter(None, (places.state, self._options.announce)):
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps(asdict(self._state), indent=2))
            fresh.replace(path)

    @contextlib.contextmanager
    def _listening_for_signals(self) -> Iterator[None]:
        handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = [signal.signal(which, self._on_signal) for which in handled]
        try:
            yield
        finally:
            for which, handler in zip(handled, before, strict=True):
                signal.signal(which, handler)


def _is_complete(export: Path) -> bool:
    return (export / "firebase-export-metadata.json").is_file()


def _finish(process: subprocess.Popen[bytes], hurried: Callable[[], bool]) -> None:
    """Interrupt one program and give it time for its export, unless the user asks a second time."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    patience = time.monotonic() + _EXPORT_S
    while process.poll() is None and time.monotonic() < patience and not hurried():
        time.sleep(0.1)
    if process.poll() is None:
        process.kill()
        process.wait()


def stop_running(offset: int) -> None:
    """Ask the suite of this checkout at `offset` to stop, and wait for it. Raises `Unable` when there is none."""
    claim = registry.running(offset)
    if claim is None:
        raise Unable(f"No suite of this checkout runs at port offset {offset}.")
    end([psutil.Process(claim.pid)], first=signal.SIGTERM, patience_s=_EXPORT_S + _LEFTOVER_S)
