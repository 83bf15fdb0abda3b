"""The composition root: wires the parts to one port, starts and stops them. Knows everything, decides nothing."""

import asyncio
import logging
import os
import signal
import time
import uuid
from typing import Final

from aiohttp import web

from rtdb_emulator import rest_answer
from rtdb_emulator.committer import Committer
from rtdb_emulator.control import ControlApi
from rtdb_emulator.deliveries import Deliveries
from rtdb_emulator.emulator import Emulator
from rtdb_emulator.errors import RequestError
from rtdb_emulator.functions_client import FunctionsClient
from rtdb_emulator.journal import FileJournal
from rtdb_emulator.longpoll import LongPolling
from rtdb_emulator.rest import Rest
from rtdb_emulator.settings import Settings
from rtdb_emulator.settings_api import SettingsApi
from rtdb_emulator.sse import EventStreams
from rtdb_emulator.websocket import SocketServer

_LOG: Final = logging.getLogger(__name__)
_MAX_BODY_BYTES: Final = 256 * 1024 * 1024
_GRACE_SECONDS: Final = 0.5


class Server:
    """One running emulator."""

    def __init__(self, settings: Settings) -> None:
        """Open the data file, if there is one. Raises DamagedFile."""
        self.settings = settings
        self.journal = FileJournal(settings.data_file, sync=settings.sync) if settings.data_file is not None else None
        self._functions = FunctionsClient(settings.functions_host, settings.functions_port)
        self.deliveries = Deliveries(
            self._functions.post, parallel=settings.parallel_triggers, new_id=lambda: uuid.uuid4().hex
        )
        committer = Committer(self.journal, compact_above=settings.compact_above)
        committer.failed = _stop_at_once
        self.emulator = Emulator(committer, self.deliveries, _now_ms)
        self._streams = EventStreams(self.emulator, settings.keep_alive)
        self._polling = LongPolling(self.emulator, settings)
        self._sockets = SocketServer(self.emulator, self._polling, settings)
        self._rest = Rest(self.emulator, self._streams)
        self._settings_api = SettingsApi(self.emulator, self.deliveries)
        self._control = ControlApi(self.emulator, self.deliveries, self._streams) if settings.control else None
        if self.journal is not None:
            self._restore(self.journal)

    async def run(self) -> None:
        """Serve until SIGINT or SIGTERM."""
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
        runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=_GRACE_SECONDS, auto_decompress=False)
        await runner.setup()
        await web.TCPSite(runner, self.settings.host, self.settings.port, backlog=1024, reuse_address=True).start()
        # The port that was asked for, or the one that the system chose for port 0.
        _LOG.info("listening on %s:%d", *runner.addresses[0][:2])
        await stopped.wait()
        await self._stop(runner)

    async def _stop(self, runner: web.AppRunner) -> None:
        await self.deliveries.stop()
        for connection in tuple(self.emulator.connections.values()):
            self.emulator.disconnect(connection)
        await self.emulator.committer.flushed()
        for connection_cut in (stream.cut for stream in tuple(self._streams.open)):
            connection_cut()
        await runner.cleanup()
        await self._functions.close()
        await self.emulator.committer.idle()
        if self.journal is not None:
            self.journal.close()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_route("*", "/{any:.*}", self._dispatch)
        return app

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        location = request.raw_path.partition("?")[0]
        if request.headers.get("Content-Encoding", "identity") != "identity":
            # Nobody sends one, and a few kilobytes of it could be unpacked into gigabytes.
            return rest_answer.error_answer(415, "Send the body without a Content-Encoding")
        try:
            if location in ("/.ws", "/.ws/"):
                return await self._sockets.handle(request)
            if location in ("/.lp", "/.lp/"):
                return await self._polling.handle(request)
            if location.startswith(("/.settings/", "/.inspect/")):
                return await self._settings_api.handle(request)
            if location.startswith("/.control/") and self._control is not None:
                return await self._control.handle(request)
            return await self._rest.handle(request)
        except RequestError as error:
            return rest_answer.failure(error)
        except web.HTTPException as error:
            return rest_answer.error_answer(error.status, error.reason)
        except Exception:  # the HTTP edge: a bug must not take the server down  # noqa: BLE001
            _LOG.exception("%s %s failed", request.method, location)
            return rest_answer.error_answer(500, "Internal error")

    def _restore(self, journal: FileJournal) -> None:
        if journal.cut:
            _LOG.warning("%s ended in a torn record; %d bytes were cut", journal.file, journal.cut)
        self.emulator.restore(journal.saved)
        journal.saved = {}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _stop_at_once(error: OSError) -> None:
    # What is in memory can no longer be made durable, and nobody has been told of it yet: better no server than one
    # that acknowledges what it will forget.
    _LOG.critical("the data file cannot be written (%s); stopping", error)
    os._exit(1)
