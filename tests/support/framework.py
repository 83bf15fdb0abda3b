"""functions-framework in a process of its own, with gunicorn as in production."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_connection, socket
from time import monotonic

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"


@contextmanager
def serving(source: Path, target: str, env: Mapping[str, str]) -> Iterator[str]:
    """The base URL of `target` of `source`, while it is served."""
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_EMULATOR_HOST")}
    process = subprocess.Popen(
        [sys.executable, "-m", "functions_framework", "--source", str(source), "--target", target,
         "--host", "127.0.0.1", "--port", str(port)],
        env={**clean, "PYTHONPATH": str(FUNCTIONS), "THREADS": "16", **env},
        cwd=source.parent,
    )  # fmt: skip
    try:
        wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], *, patience_s: float = 60) -> None:
    """Returns when the port takes connections; raises when the process ends before, or takes too long."""
    until = monotonic() + patience_s
    while process.poll() is None and monotonic() < until:
        with suppress(OSError), create_connection(("127.0.0.1", port), timeout=1):
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise AssertionError(f"nothing listens on {port}; the process returned {process.poll()}")


def status_of(url: str) -> int:
    """The status with which a GET is answered."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
