"""The control interface that firebase-tools uses: rules, triggers, list of namespaces."""

from aiohttp import web

from rtdb_emulator import rest_answer
from rtdb_emulator.deliveries import Deliveries
from rtdb_emulator.emulator import Emulator
from rtdb_emulator.errors import InvalidData, RequestError, Unauthorized
from rtdb_emulator.json_text import Json, MalformedJson, dumps, loads
from rtdb_emulator.rest_request import Params, read_identity, read_params
from rtdb_emulator.rules import RulesError
from rtdb_emulator.triggers import read_trigger


class SettingsApi:
    """Answers `/.settings/…` and `/.inspect/…`."""

    def __init__(self, emulator: Emulator, deliveries: Deliveries) -> None:
        self._emulator = emulator
        self._deliveries = deliveries

    async def handle(self, request: web.Request) -> web.StreamResponse:
        location, _, query = request.raw_path.partition("?")
        params = read_params(query)
        if request.method == "OPTIONS":
            return web.Response(headers=rest_answer.CORS)
        try:
            require_admin(request, params, self._emulator.clock())
            return await self._route(request, location, params)
        except RequestError as error:
            return rest_answer.failure(error)

    async def _route(self, request: web.Request, location: str, params: Params) -> web.Response:
        match (request.method, location):
            case ("GET", "/.settings/rules.json" | "/.settings/rules/.json"):
                return self._rules(params)
            case ("PUT", "/.settings/rules.json" | "/.settings/rules/.json"):
                return await self._replace_rules((await request.read()).decode(errors="replace"), params)
            case ("POST" | "PUT", "/.settings/functionTriggers.json"):
                return self._register(_json(await request.read()), params)
            case ("GET", "/.settings/functionTriggers.json"):
                return _ok(dumps([trigger.name for trigger in self._deliveries.triggers.values()]))
            case ("GET", "/.inspect/databases.json"):
                return _ok(dumps([{"name": name} for name in self._emulator.namespaces()]))
        return rest_answer.error_answer(404, f"{request.method} {location} is not known")

    def _rules(self, params: Params) -> web.Response:
        access = self._emulator.database(params.get("ns")).access
        strict = params.get("format") == "strict"
        return _ok((access.strict_json() if strict else access.text).encode())

    async def _replace_rules(self, text: str, params: Params) -> web.Response:
        try:
            self._emulator.database(params.get("ns")).replace_rules(text)
        except RulesError as error:
            return rest_answer.error_answer(400, f"{error.line}:{error.column}: {error.message}")
        await self._emulator.committer.flushed()
        return _ok(dumps({"status": "ok"}))

    def _register(self, data: Json, params: Params) -> web.Response:
        for one in data if isinstance(data, list) else [data]:
            self._deliveries.register(read_trigger(one, params.get("ns")))
        return _ok(dumps({"status": "ok"}))


def require_admin(request: web.Request, params: Params, now_ms: int) -> None:
    """Raise Unauthorized unless the owner asks."""
    if not read_identity(request.headers.get("Authorization"), params, now_ms).admin:
        raise Unauthorized()


def _json(body: bytes) -> Json:
    try:
        return loads(body)
    except MalformedJson as error:
        raise InvalidData(f"not JSON: {error}") from None


def _ok(body: bytes) -> web.Response:
    return rest_answer.answer(body, {})
