"""A whole JSON answer on its way to the client, or what a fault leaves of it.

Owns faults of answers that are not streamed. Refuses to know what the answer says.
"""

import asyncio

from aiohttp import web

from emulators.model_vendor.errors import MID_STREAM
from emulators.model_vendor.exchange import Exchange
from emulators.model_vendor.faults import FOREVER_S
from emulators.model_vendor.framing import reset


async def deliver(exchange: Exchange, body: bytes) -> web.StreamResponse:
    """Send `body`, late, broken or not at all as the request asked for."""
    behaviour, record = exchange.behaviour, exchange.record
    if behaviour.stall_after is not None:
        record.ending = "stall"
        await asyncio.sleep(FOREVER_S if behaviour.stall_ms is None else behaviour.stall_ms / 1000)
    if behaviour.error_after is not None:
        record.ending = "error"
        return web.Response(body=MID_STREAM.json(), content_type="application/json")
    if behaviour.malformed_after is not None:
        record.ending = "malformed"
        body = body[: len(body) // 2]
    if behaviour.disconnect_after is not None or behaviour.truncate_after is not None:
        return await _half(exchange, body)
    return web.Response(body=body, content_type="application/json")


async def _half(exchange: Exchange, body: bytes) -> web.StreamResponse:
    """Promise the whole body, send half of it, and reset or close the connection."""
    disconnects = exchange.behaviour.disconnect_after is not None
    exchange.record.ending = "disconnect" if disconnects else "truncate"
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    response = web.StreamResponse(headers=headers)
    await response.prepare(exchange.request)
    await response.write(body[: len(body) // 2])
    if disconnects:
        await reset(exchange.request)
    elif exchange.request.transport is not None:
        exchange.request.transport.close()
    return response
