"""Cold start: from a fresh process to the first answer, against a bare firebase-functions hello world.

    python bench/cold_start.py [--runs 25]

Served by functions-framework with gunicorn, as in production; the two are started in turns, and a ratio is the median
of the ratios of neighbours, because a machine that is shared slows down and speeds up within a run. Dependencies are
three tiny servers, so that health has somebody to ask. CPU is that of the master and the worker together. The
container's download and sandbox are not part of it. Fails when a ratio is above the bound.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import psutil

ROOT: Final = Path(__file__).resolve().parents[1]
PORT: Final = 24400
BOUND: Final = 1.10
HEALTH: Final = "/v1/monitoring/health"
HELLO: Final = """
from firebase_functions import https_fn

@https_fn.on_request()
def api(request: https_fn.Request) -> https_fn.Response:
    return https_fn.Response("hello world")
"""
LISTING: Final = """
import sys
sys.argv = ["x"]
import firebase_functions.https_fn
before = set(sys.modules)
import main
imported = set(sys.modules)
from werkzeug.test import Client
Client(main.process.system().edge).get("/v1/monitoring/health")
answered = set(sys.modules)
top = lambda names: " ".join(sorted({name.partition(".")[0] for name in names})) or "nothing"
print("import main adds:", top(imported - before))
print("the first health answer adds:", top(answered - imported))
print("of ours:", " ".join(sorted(name for name in answered if name.startswith("app."))))
"""


@dataclass(frozen=True)
class Start:
    """One fresh process: seconds until its first answer, CPU seconds and megabytes used until then."""

    wall_s: float
    cpu_s: float
    memory_mb: float


class _Quiet(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing."""


def main() -> int:
    """Measures, prints, and returns 1 when the bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=25)
    runs: int = parser.parse_args().runs
    environment = _environment(_dependency())
    ours: list[Start] = []
    bare: list[Start] = []
    with tempfile.TemporaryDirectory() as folder:
        hello = Path(folder) / "main.py"
        hello.write_text(HELLO)
        kinds = [(bare, hello, "/"), (ours, ROOT / "functions" / "main.py", HEALTH)]
        for run in range(runs + 1):
            for found, source, path in kinds if run % 2 else reversed(kinds):
                start = _start(source, path, environment)
                if run:  # the first of each warms the disk's cache and compiles
                    found.append(start)
    return _report(bare, ours, environment)


def _start(source: Path, path: str, environment: Mapping[str, str]) -> Start:
    command = [sys.executable, "-m", "functions_framework", "--source", str(source), "--target", "api"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(PORT)], env=dict(environment), cwd=source.parent
    )
    try:
        _wait_for_answer(f"http://127.0.0.1:{PORT}{path}", process)
        wall = time.perf_counter() - began
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        cpu = sum(sum(member.cpu_times()[:2]) for member in family)
        memory = sum(member.memory_full_info().pss for member in family) / 2**20
        return Start(wall, cpu, memory)
    finally:
        process.terminate()
        process.wait()


def _wait_for_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(url, timeout=30) as answer:
            answer.read()
            return
        time.sleep(0.002)
    raise SystemExit(f"the process for {url} ended with {process.returncode}")


def _dependency() -> str:
    server = ThreadingHTTPServer(("127.0.0.1", PORT + 1), _Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"127.0.0.1:{PORT + 1}"


def _environment(dependency: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "GCLOUD_PROJECT": "demo-credits",
        "FIREBASE_CONFIG": '{"projectId": "demo-credits"}',
        "FIRESTORE_EMULATOR_HOST": dependency,
        "FIREBASE_DATABASE_EMULATOR_HOST": dependency,
        "AI_PLATFORM_BASE_URL": f"http://{dependency}/v1",
        "AI_PLATFORM_API_KEY": "bench",
        "LEDGER_SIGNING_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        "WELCOME_BONUS_CHECKS": "off",
        "THREADS": "80",
    }


def _report(bare: list[Start], ours: list[Start], environment: Mapping[str, str]) -> int:
    print(f"{'':24}{'wall median (min)':>20}{'cpu median (min)':>20}{'memory':>10}")
    for name, found in (("hello world", bare), ("api, first health", ours)):
        print(f"{name:24}{_seconds([s.wall_s for s in found])}{_seconds([s.cpu_s for s in found])}{_memory(found)}")
    wall = _median([mine.wall_s / hello.wall_s for mine, hello in zip(ours, bare, strict=True)])
    cpu = _median([mine.cpu_s / hello.cpu_s for mine, hello in zip(ours, bare, strict=True)])
    print(f"{'ratio of neighbours':24}{wall:>18.2f} x{cpu:>18.2f} x   (n = {len(ours)}, bound {BOUND})")
    listing = subprocess.run(
        [sys.executable, "-c", LISTING], cwd=ROOT / "functions", env=dict(environment), check=True, capture_output=True
    )
    print(listing.stdout.decode().strip())
    return 0 if max(wall, cpu) <= BOUND else 1


def _median(values: list[float]) -> float:
    return statistics.median(values)


def _seconds(values: list[float]) -> str:
    return f"{_median(values):>11.3f} ({min(values):.3f})"


def _memory(starts: list[Start]) -> str:
    return f"{_median([start.memory_mb for start in starts]):>7.0f} MB"


if __name__ == "__main__":
    raise SystemExit(main())
