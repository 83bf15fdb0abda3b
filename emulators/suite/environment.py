"""What the suite's processes are told: firebase's configuration with our ports, and the environment of the functions.

Precedence for the functions' own variables: the shell's environment, functions/.env.local, functions/.env, the
suite's defaults. Nothing is written into functions/; each suite has its own files under `.local/`.
"""

import base64
import json
import os
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from emulators.suite.install import LOCAL, ROOT, Unable
from emulators.suite.jars import Jar
from emulators.suite.java import Java
from emulators.suite.places import BUCKET, DATABASE_NAMESPACE, PROJECT, Places, Ports, origin
from emulators.suite.processes import MARK

FUNCTIONS = ROOT / "functions"
LOCAL_KEY = "local"
# Handed over in the CLI's file of secrets, the only place where it looks for what main.py declares with SecretParam.
SECRETS = (
    "AI_PLATFORM_API_KEY",
    "LEDGER_SIGNING_KEY",
    "STRIPE_SECRET_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "PAYPAL_CLIENT_ID",
    "PAYPAL_CLIENT_SECRET",
)
# Credentials of a real project must not leak into a suite that has none.
_WITHHELD = (
    "GOOGLE_APPLICATION_CREDENTIALS",
    "FIREBASE_TOKEN",
    "PYTHONDONTWRITEBYTECODE",
    "VIRTUAL_ENV",
    "NODE_OPTIONS",
    "PORT",
)
_ASSIGNMENT = re.compile(
    r"""^\s*(?:export\s+)?([A-Z][A-Z0-9_]*)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^#\n]*))""", re.MULTILINE
)


@dataclass(frozen=True)
class FunctionVariables:
    """The variables that the functions read, and those of the shell that must not reach them otherwise."""

    values: Mapping[str, str]
    withheld: frozenset[str]

    @property
    def simulates_models(self) -> bool:
        return self.values["AI_PLATFORM_API_KEY"] == LOCAL_KEY


def function_variables(ports: Ports, *, users_own: bool, book: Path | None = None) -> FunctionVariables:
    """Defaults, overlaid by what the user set. Not `users_own`: a test suite, which must not spend anyone's money.

    `book` is the book of models with the local one. Raises `Unable` when the user has named another.
    """
    known = frozenset((*SECRETS, *_read_env(FUNCTIONS / ".env.example")))
    users = _users_variables(known) if users_own else {}
    defaults = {
        "AI_PLATFORM_API_KEY": LOCAL_KEY,
        "LEDGER_SIGNING_KEY": _ledger_signing_key(),
        "CLOUD_STORAGE_BUCKET": BUCKET,
        "THREADS": "8",
        # Newcomers and tests sign up with addresses that nobody verifies.
        "WELCOME_BONUS_CHECKS": "off",
    }
    if not users_own:
        # Tests have vendors fail on purpose, again and again.
        defaults["MODEL_CIRCUIT_FAILURES"] = "1000"
        # And ask faster than people do.
        defaults["RATE_LIMITS"] = "anonymous=100000 refused=100000 reads=100000 writes=100000 messages=100000"
    if "AI_PLATFORM_API_KEY" not in users:
        defaults["AI_PLATFORM_BASE_URL"] = origin(ports.models) + "/v1"
        users.pop("AI_PLATFORM_BASE_URL", None)
    if book is not None:
        if "MODEL_CATALOGUE" in users:
            raise Unable(
                "MODEL=local adds a model to the project's own book: unset MODEL_CATALOGUE or leave MODEL out."
            )
        users |= {"MODEL_CATALOGUE": str(book), "LLAMACPP_BASE_URL": origin(ports.local_model) + "/v1"}
    return FunctionVariables({**defaults, **users}, known)


def _users_variables(known: frozenset[str]) -> dict[str, str]:
    files = {**_read_env(FUNCTIONS / ".env"), **_read_env(FUNCTIONS / ".env.local")}
    shell = {name: value for name, value in os.environ.items() if name in known}
    return {name: value for name, value in {**files, **shell}.items() if value}


def cli_environment(
    places: Places, variables: FunctionVariables, jars: Mapping[str, Jar], java: Java
) -> dict[str, str]:
    """The environment of firebase-tools, which every emulator and every function inherits."""
    shim = ROOT / "emulators" / "java"
    withheld = variables.withheld.union(_WITHHELD)
    inherited = {name: value for name, value in os.environ.items() if name not in withheld}
    return {
        **inherited,
        **variables.values,
        MARK: places.mark,
        "PATH": f"{shim}{os.pathsep}{inherited.get('PATH', os.defpath)}",
        "PYTHONPATH": str(ROOT / "emulators" / "suite" / "leash"),
        "SUITE_JAVA": str(java.path),
        "SUITE_PYTHON": sys.executable,
        "SUITE_SECRETS": str(places.work / "secrets"),
        **{f"{name.upper()}_EMULATOR_BINARY_PATH": str(jar.path) for name, jar in jars.items()},
        "RTDB_EMULATOR_DATA_FILE": str(places.database_file),
        "RTDB_EMULATOR_CONTROL": "1",
        # By default functions would use the namespace `demo-credits`, and clients `demo-credits-default-rtdb`.
        "DATABASE_URL": f"https://{DATABASE_NAMESPACE}.firebaseio.com",
        "FUNCTIONS_DISCOVERY_TIMEOUT": "60",
        # Two suites must not share the file in which the CLI keeps the address of "the" hub, nor its settings.
        "TMPDIR": str(places.work / "tmp"),
        "XDG_CONFIG_HOME": str(places.work / "settings"),
        "CI": "1",
        # There is no metadata server to ask for credentials.
        "METADATA_SERVER_DETECTION": "none",
        "NO_GCE_CHECK": "true",
        "GCE_METADATA_TIMEOUT": "1",
    }


def write_configuration(places: Places, ports: Ports, variables: FunctionVariables) -> None:
    """firebase.json with this suite's ports, and the functions' variables and secrets in this suite's own folder."""
    for folder in (places.data, places.logs, places.work / "tmp", places.work / "settings", places.work / "env"):
        folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((ROOT / "firebase.json").read_text())
    for codebase in config["functions"]:
        codebase["configDir"] = str((places.work / "env").relative_to(ROOT))
    emulators = config["emulators"]
    for name, port in ports.named().items():
        if name in emulators:
            emulators[name]["port"] = port
    emulators["firestore"]["websocketPort"] = ports.firestore_websocket
    places.config.write_text(json.dumps(config, indent=2))
    _write_private(places.work / "env" / ".env", {k: v for k, v in variables.values.items() if k not in SECRETS})
    _write_private(places.work / "secrets", {k: v for k, v in variables.values.items() if k in SECRETS})


def demo_address(ports: Ports) -> str:
    """Where the one HTTP function answers."""
    return f"{origin(ports.functions)}/{PROJECT}/us-central1/api"


def _write_private(path: Path, values: Mapping[str, str]) -> None:
    path.touch(mode=0o600)
    path.write_text("".join(f'{name}="{value}"\n' for name, value in values.items()))


def _read_env(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    found = _ASSIGNMENT.findall(path.read_text())
    return {name: (double or single or bare).strip() for name, double, single, bare in found}


def _ledger_signing_key() -> str:
    """The seed that signs this checkout's ledgers: made once, kept with its data, of no use anywhere else."""
    path = LOCAL / "ledger-signing-key"
    if not path.exists():
        LOCAL.mkdir(exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text().strip()
