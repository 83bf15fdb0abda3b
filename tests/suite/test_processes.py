"""Nothing survives its parent, and only what carries the mark is ended."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import psutil
import pytest

from emulators.suite.processes import LEASH, MARK, end, end_orphans, marked, spawn, workers_of

SLEEP = [sys.executable, "-c", "import signal; signal.pause()"]
linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ties a child to its parent")


@pytest.fixture
def mark() -> str:
    return f"test#{uuid.uuid4()}"


def _started(mark: str, tmp_path: Path, **environment: str) -> psutil.Process:
    env = {**os.environ, MARK: mark, **environment}
    started = psutil.Process(spawn(SLEEP, log=tmp_path / "log", cwd=tmp_path, env=env).pid)
    _wait_until_tied(started)
    return started


class TestMark:
    def test_marked_processes_are_found_and_ended(self, mark: str, tmp_path: Path) -> None:
        started = _started(mark, tmp_path)
        assert marked(mark) == [started]
        assert end(marked(mark), first=signal.SIGTERM, patience_s=10) == []
        assert marked(mark) == []

    def test_others_are_not_touched(self, mark: str, tmp_path: Path) -> None:
        stranger = _started("somebody else's", tmp_path)
        end_orphans(marked(mark), patience_s=0.1)
        assert stranger.is_running()
        end([stranger], first=signal.SIGKILL, patience_s=10)

    def test_one_functions_workers_are_told_from_anothers(self, mark: str, tmp_path: Path) -> None:
        api = _started(mark, tmp_path, FUNCTION_TARGET="api")
        sweep = _started(mark, tmp_path, FUNCTION_TARGET="sweep")
        assert workers_of(mark, "api") == [api]
        end([api, sweep], first=signal.SIGKILL, patience_s=10)

    def test_what_ignores_a_request_is_killed(self, mark: str, tmp_path: Path) -> None:
        ready = tmp_path / "ready"
        os.mkfifo(ready)
        deaf = f"import signal; signal.signal(15, signal.SIG_IGN); open({str(ready)!r}, 'w').close(); signal.pause()"
        spawn([sys.executable, "-c", deaf], log=tmp_path / "log", cwd=tmp_path, env={**os.environ, MARK: mark})
        ready.read_text()  # returns when the other side has stopped listening to SIGTERM
        assert len(end(marked(mark), first=signal.SIGTERM, patience_s=0.2)) == 1
        assert marked(mark) == []


@linux_only
class TestLeash:
    def test_a_child_dies_with_a_killed_parent(self, mark: str, tmp_path: Path) -> None:
        leash = [sys.executable, "-S", "-E", str(LEASH)]
        parent = (
            "import os, subprocess; "
            f"p = subprocess.Popen([*{leash!r}, str(os.getpid()), *{SLEEP!r}]); print(p.pid, flush=True); p.wait()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, env={**os.environ, MARK: mark}
        ) as running:
            assert running.stdout is not None
            tied = psutil.Process(int(running.stdout.readline()))
            _wait_until_tied(tied)
            running.kill()
        gone, _ = psutil.wait_procs([tied], timeout=20)
        assert gone == [tied]

    def test_a_functions_worker_ties_itself_without_a_word_in_its_code(self, tmp_path: Path) -> None:
        parent = (
            "import subprocess, sys; "
            f"p = subprocess.Popen([sys.executable, '-c', {_PRINTS_AND_WAITS!r}], stdout=subprocess.PIPE, text=True); "
            "print(p.pid, p.stdout.readline(), flush=True); p.wait()"
        )
        environment = {**os.environ, "PYTHONPATH": str(LEASH.parent), "FUNCTIONS_EMULATOR": "true"}
        with subprocess.Popen(
            [sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, env=environment
        ) as run:
            assert run.stdout is not None
            worker = psutil.Process(int(run.stdout.readline().split()[0]))
            run.kill()
        gone, _ = psutil.wait_procs([worker], timeout=20)
        assert gone == [worker]


_PRINTS_AND_WAITS = "import signal; print('ready', flush=True); signal.pause()"


def _wait_until_tied(process: psutil.Process) -> None:
    """The leash becomes the program by exec, after the tie is made."""
    while process.cmdline() != SLEEP:
        os.sched_yield()
