"""`make run` at another offset, from the recipe in the Makefile to Ctrl-C."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from emulators.suite import registry
from emulators.suite.install import ROOT
from emulators.suite.places import FIRST_WORKER_PORT, Places, Ports, origin
from emulators.suite.processes import marked
from support.suite import eventually

pytestmark = pytest.mark.suite

_STARTING_S = 200
_STOPPING_S = 90


def _readmes_offset() -> int:
    return int(re.findall(r"PORT_OFFSET=(\d+) make run", (ROOT / "README.md").read_text())[0])


def _recipe() -> str:
    """What `make run` executes after the set-up, which is done already where tests run."""
    # Under another make, as in the build, a make says where it goes and takes over the other one's options.
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--no-print-directory", "--dry-run", "run"]
    shown = subprocess.run(command, cwd=ROOT, env=outside, capture_output=True, text=True, check=True)
    return shown.stdout.splitlines()[-1]


@pytest.fixture
def places() -> Iterator[Places]:
    """README's offset, or the nearest where nobody listens and no data of an earlier run is kept."""
    offsets = registry.working_offsets(near=_readmes_offset())
    places = next(places for places in map(Places, offsets) if not places.data.exists())
    yield places
    for folder in (places.data, places.logs, places.work):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(places: Places, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PORT_OFFSET": str(places.offset)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-c", _recipe()], cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_make_run_at_another_offset_answers_and_stops(places: Places, tmp_path: Path) -> None:
    ports, log = Ports.at(places.offset), tmp_path / "log"
    with _running(places, log) as process:

        def is_up() -> bool:
            assert process.poll() is None, log.read_text()
            return "up; Ctrl-C stops everything" in log.read_text()

        eventually(is_up, what=f"the start of a suite at offset {places.offset}", within_s=_STARTING_S)
        assert f"{origin(ports.hosting)}/api/v1/docs/swagger" in log.read_text()
        page = requests.get(origin(ports.hosting), timeout=10)
        assert (page.status_code, page.headers["Content-Type"].partition(";")[0]) == (200, "text/html")
        assert requests.get(origin(ports.hosting) + "/api/v1/monitoring/health", timeout=60).json()["status"] == "ok"
        # Above are the workers' ports, and those that the kernel gives to whoever asks for any.
        assert {port for port in _listening(places) if port < FIRST_WORKER_PORT} <= set(ports.named().values())
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=_STOPPING_S) == 0
    assert "stopped, data kept" in log.read_text()
    assert not marked(places.mark)
    assert registry.running(places.offset) is None


def _listening(places: Places) -> set[int]:
    return {
        connection.laddr.port
        for process in marked(places.mark)
        for connection in process.net_connections(kind="tcp")
        if connection.status == "LISTEN"
    }
