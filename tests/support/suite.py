"""The running suite as tests see it: addresses, users, workers to kill, schedules to fire.

Decides how a test session gets a suite: a fresh one, started once for all pytest workers, or the one that a developer
keeps running (SUITE_OFFSET). It knows nothing of what the functions do.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil
import requests

from emulators.suite import seed
from emulators.suite.install import LOCAL, ROOT
from emulators.suite.launcher import State
from emulators.suite.places import BUCKET, DATABASE_NAMESPACE, HOST, PROJECT, REGION, Places, Ports, origin
from emulators.suite.processes import end, workers_of
from emulators.suite.readiness import tail
from emulators.suite.schedules import run_once, scheduled_functions

_STARTING_S = 240
_STOPPING_S = 90
_POLL_S = 0.2

T = TypeVar("T")


class SuiteFailed(Exception):
    """The suite did not start. The message holds the end of its log."""


@dataclass(frozen=True)
class User:
    """Someone who signed up through the Auth emulator."""

    uid: str
    email: str
    password: str
    id_token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.id_token}"}


@dataclass(frozen=True)
class RunningSuite:
    """A suite that is up. Every test makes users and data of its own; nothing is reset between tests."""

    offset: int
    mark: str
    stand_ins: frozenset[str]

    @property
    def ports(self) -> Ports:
        return Ports.at(self.offset)

    @property
    def api(self) -> str:
        """Address of the `api` function: append `/v1/...`."""
        return self.function("api")

    @property
    def hosting(self) -> str:
        return origin(self.ports.hosting)

    @property
    def models(self) -> str:
        """Address of the model vendor simulator, without `/v1`."""
        return origin(self.ports.models)

    @property
    def logs(self) -> Path:
        return Places(self.offset).logs

    def function(self, name: str) -> str:
        return f"{origin(self.ports.functions)}/{PROJECT}/{REGION}/{name}"

    def database(self, path: str) -> str:
        """REST address of a database path, in the namespace that everyone uses."""
        return f"{origin(self.ports.database)}/{path.strip('/')}.json?ns={DATABASE_NAMESPACE}"

    def environment(self) -> dict[str, str]:
        """What Google's client libraries read to find the emulators."""
        ports = self.ports
        return {
            "GCLOUD_PROJECT": PROJECT,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "FIRESTORE_EMULATOR_HOST": f"{HOST}:{ports.firestore}",
            "FIREBASE_DATABASE_EMULATOR_HOST": f"{HOST}:{ports.database}",
            "FIREBASE_AUTH_EMULATOR_HOST": f"{HOST}:{ports.auth}",
            "FIREBASE_STORAGE_EMULATOR_HOST": f"{HOST}:{ports.storage}",
            "STORAGE_EMULATOR_HOST": origin(ports.storage),
            "CLOUD_TASKS_EMULATOR_HOST": f"{HOST}:{ports.tasks}",
            "CLOUD_EVENTARC_EMULATOR_HOST": origin(ports.eventarc),
            "FIREBASE_CONFIG": json.dumps(
                {
                    "projectId": PROJECT,
                    "storageBucket": BUCKET,
                    "databaseURL": f"{origin(ports.database)}/?ns={DATABASE_NAMESPACE}",
                }
            ),
        }

    def create_user(self, *, claims: Mapping[str, object] | None = None) -> User:
        """Signs up a new user, whose token contains `claims` already (for example a role)."""
        email, password = f"{uuid.uuid4().hex}@example.com", "correct horse"
        signed = seed.sign_up(self.ports, email, password)
        if claims:
            seed.set_claims(self.ports, signed.uid, dict(claims))
            signed = seed.sign_in(self.ports, email, password)
        return User(signed.uid, email, password, signed.id_token)

    def workers(self, function: str) -> list[psutil.Process]:
        """The processes that serve one function right now."""
        return workers_of(self.mark, function)

    def kill_workers(self, function: str) -> int:
        """Sends SIGKILL to every process of one function; its next call starts a new one. Returns how many were killed.

        A call that was waiting for such a process to start never gets an answer from the emulator: give it a timeout.
        """
        workers = self.workers(function)
        end(workers, first=signal.SIGKILL, patience_s=5)
        return len(workers)

    def wait_for_triggers(self, *, within_s: float = 60) -> None:
        """Blocks until the Realtime Database has delivered all its events to the functions.

        Only the stand-in can tell; on Google's emulator a test waits for the effect instead (`eventually`).

        Raises:
            AssertionError: events are left after `within_s`.
        """
        answer = requests.get(
            f"{origin(self.ports.database)}/.control/idle?timeout={within_s}",
            headers={"Authorization": "Bearer owner"},
            timeout=within_s + 5,
        )
        if not answer.ok:
            raise AssertionError(f"the Realtime Database still owes events after {within_s} s: {answer.text}")

    @property
    def can_wait_for_triggers(self) -> bool:
        return "database" in self.stand_ins

    def fire(self, function: str, *, within_s: float = 60) -> requests.Response:
        """Runs a scheduled function now, and waits for its answer."""
        schedule = next(each for each in scheduled_functions(self.ports) if each.function == function)
        return run_once(self.ports, schedule, timeout_s=within_s)


