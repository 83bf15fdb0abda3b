"""Runs a WSGI application inside an HTTP function of functions-framework.

The framework hands over a Flask request of its own application. Entering that request's context again, as Google's
sample does, hangs on bodies and breaks streams (https://github.com/firebase/firebase-functions-python/issues/159):
here the application gets an environment of its own. The body stays unread until the application wants it, which is
after it knows who calls.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import flask

from app.api.bodies import drop_rest

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def serve(app: "WSGIApplication", request: flask.Request) -> flask.Response:
    """The application's answer to `request`, streamed as it comes."""
    environ = {name: value for name, value in request.environ.items() if not name.startswith("werkzeug.")}
    # Flask's stream ends where the body ends, whatever server is below and however the length is told.
    environ["wsgi.input"] = request.stream
    environ["wsgi.input_terminated"] = True
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start(status: str, headers: list[tuple[str, str]], _: object = None, /) -> Callable[[bytes], object]:
        started[:] = [(status, headers)]
        return _no_write

    pieces = app(environ, start)
    drop_rest(request.stream)
    status, headers = started[0]
    response = flask.Response(pieces, status, headers, direct_passthrough=True)
    if not any(name.lower() == "content-type" for name, _ in headers):
        del response.headers["Content-Type"]
    return response


def _no_write(_: bytes) -> object:
    raise NotImplementedError("an application of ours returns its body and never calls write()")
