"""Ways into an instance for people who are no users of the workload: HTTP as it is, and callables as SDKs call them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

import flask
from firebase_functions.https_fn import AuthData, CallableRequest, HttpsError

from app.api import callables
from app.api.auth import TokenExpired, TokenInvalid
from app.kit.errors import Failure
from app.kit.stores.documents import Write
from simulation.edge import HttpAnswer, HttpRequest, environ_of, serve
from simulation.instance import Backend
from simulation.outside.auth import Auth
from simulation.world import World

CALL: Final = "callable:"
"""A path that begins so names a callable function."""
_PROBLEM: Final = ("type", "title", "status", "detail", "code", "request_id")


@dataclass(frozen=True)
class Heard:
    """An answer, read to its end. `read`: bytes of the request's body that were taken before it. `wrote`: documents
    that were written, or tried to, for the request.
    """

    status: int
    headers: Mapping[str, str]
    text: str
    read: int
    wrote: tuple[str, ...] = ()

    @property
    def fields(self) -> Mapping[str, object]:
        """The JSON object."""
        return cast(Mapping[str, object], json.loads(self.text))

    def misshapen(self) -> str:
        """Why this is none of our answers; empty when it is one."""
        if self.status == 500 or self.status > 503:
            return f"answered {self.status}: {self.text[:200]}"
        if self.status < 400 or not self.headers:
            return ""
        if self.headers.get("Content-Type") != "application/problem+json":
            return f"{self.status} is a {self.headers.get('Content-Type')}"
        missing = [name for name in _PROBLEM if name not in self.fields]
        if missing or self.fields["status"] != self.status:
            return f"{self.status} says {self.text[:200]}"
        if self.fields["request_id"] != self.headers.get("X-Request-Id"):
            return f"{self.status} has the id {self.headers.get('X-Request-Id')} and says {self.fields['request_id']}"
        needed = {401: "Www-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}.get(self.status)
        if needed is not None and needed not in {name.title() for name in self.headers}:
            return f"{self.status} does not say {needed}"
        return ""


class Door:
    """Asks instances, and keeps what was wrong with the answers in `found`."""

    def __init__(self, world: World, name: str) -> None:
        self._world, self._name = world, name
        self._count = 0
        self._wrote: dict[str, list[str]] = {}
        self.found: list[str] = []
        world.documents.tries.append(self._tried)

    def ask(self, request: HttpRequest) -> Heard | None:
        """The answer of some instance; None when the connection broke. Called by a process."""
        self._count += 1
        label = f"{self._name} {self._count}"
        self._wrote[label] = []
        auth = self._world.outside.tokens
        outcome = self._world.request(label, lambda backend: _asked(backend, auth, request))
        wrote = tuple(self._wrote.pop(label))
        if isinstance(outcome, Failure):
            return None
        if why := outcome.misshapen():
            self.found.append(f"{self._name}: {request.method} {request.path}?{request.query} {request.headers} {why}")
        return replace(outcome, wrote=wrote)

    def _tried(self, writes: Sequence[Write]) -> None:
        me = self._world.kernel.current
        if me is not None and me.name in self._wrote:
            self._wrote[me.name] += [write.path for write in writes]


def _asked(backend: Backend, auth: Auth, request: HttpRequest) -> Heard:
    if request.path.startswith(CALL):
        return _called(backend, auth, request)
    answer: HttpAnswer = serve(backend.system, request)
    return Heard(answer.status, answer.headers, answer.whole().decode(), answer.read)


def _called(backend: Backend, auth: Auth, request: HttpRequest) -> Heard:
    """As functions/main.py and the SDK's `on_call` take a call: the SDK verifies signatures and believes tokens."""
    name = request.path.removeprefix(CALL)

    def on_call(raw: flask.Request) -> Heard:
        who = None
        if request.token:
            try:
                said = auth.claims(request.token)
            except (TokenInvalid, TokenExpired):
                return Heard(401, {}, '{"code": "unauthenticated"}', 0)
            who = AuthData(str(said["uid"]), dict(said))
        data = json.loads(raw.get_data())["data"]
        try:
            result = backend.system.call(name, CallableRequest[object](data=data, raw_request=raw, auth=who))
        except HttpsError as error:
            problem = json.dumps(error.details, default=str)
            return Heard(int(json.loads(problem)["status"]), {}, problem, 0)
        return Heard(200, {}, json.dumps(result), 0)

    told: Heard = callables.read_strictly(on_call)(flask.Request(environ_of(request)))
    return told
