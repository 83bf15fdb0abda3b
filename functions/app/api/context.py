"""The id and the client address of the request being served.

The id is on every answer, log line and ledger entry of a request. Refuses to know what the request asks.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Client:
    """Where a call came from, as far as it is known. `address` is the client's. `relay` is the machine that told it to
    us, None where Google's front end saw the client itself: then nobody could make the address up.
    """

    address: str | None = None
    relay: str | None = None


NOBODY: Final = Client()
"""The client of what no request caused: an event, a schedule, an operation."""

_client: ContextVar[Client] = ContextVar("client", default=NOBODY)


def client() -> Client:
    """The client of the call being served."""
    return _client.get()


@contextmanager
def coming_from(client: Client) -> Iterator[None]:
    """Whatever runs inside is done for a call of `client`."""
    token = _client.set(client)
    try:
        yield
    finally:
        _client.reset(token)


def client_of(header: Callable[[str], str | None], peer: str | None, relay_header: str | None = None) -> Client:
    """The client of a request with these headers.

    Google's front end appends the address that it saw to X-Forwarded-For, behind whatever the client wrote there, so
    the last one is true. Where that is a relay's, the client's own stands in `relay_header`, which anybody can write
    who calls us without the relay: so what it tells is believed only together with a limit on the relay.
    """
    seen = (header("X-Forwarded-For") or "").rpartition(",")[2].strip() or peer
    told = (header(relay_header) or "").strip() if relay_header else ""
    return Client(told, relay=seen) if told else Client(seen)


def request_id() -> str:
    """The id of the request being served; empty outside of one."""
    if not flask.has_request_context():
        return ""
    return str(flask.request.environ.get(ENVIRON, ""))
