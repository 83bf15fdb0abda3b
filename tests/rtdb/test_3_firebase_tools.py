"""The control interface with the real firebase-tools: start, rules, import, a script, export, stop."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from rtdb.harness import ROOT
from rtdb_emulator.json_text import Json

FIREBASE: Final = ROOT / "node_modules/.bin/firebase"
NAMESPACE: Final = "demo-rtdb-default-rtdb"
IMPORTED: Final[Json] = {"old": {".priority": 1, "x": [1, 2]}, "open": {"a": 1}}

# firebase-tools asks for the version and then starts `java … -jar FILE options`.
JAVA: Final = """#!/bin/sh
case "$*" in
*-version*) echo 'openjdk version "25.0.1"' >&2; exit 0 ;;
esac
while [ "$1" != -jar ]; do shift; done
shift 2
PYTHONPATH={path} exec {python} -m rtdb_emulator "$@"
"""

# Run by firebase-tools while the emulator is up: rules are in force, the import is there.
SCRIPT: Final = """
import os, requests
base = "http://" + os.environ["FIREBASE_DATABASE_EMULATOR_HOST"]
ns = {"ns": "NAMESPACE"}
assert requests.get(base + "/open.json", params=ns).json() == {"a": 1}
assert requests.get(base + "/old.json", params=ns).status_code == 401
assert requests.put(base + "/open/b.json", params=ns, data="[true]").status_code == 200
""".replace("NAMESPACE", NAMESPACE)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with rules, an import, and a `java` that is ours."""
    database, hub, logging = free_ports(3)
    emulators = {
        "database": {"host": "127.0.0.1", "port": database},
        "hub": {"host": "127.0.0.1", "port": hub},
        "logging": {"host": "127.0.0.1", "port": logging},
        "ui": {"enabled": False},
    }
    (tmp_path / "firebase.json").write_text(json.dumps({"database": {"rules": "rules.json"}, "emulators": emulators}))
    (tmp_path / "rules.json").write_text('// open\n{"rules": {"open": {".read": true, ".write": true}}}')
    (tmp_path / "seed/database_export").mkdir(parents=True)
    metadata = {"version": "15.0.0", "database": {"version": "4.11.2", "path": "database_export"}}
    (tmp_path / "seed/firebase-export-metadata.json").write_text(json.dumps(metadata))
    (tmp_path / f"seed/database_export/{NAMESPACE}.json").write_text(json.dumps(IMPORTED))
    (tmp_path / "standin.jar").write_bytes(b"")
    (tmp_path / "bin").mkdir()
    java = tmp_path / "bin/java"
    java.write_text(JAVA.format(path=ROOT / "emulators/rtdb", python=sys.executable))
    java.chmod(0o755)
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path


@pytest.mark.skipif(not FIREBASE.exists(), reason="needs node_modules (npm ci)")
def test_a_session_of_firebase_tools(project: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{project / 'bin'}:{os.environ['PATH']}",
        "DATABASE_EMULATOR_BINARY_PATH": str(project / "standin.jar"),
        "FIREBASE_CLI_DISABLE_UPDATE_CHECK": "true",
        "CI": "true",
    }
    command = [str(FIREBASE), "emulators:exec", "--project", "demo-rtdb", "--only", "database"]
    command += ["--import", "seed", "--export-on-exit", "out", f"{sys.executable} script.py"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    exported = json.loads((project / f"out/database_export/{NAMESPACE}.json").read_text())
    assert exported == {
        "old": {".priority": 1, "x": {"0": 1, "1": 2}},
        "open": {"a": 1, "b": {"0": True}},
    }
