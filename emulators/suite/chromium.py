"""Finds a Chromium for the browser tests, and installs one where nobody would mind: as root, on a build server."""

import os
import shutil
import subprocess
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_INSTALL_S = 300


def find_chromium() -> Path | None:
    """CHROMIUM_PATH, the system's, or the one that Playwright keeps."""
    named = os.environ.get("CHROMIUM_PATH")
    if named and Path(named).is_file():
        return Path(named)
    for name in _NAMES:
        if found := shutil.which(name):
            return Path(found)
    kept = sorted((Path.home() / ".cache" / "ms-playwright").glob("chromium-*/chrome-linux*/chrome"))
    return kept[-1] if kept else None


def ensure_chromium() -> None:
    """Try apt-get when it is missing, CI=true, and we are root. A failure only means that browser tests are skipped."""
    may_install = os.environ.get("CI") == "true" and os.geteuid() == 0 and shutil.which("apt-get")
    if find_chromium() or not may_install:
        return
    print("  Chromium, for the browser tests ...", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]):
        try:
            subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_INSTALL_S, check=True
            )
        except (OSError, subprocess.SubprocessError) as failure:
            print(f"  ... could not be installed, browser tests will be skipped: {failure}", flush=True)
            return
