"""The id, the client address and the wanted media type of the request being served.

The id is on every answer, log line and ledger entry of a request. Refuses to know what the request asks.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple

import flask

from app.kit.ids import Ids

HEADER: Final = "X-Request-Id"
ENVIRON: Final = "credits.request_id"
"""The WSGI variable in which the edge passes the id to the application behind it."""

_QUALITY: Final = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?", re.ASCII)
_SANE = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


def accepted(given: str | None) -> str | None:
    """The caller's own id when it is short and plain enough to stand in logs and headers; else None."""
    return given if given is not None and _SANE.fullmatch(given) else None


def take_or_make(environ: Mapping[str, object], ids: Ids) -> str:
    """The id of this request: the caller's if it is acceptable, a fresh one otherwise."""
    given = environ.get("HTTP_X_REQUEST_ID")
    return accepted(given if isinstance(given, str) else None) or ids.new("req")


class Client(NamedTuple):
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


def network_of(address: str | None, *, ipv4_bits: int) -> str | None:
    """The network that an address is taken for: of IPv6 a /64, which is one customer's; None when it is no address."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return prefix_of(str(parsed).partition("%")[0], 64) if mapped is None else prefix_of(str(mapped), ipv4_bits)
    return prefix_of(str(parsed), ipv4_bits)


def prefix_of(address: str, bits: int) -> str:
    """The network of so many bits that an address lies in."""
    return str(ipaddress.ip_network(f"{address}/{bits}", strict=False))


def request_id() -> str:
    """The id of the request being served; empty outside of one."""
    if not flask.has_request_context():
        return ""
    return str(flask.request.environ.get(ENVIRON, ""))


def wanted(*offered: str, default: str) -> str:
    """Which media type the `Accept` header of the request being served prefers; see `preferred`."""
    return preferred(flask.request.headers.get("Accept"), *offered, default=default)


def preferred(accept: str | None, *offered: str, default: str) -> str:
    """Which of the offered media types `accept` prefers (RFC 9110, section 12.5.1), whatever its case and parameters.

    The most specific range decides a type's quality, and 0 excludes it. Of equally good types the one that is named
    more exactly wins, then the one offered first; `default` when they are told apart by nothing.
    """
    ranges = [_range(part) for part in (accept or "*/*").split(",")]
    found = [(quality, exact, name) for name in offered for exact, quality in [_quality(ranges, name)]]
    best = max((quality, exact) for quality, exact, _ in found)
    names = [name for quality, exact, name in found if (quality, exact) == best]
    return default if best[0] == 0 or (best[1] == 0 and default in names) else names[0]


def _range(part: str) -> tuple[str, float]:
    """A media range in lower case without its parameters, and its quality; 1 for one that cannot be read."""
    name, *parameters = (text.strip().lower() for text in part.split(";"))
    told = next((text.removeprefix("q=") for text in parameters if text.startswith("q=")), "1")
    return name, float(told) if _QUALITY.fullmatch(told) else 1.0


def _quality(ranges: Sequence[tuple[str, float]], name: str) -> tuple[int, float]:
    """How exactly `name` is meant by the range that fits it best, and the quality that this gives it."""
    spellings = ("*/*", f"{name.partition('/')[0]}/*", name)
    fitting = [(spellings.index(told), quality) for told, quality in ranges if told in spellings]
    return max(fitting, default=(0, 0.0))
