"""The whole emulator without its transports: namespaces, sessions, clock. Owns which namespaces exist."""

import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Final

from rtdb_emulator.committer import Committer
from rtdb_emulator.connection import Connection
from rtdb_emulator.database import CommitObserver, Database
from rtdb_emulator.errors import RequestError
from rtdb_emulator.journal import Saved
from rtdb_emulator.outbox import Link, Outbox
from rtdb_emulator.pushid import PushIds
from rtdb_emulator.session import Session

_LOG: Final = logging.getLogger(__name__)
DEFAULT_NAMESPACE: Final = "fake-server"
DEFAULT_INSTANCE: Final = "-default-rtdb"
_LONGEST_NAME: Final = 256


class Emulator:
    """All namespaces and everybody who is connected."""

    def __init__(self, committer: Committer, observer: CommitObserver, clock: Callable[[], int]) -> None:
        self.committer = committer
        self.clock = clock
        self.push_ids = PushIds(secrets.randbits)
        self.connections: dict[str, Connection] = {}
        self._databases: dict[str, Database] = {}
        self._observer = observer
        committer.saved = self._saved

    def database(self, name: str | None) -> Database:
        """The namespace of that name, made on the fly with open rules."""
        name = name or DEFAULT_NAMESPACE
        found = self._databases.get(name)
        if found is None:
            if len(name) > _LONGEST_NAME or not name.isprintable():
                raise RequestError("Invalid namespace")
            found = self._databases[name] = Database(name, self.committer, self._observer, self.clock)
            self._log_new(name)
        return found

    def namespaces(self) -> list[str]:
        """The names of all namespaces."""
        return list(self._databases)

    def restore(self, saved: Mapping[str, Saved]) -> None:
        """Take over what the data file says."""
        for name, contents in saved.items():
            self.database(name).restore(contents)

    def connect(self, namespace: str | None, link: Link, *, last: str | None) -> Connection:
        """A new connection. `last` is the client's previous session, which ends now if it has not yet."""
        database = self.database(namespace)
        previous = self.connections.get(last) if last else None
        if previous is not None:
            self.disconnect(previous)
            previous.cut()
        outbox = Outbox(self.committer, link)
        connection = Connection(Session(secrets.token_urlsafe(18), database, outbox), outbox)
        self.connections[connection.session.id] = connection
        return connection

    def disconnect(self, connection: Connection) -> None:
        """The client is gone. Idempotent."""
        self.connections.pop(connection.session.id, None)
        connection.session.end()

    def _log_new(self, name: str) -> None:
        _LOG.info("namespace %s created", name)
        bare = name.removesuffix(DEFAULT_INSTANCE)
        twin = bare if bare != name else name + DEFAULT_INSTANCE
        if twin in self._databases:
            # Functions that use the default app talk to one, clients and uploaded rules to the other.
            _LOG.warning("%s and %s are two namespaces, with data and rules of their own", name, twin)

    def _saved(self) -> Mapping[str, Saved]:
        return {name: database.saved() for name, database in self._databases.items()}
