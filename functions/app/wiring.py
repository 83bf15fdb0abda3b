"""The composition root: builds every service once, when first needed, and mounts the features' routes.

May know everything; nobody imports it but `main.py` and the tests' world. Imports of features stand inside the function
that builds them, so that a cold instance pays for what its first request needs and for nothing else.
"""

import functools
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar, overload

from app.kit.clock import Clock, SystemClock
from app.kit.ids import Ids, RandomIds
from app.kit.settings import Settings

if TYPE_CHECKING:
    import firebase_admin
    from flask_openapi import APIBlueprint, OpenAPI

    from app.api.auth import TokenVerifier
    from app.api.edge import Edge
    from app.api.idempotency import Idempotency
    from app.kit.documents import Documents
    from app.kit.realtime import Realtime
    from app.monitoring.service import Dependency, Monitoring

VERSION: Final = "0.1.0"
NAME: Final = "credits"

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
    def __get__(self, instance: "_Locked", owner: type) -> Value: ...
    def __get__(self, instance: "_Locked | None", owner: type) -> "once[Value] | Value":
        if instance is None:
            return self
        with instance.lock:
            # Stored under the same name: the next look finds the value in the instance and never comes here.
            if self._name not in instance.__dict__:
                instance.__dict__[self._name] = self._build(instance)
        value: Value = instance.__dict__[self._name]
        return value


class _Locked:
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
    def documents(self) -> "Documents": ...
    @property
    def realtime(self) -> "Realtime": ...
    @property
    def verify_token(self) -> "TokenVerifier": ...
    @property
    def dependencies(self) -> "tuple[Dependency, ...]": ...


class RealOutside(_Locked):
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
    def documents(self) -> "Documents":
        from app.kit import firestore

        return firestore.connect(self.settings.project)

    @once
    def realtime(self) -> "Realtime":
        from app.kit.realtime import FirebaseRealtime

        _ = self.firebase
        return FirebaseRealtime()

    @once
    def verify_token(self) -> "TokenVerifier":
        from app.api.firebase_tokens import verify_id_token

        _ = self.firebase
        return verify_id_token

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
        return str(self.firebase.options.get("databaseURL") or f"https://{self.settings.project}.firebaseio.com")

    @once
    def firebase(self) -> "firebase_admin.App":
        """firebase_admin's default app, which the Realtime Database and Auth stand on."""
        import firebase_admin

        try:
            app: firebase_admin.App = firebase_admin.get_app()
        except ValueError:  # none yet: the SDK of callables may have made it before us
            # Without options FIREBASE_CONFIG is read: project, database and bucket; options given here drop them.
            app = firebase_admin.initialize_app(_anonymous() if self.settings.on_emulator else None)
        return app


class Services(_Locked):
    """Every service of this backend over one outside."""

    def __init__(self, outside: Outside) -> None:
        super().__init__()
        self.outside = outside

    @once
    def monitoring(self) -> "Monitoring":
        from app.monitoring.service import Monitoring

        return Monitoring(self.outside.dependencies, self.outside.clock)

    @once
    def idempotency(self) -> "Idempotency":
        from app.api.idempotency import Idempotency

        return Idempotency(self.outside.documents, self.outside.clock)

    @once
    def app(self) -> "OpenAPI":
        """The routed application. Costs a tenth of a second, so it is built by the first request that needs it."""
        from app.api.app import Edges, create_app

        return create_app(self.mounts(), Edges(verify_token=self.outside.verify_token))

    @once
    def edge(self) -> "Edge":
        """What the `api` function serves."""
        from app.api.edge import Edge, EdgePolicy
        from app.monitoring import liveness

        def routed(environ, start_response):  # type: ignore[no-untyped-def]  # typed by its target
            return self.app(environ, start_response)

        origins = frozenset(self.outside.settings.cors_origins) - {"*"}
        return Edge(
            routed,
            ids=self.outside.ids,
            policy=EdgePolicy(origins=origins),
            early={liveness.PATH: liveness.application(lambda: self.monitoring)},
        )

    def mounts(self) -> "list[APIBlueprint]":
        """The features' routes: the whole HTTP surface on one page."""
        from app.monitoring import routes as monitoring

        identity = monitoring.Identity(NAME, VERSION, self.outside.settings.project)
        return [
            monitoring.routes(self.monitoring, identity),
        ]


@functools.cache
def _services() -> Services:
    from app.kit import telemetry

    telemetry.start_logging()
    return Services(RealOutside())


_first = threading.Lock()


def services() -> Services:
    """The services of this process."""
    with _first:  # functools.cache alone would let two first requests build two
        return _services()


def refuse_a_bad_start() -> None:
    """Stops a deployed instance at once when its environment is wrong, instead of at the first request.

    Discovery (which has no secrets) and the emulator (whose workers say it in their answer) are let through.
    """
    if os.environ.get("K_SERVICE") and os.environ.get("FUNCTIONS_EMULATOR") != "true":
        Settings.from_env()


def _anonymous() -> "firebase_admin.credentials.Base":
    """The emulators take no credentials, and the machine of a newcomer has none."""
    import firebase_admin
    import google.auth.credentials

    class Anonymous(firebase_admin.credentials.Base):
        def get_credential(self) -> object:
            return google.auth.credentials.AnonymousCredentials()

    return Anonymous()
