"""The WebSocket transport on aiohttp. Knows envelopes only as bytes."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from rtdb_emulator.connection import Connection
from rtdb_emulator.emulator import Emulator
from rtdb_emulator.errors import TooBig
from rtdb_emulator.frames import MAX_MESSAGE_BYTES, FrameReader
from rtdb_emulator.longpoll import LongPolling
from rtdb_emulator.outbox import MAX_BACKLOG_BYTES
from rtdb_emulator.settings import Settings
from rtdb_emulator.wire import frames

_LOG: Final = logging.getLogger(__name__)


class SocketLink:
    """Sends messages over one socket, in order; a client that does not read for too long is cut."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self._socket = socket
        self._request = request
        self._queue: list[bytes] = []
        self._backlog = 0
        self._filled = asyncio.Event()

    def deliver(self, messages: list[bytes]) -> None:
        self._queue += messages
        self._backlog += sum(map(len, messages))
        self._filled.set()
        if self._backlog > MAX_BACKLOG_BYTES:
            _LOG.warning("a client does not read %d bytes; it is disconnected", self._backlog)
            self.cut()

    def cut(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()

    async def pump(self) -> None:
        """Send what is queued, for as long as the socket is open."""
        with contextlib.suppress(ConnectionError):
            while not self._socket.closed:
                await self._filled.wait()
                self._filled.clear()
                messages, self._queue = self._queue, []
                for message in messages:
                    for frame in frames(message):
                        await self._socket.send_frame(frame, WSMsgType.TEXT)
                    self._backlog -= len(message)


class SocketServer:
    """Accepts sockets: fresh connections, and upgrades of long-polling ones."""

    def __init__(self, emulator: Emulator, polling: LongPolling, settings: Settings) -> None:
        self._emulator = emulator
        self._polling = polling
        self._heartbeat = settings.heartbeat

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one socket until it closes. Raises RequestError before the upgrade."""
        self._emulator.database(request.query.get("ns"))
        socket = web.WebSocketResponse(
            heartbeat=self._heartbeat, compress=False, max_msg_size=MAX_MESSAGE_BYTES, decode_text=False
        )
        await socket.prepare(request)
        link = SocketLink(socket, request)
        pump = asyncio.create_task(link.pump())
        try:
            upgraded = request.query.get("s")
            if upgraded:
                await self._upgrade(upgraded, socket, link)
            else:
                await self._serve(request, socket, link)
        finally:
            pump.cancel()
            await socket.close()
        return socket

    async def _serve(self, request: web.Request, socket: web.WebSocketResponse, link: SocketLink) -> None:
        connection = self._emulator.connect(request.query.get("ns"), link, last=request.query.get("ls"))
        connection.outbox.post(connection.handshake(request.host, self._emulator.clock()))
        try:
            await self._read(socket, connection)
        finally:
            self._emulator.disconnect(connection)

    async def _read(self, socket: web.WebSocketResponse, connection: Connection) -> None:
        async for message in _messages(socket):
            connection.receive(message)

    async def _upgrade(self, session_id: str, socket: web.WebSocketResponse, link: SocketLink) -> None:
        upgrade = self._polling.begin_upgrade(session_id, link)
        if upgrade is None:
            return
        try:
            async for message in _messages(socket):
                upgrade.receive(message)
        finally:
            upgrade.socket_closed()


async def _messages(socket: web.WebSocketResponse) -> AsyncIterator[bytes]:
    reader = FrameReader()
    async for frame in socket:
        if frame.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            return
        try:
            message = reader.feed(frame.data)
        except TooBig:
            _LOG.warning("a client sent a message that is too big; it is disconnected")
            await socket.close(code=WSCloseCode.MESSAGE_TOO_BIG)
            return
        if message is not None:
            yield message
