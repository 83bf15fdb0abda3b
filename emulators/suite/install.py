"""Installs what the lock files name: uv, the Python environment, the npm packages.

Run by the system's Python 3.11 before any environment exists, so it uses the standard library only. Each step is
skipped when the lock files it stands on are those of the last time.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / ".local"
STAMPS = LOCAL / "stamps"
REQUIREMENTS = ROOT / "requirements-dev.txt"
UV = LOCAL / "uv" / "bin" / "uv"
VENV_PYTHON = ROOT / ".venv" / "bin" / "python"
OLDEST_NODE = 20


class Unable(Exception):
    """Set-up cannot go on. The message is one sentence that says what to do."""


@dataclass(frozen=True)
class Step:
    """One piece of set-up: skipped when `product` exists and `inputs` are those of the last run."""

    name: str
    says: str
    product: Path
    inputs: tuple[Path, ...]
    run: Callable[[Path], None]

    def fingerprint(self) -> str:
        digest = hashlib.sha256(sys.version.encode())
        for path in self.inputs:
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def is_done(self) -> bool:
        stamp = STAMPS / self.name
        return self.product.exists() and stamp.exists() and stamp.read_text() == self.fingerprint()

    def perform(self) -> None:
        """Run it, with its output in `.local/logs/setup-<name>.log`, and remember that it is done."""
        log = LOCAL / "logs" / f"setup-{self.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        print(f"  {self.says} ...", flush=True)
        self.run(log)
        STAMPS.mkdir(parents=True, exist_ok=True)
        (STAMPS / self.name).write_text(self.fingerprint())


def install() -> None:
    """Bring the checkout's tools up to date. Safe to call at any time, and from several processes at once."""
    _require_python()
    _require_node()
    with alone():
        for step in STEPS:
            if not step.is_done():
                step.perform()
        _link_functions_venv()


def _require_python() -> None:
    if sys.version_info[:2] != (3, 11):
        found = ".".join(map(str, sys.version_info[:2]))
        raise Unable(
            f"The functions run on Python 3.11 and this is {found}: "
            "install python3.11, or call make with PYTHON=<path to it>."
        )


def _require_node() -> None:
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        raise Unable(
            f"Node.js is missing: install Node.js {OLDEST_NODE} or newer with npm (firebase-tools runs on it)."
        )
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < OLDEST_NODE:
        raise Unable(f"Node.js {version} is too old for firebase-tools: install Node.js {OLDEST_NODE} or newer.")


def _install_uv(log: Path) -> None:
    run_command([sys.executable, "-m", "venv", "--clear", str(LOCAL / "uv")], log)
    pinned = LOCAL / "uv" / "requirements.txt"
    pinned.write_text(pinned_requirement(REQUIREMENTS.read_text(), "uv"))
    pip = [str(LOCAL / "uv" / "bin" / "python"), "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps"]
    run_command([*pip, "-r", str(pinned)], log)


def pinned_requirement(lock: str, name: str) -> str:
    """The one entry of a hashed requirements file that pins `name`, hashes included."""
    entry = re.search(rf"^{re.escape(name)}==.*(?:\n[ \t]+--hash.*)+", lock, re.MULTILINE)
    if entry is None:
        raise Unable(f"{REQUIREMENTS.name} pins no {name}: run `make lock`.")
    return entry[0] + "\n"


def _install_python_packages(log: Path) -> None:
    if not _venv_fits():
        shutil.rmtree(ROOT / ".venv", ignore_errors=True)
        run_command([str(UV), "venv", "--quiet", "--python", sys.executable, str(ROOT / ".venv")], log)
    sync = [str(UV), "pip", "sync", "--quiet", "--python", str(VENV_PYTHON), "--require-hashes"]
    run_command([*sync, str(REQUIREMENTS)], log)


def _venv_fits() -> bool:
    """Whether .venv is there, whole, and of this Python."""
    try:
        made_for = (ROOT / ".venv" / "pyvenv.cfg").read_text()
    except OSError:
        return False
    return VENV_PYTHON.exists() and re.search(r"^version(_info)?\s*=\s*3\.11\b", made_for, re.MULTILINE) is not None


def _install_npm_packages(log: Path) -> None:
    if not _npm_packages_are_current():
        # No package that we use needs its install script, and none of them should run unasked.
        run_command(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], log)


def _npm_packages_are_current() -> bool:
    """Whether node_modules holds what the lock file says, whoever put it there: `npm ci` takes minutes."""
    try:
        wanted = json.loads((ROOT / "package-lock.json").read_text())["packages"]
        present = json.loads((ROOT / "node_modules" / ".package-lock.json").read_text())["packages"]
    except (OSError, ValueError, KeyError):
        return False
    return all(
        details.get("optional") or present.get(path, {}).get("version") == details.get("version")
        for path, details in wanted.items()
        if path
    )


def _link_functions_venv() -> None:
    # firebase-tools insists on `<source>/venv`; a link is enough.
    link = ROOT / "functions" / "venv"
    if not link.is_symlink() and not link.exists():
        link.symlink_to(Path("..") / ".venv")


def run_command(command: list[str], log: Path) -> None:
    """Run one command with its output in `log`; on failure say which, and show the end of what it wrote."""
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    environment.pop("VIRTUAL_ENV", None)
    with log.open("ab") as output:
        code = subprocess.call(
            command, cwd=ROOT, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise Unable(
            f"`{' '.join(command[:4])} ...` failed with code {code}; the end of {log.relative_to(ROOT)}:\n{tail}"
        )


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Nobody else of this checkout installs anything meanwhile."""
    LOCAL.mkdir(exist_ok=True)
    with (LOCAL / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


STEPS = (
    Step("uv", "uv, the installer", UV, (REQUIREMENTS,), _install_uv),
    Step("python", "Python packages into .venv", VENV_PYTHON, (REQUIREMENTS,), _install_python_packages),
    Step(
        "npm",
        "npm packages into node_modules (minutes, the first time)",
        ROOT / "node_modules" / "firebase-tools",
        (ROOT / "package.json", ROOT / "package-lock.json"),
        _install_npm_packages,
    ),
)


def main() -> None:
    """Install, or end with the one sentence that says why not."""
    try:
        install()
    except Unable as problem:
        sys.exit(f"set-up stopped: {problem}")
    except KeyboardInterrupt:
        sys.exit("set-up interrupted; run the same command again to go on")


if __name__ == "__main__":
    main()
