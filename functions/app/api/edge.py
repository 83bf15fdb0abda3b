"""The outermost layer of the `api` function, in plain WSGI: what must hold for every answer, whatever made it.

Owns request ids, the two URL prefixes, CORS, security headers, the platform's probes and the few addresses that are
answered before the routed application is built (a cold instance answers its health check without importing that).
Refuses to know users, bodies and features.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from werkzeug.wrappers import Response

from app.api import context, problems
from app.api.openai import paths
from app.kit.ids import Ids

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_UNSAID: Final = frozenset({"cache-control", "content-language", "content-length", "content-type", "expires"})
"""Headers of an answer that a page may read without being told so (Fetch, section 2.2.2)."""
_OWN_HEADERS: Final = ("Authorization", "Content-Type", "Accept", "Idempotency-Key", "X-Request-Id")
_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}", re.ASCII)
_MOST_ASKED: Final = 64
_ALLOWED_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_PREFLIGHT_AGE_S: Final = 7200
"""Chromium's maximum; Firefox allows a day."""

_COME_BACK: Final = ("429", "503")
"""Statuses that say when to try again, whatever made the answer."""

_SECURITY: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
}
"""Set unless the answer sets them itself (the documentation page needs its own scripts)."""


class EdgePolicy(NamedTuple):
    """What differs between deployments.

    `origins`: the web origins whose scripts may call the API; empty means any, which is safe because the API reads
    no cookie: a foreign page has no token to send. `relay_header`: see `context.client_of`.
    """

    origins: frozenset[str] = frozenset()
    relay_header: str | None = None


class Edge:
    """WSGI middleware. `early` maps paths, without the `/api` prefix, to applications that answer GET and HEAD."""

    def __init__(
        self,
        app: "WSGIApplication",
        *,
        ids: Ids,
        policy: EdgePolicy | None = None,
        early: "Mapping[str, WSGIApplication] | None" = None,
    ) -> None:
        self._app = app
        self._ids = ids
        self._policy = policy or EdgePolicy()
        self._early = early or {}

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        request_id = context.take_or_make(environ, self._ids)
        environ[context.ENVIRON] = request_id
        _strip_prefix(environ)
        start = self._with_headers(environ, request_id, start_response)
        try:
            with context.coming_from(self._client(environ)):
                return self._route(environ)(environ, start)
        except Exception as error:  # noqa: BLE001 - the outermost edge: nothing above it could answer
            described = problems.describe(error)
            problems.report(described, error)
            return described.response(request_id)(environ, start)

    def _client(self, environ: "WSGIEnvironment") -> context.Client:
        def header(name: str) -> str | None:
            return environ.get(f"HTTP_{name.upper().replace('-', '_')}")

        return context.client_of(header, environ.get("REMOTE_ADDR"), self._policy.relay_header)

    def _route(self, environ: "WSGIEnvironment") -> "WSGIApplication":
        path, method = environ.get("PATH_INFO", ""), environ.get("REQUEST_METHOD", "GET")
        # firebase-tools calls every HTTP function once at `/__/health` when a worker starts.
        if path.startswith("/__/"):
            return Response("ok", mimetype="text/plain")
        if method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
            return _nothing
        if method in ("GET", "HEAD") and path in self._early:
            return self._early[path]
        return self._app

    def _with_headers(
        self, environ: "WSGIEnvironment", request_id: str, start_response: "StartResponse"
    ) -> "StartResponse":
        def start(status: str, headers: list[tuple[str, str]], exc_info: object = None, /) -> Callable[[bytes], object]:
            present = {name.lower() for name, _ in headers}
            added = [(context.HEADER, request_id)]
            if status[:3] in _COME_BACK and "retry-after" not in present:
                added.append(("Retry-After", str(problems.RETRY_AFTER_S)))
            added += self._cors(environ, [name for name, _ in (*headers, *added)])
            added += [(name, value) for name, value in _SECURITY.items() if name.lower() not in present]
            return start_response(status, [*headers, *added], exc_info)  # type: ignore[arg-type]  # handed through

        return start

    def _cors(self, environ: "WSGIEnvironment", present: Sequence[str]) -> list[tuple[str, str]]:
        """Headers of the Fetch standard's CORS protocol, without credentials; `Vary` where the origin matters.

        `present` are the names of the answer's headers: a page may read all of them.
        """
        origin = environ.get("HTTP_ORIGIN")
        allowed, vary = "*", []
        if self._policy.origins:
            vary = [("Vary", "Origin")]
            if origin not in self._policy.origins:
                return vary
            allowed = origin
        if origin is None:
            return vary
        exposed = [name for name in dict.fromkeys(present) if name.lower() not in _UNSAID]
        headers = [
            *vary,
            ("Access-Control-Allow-Origin", allowed),
            ("Access-Control-Expose-Headers", ", ".join(exposed)),
        ]
        if environ.get("REQUEST_METHOD") == "OPTIONS":
            headers += [
                ("Access-Control-Allow-Methods", _ALLOWED_METHODS),
                ("Access-Control-Allow-Headers", _allowed_headers(environ)),
                ("Access-Control-Max-Age", str(_PREFLIGHT_AGE_S)),
                ("Vary", "Access-Control-Request-Headers"),
            ]
        return headers


def _allowed_headers(environ: "WSGIEnvironment") -> str:
    """Our own, and whatever the page asks for: tracing, App Check and error reports add headers that no list knows.

    A header that we do not read does no harm, and one that we read is worth nothing without a token.
    """
    asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "").split(",", _MOST_ASKED)[:_MOST_ASKED]
    own = {name.lower() for name in _OWN_HEADERS}
    names = dict.fromkeys(name.strip().lower() for name in asked)
    return ", ".join([*_OWN_HEADERS, *(name for name in names if name not in own and _FIELD_NAME.fullmatch(name))])


def _nothing(_: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """Answers 204; the CORS headers are added around it."""
    start_response("204 No Content", [])
    return []


def _strip_prefix(environ: "WSGIEnvironment") -> None:
    """`/api/v1/...`, which the Hosting rewrite sends, is `/v1/...` mounted under `/api`."""
    path = environ.get("PATH_INFO", "")
    if path.startswith("/api/"):
        environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + "/api"
        path = path.removeprefix("/api")
    environ["PATH_INFO"] = paths.meant(path)
