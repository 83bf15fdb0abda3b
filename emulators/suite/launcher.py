"""Starts one suite, watches it, and takes all of it down again, whatever way it ends."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import psutil

from emulators.local_model import installation as local_model
from emulators.suite import registry, screen, seed
from emulators.suite.environment import FUNCTIONS, write_configuration
from emulators.suite.functions_source import deployed_functions
from emulators.suite.install import ROOT, Unable
from emulators.suite.places import origin
from emulators.suite.plan import EMULATORS, Options, Plan
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

_EXPORT_S = 60.0
_LEFTOVER_S = 4.0
_ORPHANS_S = 20.0
_WATCH_S = 0.5


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


def run(options: Options) -> None:
    """Start a suite, serve until asked to stop, stop. Raises `Unable` when it cannot be done."""
    screen.begin()
    claim = registry.claim(options.offset)
    try:
        _Run(Plan.of(options, claim)).perform()
    finally:
        registry.release(claim)


class _Run:
    """One run of one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._places = plan.places
        self._wish = threading.Event()  # set when the suite should end
        self._reason = ""
        self._programs: list[Watched] = []

    def perform(self) -> None:
        with self._listening_for_signals():
            try:
                self._prepare()
                self._start()
                self._wait_until_ready()
                self._serve()
            except Interrupted:
                screen.tell("interrupted while starting")
            finally:
                self._stop()

    def _prepare(self) -> None:
        """Nobody on our ports, nothing left of an earlier run, and the data as wanted."""
        leftovers = marked(self._places.mark)
        if leftovers:
            screen.tell(f"ending {len(leftovers)} processes that an earlier run left behind")
            end_orphans(leftovers, patience_s=_ORPHANS_S)
        registry.refuse_busy_ports(self._places.offset)
        if self._plan.options.fresh:
            shutil.rmtree(self._places.data, ignore_errors=True)
        for abandoned in (self._places.work / "tmp", *self._places.work.glob("firebase-export-*")):
            shutil.rmtree(abandoned, ignore_errors=True)
        if not self._plan.has_export:
            # Without the rest, the mirror of a run that was killed would only contradict the new one.
            self._places.database_file.unlink(missing_ok=True)
        write_configuration(self._places, self._plan.ports, self._plan.variables)
        if self._plan.options.local_model:
            local_model.install()
            local_model.write_book(self._places.book)

    def _start(self) -> None:
        self._launch("firebase", self._plan.cli_command(), self._plan.cli_environment())
        environment = {**os.environ, MARK: self._places.mark, "PYTHONPATH": str(ROOT)}
        if self._plan.variables.simulates_models:
            self._launch("model-vendor", self._plan.vendor_command(), environment)
        if self._plan.options.local_model:
            self._launch("local-model", self._plan.local_model_command(), environment)
        self._publish(self._state(ready=False))

    def _launch(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        log = self._places.logs / f"{name}.log"
        process = spawn(command, log=log, cwd=self._places.work, env=environment)
        self._programs.append(Watched(name, process, log, self._places.work))

    def _wait_until_ready(self) -> None:
        ports = self._plan.ports
        wait = Wait(
            programs=tuple(self._programs),
            deadline=time.monotonic() + PATIENCE_S,
            wanted=lambda: not self._is_over(),
            tell=screen.tell,
        )
        if self._plan.variables.simulates_models:
            wait_for_http(wait, "the model vendor simulator", origin(ports.models) + "/healthz")
            screen.tell(f"model vendor simulator answers on {ports.models}")
        if self._plan.options.local_model:
            wait_for_http(wait, "the local model", origin(ports.local_model) + "/health")
            screen.tell(f"local model answers on {ports.local_model}")
        wait_for_ports(wait, ports, EMULATORS)
        functions = wait_for_functions(wait, ports, deployed_functions(FUNCTIONS / "main.py"))
        screen.tell(f"{len(functions)} functions loaded: {', '.join(functions)}")

    def _serve(self) -> None:
        plan = self._plan
        problem = seed.seed(plan.ports) if plan.options.users_own else None
        self._publish(self._state(ready=True))
        screen.table(plan.places, plan.variables, plan.jars, local_model=plan.options.local_model)
        if problem:
            screen.warn(problem)
        screen.tell("up; Ctrl-C stops everything" + (" and keeps the data" if plan.options.lasting else ""))
        ticker = Ticker(plan.ports, screen.warn)
        if plan.options.schedules:
            ticker.start(scheduled_functions(plan.ports))
        try:
            self._watch()
        finally:
            ticker.stop()

    def _watch(self) -> None:
        while not self._is_over():
            for program in self._programs:
                program.require_alive()
            self._wish.wait(_WATCH_S)

    def _is_over(self) -> bool:
        owner = self._plan.options.owner
        if owner is not None and not psutil.pid_exists(owner):
            self._reason = f"its owner, process {owner}, has ended"
            self._wish.set()
        return self._wish.is_set()

    def _stop(self) -> None:
        """firebase first, so that it can export; then whatever still carries our mark."""
        started = bool(self._programs)
        if started:
            screen.tell("stopping" + (f" ({self._reason})" if self._reason else ""))
        self._wish.clear()
        for program in self._programs:
            _finish(program.process, self._wish.is_set)
        sweep(self._places.mark, patience_s=_LEFTOVER_S)
        for file in (self._places.config, self._places.state, self._plan.options.announce):
            if file:
                file.unlink(missing_ok=True)
        if not self._plan.options.lasting:
            shutil.rmtree(self._places.data, ignore_errors=True)
        if started:
            screen.tell("stopped" + (", data kept" if self._plan.has_export else ""))

    def _state(self, *, ready: bool) -> State:
        return State(
            pid=os.getpid(),
            started=psutil.Process().create_time(),
            offset=self._places.offset,
            mark=self._places.mark,
            ready=ready,
            ports=self._plan.ports.named(),
            stand_ins=self._plan.stand_ins,
        )

    def _publish(self, state: State) -> None:
        for path in filter(None, (self._places.state, self._plan.options.announce)):
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps(asdict(state), indent=2))
            fresh.replace(path)

    def _on_signal(self, which: int, _frame: object) -> None:
        self._reason = signal.Signals(which).name
        self._wish.set()

    @contextlib.contextmanager
    def _listening_for_signals(self) -> Iterator[None]:
        handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = [signal.signal(which, self._on_signal) for which in handled]
        try:
            yield
        finally:
            for which, handler in zip(handled, before, strict=True):
                signal.signal(which, handler)


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
