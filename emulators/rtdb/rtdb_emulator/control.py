"""The control API for tests, under `/.control/`, off by default: faults, cut connections, waiting for quiet."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import asdict

from aiohttp import web

from rtdb_emulator import rest_answer
from rtdb_emulator.deliveries import Deliveries
from rtdb_emulator.emulator import Emulator
from rtdb_emulator.errors import InvalidData, RequestError
from rtdb_emulator.faults import read_plan
from rtdb_emulator.json_text import Json, MalformedJson, dumps, loads
from rtdb_emulator.rest_request import read_params
from rtdb_emulator.settings_api import require_admin
from rtdb_emulator.sse import EventStreams

_LONGEST_WAIT = 600.0


class ControlApi:
    """Answers `/.control/…`."""

    def __init__(self, emulator: Emulator, deliveries: Deliveries, streams: EventStreams) -> None:
        self._emulator = emulator
        self._deliveries = deliveries
        self._streams = streams

    async def handle(self, request: web.Request) -> web.StreamResponse:
        location, _, query = request.raw_path.partition("?")
        params = read_params(query)
        try:
            require_admin(request, params, self._emulator.clock())
            match (request.method, location.removeprefix("/.control/")):
                case ("PUT", "faults"):
                    return self._plan(await _json(request))
                case ("DELETE", "faults"):
                    self._deliveries.plan(None)
                    return _answer({"status": "ok"})
                case ("GET", "idle"):
                    return await self._idle(float(params.get("timeout", "30")))
                case ("GET", "deliveries"):
                    return self._log()
                case ("DELETE", "deliveries"):
                    self._deliveries.log.clear()
                    return _answer({"status": "ok"})
                case ("POST", "disconnect"):
                    return self._disconnect(await _json(request))
                case ("GET", "state"):
                    return self._state()
        except RequestError as error:
            return rest_answer.failure(error)
        except ValueError:
            return rest_answer.error_answer(400, "timeout must be a number of seconds")
        return rest_answer.error_answer(404, f"{request.method} {location} is not known")

    def _plan(self, data: Json) -> web.Response:
        plan = read_plan(data)
        self._deliveries.plan(plan)
        return _answer(asdict(plan))

    async def _idle(self, timeout: float) -> web.Response:
        try:
            await asyncio.wait_for(self._deliveries.idle(), min(timeout, _LONGEST_WAIT))
        except TimeoutError:
            return _answer({"idle": False, "pending": self._deliveries.pending}, status=504)
        return _answer({"idle": True, "pending": 0})

    def _log(self) -> web.Response:
        sent: list[Json] = [asdict(delivery) for delivery in self._deliveries.log]
        return _answer({"sent": sent, "dropped": self._deliveries.dropped})

    def _disconnect(self, data: Json) -> web.Response:
        """Cut clients: all, those of a namespace, one session, or a seeded share of them."""
        wish = data if isinstance(data, dict) else {}
        namespace, session, share = wish.get("ns"), wish.get("session"), wish.get("share", 1)
        if isinstance(share, bool) or not isinstance(share, int | float):
            raise InvalidData("share must be a number from 0 to 1")
        cuts: list[Callable[[], None]] = [
            connection.cut
            for connection in self._emulator.connections.values()
            if namespace in (None, connection.session.namespace) and session in (None, connection.session.id)
        ]
        if session is None:
            cuts += [stream.cut for stream in self._streams.open if namespace in (None, stream.namespace)]
        chosen = random.Random(_seed(wish)).sample(cuts, round(len(cuts) * min(1.0, max(0.0, share))))
        for cut in chosen:
            cut()
        return _answer({"cut": len(chosen)})

    def _state(self) -> web.Response:
        sessions: list[Json] = list(self._emulator.connections)
        return _answer(
            {
                "sessions": sessions,
                "streams": len(self._streams.open),
                "pending": self._deliveries.pending,
                "triggers": list(self._deliveries.triggers),
                "faults": asdict(self._deliveries.faults.plan) if self._deliveries.faults else None,
            }
        )


def _seed(wish: dict[str, Json]) -> int:
    seed = wish.get("seed", 0)
    return seed if isinstance(seed, int) else 0


async def _json(request: web.Request) -> Json:
    body = await request.read()
    try:
        return loads(body) if body else None
    except MalformedJson as error:
        raise InvalidData(f"not JSON: {error}") from None


def _answer(body: Json, status: int = 200) -> web.Response:
    return rest_answer.answer(dumps(body), {}, status=status)
