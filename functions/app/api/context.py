"""The id and the client address of the request being served.

The id is on every answer, log line and ledger entry of a request. Refuses to know what the request asks.
"""

import re
from collections.abc import Mapping
from typing import Final

import flask

from app.kit.ids import Ids

HEADER: Final = "X-Request-Id"
ENVIRON: Final = "credits.request_id"
"""The WSGI variable in which the edge passes the id to the application behind it."""

_SANE = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


def accepted(given: str | None) -> str | None:
    """The caller's own id when it is short and plain enough to stand in logs and headers; else None."""
    return given if given is not None and _SANE.fullmatch(given) else None


def take_or_make(environ: Mapping[str, object], ids: Ids) -> str:
    """The id of this request: the caller's if it is acceptable, a fresh one otherwise."""
    given = environ.get("HTTP_X_REQUEST_ID")
    return accepted(given if isinstance(given, str) else None) or ids.new("req")


def client_address() -> str | None:
    """The address of the client. Google's front end appends the address that it saw to X-Forwarded-For, behind
    whatever the client wrote there, so the last one counts.
    """
    forwarded = flask.request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    return forwarded or flask.request.remote_addr


def request_id() -> str:
    """The id of the request being served; empty outside of one."""
    if not flask.has_request_context():
        return ""
    return str(flask.request.environ.get(ENVIRON, ""))
