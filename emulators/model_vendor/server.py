"""The application: routes, start and stop.

Owns which address does what. Refuses to know how anything is answered.
"""

import asyncio
import signal
import sys

import orjson
from aiohttp import web

from emulators.model_vendor import control
from emulators.model_vendor.chat import chat
from emulators.model_vendor.embeddings import embeddings
from emulators.model_vendor.exchange import VENDOR, Vendor, journalled
from emulators.model_vendor.images import generate, show
from emulators.model_vendor.models import MODELS, find
from emulators.model_vendor.pacing import Speed
from emulators.model_vendor.streaming import CREATED

MAX_BODY = 64 * 1024 * 1024


def build(speed: Speed) -> web.Application:
    """The application with this default speed."""
    app = web.Application(client_max_size=MAX_BODY, middlewares=[journalled, control.explained])
    app[VENDOR] = Vendor(speed)
    app.add_routes(
        [
            web.get("/healthz", _health),
            web.get("/v1/models", _models),
            web.get("/v1/models/{id}", _model),
            web.post("/v1/chat/completions", chat),
            web.post("/v1/embeddings", embeddings),
            web.post("/v1/images/generations", generate),
            web.get("/generated/{name}", show),
            web.get("/__sim/requests", control.requests),
            web.post("/__sim/reset", control.reset),
            web.get("/__sim/faults", control.list_faults),
            web.post("/__sim/faults", control.add_fault),
            web.delete("/__sim/faults", control.clear_faults),
        ]
    )
    app.on_cleanup.append(_stop)
    return app


async def serve(host: str, port: int, speed: Speed) -> None:
    """Serve until cancelled. Prints one line when requests are accepted; port 0 lets the system choose."""
    # Cancellation is how a handler learns at once that its client has left.
    runner = web.AppRunner(build(speed), handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=512)
        await site.start()
        bound_host, bound_port = runner.addresses[0][:2]
        print(f"model vendor simulator on http://{bound_host}:{bound_port}/v1", flush=True)
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()
    finally:
        await runner.cleanup()


def run(host: str, port: int, speed: Speed) -> int:
    """Serve until interrupted; the exit status."""
    try:
        asyncio.run(serve(host, port, speed))
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        print(f"Cannot listen on {host}:{port}: {error.strerror}. Choose another --port.", file=sys.stderr)
        return 1
    return 0


async def _stop(app: web.Application) -> None:
    vendor = app[VENDOR]
    for task in vendor.background:
        task.cancel()
    await asyncio.gather(*vendor.background, return_exceptions=True)
    if vendor.session is not None:
        await vendor.session.close()


async def _health(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok", "in_flight": request.app[VENDOR].journal.in_flight})


def _listed(model_id: str) -> dict[str, str | int]:
    return {"id": model_id, "object": "model", "created": CREATED, "owned_by": "simulator"}


async def _models(_: web.Request) -> web.Response:
    body = {"object": "list", "data": [_listed(model_id) for model_id in MODELS]}
    return web.Response(body=orjson.dumps(body), content_type="application/json")


async def _model(request: web.Request) -> web.Response:
    model = MODELS.get(request.match_info["id"])
    known = model if model is not None else find(request.match_info["id"], "chat")
    return web.Response(body=orjson.dumps(_listed(known.id)), content_type="application/json")
