"""The Realtime Database's REST API over kept connections: addresses, credentials, which calls are retried.

firebase_admin.db calls it through `requests`, which costs several times the CPU. This module knows nothing of values
and transactions.
https://firebase.google.com/docs/reference/rest/database
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from app.kit.errors import InvariantViolation, Unavailable, ensure
from app.kit.google.credentials import AccessToken, Credential, Owner
from app.kit.network.http import ConnectionPool, HttpClient, NoResponse, Response, Retries

EMULATOR: Final = "FIREBASE_DATABASE_EMULATOR_HOST"
"""The variable that firebase_admin and the Firebase CLI use."""

_CONNECTIONS: Final = 96
"""Connections kept open: one for each concurrent request of an instance, and some for background work."""
_TIMEOUT_S: Final = 120
"""firebase_admin's default."""
_NO_TIMEOUT_S: Final = 86_400
"""What its option None stands for."""
# As firebase_admin: one retry after a lost connection, four after an error status.
_REPEATABLE: Final = Retries(lost=True, statuses=frozenset((500, 503)), most=4, backoff_us=500_000)
_ONCE: Final = Retries(lost=False, statuses=frozenset((503,)), most=4, backoff_us=500_000)
"""503 means that nothing was attempted; after any other failure the write may have happened."""
_NOT_IN_PATHS: Final = frozenset(".$#[]")
_ADMIN: Final = "_admin_"


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """The address of a database. `query` is added to every call."""

    origin: str
    query: str
    emulated: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """The server's answer. `body` is JSON."""

    status: int
    body: bytes
    etag: str | None


def connect() -> "Rest":
    """The database of firebase_admin's default app, which the composition root must have initialised.

    Raises:
        Unavailable: its credentials cannot be loaded.
    """
    import firebase_admin
    from google.auth.exceptions import GoogleAuthError

    app = firebase_admin.get_app()
    override = app.options.get("databaseAuthVariableOverride", _ADMIN)
    place = place_of(app.options.get("databaseURL") or "", os.environ.get(EMULATOR), override)
    try:
        credential = None if place.emulated else app.credential.get_credential()
    except GoogleAuthError as error:
        raise Unavailable(f"no credentials for the Realtime Database: {error}") from error
    return Rest(place, credential, app.options.get("httpTimeout", _TIMEOUT_S))


def place_of(url: str, emulator: str | None, override: object = _ADMIN) -> DatabaseAddress:
    """The address that firebase_admin would use for the option `databaseURL`, which may itself name an emulator.

    `override` is its option `databaseAuthVariableOverride`, which restricts what the app may access.
    """
    parts = urlsplit(url)
    query: dict[str, str] = {}
    if override not in (_ADMIN, {}):
        query["auth_variable_override"] = json.dumps(override, separators=(",", ":"))
    ensure(bool(parts.netloc), f"databaseURL is that of a database: {url!r}")
    if parts.scheme == "https" and not emulator:
        return DatabaseAddress(f"https://{parts.netloc}", urlencode(query), emulated=False)
    names = [parts.netloc.partition(".")[0]] if parts.scheme == "https" else parse_qs(parts.query).get("ns", [])
    ensure(len(names) == 1 and parts.scheme in ("http", "https"), f"databaseURL is that of a database: {url!r}")
    host = emulator if parts.scheme == "https" else parts.netloc
    return DatabaseAddress(f"http://{host}", urlencode({"ns": names[0], **query}), emulated=True)


def encoded(path: str) -> str:
    """The URL path of a database path; empty for the root. Raises InvariantViolation for what no key can hold."""
    ensure(_NOT_IN_PATHS.isdisjoint(path), f"a path of the Realtime Database holds none of . $ # [ ]: {path!r}")
    return "/" + "/".join(quote(key, safe="") for key in path.split("/") if key) + ".json"


class Rest:
    """A connection to one database. Thread-safe."""

    def __init__(self, place: DatabaseAddress, credential: Credential | None, timeout_s: float | None) -> None:
        """Without a credential it acts as the owner, which only emulators accept."""
        from google.auth.exceptions import GoogleAuthError

        self._failures = (NoResponse, GoogleAuthError)
        self._client = HttpClient(
            ConnectionPool(place.origin, most_kept=_CONNECTIONS), _NO_TIMEOUT_S if timeout_s is None else timeout_s
        )
        self._query = place.query
        self._token = Owner() if credential is None else AccessToken(credential, place.origin, timeout_s)

    def read(self, path: str, query: str = "") -> Reply:
        """The value at `path`."""
        return self._ask("GET", path, query, None, {})

    def read_tagged(self, path: str) -> Reply:
        """The value at `path` with its ETag."""
        return self._ask("GET", path, "", None, {"X-Firebase-ETag": "true"})

    def write(self, values: Mapping[str, object]) -> None:
        """Writes several paths at once. Retried when its answer is lost, because writing twice changes nothing."""
        self._ask("PATCH", "", "print=silent", _text(values), {})

    def write_over(self, path: str, etag: str, value: object) -> Reply:
        """Writes the value if the ETag still matches; otherwise the reply is 412 with the stored value.

        A lost answer is a failure: the write may have happened, and a retry would meet the ETag of its own value.
        """
        # Not silent: a 412 must carry the stored value, and it is undocumented whether a silent one does.
        return self._ask("PUT", path, "", _text(value), {"if-match": etag})

    def _ask(self, method: str, path: str, query: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        url = f"{encoded(path)}?{'&'.join(part for part in (query, self._query) if part)}"
        conditional = "if-match" in headers
        try:
            response = self._send(method, url, body, headers, _ONCE if conditional else _REPEATABLE)
        except self._failures as error:
            raise Unavailable(f"the Realtime Database did not answer: {error}") from error
        if not (response.status in (200, 204) or (response.status == 412 and conditional)):
            raise Unavailable(f"the Realtime Database refused with {response.status}: {_reason(response.body)}")
        etag = response.headers.get(b"etag")
        return Reply(response.status, response.body, None if etag is None else etag.decode("latin-1"))

    def _send(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], retries: Retries
    ) -> Response:
        token = self._token.headers()
        response = self._client.request(method, url, (*token.items(), *headers.items()), body, retries)
        if response.status == 401 and self._token.renewed(token):
            token = self._token.headers()
            response = self._client.request(method, url, (*token.items(), *headers.items()), body, retries)
        return response


def _text(value: object) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InvariantViolation(f"the Realtime Database cannot store this: {error}") from error


def _reason(body: bytes) -> str:
    """The server's own reason: mostly `{"error": text}`."""
    return body[:500].decode(errors="replace").strip()
