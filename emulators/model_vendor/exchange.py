"""One request on its way through the vendor: who asks, what to do wrong, and the record of it.

Owns what all endpoints share: the key, the faults that strike before an answer exists, the journal. Refuses to
know what an answer looks like.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import ClientSession, web

from emulators.model_vendor import faults
from emulators.model_vendor.errors import VendorError, bad_request, injected, unauthorized
from emulators.model_vendor.faults import Behaviour, Directives
from emulators.model_vendor.framing import reset
from emulators.model_vendor.journal import Journal, Record
from emulators.model_vendor.pacing import Speed
from emulators.model_vendor.tokens import PrefixCache

BAD_KEY = "bad-key"
HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n"
FAULT_HEADER = "X-Sim-Fault"
FIRST_TOKEN_HEADER = "X-Sim-First-Token-Ms"
RATE_HEADER = "X-Sim-Tokens-Per-Second"


@dataclass(slots=True)
class Rule:
    """A fault arranged ahead for requests that match; `left` counts down, None never ends."""

    fault: str
    model: str | None = None
    user: str | None = None
    contains: str | None = None
    left: int | None = 1

    def matches(self, model: str, user: str | None, body: bytes) -> bool:
        """Whether the rule is for this request; `contains` looks at the raw body."""
        return (
            self.left != 0
            and self.model in (None, model)
            and self.user in (None, user)
            and (self.contains is None or self.contains.encode() in body)
        )


@dataclass
class Vendor:
    """The state of the process."""

    speed: Speed
    journal: Journal = field(default_factory=Journal)
    cache: PrefixCache = field(default_factory=PrefixCache)
    rules: list[Rule] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)
    background: set[asyncio.Task[None]] = field(default_factory=set)
    session: ClientSession | None = None

    def web(self) -> ClientSession:
        """The client that fetches pictures by address."""
        if self.session is None:
            self.session = ClientSession()
        return self.session


VENDOR = web.AppKey("vendor", Vendor)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request whose faults are known."""

    vendor: Vendor
    request: web.Request
    body: bytes
    model: str
    behaviour: Behaviour
    speed: Speed
    record: Record


Answer = Callable[["Exchange"], Awaitable[web.StreamResponse]]


def check_key(request: web.Request) -> None:
    """401 unless the request carries a bearer key other than `bad-key`."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    key = key.strip() if scheme.lower() == "bearer" else ""
    if not key or key == BAD_KEY:
        raise unauthorized(key)


async def conduct(request: web.Request, model: str, user: str | None, answer: Answer) -> web.StreamResponse:
    """Run `answer` with the faults that the request asks for; the record is closed in every case."""
    record: Record = request["record"]
    vendor = request.app[VENDOR]
    body = await request.read()
    name, _ = faults.split_model(model)
    record.model, record.base_model, record.user = model, name, user
    record.attempt = vendor.journal.attempt(request.path, body)
    directives = _directives(vendor, request, record, body)
    behaviour = faults.behaviour(directives, body=body, attempt=record.attempt)
    speed = vendor.speed.adjusted(behaviour)
    exchange = Exchange(vendor, request, body, name, behaviour, speed, record)
    early = await _early(exchange)
    return early if early is not None else await answer(exchange)


def _directives(vendor: Vendor, request: web.Request, record: Record, body: bytes) -> Directives:
    rule = next((rule for rule in vendor.rules if rule.matches(record.base_model, record.user, body)), None)
    if rule is not None and rule.left is not None:
        rule.left -= 1
    timing = []
    for header, directive in ((FIRST_TOKEN_HEADER, "first-token-ms"), (RATE_HEADER, "tokens-per-second")):
        if header in request.headers:
            timing.append(f"{directive}={request.headers[header]}")
    suffix = faults.split_model(record.model)[1]
    specs = ("" if rule is None else rule.fault, suffix, request.headers.get(FAULT_HEADER, ""), ",".join(timing))
    record.fault = ",".join(filter(None, specs))
    return faults.parse(record.fault)


async def _early(exchange: Exchange) -> web.StreamResponse | None:
    behaviour, request = exchange.behaviour, exchange.request
    if behaviour.timeout is not None:
        exchange.record.ending = "timeout"
        await asyncio.sleep(behaviour.timeout)
        await reset(request)
        return web.Response()
    if behaviour.reset:
        exchange.record.ending = "reset"
        await reset(request)
        return web.Response()
    if behaviour.status is not None:
        raise injected(behaviour.status, code=behaviour.code, retry_after=behaviour.retry_after)
    if behaviour.html:
        exchange.record.ending = "html"
        return web.Response(text=HTML, content_type="text/html")
    return None


@web.middleware
async def journalled(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Check the key, open and close the record, and put refusals into the vendor's words."""
    if not request.path.startswith("/v1/"):
        return await handler(request)
    vendor = request.app[VENDOR]
    record = vendor.journal.open(f"{request.method} {request.path}")
    request["record"] = record
    try:
        check_key(request)
        response = await handler(request)
        record.status = response.status
    except VendorError as error:
        record.status, record.ending = error.status, error.body.code or error.body.type
        response = web.Response(
            status=error.status, body=error.body.json(), content_type="application/json", headers=error.headers
        )
    except web.HTTPNotFound:
        record.status = 404
        unknown = bad_request(f"Invalid URL ({request.method} {request.path})")
        response = web.Response(status=404, body=unknown.body.json(), content_type="application/json")
    except (asyncio.CancelledError, ConnectionError):
        record.left()
        raise
    finally:
        if not request.get("detached"):
            vendor.journal.close(record)
    if not response.prepared:
        response.headers["x-request-id"] = record.request_id
    return response
