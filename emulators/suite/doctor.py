"""Says what the machine has and lacks, one line each. It changes nothing."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from emulators.suite.chromium import find_chromium
from emulators.suite.environment import FUNCTIONS, function_variables
from emulators.suite.functions_source import deployed_functions
from emulators.suite.install import STEPS, Step, Unable
from emulators.suite.jars import find_jars
from emulators.suite.java import find_java
from emulators.suite.places import Ports
from emulators.suite.registry import refuse_busy_ports, running

Finding = tuple[bool, str, str]


@dataclass(frozen=True)
class Check:
    """One thing to look at: `look` returns what was found, or raises `Unable`."""

    name: str
    look: Callable[[], str]


def examine(offset: int) -> list[Finding]:
    """Every check as (fine, name, what was found or what to do)."""
    checks = [
        Check("node", partial(_version, "node")),
        Check("npm", partial(_version, "npm")),
        *(Check(step.name, partial(_step, step)) for step in STEPS),
        Check("java", _java),
        *(Check(f"{name} emulator", partial(_jar, name)) for name in ("firestore", "database", "storage")),
        Check("functions", _functions),
        Check("model vendor", partial(_vendor, offset)),
        Check("chromium", _chromium),
        Check("ports", partial(_ports, offset)),
    ]
    return [_perform(check) for check in checks]


def _perform(check: Check) -> Finding:
    try:
        return True, check.name, check.look()
    except Unable as problem:
        return False, check.name, str(problem)


def _version(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise Unable("missing: install Node.js 20 or newer with npm")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return f"{said.stdout.strip()} ({path})"


def _step(step: Step) -> str:
    if not step.is_done():
        raise Unable("not up to date: `make setup`")
    return "installed as locked"


def _java() -> str:
    java = find_java()
    return f"{java.version}, from {java.found}"


def _jar(emulator: str) -> str:
    jar = find_jars(download=False)[emulator]
    return f"{jar.whose}: {jar.found}"


def _functions() -> str:
    main = FUNCTIONS / "main.py"
    if not main.is_file():
        raise Unable("functions/main.py is missing")
    return ", ".join(sorted(deployed_functions(main))) or "main.py deploys nothing"


def _vendor(offset: int) -> str:
    variables = function_variables(Ports.at(offset), users_own=True)
    return "simulated" if variables.simulates_models else "yours: AI_PLATFORM_API_KEY is set"


def _chromium() -> str:
    found = find_chromium()
    return str(found) if found else "none, so browser tests are skipped; install chromium or set CHROMIUM_PATH"


def _ports(offset: int) -> str:
    claim = running(offset)
    if claim is not None:
        return f"in use by this checkout's own suite (process {claim.pid})"
    refuse_busy_ports(offset)
    return "all free"
