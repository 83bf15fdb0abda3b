"""The REST API: reads, writes and conditional requests on one namespace. Streams are in `sse`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from rtdb_emulator import rest_answer
from rtdb_emulator.access import Asker
from rtdb_emulator.database import Database
from rtdb_emulator.emulator import Emulator
from rtdb_emulator.errors import InvalidData, InvalidPath, RequestError
from rtdb_emulator.identity import Identity
from rtdb_emulator.json_text import Json, MalformedJson, dumps, loads
from rtdb_emulator.node_json import encode_val, export_json, val_json
from rtdb_emulator.paths import to_text
from rtdb_emulator.rest_request import Target, read_identity, read_params, read_query, read_target
from rtdb_emulator.snapshot_hash import snapshot_hash
from rtdb_emulator.sse import EventStreams
from rtdb_emulator.tree import Inner, Node, get, keys, priority_of
from rtdb_emulator.writes import Moment, WriteSet, put_at, read_put, read_update

_OVERRIDE: Final = "x-http-method-override"
NULL_ETAG: Final = "null_etag"
_NOT_AN_OBJECT: Final = "Invalid data; couldn't parse JSON object. Are you sending a JSON object with valid key names?"


@dataclass(frozen=True, slots=True)
class _Call:
    """One request, read as far as its URL and headers go."""

    request: web.Request
    target: Target
    database: Database
    identity: Identity
    moment: Moment

    @property
    def asker(self) -> Asker:
        return Asker(self.identity, self.moment.now_ms)

    @property
    def text_path(self) -> str:
        return to_text(self.target.path) + ("/.priority" if self.target.is_priority else "")

    def value_in(self, root: Node) -> Node:
        """What the location holds in a tree: a node, or its priority."""
        return self.shown(get(root, self.target.path))

    def shown(self, node: Node) -> Node:
        return priority_of(node) if self.target.is_priority else node

    def refuse_priority(self) -> None:
        """Raise InvalidPath where only a node can be meant."""
        if self.target.is_priority:
            raise InvalidPath()

    def header(self, name: str) -> str | None:
        value = self.request.headers.get(name)
        return None if value is None else value.strip().removeprefix("W/").strip('"')

    def etag(self, node: Node) -> str | None:
        """The tag of a value, if the client wants to know it."""
        wanted = self.header("X-Firebase-ETag") == "true" or any(map(self.header, ("If-Match", "If-None-Match")))
        return etag_of(node) if wanted else None


class Rest:
    """Answers REST requests."""

    def __init__(self, emulator: Emulator, streams: EventStreams) -> None:
        self._emulator = emulator
        self._streams = streams
        self._methods: dict[str, Callable[[_Call], Awaitable[web.StreamResponse]]] = {
            "GET": self._get,
            "PUT": self._put,
            "PATCH": self._patch,
            "POST": self._post,
            "DELETE": self._delete,
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "OPTIONS":
            return web.Response(status=200, headers=rest_answer.CORS)
        method = request.method
        if method == "POST":
            method = _overridden(request)
        action = self._methods.get(method)
        if action is None:
            return rest_answer.error_answer(405, "Method not allowed")
        try:
            if method in ("PUT", "PATCH", "POST"):
                await request.read()
            return await action(self._call(request))
        except RequestError as error:
            return rest_answer.failure(error, await request.read())

    def _call(self, request: web.Request) -> _Call:
        target = read_target(request.raw_path)
        database = self._emulator.database(target.namespace)
        moment = database.moment()
        identity = read_identity(request.headers.get("Authorization"), target.params, moment.now_ms)
        return _Call(request, target, database, identity, moment)

    async def _get(self, call: _Call) -> web.StreamResponse:
        query = read_query(call.target.params)
        if "text/event-stream" in call.request.headers.get("Accept", ""):
            return await self._streams.serve(call.request, call.database, call.target.path, call.identity, query)
        node = call.shown(call.database.read(call.target.path, call.asker, query))
        await self._emulator.committer.settled()
        etag = call.etag(node) if query is None else None
        if etag is not None and call.header("If-None-Match") == etag:
            return rest_answer.unchanged(etag)
        return rest_answer.answer(_rendered(node, call.target), call.target.params, etag=etag)

    async def _put(self, call: _Call) -> web.StreamResponse:
        data = _body(await call.request.read())
        return await self._replace(call, read_put(call.text_path, data, call.moment))

    async def _delete(self, call: _Call) -> web.StreamResponse:
        return await self._replace(call, read_put(call.text_path, None, call.moment))

    async def _replace(self, call: _Call, write: WriteSet) -> web.StreamResponse:
        condition = call.header("If-Match")
        if condition is not None:
            call.database.check_write(write, call.asker)
            current = call.value_in(call.moment.root)
            if etag_of(current) != condition:
                call.database.read(call.target.path, call.asker)
                return rest_answer.stale(val_json(current), etag_of(current))
        await self._write(call, write)
        written = call.value_in(call.database.root)
        return rest_answer.answer(val_json(written), call.target.params, etag=call.etag(written))

    async def _patch(self, call: _Call) -> web.StreamResponse:
        call.refuse_priority()
        members = _body(await call.request.read())
        if members is None:
            return await self._replace(call, put_at(call.target.path, None, call.moment))
        if not isinstance(members, dict):
            raise InvalidData(_NOT_AN_OBJECT)
        write = read_update(call.text_path, members, call.moment)
        await self._write(call, write)
        return rest_answer.answer(_updated(members, write), call.target.params)

    async def _post(self, call: _Call) -> web.StreamResponse:
        call.refuse_priority()
        data = _body(await call.request.read())
        name = self._emulator.push_ids.next(call.moment.now_ms)
        await self._write(call, put_at((*call.target.path, name), data, call.moment))
        etag = call.etag(get(call.database.root, call.target.path))
        return rest_answer.answer(dumps({"name": name}), call.target.params, etag=etag)

    async def _write(self, call: _Call, write: WriteSet) -> None:
        call.database.write(write, call.asker, triggers=not call.target.is_set("disableTriggers"))
        await self._emulator.committer.flushed()


def _overridden(request: web.Request) -> str:
    """The method that a POST stands for: a header says it, or a parameter where no header can be sent (sendBeacon)."""
    params = {name.lower(): value for name, value in read_params(request.raw_path.partition("?")[2]).items()}
    return request.headers.get(_OVERRIDE, params.get(_OVERRIDE, "POST")).upper()


def etag_of(node: Node) -> str:
    """A tag that depends on the value only."""
    return snapshot_hash(node) or NULL_ETAG


def _body(body: bytes) -> Json:
    if not body.strip():
        raise InvalidData("Error: No data supplied.")
    try:
        return loads(body)
    except MalformedJson:
        raise InvalidData("Invalid data; couldn't parse JSON object, array, or value.") from None


def _rendered(node: Node, target: Target) -> bytes:
    if target.is_set("shallow"):
        if isinstance(node, Inner):
            return dumps(dict.fromkeys(keys(node), True))
        return val_json(node)
    if target.params.get("format") == "export":
        return export_json(node)
    return val_json(node)


def _updated(members: dict[str, Json], write: WriteSet) -> bytes:
    """The members of an update with server values resolved, in the order they were sent in."""
    values = iter(write.puts.values())
    return encode_val({key: data if key.endswith(".priority") else next(values) for key, data in members.items()})
