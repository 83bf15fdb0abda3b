"""`java` as firebase-tools finds it: our stand-ins run in Python, all else in the real Java."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emulators.suite.install import ROOT
from emulators.suite.java import find_java

SHIM = ROOT / "emulators" / "java" / "java"


def _run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    everything = {**os.environ, "SUITE_PYTHON": sys.executable, **environment}
    return subprocess.run(
        [str(SHIM), *arguments], env=everything, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_marker_jar_runs_the_stand_in_with_its_options(tmp_path: Path) -> None:
    done = _run("-Duser.language=en", "-jar", str(tmp_path / "standin-storage-rules.jar"), "serve")
    assert done.returncode == 0
    assert '"status":"ok"' in done.stdout


def test_everything_else_goes_to_the_real_java() -> None:
    done = _run("-version", SUITE_JAVA=str(find_java().path))
    assert f'version "{find_java().version}' in done.stderr


def test_any_other_jar_does_too(tmp_path: Path) -> None:
    fake = tmp_path / "java"
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)
    assert _run("-jar", "some.jar", "--port", "1", SUITE_JAVA=str(fake)).stdout == "-jar some.jar --port 1\n"


def test_without_a_real_java_it_says_how_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUITE_JAVA", raising=False)
    done = _run("-version")
    assert done.returncode == 1
    assert "make run" in done.stderr
