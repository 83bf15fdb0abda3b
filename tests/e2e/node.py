"""Runs a script of `js/`: the Firebase JavaScript SDK in node is one of the two clients of these tests."""

import json
import subprocess
from dataclasses import asdict
from pathlib import Path

from e2e.person import Json
from emulators.suite.places import DATABASE_NAMESPACE, PROJECT
from support.suite import RunningSuite

_SCRIPTS = Path(__file__).with_name("js")


def run(suite: RunningSuite, script: str, **more: object) -> Json:
    """What the script printed, given where the suite is and `more`."""
    where = {
        "ports": asdict(suite.ports),
        "project": PROJECT,
        "namespace": DATABASE_NAMESPACE,
        "api": suite.api,
        "hosting": suite.hosting,
    }
    done = subprocess.run(
        ["node", str(_SCRIPTS / script)],
        input=json.dumps({**where, **more}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0 and done.stdout, done.stderr or "the script ended without a word"
    result: Json = json.loads(done.stdout)
    return result
