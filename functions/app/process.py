"""What belongs to a process rather than to a system: its one `System`, and what it does before it serves."""

import functools
import os
import threading
from typing import Final

from app.kit.environment import Environment
from app.outside import RealPorts, firebase
from app.settings import Settings
from app.wiring import System

CONCURRENCY: Final = 80
"""Requests that one instance of a streaming function serves at once."""

_first = threading.Lock()


@functools.cache
def _system() -> System:
    return System(RealPorts())


def system() -> System:
    """The system of this process."""
    with _first:  # functools.cache alone would let two first requests build two
        return _system()


def vendor_secrets() -> list[str]:
    """Names of the secrets with keys of further model vendors, which every function is given."""
    return [*Environment(os.environ).names("MODEL_VENDOR_SECRETS")]


def start() -> None:
    """What a process does before it serves: refuses a wrong environment, asks for threads, names the Firebase app.

    Only a deployed instance is refused at once. Discovery has no secrets, and a worker of the emulator says what is
    wrong in its answer. The app must exist before a callable's token is looked at; making it costs nothing.
    """
    on_emulator = os.environ.get("FUNCTIONS_EMULATOR") == "true"
    # functions-framework reads it after this module: unless told, it starts four threads per CPU, whatever the
    # function's concurrency is, and every open stream holds one.
    os.environ.setdefault("THREADS", str(CONCURRENCY))
    if os.environ.get("K_SERVICE") and not on_emulator:
        Settings.read(Environment(os.environ))
    if os.environ.get("FIREBASE_CONFIG"):
        firebase(on_emulator=on_emulator)
