"""The header that authorises a call to a Google service, from the credentials of firebase_admin's app."""

import threading
from collections.abc import Mapping
from functools import partial
from typing import Protocol


class Credential(Protocol):
    """What we use of google.auth's credentials, which have no types."""

    token: str | None

    def before_request(self, request: object, method: str, url: str, headers: dict[str, str], /) -> None:
        """Puts a token into `headers`; fetches a new one when the old one has expired."""

    def refresh(self, request: object, /) -> None:
        """Fetches a new token."""


class Owner:
    """The credential that emulators accept for everything."""

    def headers(self) -> dict[str, str]:
        return {"authorization": "Bearer owner"}

    def renewed(self, _: Mapping[str, str]) -> bool:
        return False


class AccessToken:
    """An access token of google.auth, with a lock: its credentials are not thread-safe.

    Both methods raise google.auth's `GoogleAuthError` when no token can be fetched.
    """

    def __init__(self, credential: Credential, origin: str, timeout_s: float | None) -> None:
        from google.auth.transport.requests import Request

        self._credential = credential
        self._origin = origin
        self._fetch = Request() if timeout_s is None else partial(Request(), timeout=timeout_s)
        self._lock = threading.Lock()

    def headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        with self._lock:
            self._credential.before_request(self._fetch, "GET", self._origin, headers)
        return headers

    def renewed(self, refused: Mapping[str, str]) -> bool:
        """Replaces the token that the server refused, unless another thread has; says whether a retry makes sense."""
        with self._lock:
            if refused.get("authorization") == f"Bearer {self._credential.token}":
                self._credential.refresh(self._fetch)
        return True
