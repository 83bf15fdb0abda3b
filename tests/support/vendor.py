"""The model vendor simulator as a process of its own, with its control interface for tests."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Vendor:
    """A running simulator; `base_url` ends in /v1."""

    base_url: str

    def reset(self) -> None:
        """Forgets requests, arranged faults and cached prompts."""
        self._control("POST", "reset", {})

    def arrange(
        self, fault: str, *, times: int | None = 1, contains: str | None = None, model: str | None = None
    ) -> None:
        """The next `times` requests that match meet this fault."""
        self._control("POST", "faults", {"fault": fault, "times": times, "contains": contains, "model": model})

    def requests(self, *, wait_ms: int | None = 5000) -> list[dict[str, object]]:
        """The requests that it received, oldest first, after none is in flight any more."""
        path = "requests" if wait_ms is None else f"requests?wait_ms={wait_ms}"
        found = self._control("GET", path)["requests"]
        assert isinstance(found, list)
        return found

    def picture(self) -> str:
        """The address of a picture that the simulator painted, 1024 pixels square."""
        body = {"model": "sim-image", "prompt": "a red boat on a blue sea", "response_format": "url"}
        request = urllib.request.Request(
            f"{self.base_url}/images/generations",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": "Bearer test"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(json.load(answer)["data"][0]["url"])

    def _control(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, object]:
        request = urllib.request.Request(
            self.base_url.removesuffix("/v1") + f"/__sim/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            parsed = json.load(answer)
        assert isinstance(parsed, dict)
        return parsed


@contextmanager
def running(*arguments: str, port: int = 0) -> Iterator[Vendor]:
    """Starts a simulator and stops it again; port 0 takes a free one."""
    command = [sys.executable, "-m", "emulators.model_vendor", "--port", str(port), *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("model vendor simulator on "), f"the simulator said {line!r}"
        yield Vendor(line.split()[-1])
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture(scope="session")
def vendor_process() -> Iterator[Vendor]:
    """One simulator without delays for the whole session."""
    with running("--fast") as vendor:
        yield vendor


@pytest.fixture
def vendor(vendor_process: Vendor) -> Vendor:
    """The simulator, with nothing remembered from other tests."""
    vendor_process.reset()
    return vendor_process
