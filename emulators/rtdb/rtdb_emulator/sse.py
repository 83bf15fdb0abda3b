"""REST streaming: server-sent events for one location. Knows no rules and no other REST request."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from rtdb_emulator.database import Database
from rtdb_emulator.emulator import Emulator
from rtdb_emulator.identity import Identity
from rtdb_emulator.listens import Listen, Merge, Overwrite
from rtdb_emulator.node_json import encode_val
from rtdb_emulator.outbox import MAX_BACKLOG_BYTES, Outbox
from rtdb_emulator.paths import Path, to_text
from rtdb_emulator.query import Query
from rtdb_emulator.rest_answer import CORS
from rtdb_emulator.tree import Node

KEEP_ALIVE: Final = b"event: keep-alive\ndata: null\n\n"
CANCEL: Final = b"event: cancel\ndata: null\n\n"
# firebase_admin recognises exactly this text and reconnects with a fresh credential.
REVOKED: Final = b'event: auth_revoked\ndata: "credential is no longer valid"\n\n'
_LOOK_EVERY: Final = 5.0
_LOG: Final = logging.getLogger(__name__)


class EventStream:
    """One stream: turns changes into events."""

    def __init__(self, request: web.Request, emulator: Emulator, identity: Identity, namespace: str) -> None:
        self.identity = identity
        self.namespace = namespace
        self.outbox = Outbox(emulator.committer, self)
        self._request = request
        self._queue: list[bytes] = []
        self._filled = asyncio.Event()
        self._last: bytes | None = None
        self._backlog = 0

    def changed(self, listen: Listen, change: Overwrite | Merge) -> None:
        update = change.update
        if update is not None and update.is_seen_from(listen.path):
            # As the real service sends it: at the place and with the keys of the request, also when it has one.
            self.outbox.post(event("patch", to_text(update.path[len(listen.path) :]), update.by_text))
            return
        relative = to_text(change.path[len(listen.path) :])
        if isinstance(change, Overwrite):
            self.outbox.post(event("put", relative, change.node))
        else:
            self.outbox.post(event("patch", relative, change.by_text))

    def view_changed(self, _listen: Listen, delta: Mapping[str, Node]) -> None:
        if len(delta) == 1:
            ((key, node),) = delta.items()
            self.outbox.post(event("put", key, node))
        else:
            self.outbox.post(event("patch", "", delta))

    def revoked(self, _listen: Listen) -> None:
        self.finish(CANCEL)

    def finish(self, last: bytes) -> None:
        """Send one last event and close."""
        self._last = last
        self.outbox.post(last)

    def deliver(self, messages: list[bytes]) -> None:
        self._queue += messages
        self._backlog += sum(map(len, messages))
        self._filled.set()
        if self._backlog > MAX_BACKLOG_BYTES:
            _LOG.warning("a stream is not read for %d bytes; it is cut", self._backlog)
            self.cut()

    def cut(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()

    async def run(self, response: web.StreamResponse, keep_alive: float) -> None:
        """Send events, and keep-alives in between, until the client is gone or the stream is over."""
        loop = asyncio.get_running_loop()
        due = loop.time() + keep_alive
        while self._request.transport is not None:
            if not await self._is_filled(min(_LOOK_EVERY, due - loop.time())) and loop.time() < due:
                continue  # only looked whether the client is still there
            events, self._queue, self._backlog = self._queue or [KEEP_ALIVE], [], 0
            await response.write(b"".join(events))
            if self._last in events:
                return
            due = loop.time() + keep_alive

    async def _is_filled(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._filled.wait(), max(0.0, seconds))
        except TimeoutError:
            return False
        self._filled.clear()
        return True


class EventStreams:
    """All streams."""

    def __init__(self, emulator: Emulator, keep_alive: float) -> None:
        self.open: set[EventStream] = set()
        self._emulator = emulator
        self._keep_alive = keep_alive

    async def serve(
        self, request: web.Request, database: Database, path: Path, identity: Identity, query: Query | None
    ) -> web.StreamResponse:
        """Stream until one side ends it. Raises PermissionDenied or MissingIndex before anything is sent."""
        if query is not None:
            database.require_index(path, query)
        stream = EventStream(request, self._emulator, identity, database.name)
        listen = Listen(stream, path, query)
        shown = database.listen(listen)
        stream.outbox.post(event("put", "", shown))
        expiry = self._expire_later(stream)
        self.open.add(stream)
        try:
            response = _response()
            await response.prepare(request)
            await stream.run(response, self._keep_alive)
        except ConnectionError:
            pass  # the client left while we were writing: that is how streams usually end
        finally:
            self.open.discard(stream)
            database.listens.remove(listen)
            if expiry is not None:
                expiry.cancel()
        return response

    def _expire_later(self, stream: EventStream) -> asyncio.TimerHandle | None:
        expires_at_ms = stream.identity.expires_at_ms
        if expires_at_ms is None:
            return None
        delay = max(0.0, (expires_at_ms - self._emulator.clock()) / 1000)
        return asyncio.get_running_loop().call_later(delay, stream.finish, REVOKED)


def event(name: str, relative: str, data: Node | Mapping[str, Node]) -> bytes:
    """One event about a location relative to the stream's."""
    return f"event: {name}\ndata: ".encode() + encode_val({"path": "/" + relative, "data": data}) + b"\n\n"


def _response() -> web.StreamResponse:
    headers = {**CORS, "Content-Type": "text/event-stream; charset=utf-8"}
    return web.StreamResponse(headers=headers)
