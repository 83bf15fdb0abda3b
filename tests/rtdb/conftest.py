"""One emulator process and one node process for all tests; a namespace of its own for each."""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import pytest

from rtdb.harness import ROOT, EmulatorProcess, Namespace
from rtdb_emulator.json_text import Json, dumps, loads

_NUMBERS: Final = itertools.count(1)
_DRIVER: Final = Path(__file__).parent / "js" / "driver.mjs"


@pytest.fixture(scope="session")
def emulator() -> Iterator[EmulatorProcess]:
    """The emulator, with the control API on and keep-alives short enough to see."""
    with EmulatorProcess("--control", "--keep-alive-seconds", "0.5", "--poll-hold-seconds", "0.5") as process:
        yield process


@pytest.fixture
def ns(emulator: EmulatorProcess) -> Namespace:
    """A namespace that nobody else uses."""
    return Namespace(emulator, f"ns{next(_NUMBERS)}")


@pytest.fixture
def start() -> Iterator[Callable[..., EmulatorProcess]]:
    """Starts further emulators, which are gone after the test."""
    running: list[EmulatorProcess] = []

    def start_one(*options: str, **environment: str) -> EmulatorProcess:
        running.append(EmulatorProcess(*options, environment=environment))
        return running[-1]

    yield start_one
    for process in running:
        process.close()


class Js(Protocol):
    """Runs a case of a module in tests/rtdb/js with the real SDK."""

    def __call__(self, module: str, case: str, ns: Namespace, input: Json = None) -> Any: ...


@pytest.fixture(scope="session")
def node() -> Iterator[Callable[[Json], Json]]:
    """The node process."""
    if shutil.which("node") is None or not (ROOT / "node_modules/firebase").is_dir():
        pytest.skip("needs node and node_modules/firebase (npm ci)")
    # The SDK prefers FIREBASE_DATABASE_EMULATOR_HOST, which a test of the suite may have set in this process, to the
    # address that it is given. Our rules would then stand in one database and its writes in the other.
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_EMULATOR_HOST")}
    process = subprocess.Popen(
        ["node", str(_DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr.fileno(), env=environ
    )

    def ask(command: Json) -> Json:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(dumps(command) + b"\n")
        process.stdin.flush()
        return loads(process.stdout.readline())

    yield ask
    process.kill()
    process.wait()


@pytest.fixture
def js(node: Callable[[Json], Json]) -> Js:
    """`js(module, case, ns, input)` gives what the case returns."""

    def run(module: str, case: str, ns: Namespace, input: Json = None) -> Any:
        command: Json = {"module": module, "case": case, "ns": ns.name, "host": ns.emulator.host, "input": input}
        answer = node(command)
        assert isinstance(answer, dict)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    return run