def eventually(probe: Callable[[], T | None], *, what: str, within_s: float = 30) -> T:
    """Calls `probe` until it returns neither None nor False, and returns that; AssertionError after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        found = probe()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {within_s} s")
        time.sleep(0.05)


class SuiteOfSession:
    """The one suite of a pytest session: its workers agree on it through files named after the session."""

    def __init__(self) -> None:
        in_worker = "PYTEST_XDIST_WORKER" in os.environ
        self.session_pid = os.getppid() if in_worker else os.getpid()
        self._folder = LOCAL / "test-suite"
        # Process ids are used again; with the time of its start the name belongs to this session alone.
        self._name = f"{self.session_pid}-{psutil.Process(self.session_pid).create_time():.0f}"
        self._announced = self._folder / f"{self._name}.json"
        self._launcher = self._folder / f"{self._name}.pid"
        self.needing = self._folder / f"{self._name}.needing"
        self._log = self._folder / f"{self._name}.log"
        self._kept = os.environ.get("SUITE_OFFSET")

    def start(self, needing: Sequence[str] = ()) -> None:
        """Begins to start it, unless another worker did or a developer's is used. Returns at once.

        Writes `needing`, the ids of the tests that need it, for the session's scheduler (`scheduling.py`).
        """
        with self._exclusive():
            if needing:
                self.needing.write_text("\n".join(needing))
            if self._kept is None and not self._launcher.exists():
                self._launcher.write_text(str(self._spawn().pid))

    def wait(self) -> RunningSuite:
        """Blocks until it is up. Raises `SuiteFailed`."""
        self.start()
        announced = self._announced if self._kept is None else Places(int(self._kept)).state
        deadline = time.monotonic() + _STARTING_S
        while (state := _read(announced)) is None or not state.ready:
            if time.monotonic() > deadline or not self._may_come_up(state):
                raise SuiteFailed(self._why_not())
            time.sleep(_POLL_S)
        return RunningSuite(state.offset, state.mark, frozenset(state.stand_ins))

    def stop(self) -> None:
        """Ends what this session started. Only the session's main process calls it."""
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):
            launcher = psutil.Process(int(self._launcher.read_text()))
            if "emulators.suite" in launcher.cmdline():
                end([launcher], first=signal.SIGTERM, patience_s=_STOPPING_S)
        for file in self._folder.glob(f"{self._name}.*"):
            file.unlink(missing_ok=True)

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-m",
            "emulators.suite",
            "run",
            "--for-tests",
            "--no-reload",
            "--port-offset",
            "auto",
        ]
        command += ["--owner", str(self.session_pid), "--announce", str(self._announced)]
        with self._log.open("wb") as log:
            return subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _may_come_up(self, state: State | None) -> bool:
        if self._kept is not None:
            return state is not None and psutil.pid_exists(state.pid)
        try:
            return bool(psutil.Process(int(self._launcher.read_text())).status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False

    def _why_not(self) -> str:
        if self._kept is not None:
            start = f"python -m emulators.suite run --for-tests --port-offset {self._kept}"
            return f"SUITE_OFFSET={self._kept}, and no suite runs there: start it with `{start}`"
        return f"the suite did not start:\n{tail(self._log, 60)}"

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _read(path: Path) -> State | None:
    try:
        return State(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
