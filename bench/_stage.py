"""The environment of the benches of an answer: the local suite's stores, a vendor simulator, the `api` function.

The function is served by functions-framework under gunicorn as in production, for a project of its own, so that the
suite's triggers do not run for it and use up the machine. Only processes that were started here are ended.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

ROOT: Final = Path(__file__).resolve().parents[1]
PROJECT: Final = "demo-bench"
API_PORT: Final = 25010
THREADS: Final = 80
_UP_WITHIN_S: Final = 180


@dataclass(frozen=True)
class Stores:
    """A running suite: where its emulators listen."""

    ports: Mapping[str, int]

    def environment(self, vendor: str, project: str = PROJECT) -> dict[str, str]:
        """The environment variables of a function that uses these stores and that vendor."""
        database = f"http://127.0.0.1:{self.ports['database']}/?ns={project}-default-rtdb"
        return {
            "PATH": os.environ["PATH"],
            "FUNCTIONS_EMULATOR": "true",
            "GCLOUD_PROJECT": project,
            "FIREBASE_CONFIG": json.dumps({"projectId": project, "databaseURL": database}),
            "FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{self.ports['firestore']}",
            "FIREBASE_DATABASE_EMULATOR_HOST": f"127.0.0.1:{self.ports['database']}",
            "FIREBASE_AUTH_EMULATOR_HOST": f"127.0.0.1:{self.ports['auth']}",
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{self.ports['storage']}",
            "AI_PLATFORM_BASE_URL": vendor,
            "AI_PLATFORM_API_KEY": "bench",
            "LEDGER_SIGNING_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
            "WELCOME_BONUS_CHECKS": "off",
            "THREADS": str(THREADS),
            "RATE_LIMITS": "messages=100000",
        }

    def sign_up(self, uid: str, project: str = PROJECT) -> str:
        """The ID token of a new user: whoever spends is looked up in Auth."""
        accounts = (
            f"http://127.0.0.1:{self.ports['auth']}/identitytoolkit.googleapis.com/v1/projects/{project}/accounts"
        )
        headers = {"Authorization": "Bearer owner", "Content-Type": "application/json"}
        request = urllib.request.Request(accounts, json.dumps({"localId": uid}).encode(), headers)
        with urllib.request.urlopen(request, timeout=10):
            return _token(uid, project)


@contextmanager
def stores() -> Iterator[Stores]:
    """A fresh suite on free ports, or the one whose announcement BENCH_SUITE names."""
    kept = os.environ.get("BENCH_SUITE")
    if kept:
        yield Stores(json.loads(Path(kept).read_text())["ports"])
        return
    with tempfile.TemporaryDirectory() as folder:
        announced, log = Path(folder) / "state.json", Path(folder) / "log"
        command = [sys.executable, "-m", "emulators.suite", "run", "--for-tests", "--port-offset", "auto"]
        command += ["--owner", str(os.getpid()), "--announce", str(announced)]
        with log.open("wb") as out:
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            yield Stores(_ready(announced, process, log))
        finally:
            process.terminate()
            process.wait(timeout=90)


def _ready(announced: Path, process: subprocess.Popen[bytes], log: Path) -> Mapping[str, int]:
    deadline = time.monotonic() + _UP_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        if announced.exists() and (state := json.loads(announced.read_text() or "{}")).get("ready"):
            ports: Mapping[str, int] = state["ports"]
            return ports
        time.sleep(0.2)
    raise SystemExit(f"the suite did not start:\n{log.read_text()[-2000:]}")


@contextmanager
def vendor(*arguments: str) -> Iterator[str]:
    """A vendor simulator of its own; its base URL, which ends in /v1."""
    command = [sys.executable, "-m", "emulators.model_vendor", "--port", "0", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None or not (line := process.stdout.readline()).startswith("model vendor"):
            raise SystemExit("the vendor simulator did not start")
        yield line.split()[-1]
    finally:
        process.terminate()
        process.wait(timeout=10)


@dataclass(frozen=True)
class Api:
    """The served function."""

    url: str
    process: psutil.Process
    log: Path

    def cpu_s(self) -> float:
        """CPU seconds of its worker so far."""
        return sum(sum(one.cpu_times()[:2]) for one in self._family())

    def memory_mb(self) -> float:
        """Proportional set size of master and worker."""
        return sum(one.memory_full_info().pss for one in self._family()) / 2**20

    def turns(self) -> list[Mapping[str, int]]:
        """Microseconds per phase of every turn that ended, as the function logged them."""
        found: list[Mapping[str, int]] = []
        for line in self.log.read_text().splitlines():
            if '"turn_settled"' in line and line.startswith("{"):
                found.append(json.loads(line)["us"])
        return found

    def _family(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


@contextmanager
def api(environment: Mapping[str, str]) -> Iterator[Api]:
    """Serves functions/main.py's `api` and waits until it answers."""
    command = [sys.executable, "-m", "functions_framework", "--source", "main.py", "--target", "api"]
    command += ["--host", "127.0.0.1", "--port", str(API_PORT)]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "api.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, cwd=ROOT / "functions", env=dict(environment), stdout=out, stderr=subprocess.STDOUT
            )
        try:
            _listening(process, log)
            yield Api(f"http://127.0.0.1:{API_PORT}", psutil.Process(process.pid), log)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _listening(process: subprocess.Popen[bytes], log: Path) -> None:
    url = f"http://127.0.0.1:{API_PORT}/v1/monitoring/info"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(url, timeout=10):
            return
        time.sleep(0.05)
    raise SystemExit(f"the api function did not start:\n{log.read_text()[-2000:]}")


def _token(uid: str, project: str) -> str:
    """An ID token as the Auth emulator makes them: without a signature, good on emulators only."""
    now = int(time.time())
    claims = {
        "iss": f"https://securetoken.google.com/{project}",
        "aud": project,
        "sub": uid,
        "user_id": uid,
        "iat": now,
        "auth_time": now,
        "exp": now + 3600,
        "firebase": {"sign_in_provider": "password", "identities": {}},
    }
    return f"{_part({'alg': 'none', 'typ': 'JWT'})}.{_part(claims)}."


def _part(value: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
