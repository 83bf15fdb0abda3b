"""Everything that this backend does not own, as one value: settings, time, ids, stores, tokens, dependencies.

Part of the composition root, like `app.wiring`; nobody else imports it. The real one is here, the one in memory stands
in the tests' world.
"""

import json
import os
import secrets
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar, overload

from app.kit.clock import Clock, SystemClock
from app.kit.ids import Ids, RandomIds
from app.kit.optimistic import Pause, pause
from app.kit.settings import Settings

if TYPE_CHECKING:
    import firebase_admin

    from app.api.auth import TokenVerifier
    from app.bonus.welcome import Identities
    from app.credits.proofs.checkpoints import Archive
    from app.kit.documents import Documents
    from app.kit.realtime import Realtime
    from app.monitoring.service import Dependency
    from app.orchestration.queue.outbox import Alarms
    from app.orchestration.queue.retry import Draw

REGION: Final = "us-central1"
"""Of every function and of both databases."""

TIMEOUT_S: Final = 10
"""Of one call to Firebase over HTTP."""

Value = TypeVar("Value")


class once(Generic[Value]):
    """A property that is built on first use, once, even when many first requests come together.

    `functools.cached_property` lost its lock in Python 3.12, and one per instance is needed: building one service may
    build another, in any order, hence a re-entrant one.
    """

    def __init__(self, build: Callable[..., Value]) -> None:
        self._build = build
        self._name = build.__name__
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> "once[Value]": ...
    @overload
    def __get__(self, instance: "Locked", owner: type) -> Value: ...
    def __get__(self, instance: "Locked | None", owner: type) -> "once[Value] | Value":
        if instance is None:
            return self
        with instance.lock:
            # Stored under the same name: the next look finds the value in the instance and never comes here.
            if self._name not in instance.__dict__:
                instance.__dict__[self._name] = self._build(instance)
        value: Value = instance.__dict__[self._name]
        return value


class Locked:
    """Holds the lock of its `once` properties."""

    def __init__(self) -> None:
        self.lock = threading.RLock()


class Outside(Protocol):
    """Everything that this backend does not own: read-only, because both implementations build lazily."""

    @property
    def settings(self) -> Settings: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def ids(self) -> Ids: ...
    @property
    def draw(self) -> "Draw": ...
    @property
    def pause(self) -> Pause: ...
    @property
    def alarms(self) -> "Alarms": ...
    @property
    def documents(self) -> "Documents": ...
    @property
    def realtime(self) -> "Realtime": ...
    @property
    def verify_token(self) -> "TokenVerifier": ...
    @property
    def identities(self) -> "Identities": ...
    @property
    def archive(self) -> "Archive": ...
    @property
    def dependencies(self) -> "tuple[Dependency, ...]": ...


class RealOutside(Locked):
    """Firebase and the system, as the environment describes them. On the emulators it is the same code."""

    @once
    def settings(self) -> Settings:
        return Settings.from_env()

    @once
    def clock(self) -> Clock:
        return SystemClock()

    @once
    def ids(self) -> Ids:
        return RandomIds(self.clock)

    @once
    def draw(self) -> "Draw":
        return secrets.randbelow

    @once
    def pause(self) -> Pause:
        return pause

    @once
    def alarms(self) -> "Alarms":
        from app.orchestration.queue.alarms import CloudTaskAlarms

        firebase(on_emulator=self.settings.on_emulator)
        return CloudTaskAlarms(REGION)

    @once
    def documents(self) -> "Documents":
        from app.kit import firestore

        return firestore.connect(self.settings.project)

    @once
    def realtime(self) -> "Realtime":
        from app.kit.realtime import FirebaseRealtime

        firebase(on_emulator=self.settings.on_emulator)
        return FirebaseRealtime()

    @once
    def identities(self) -> "Identities":
        from app.bonus.firebase_identities import from_firebase_auth

        firebase(on_emulator=self.settings.on_emulator)
        return from_firebase_auth

    @once
    def archive(self) -> "Archive":
        from app.kit.archive import CloudArchive

        settings = self.settings
        return CloudArchive(settings.project, settings.cloud_storage_bucket, on_emulator=settings.on_emulator)

    @once
    def verify_token(self) -> "TokenVerifier":
        from app.api.firebase_tokens import FirebaseTokens

        firebase(on_emulator=self.settings.on_emulator)
        return FirebaseTokens(self.clock)

    @once
    def dependencies(self) -> "tuple[Dependency, ...]":
        from app.monitoring.probes import answers
        from app.monitoring.service import Dependency

        firestore_host = os.environ.get("FIRESTORE_EMULATOR_HOST")
        firestore_url = f"http://{firestore_host}" if firestore_host else "https://firestore.googleapis.com"
        return (
            Dependency("firestore", essential=True, probe=answers(firestore_url)),
            Dependency("realtime_database", essential=False, probe=answers(f"{self._realtime_url()}/.json")),
            Dependency("model_vendor", essential=False, probe=answers(f"{self.settings.ai_platform_base_url}/models")),
        )

    def _realtime_url(self) -> str:
        emulator = os.environ.get("FIREBASE_DATABASE_EMULATOR_HOST")
        if emulator:
            return f"http://{emulator}"
        url = firebase(on_emulator=self.settings.on_emulator).options.get("databaseURL")
        return str(url or f"https://{self.settings.project}.firebaseio.com")


_first = threading.Lock()


def firebase(*, on_emulator: bool) -> "firebase_admin.App":
    """firebase_admin's default app, made when there is none: Auth, callables and the Realtime Database stand on it."""
    import firebase_admin

    with _first:
        try:
            app: firebase_admin.App = firebase_admin.get_app()
        except ValueError:
            # Options given here replace FIREBASE_CONFIG, which names project, database and bucket, so both are merged.
            # Without a timeout of ours a dead connection to Auth or the Realtime Database holds its caller two minutes.
            config = json.loads(os.environ.get("FIREBASE_CONFIG") or "{}")
            options = {**config, "httpTimeout": TIMEOUT_S}
            app = firebase_admin.initialize_app(_anonymous() if on_emulator else None, options)
    return app


def _anonymous() -> "firebase_admin.credentials.Base":
    """The emulators take no credentials, and the machine of a newcomer has none."""
    import firebase_admin
    import google.auth.credentials

    class Anonymous(firebase_admin.credentials.Base):
        def get_credential(self) -> object:
            return google.auth.credentials.AnonymousCredentials()

    return Anonymous()
