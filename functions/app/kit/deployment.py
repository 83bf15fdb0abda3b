"""Which Firebase project this process belongs to, and whether it runs on the emulators."""

import json
from typing import Final, NamedTuple

from app.kit.environment import BadSetting, Environment

LONGEST_REQUEST_S: Final = 300
"""When the platform kills a request of a streaming function: `main.py` deploys with it, and no setting is above it."""
EMULATOR_HOSTS = ("FIREBASE_AUTH_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST", "FIREBASE_DATABASE_EMULATOR_HOST")


class Deployment(NamedTuple):
    """One deployment. `bucket`: of Cloud Storage, where checkpoints are archived."""

    project: str
    on_emulator: bool
    bucket: str

    @classmethod
    def read(cls, env: Environment) -> "Deployment":
        """Raises `BadSetting` when no project is named, or a deployed function is pointed at an emulator."""
        project = _project(env)
        on_emulator = env.text("FUNCTIONS_EMULATOR", "") == "true"
        if not on_emulator and env.text("K_SERVICE", ""):
            _refuse_emulators(env)
        return cls(project, on_emulator, env.text("CLOUD_STORAGE_BUCKET", f"{project}.appspot.com"))


def _project(env: Environment) -> str:
    direct = env.text("GCLOUD_PROJECT", "") or env.text("GOOGLE_CLOUD_PROJECT", "")
    if direct:
        return direct
    try:
        config = json.loads(env.text("FIREBASE_CONFIG", "{}"))
    except json.JSONDecodeError as error:
        raise BadSetting("FIREBASE_CONFIG is not JSON") from error
    if not isinstance(config, dict) or not config.get("projectId"):
        raise BadSetting("GCLOUD_PROJECT is not set, and FIREBASE_CONFIG names no project")
    return str(config["projectId"])


def _refuse_emulators(env: Environment) -> None:
    # The Auth emulator's tokens carry no signature: a deployed function that believed it would accept forged ones.
    for name in EMULATOR_HOSTS:
        if env.text(name, ""):
            raise BadSetting(f"{name} is set in a deployed function; remove it")
