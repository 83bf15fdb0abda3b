"""Runs a WSGI application inside an HTTP function of functions-framework.

The framework hands over a Flask request of its own application. Entering that request's context again, as Google's
sample does, hangs on bodies and breaks streams (https://github.com/firebase/firebase-functions-python/issues/159):
here the body is read once, within a bound, and the application gets an environment of its own.
"""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import flask

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

MOST_BYTES: Final = 10 * 1024 * 1024
"""The largest body of any route; more is not held in memory."""
DROPPED_BYTES: Final = 32 * 1024 * 1024
"""The platform's own limit. A body that is too large is read to its end and dropped: a client that is still sending
would otherwise see a broken connection in place of the answer."""
_CHUNK: Final = 64 * 1024


def serve(app: "WSGIApplication", request: flask.Request) -> flask.Response:
    """The application's answer to `request`, streamed as it comes."""
    environ = {name: value for name, value in request.environ.items() if not name.startswith("werkzeug.")}
    body = _read(request)
    # For a body that is too large the application sees a length that it refuses, and no bytes.
    environ["CONTENT_LENGTH"] = str(MOST_BYTES + 1 if body is None else len(body))
    environ["wsgi.input"] = io.BytesIO(body or b"")
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start(status: str, headers: list[tuple[str, str]], _: object = None, /) -> Callable[[bytes], object]:
        started[:] = [(status, headers)]
        return _no_write

    pieces = app(environ, start)
    status, headers = started[0]
    response = flask.Response(pieces, status, headers, direct_passthrough=True)
    if not any(name.lower() == "content-type" for name, _ in headers):
        del response.headers["Content-Type"]
    return response


def _read(request: flask.Request) -> bytes | None:
    """The whole body, or None when it is larger than `MOST_BYTES`, whatever its header says."""
    pieces: list[bytes] = []
    length = 0
    while length <= DROPPED_BYTES and (piece := request.stream.read(_CHUNK)):
        length += len(piece)
        if length <= MOST_BYTES:
            pieces.append(piece)
        else:
            pieces.clear()
    return b"".join(pieces) if length <= MOST_BYTES else None


def _no_write(_: bytes) -> object:
    raise NotImplementedError("an application of ours returns its body and never calls write()")
