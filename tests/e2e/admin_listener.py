"""A process that listens with the Python Admin SDK and prints one JSON line for each event: `{path, data}`.

A process, because the SDK's listener cannot be closed while nothing happens: its thread waits for the next byte.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from e2e.person import Json


@dataclass(frozen=True)
class Listener:
    """What it hears, as it hears it."""

    output: IO[str]

    def next(self) -> Json:
        """The next event; the first one is the value at the beginning."""
        line = self.output.readline()
        assert line, "the listener ended"
        event: Json = json.loads(line)
        return event


@contextmanager
def listening(database_url: str, path: str) -> Iterator[Listener]:
    """Listens to `path` until the context is left; FIREBASE_DATABASE_EMULATOR_HOST is in the environment."""
    command = [sys.executable, __file__, database_url, path]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_importable())
    try:
        assert process.stdout is not None
        yield Listener(process.stdout)
    finally:
        process.kill()
        process.wait(timeout=10)


def _importable() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def _main() -> None:
    import firebase_admin
    from firebase_admin import db

    url, path = sys.argv[1:]
    firebase_admin.initialize_app(options={"databaseURL": url})

    def tell(event: db.Event) -> None:
        sys.stdout.write(json.dumps({"path": event.path, "data": event.data}) + "\n")
        sys.stdout.flush()

    db.reference(path).listen(tell)


if __name__ == "__main__":
    _main()
