"""Looks users up in Firebase Auth over kept connections: whether they are disabled, since when their tokens count.

It is the call that firebase_admin.auth.get_user makes. That one goes through `requests`, which costs several times the
CPU and takes no timeout per call; a message whose user was not looked up in the last minute waits for it.
https://cloud.google.com/identity-platform/docs/reference/rest/v1/projects.accounts/lookup
"""

import json
import os
from dataclasses import dataclass, replace
from typing import Final

from app.kit.clock import seconds
from app.kit.errors import Unavailable, ensure
from app.kit.google.credentials import AccessToken, Credential, Owner
from app.kit.network.http import ConnectionPool, HttpClient, NoResponse, Response, Retries

EMULATOR: Final = "FIREBASE_AUTH_EMULATOR_HOST"
"""The variable that firebase_admin and the Firebase CLI use."""
ORIGIN: Final = "https://identitytoolkit.googleapis.com"
TRY_S: Final = 1.0
"""Patience of one step of a try; there are two tries."""
WHOLE_US: Final = seconds(2) - 100_000
"""How long a look-up may take in all. Whoever waits for another's look-up waits for two seconds."""
_RETRIES: Final = Retries(lost=True, statuses=frozenset((500, 502, 503, 504)), most=1)
"""To ask twice changes nothing."""


@dataclass(frozen=True, slots=True)
class UserRecord:
    """What Auth knows of a user now. Tokens that were issued before `valid_since_s` (Unix time) were revoked. `role` is
    the claim as it is stored, of any type.
    """

    disabled: bool
    valid_since_s: int
    role: object


class AuthUsers:
    """The look-up. Thread-safe."""

    def __init__(self, project: str, credential: Credential | None, *, base: str = ORIGIN) -> None:
        """Without a credential it acts as the owner, which only the emulator accepts."""
        from google.auth.exceptions import GoogleAuthError

        self._failures = (NoResponse, GoogleAuthError)
        pool = self._pool = ConnectionPool(base)
        self._client = HttpClient(pool, TRY_S)
        self._token = Owner() if credential is None else AccessToken(credential, base, TRY_S)
        self._path = f"{pool.path}/v1/projects/{project}/accounts:lookup"

    def find(self, uid: str) -> UserRecord | None:
        """The record of a user; None when there is no such user.

        Raises:
            Unavailable: Auth did not answer, or not as documented.
        """
        try:
            response = self._send(json.dumps({"localId": [uid]}).encode())
        except self._failures as error:
            raise Unavailable("Firebase Auth did not answer") from error
        if response.status != 200:
            raise Unavailable(f"Firebase Auth refused with {response.status}")
        return record_of(response.body, uid)

    def _send(self, body: bytes) -> Response:
        ends_us = self._pool.concurrency.monotonic_us() + WHOLE_US
        token = self._token.headers()
        response = self._post(body, token, ends_us)
        if response.status == 401 and self._token.renewed(token):
            response = self._post(body, self._token.headers(), ends_us)
        return response

    def _post(self, body: bytes, token: dict[str, str], ends_us: int) -> Response:
        headers = (("content-type", "application/json"), *token.items())
        return self._client.request("POST", self._path, headers, body, replace(_RETRIES, ends_us=ends_us))


def connect() -> AuthUsers:
    """The users of firebase_admin's default app, which the composition root must have initialised.

    Raises:
        Unavailable: its credentials cannot be loaded.
    """
    import firebase_admin
    from google.auth.exceptions import GoogleAuthError

    app = firebase_admin.get_app()
    project = app.project_id
    ensure(bool(project), "firebase_admin's app knows its project")
    emulator = os.environ.get(EMULATOR)
    if emulator:
        # The emulator's paths begin with the host that they stand for.
        return AuthUsers(project, None, base=f"http://{emulator}/identitytoolkit.googleapis.com")
    try:
        return AuthUsers(project, app.credential.get_credential())
    except GoogleAuthError as error:
        raise Unavailable("no credentials for Firebase Auth") from error


def record_of(body: bytes, uid: str) -> UserRecord | None:
    """Reads the answer of a look-up.

    Raises:
        Unavailable: it is not what is documented, which says nothing of the user.
    """
    try:
        users = json.loads(body).get("users", [])
        found = next((user for user in users if user["localId"] == uid), None)
        if found is None:
            return None
        claims = json.loads(found.get("customAttributes") or "{}")
        role = claims.get("role")
        return UserRecord(found.get("disabled") is True, int(found.get("validSince", 0)), role)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise Unavailable("Firebase Auth answered with something else than users") from error
