"""Worker processes behind a Realtime Database of their own, whose triggers are duplicated, delayed, dropped and
reordered. Starts and kills the workers and sends them events; knows no operation.
"""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import requests

from emulators.suite.environment import function_variables
from rtdb.harness import OWNER, TIMEOUT, EmulatorProcess
from support.suite import RunningSuite

ROOT: Final = Path(__file__).resolve().parents[2]
_NAMESPACE: Final = "fleet"
_TICK_S: Final = 1.0


class Fleet:
    """`size` workers, a scheduler that calls the sweeper, and `send` and `insist` for clients."""

    def __init__(self, suite: RunningSuite, log: Path, size: int = 2) -> None:
        self._log = log.open("wb")
        self.died_over = 0
        """How many requests the death of a worker has cut off."""
        self._next = count()
        self._ended = threading.Event()
        self._dispatcher = self._dispatch()
        address = ("--functions_emulator_host", "127.0.0.1", "--functions_emulator_port")
        self.database = EmulatorProcess("--control", *address, str(self._dispatcher.server_port))
        self._register()
        self._environment = self._variables(suite)
        self._workers = [self._start() for _ in range(size)]
        self._scheduler = threading.Thread(target=self._tick, daemon=True)
        self._scheduler.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._scheduler.join(TIMEOUT)
        for process, _ in self._workers:
            _end(process)
        self.database.close()
        self._dispatcher.shutdown()
        self._dispatcher.server_close()
        self._log.close()

    def faults(self, **faults: float) -> None:
        """Sets the faults of the triggers' events from now on."""
        answer = requests.put(self.database.url + "/.control/faults", json=faults, headers=OWNER, timeout=TIMEOUT)
        assert answer.ok, answer.text

    def kill(self, index: int) -> None:
        """Kills one worker (SIGKILL) and starts a new one in its place."""
        process, _ = self._workers[index]
        _end(process)
        self._workers[index] = self._start()

    def send(self, path: str, body: object) -> int:
        """Sends a request to the next worker. Returns the status, 502 when the worker died meanwhile."""
        _, port = self._workers[next(self._next) % len(self._workers)]
        try:
            return requests.post(f"http://127.0.0.1:{port}{path}", json=body, timeout=300).status_code
        except requests.RequestException:
            self.died_over += 1
            return 502

    def insist(self, path: str, body: object) -> None:
        """Repeats a request until it is answered with 200, as a client does."""
        for _ in range(50):
            if self.send(path, body) == 200:
                return
        raise AssertionError(f"{path} was never taken")

    def _start(self) -> tuple["subprocess.Popen[bytes]", int]:
        command = [sys.executable, "-m", "support.worker"]
        process = subprocess.Popen(
            command, cwd=ROOT, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "a worker did not start"
        return process, int(line)

    def _variables(self, suite: RunningSuite) -> dict[str, str]:
        database = f"{self.database.url}/?ns={_NAMESPACE}"
        return {
            **os.environ,
            **suite.environment(),
            **function_variables(suite.ports, users_own=False).values,
            "FUNCTIONS_EMULATOR": "true",
            "FIREBASE_DATABASE_EMULATOR_HOST": self.database.host,
            "FIREBASE_CONFIG": json.dumps(
                {"projectId": suite.environment()["GCLOUD_PROJECT"], "databaseURL": database}
            ),
            "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("functions", "tests", ".")),
            "WORKER_CLOCK_FROM_US": str(time.time_ns() // 1000),
        }

    def _register(self) -> None:
        body = {
            "name": "projects/demo/locations/us-central1/triggers/us-central1-run_operation-0",
            "path": "orchestration/queue/{lane}/{ticket}",
            "event": "google.firebase.database.ref.v1.created",
            "topic": "projects/demo/topics/run_operation",
            "namespacePattern": _NAMESPACE,
        }
        url = self.database.url + "/.settings/functionTriggers.json"
        answer = requests.post(url, json=body, headers=OWNER, timeout=TIMEOUT)
        assert answer.ok, answer.text

    def _dispatch(self) -> ThreadingHTTPServer:
        """The server that the Realtime Database takes for the functions emulator."""
        fleet = self

        class Requests(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(fleet.send("/", event))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def _tick(self) -> None:
        while not self._ended.wait(_TICK_S):
            self.send("/sweep", {})


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait(TIMEOUT)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
