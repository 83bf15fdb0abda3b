"""The backend as an ordinary client sees it: Auth's sign-up, the HTTP API, a callable. Knows no emulator's inside."""

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psutil
import requests

from emulators.suite import seed
from emulators.suite.places import DATABASE_NAMESPACE, PROJECT, REGION, Places, Ports, origin

Json = dict[str, Any]  # what a server sends is looked at, not modelled

_TIMEOUT_S = 120


class NotRunning(Exception):
    """There is no suite to talk to. The message says what to do."""


class Refused(Exception):
    """The API said no, with a problem object (RFC 9457)."""

    def __init__(self, problem: Json) -> None:
        super().__init__(str(problem.get("detail", "refused")))
        self.problem = problem


def running_ports() -> Ports:
    """The ports of the suite at PORT_OFFSET.

    Raises:
        NotRunning: nothing runs there.
    """
    offset = os.environ.get("PORT_OFFSET") or "0"
    if not offset.isdigit():
        raise NotRunning(f"PORT_OFFSET should be a number, and is {offset!r}.")
    places = Places(int(offset))
    shift = f" PORT_OFFSET={offset}" if int(offset) else ""
    try:
        state = json.loads(places.state.read_text())
    except (OSError, ValueError):
        state = {}
    if not state.get("ready") or not psutil.pid_exists(int(state.get("pid", -1))):
        raise NotRunning(f"No suite is running: start it with `make run{shift}` in another terminal, then try again.")
    return Ports.at(int(offset))


@dataclass(frozen=True)
class Client:
    """Somebody signed in."""

    ports: Ports
    email: str
    uid: str
    token: str

    @classmethod
    def sign_up(cls, ports: Ports) -> "Client":
        """A new user, through Firebase Auth's own REST API."""
        email = f"ada-{secrets.token_hex(3)}@example.com"
        signed = seed.sign_up(ports, email, secrets.token_urlsafe(12))
        return cls(ports, email, signed.uid, signed.id_token)

    @property
    def live_url(self) -> str:
        """What this user may listen to in the Realtime Database: the own subtree."""
        return f"{origin(self.ports.database)}/users/{self.uid}.json?ns={DATABASE_NAMESPACE}&auth={self.token}"

    def get(self, path: str) -> Json:
        """GET of the API."""
        return self._json(requests.get(self._url(path), headers=self._headers(), timeout=_TIMEOUT_S))

    def post(self, path: str, body: Mapping[str, object]) -> Json:
        """POST of the API.

        Raises:
            Refused: with the problem that it answered.
        """
        return self._json(requests.post(self._url(path), json=body, headers=self._headers(), timeout=_TIMEOUT_S))

    def stream(self, path: str, body: Mapping[str, object]) -> Iterator[tuple[str, Json]]:
        """POST of the API with `Accept: text/event-stream`: the events as they come."""
        headers = {**self._headers(), "Accept": "text/event-stream"}
        with requests.post(self._url(path), json=body, headers=headers, stream=True, timeout=_TIMEOUT_S) as answer:
            if not answer.ok:
                self._json(answer)
            yield from events(answer)

    def call(self, name: str, data: Mapping[str, object]) -> Json:
        """A callable function, by the protocol of the client SDKs' `httpsCallable`."""
        url = f"{origin(self.ports.functions)}/{PROJECT}/{REGION}/{name}"
        answer = requests.post(url, json={"data": data}, headers=self._headers(), timeout=_TIMEOUT_S)
        result: Json = self._json(answer)["result"]
        return result

    def _url(self, path: str) -> str:
        return f"{origin(self.ports.functions)}/{PROJECT}/{REGION}/api/v1/{path}"

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @staticmethod
    def _json(answer: requests.Response) -> Json:
        try:
            body: Json = answer.json()
        except ValueError:
            body = {"detail": f"an answer with status {answer.status_code} that is not JSON"}
        if not answer.ok:
            raise Refused({"status": answer.status_code, **body})
        return body


def events(answer: requests.Response) -> Iterator[tuple[str, Json]]:
    """Server-Sent Events of a response: name and JSON data."""
    name = ""
    for line in answer.iter_lines(chunk_size=1):
        field, _, value = line.decode().partition(": ")
        if field == "event":
            name = value
        elif field == "data" and value != "null":
            yield name, json.loads(value)
