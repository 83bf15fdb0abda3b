"""The HTTP edge of simulated instances: each has its own `Edge`, and one routed application serves all of them.

Mounting the routes takes longer than a whole seed, because pydantic builds schemas. So it is done once per process,
over stand-ins for the instance that serves the request at hand.
"""

import functools
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, ClassVar, Final, cast

import flask
from flask_openapi import APIBlueprint, OpenAPI

from app.api import mount
from app.feature import Feature
from app.kit.environment import Environment
from app.kit.once import once
from app.ports import Ports
from app.settings import Settings
from app.wiring import System
from support.bodies import Counted

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_BARE: Final = ("CONTENT_TYPE", "CONTENT_LENGTH", "REMOTE_ADDR")
_SERVING: Final[ContextVar[System]] = ContextVar("serving")
"""The instance that serves the request of this greenlet."""


class SimulatedSystem(System):
    """`System` that shares with all others what no instance changes: settings once read, and routes once mounted."""

    @once
    def settings(self) -> Settings:
        return _read(tuple(self.ports.environment.variables.items()))

    @once
    def app(self) -> OpenAPI:
        return _routed().app


@functools.cache
def _read(variables: tuple[tuple[str, str], ...]) -> Settings:
    return Settings.read(Environment(dict(variables)))


@functools.cache
def _routed() -> System:
    """Made by the first request of a process, for all that follow."""
    _Late.mounting = True
    try:
        routed = _RoutedSystem([type(feature) for feature in _SERVING.get().features])
        assert routed.app
    finally:
        _Late.mounting = False
    return routed


class _Late:
    """Something of the instance that serves. While routes are mounted, what it gives is as late as itself."""

    mounting: ClassVar[bool] = False

    def __init__(self, find: Callable[[], object]) -> None:
        self._find = find

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        find = functools.partial(_attribute, self._find, name)
        return _Late(find) if _Late.mounting else find()

    def __call__(self, *arguments: object, **named: object) -> object:
        return cast(Callable[..., object], self._find())(*arguments, **named)


def _attribute(find: Callable[[], object], name: str) -> object:
    return getattr(find(), name)


class _RoutedSystem(System):
    """`System.app` over stand-ins: `features` are their kinds, in order."""

    def __init__(self, features: Sequence[type[Feature]]) -> None:
        super().__init__(cast(Ports, _Late(lambda: _SERVING.get().ports)))
        self._kinds = features

    @once
    def settings(self) -> Settings:
        return _SERVING.get().settings

    @once
    def features(self) -> tuple[Feature, ...]:
        return tuple(_RoutesAlone(kind, index) for index, kind in enumerate(self._kinds))


class _RoutesAlone(Feature):
    """The routes of a feature, over the one of the instance that serves."""

    def __init__(self, kind: type[Feature], index: int) -> None:
        super().__init__()
        self._kind, self._index = kind, index

    def routes(self) -> Sequence[APIBlueprint]:
        return self._kind.routes(cast(Feature, _Late(lambda: _SERVING.get().features[self._index])))


@dataclass(frozen=True)
class HttpAnswer:
    """`body` is read by the client, which closes it when it leaves earlier."""

    status: int
    headers: Mapping[str, str]
    body: Iterable[bytes]
    read: int = 0
    """Bytes of the request's body that were read when it was answered."""

    def whole(self) -> bytes:
        """The body to its end."""
        try:
            return b"".join(self.body)
        finally:
            self.close()

    def close(self) -> None:
        """What a server does when the body was read, or its client has gone."""
        if callable(close := getattr(self.body, "close", None)):
            close()


@dataclass(frozen=True)
class HttpRequest:
    """`query` is the part of the address behind the question mark. A `stream` takes the place of the body: it makes it
    when it is read, and counts that.
    """

    method: str
    path: str
    token: str = ""
    body: bytes = b""
    query: str = ""
    headers: Mapping[str, str] | None = None
    stream: Counted | None = None


def serve(system: System, request: HttpRequest) -> HttpAnswer:
    """What an instance answers to a request, as the function `api` of `functions/main.py` is asked for it."""
    _SERVING.set(system)
    read: list[int] = []

    def application(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        pieces = system.edge(environ, start)
        read.append(sum(request.stream.reads) if request.stream else 0)
        return pieces

    answer = mount.serve(application, flask.Request(environ_of(request)))
    return HttpAnswer(answer.status_code, dict(answer.headers.items()), cast(Iterable[bytes], answer.response), read[0])


def environ_of(request: HttpRequest) -> dict[str, object]:
    """The request as a WSGI server hands it over. Without a token nobody says who asks."""
    environ: dict[str, object] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        # WSGI has the bytes of the address as letters (PEP 3333).
        "PATH_INFO": request.path.encode().decode("latin-1"),
        "QUERY_STRING": request.query,
        "SERVER_NAME": "api.example",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": f"10.0.{zlib.crc32(str(request.token).encode()) % 256}.1",
        "CONTENT_LENGTH": str(len(request.body) if request.stream is None else request.stream.left),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": request.stream or BytesIO(request.body),
        "wsgi.errors": BytesIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if request.token:
        environ["HTTP_AUTHORIZATION"] = f"Bearer {request.token}"
    if request.body or request.stream:
        environ["CONTENT_TYPE"] = "application/json"
    for name, value in (request.headers or {}).items():
        variable = name.upper().replace("-", "_")
        environ[variable if variable in _BARE else f"HTTP_{variable}"] = value
    return environ
