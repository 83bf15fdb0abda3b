"""The control endpoints for tests: what was asked, what was generated, faults arranged ahead, a fresh start.

Owns /__sim/*. Refuses to know how requests are answered.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emulators.model_vendor import faults
from emulators.model_vendor.errors import VendorError
from emulators.model_vendor.exchange import VENDOR, Rule
from emulators.model_vendor.journal import Record


class RuleBody(BaseModel):
    """POST /__sim/faults. `times` null: until the next reset."""

    model_config = ConfigDict(extra="forbid")

    fault: str
    model: str | None = None
    user: str | None = None
    contains: str | None = None
    times: Annotated[int, Field(ge=1)] | None = 1


class Query(BaseModel):
    """GET /__sim/requests?last=&model=&user=&request_id=&state=&wait_ms="""

    model_config = ConfigDict(extra="forbid")

    last: Annotated[int, Field(ge=1)] = 100
    model: str | None = None
    user: str | None = None
    request_id: str | None = None
    state: str | None = None
    wait_ms: Annotated[float, Field(ge=0, le=60_000)] | None = None

    def wants(self, record: Record) -> bool:
        """Whether the record passes every filter given."""
        return (
            self.model in (None, record.model, record.base_model)
            and self.user in (None, record.user)
            and self.request_id in (None, record.request_id)
            and self.state in (None, record.state)
        )


async def requests(request: web.Request) -> web.Response:
    """The last matching records, oldest first; `wait_ms` waits until nothing is in flight."""
    query = Query.model_validate(dict(request.query))
    journal = request.app[VENDOR].journal
    quiet = True if query.wait_ms is None else await journal.quiet(query.wait_ms / 1000)
    found = [record for record in journal.records if query.wants(record)]
    totals = {
        "requests": len(found),
        "in_flight": journal.in_flight,
        "client_aborted": sum(record.client_aborted for record in found),
        "prompt_tokens": sum(record.prompt_tokens for record in found),
        "tokens_generated": sum(record.tokens_generated for record in found),
    }
    shown = [record.json() for record in found[-query.last :]]
    return web.json_response({"quiet": quiet, "totals": totals, "requests": shown})


async def add_fault(request: web.Request) -> web.Response:
    """Arrange a fault for the next matching requests."""
    body = RuleBody.model_validate_json(await request.read())
    faults.parse(body.fault)
    rule = Rule(body.fault, body.model, body.user, body.contains, body.times)
    request.app[VENDOR].rules.append(rule)
    return web.json_response(_shown(rule), status=201)


async def list_faults(request: web.Request) -> web.Response:
    """Arranged faults that are not used up."""
    return web.json_response({"faults": [_shown(rule) for rule in request.app[VENDOR].rules if rule.left != 0]})


async def clear_faults(request: web.Request) -> web.Response:
    """Drop all arranged faults."""
    request.app[VENDOR].rules.clear()
    return web.json_response({"faults": []})


async def reset(request: web.Request) -> web.Response:
    """Forget records, attempts, arranged faults and the prompt cache."""
    vendor = request.app[VENDOR]
    vendor.journal.clear()
    vendor.rules.clear()
    vendor.cache.clear()
    return web.json_response({"in_flight": vendor.journal.in_flight})


def _shown(rule: Rule) -> dict[str, str | int | None]:
    return {
        "fault": rule.fault,
        "model": rule.model,
        "user": rule.user,
        "contains": rule.contains,
        "times_left": rule.left,
    }


@web.middleware
async def explained(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """400 with the reason when a control request is malformed."""
    if not request.path.startswith("/__sim/"):
        return await handler(request)
    try:
        return await handler(request)
    except ValidationError as error:
        return web.json_response({"error": str(error)}, status=400)
    except VendorError as error:
        return web.Response(status=error.status, body=error.body.json(), content_type="application/json")
