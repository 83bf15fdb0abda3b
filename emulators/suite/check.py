"""`make check`: everything that can be said about the code without running it, in one go, each with one line."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emulators.storage_rules.runtime import answer
from emulators.suite.install import ROOT, UV, VENV_PYTHON

_DATABASE_RULES = ("-m", "rtdb_emulator.rules", "check", "database.rules.json")
_BIN = VENV_PYTHON.parent
_NPM_LOCK = ROOT / "package-lock.json"
_ADDRESS = re.compile(r'\n\s*"resolved": "[^"]*",')
# lock file -> what `uv pip compile` is told
_LOCKS = {
    "functions/requirements.txt": ("pyproject.toml",),
    "requirements-dev.txt": ("pyproject.toml", "--group", "dev"),
    "training/requirements.txt": ("training/requirements.in",),
    "emulators/local_model/requirements.txt": ("emulators/local_model/requirements.in", "--no-deps"),
}


@dataclass(frozen=True)
class Check:
    """One check: `problems` returns nothing when all is well, or what to read."""

    name: str
    problems: Callable[[], str]


def _command(*arguments: str, import_root: Path = ROOT) -> Callable[[], str]:
    def run() -> str:
        environment = {**os.environ, "PYTHONPATH": str(import_root)}
        done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else (done.stdout + done.stderr).strip() or f"exit code {done.returncode}"

    return run


def _python_locks() -> str:
    """Resolve again, starting from the lock: a difference means that pyproject.toml has moved on."""
    for name, options in _LOCKS.items():
        lock = ROOT / name
        with tempfile.TemporaryDirectory() as folder:
            fresh = Path(folder) / lock.name
            shutil.copy(lock, fresh)
            command = [str(UV), "pip", "compile", "--python", "3.11", "--generate-hashes", "--quiet"]
            command += ["--no-header", "--no-annotate", *options, "-o", str(fresh)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                return f"{name} could not be resolved: {done.stderr.strip()}"
            if fresh.read_text() != lock.read_text():
                return f"{name} is not what {options[0]} asks for: run `make lock`"
    return ""


def _npm_lock() -> str:
    text = _NPM_LOCK.read_text()
    if _ADDRESS.search(text):
        return "package-lock.json names a registry: run `make lock`"
    wanted = json.loads((ROOT / "package.json").read_text()).get("dependencies")
    locked = json.loads(text)["packages"][""].get("dependencies")
    return "" if wanted == locked else "package-lock.json is not what package.json asks for: run `make lock`"


def _storage_rules() -> str:
    file = {"name": "storage.rules", "content": (ROOT / "storage.rules").read_text()}
    reply = answer({"action": "load_ruleset", "id": 1, "context": {"source": {"files": [file]}}})
    errors = reply["errors"]
    return "\n".join(map(str, errors)) if isinstance(errors, list) else ""


def strip_addresses() -> None:
    """Take the registry's addresses out of npm's lock file: they are a property of one machine."""
    _NPM_LOCK.write_text(_ADDRESS.sub("", _NPM_LOCK.read_text()))


CHECKS = (
    Check("format", _command(str(_BIN / "ruff"), "format", "--check", "--quiet", ".")),
    Check("lint", _command(str(_BIN / "ruff"), "check", "--quiet", ".")),
    Check("imports", _command(str(_BIN / "lint-imports"), import_root=ROOT / "functions")),
    Check("house limits", _command(str(VENV_PYTHON), "-m", "architecture.house", import_root=ROOT / "tests")),
    Check("database rules", _command(str(VENV_PYTHON), *_DATABASE_RULES, import_root=ROOT / "emulators" / "rtdb")),
    Check("storage rules", _storage_rules),
    Check("python locks", _python_locks),
    Check("npm lock", _npm_lock),
    Check("types", _command(str(_BIN / "mypy"))),
)


def main() -> int:
    """Run every check, whatever the others say; the exit code counts those that failed."""
    failed = 0
    for check in CHECKS:
        began = time.monotonic()
        problems = check.problems()
        failed += bool(problems)
        print(f"{'FAILED' if problems else 'ok':7} {check.name} ({time.monotonic() - began:.1f} s)", flush=True)
        if problems:
            print(problems)
    return failed


if __name__ == "__main__":
    if "--strip-addresses" in sys.argv:
        strip_addresses()
    else:
        sys.exit(main())
