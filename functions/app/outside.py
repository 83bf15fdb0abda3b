"""The real ports: Firebase and the system, as the environment describes them. On the emulators it is the same code.

Part of what starts a process, like `app.process`; nobody else imports it.
"""

import json
import os
import secrets
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from app.kit.clock import Clock, SystemClock
from app.kit.concurrency import Concurrency, Threads
from app.kit.deployment import Deployment
from app.kit.environment import Environment
from app.kit.errors import Unavailable
from app.kit.heartbeat import Heartbeat, ThreadHeartbeat
from app.kit.ids import Ids, RandomIds
from app.kit.once import Locked, once
from app.models.vendors.vendor import PLATFORM
from app.ports import Dependency, Identities, Identity

if TYPE_CHECKING:
    import firebase_admin

    from app.api.auth import TokenVerifier
    from app.kit.network.sockets import Network
    from app.kit.stores.archive import Archive
    from app.kit.stores.documents import Documents
    from app.kit.stores.realtime import Realtime
    from app.models.vendors.vendor import Vendor
    from app.orchestration.queue.outbox import Alarms
    from app.orchestration.queue.retry import Draw

REGION: Final = "us-central1"
"""Of every function and of both databases."""

TIMEOUT_S: Final = 10
"""Of one call to Firebase over HTTP."""


class RealPorts(Locked):
    """Each port is built when it is first needed. `variables` are this process's environment unless given."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.environment = Environment(os.environ if variables is None else variables)

    @once
    def deployment(self) -> Deployment:
        """The project whose stores these are."""
        return Deployment.read(self.environment)

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
    def concurrency(self) -> Concurrency:
        return Threads()

    @once
    def heartbeat(self) -> Heartbeat:
        return ThreadHeartbeat()

    @once
    def network(self) -> "Network":
        from app.kit.network.sockets import Sockets

        return Sockets()

    @once
    def alarms(self) -> "Alarms":
        from app.orchestration.queue.alarms import CloudTaskAlarms

        firebase(on_emulator=self.deployment.on_emulator)
        return CloudTaskAlarms(REGION)

    @once
    def documents(self) -> "Documents":
        from app.kit.stores import firestore

        return firestore.connect(self.deployment.project)

    @once
    def realtime(self) -> "Realtime":
        from app.kit.stores.realtime import FirebaseRealtime

        firebase(on_emulator=self.deployment.on_emulator)
        return FirebaseRealtime()

    @once
    def identities(self) -> Identities:
        firebase(on_emulator=self.deployment.on_emulator)
        return firebase_identity

    @once
    def archive(self) -> "Archive":
        from app.kit.stores.archive import CloudArchive

        deployment = self.deployment
        return CloudArchive(deployment.project, deployment.bucket, on_emulator=deployment.on_emulator)

    @once
    def verify_token(self) -> "TokenVerifier":
        from app.api.firebase_tokens import FirebaseTokens

        firebase(on_emulator=self.deployment.on_emulator)
        return FirebaseTokens(self.clock)

    @once
    def dependencies(self) -> tuple[Dependency, ...]:
        from app.models.settings import ModelsSettings
        from app.monitoring.probes import answers

        vendors = ModelsSettings.read(self.environment).asked
        firestore_host = os.environ.get("FIRESTORE_EMULATOR_HOST")
        firestore_url = f"http://{firestore_host}" if firestore_host else "https://firestore.googleapis.com"
        return (
            Dependency("firestore", essential=True, probe=answers(firestore_url)),
            Dependency("realtime_database", essential=False, probe=answers(f"{self._realtime_url()}/.json")),
            *(Dependency(_named(one), essential=False, probe=answers(f"{one.base_url}/models")) for one in vendors),
        )

    def start_logging(self) -> None:
        from app.kit import telemetry

        telemetry.start_logging()

    def _realtime_url(self) -> str:
        emulator = os.environ.get("FIREBASE_DATABASE_EMULATOR_HOST")
        if emulator:
            return f"http://{emulator}"
        url = firebase(on_emulator=self.deployment.on_emulator).options.get("databaseURL")
        return str(url or f"https://{self.deployment.project}.firebaseio.com")


def _named(vendor: "Vendor") -> str:
    """The name of a vendor among the dependencies."""
    return "model_vendor" if vendor.id == PLATFORM else f"model_vendor_{vendor.id.replace('-', '_')}"


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


def firebase_identity(uid: str) -> Identity:
    """Firebase Auth's record of a user. A disabled user has no verified address.

    Raises:
        Unavailable: Auth did not answer.
    """
    from firebase_admin import auth, exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        user = auth.get_user(uid)
    except auth.UserNotFoundError:
        return Identity(uid, active=False)
    except (exceptions.FirebaseError, GoogleAuthError, ValueError) as error:
        raise Unavailable(f"Auth did not answer: {error}") from error
    provider = user.provider_data[0] if user.provider_data else None
    created_ms = user.user_metadata.creation_timestamp or 0
    return Identity(
        uid=uid,
        provider=provider.provider_id if provider else "anonymous",
        provider_uid=provider.uid if provider else None,
        email=user.email,
        email_verified=bool(user.email_verified) and not user.disabled,
        created_at_us=int(created_ms) * 1000,
        active=not user.disabled,
    )


def _anonymous() -> "firebase_admin.credentials.Base":
    """The emulators take no credentials, and the machine of a newcomer has none."""
    import firebase_admin
    import google.auth.credentials

    class Anonymous(firebase_admin.credentials.Base):
        def get_credential(self) -> object:
            return google.auth.credentials.AnonymousCredentials()

    return Anonymous()
