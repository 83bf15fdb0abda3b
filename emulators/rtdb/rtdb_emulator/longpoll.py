"""The long-polling transport of browsers, and its upgrade to a WebSocket.

Requests are script tags, answers are JavaScript that calls back into the page. Knows envelopes only as bytes.
"""

import asyncio
import logging
import secrets
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import web

from rtdb_emulator import wire
from rtdb_emulator.connection import Connection
from rtdb_emulator.emulator import Emulator
from rtdb_emulator.frames import MAX_MESSAGE_BYTES
from rtdb_emulator.json_text import loads
from rtdb_emulator.outbox import Link
from rtdb_emulator.settings import Settings

_LOG: Final = logging.getLogger(__name__)
_REMEMBERED: Final = 1000
_MOST_SEGMENTS: Final = 100_000

_DISCONNECT_PAGE: Final = """<!DOCTYPE html><html><body><script>
addEventListener("pagehide", function () {{ navigator.sendBeacon("/.lp?disconn=t&id={id}&pw={password}"); }});
</script></body></html>"""


class Polled:
    """One long-polling client: what waits for it, and what of its messages has arrived."""

    def __init__(self, id: str, callback: str, on_cut: Callable[["Polled"], None]) -> None:
        self.id = id
        self._on_cut = on_cut
        self.password = secrets.token_urlsafe(12)
        self.callback = callback
        self.connection: Connection | None = None
        self.is_upgraded = False
        self.last_poll = 0.0
        self._queue: list[bytes] = []
        self._answered = 0
        self._poll: asyncio.Future[None] | None = None
        self._segments: dict[int, tuple[int, str]] = {}
        self._next_segment = 0
        self._is_closed = False

    # Towards the client.

    def deliver(self, messages: list[bytes]) -> None:
        self._queue += messages
        self._wake()

    def cut(self) -> None:
        self._on_cut(self)

    def close(self) -> None:
        """Answer the open poll, and every later one, with the end of the session."""
        self._is_closed = True
        self._wake()

    async def next_answer(self, hold: float) -> str:
        """The script that answers one poll: at once when there is something to say, else after `hold` seconds."""
        self._wake()  # the older poll gives way to this one
        if not self._queue and not self._is_closed:
            self._poll = waiting = asyncio.get_running_loop().create_future()
            await asyncio.wait([waiting], timeout=hold)
        return self._answer()

    def _answer(self) -> str:
        if self._is_closed and not self._queue:
            return f'window.parent["pLPCommand{self.callback}"]("close",{self._answered});'
        self._answered += 1
        messages, self._queue = self._queue, []
        body = b",".join(messages).decode()
        script = f'window.parent["pRTLPCB{self.callback}"]({self._answered},[{_script_safe(body)}]);'
        return script + (self._answer() if self._is_closed else "")

    def greeting(self, handshake: bytes) -> str:
        """The script that answers the start request."""
        return (
            f'window.parent["pLPCommand{self.callback}"]("start","{self.id}","{self.password}");'
            f'window.parent["pRTLPCB{self.callback}"](0,[{_script_safe(handshake.decode())}]);'
        )

    def _wake(self) -> None:
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(None)

    # From the client.

    def take(self, query: Mapping[str, str]) -> list[bytes]:
        """Store the segments of one request; the result is the messages that are now complete."""
        index = 0
        while f"seg{index}" in query:
            number, total = int(query[f"seg{index}"]), int(query.get(f"ts{index}", "1"))
            if len(self._segments) > _MOST_SEGMENTS:
                raise ValueError("too many segments of messages that are not complete")
            if number >= self._next_segment and total > 0:
                self._segments[number] = (total, query.get(f"d{index}", ""))
            index += 1
        return self._complete_messages()

    def _complete_messages(self) -> list[bytes]:
        messages = []
        while self._next_segment in self._segments:
            total = self._segments[self._next_segment][0]
            numbers = range(self._next_segment, self._next_segment + total)
            if not all(number in self._segments for number in numbers):
                break
            text = "".join(self._segments.pop(number)[1] for number in numbers)
            self._next_segment += total
            messages.append(_decoded(text))
        return messages


class Upgrade:
    """A socket that wants to take a polled session over: it waits until the client has sent its last poll."""

    def __init__(self, polling: "LongPolling", polled: Polled, connection: Connection, link: Link) -> None:
        self._polling = polling
        self._polled = polled
        self._connection = connection
        self._link = link
        self._early: list[bytes] = []
        link.deliver([wire.control("a", {})])

    def receive(self, message: bytes) -> None:
        """A message from the socket."""
        if self._polled.is_upgraded:
            self._connection.receive(message)
        elif _control_kind(message) == "p":
            self._link.deliver([wire.control("o", {})])
        elif _control_kind(message) != "a":
            self._early.append(message)

    def complete(self) -> None:
        """The client has sent its last poll: say farewell there, go on here."""
        self._polled.is_upgraded = True
        self._connection.outbox.post(wire.control("n", {}))
        self._connection.outbox.switch(self._link)
        early, self._early = self._early, []
        for message in early:
            self._connection.receive(message)

    def cut(self) -> None:
        """The polled session is over before the socket could take it."""
        self._link.cut()

    def socket_closed(self) -> None:
        """The socket is gone."""
        self._polling.socket_closed(self._polled, self)


class LongPolling:
    """All long-polling sessions."""

    def __init__(self, emulator: Emulator, settings: Settings) -> None:
        self._emulator = emulator
        self._settings = settings
        self._polled: dict[str, Polled] = {}
        self._upgrades: dict[str, Upgrade] = {}
        self._closed: dict[str, Polled] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        if "start" in query:
            return _script(self._start(request))
        polled = self._polled.get(query.get("id", "")) or self._closed.get(query.get("id", ""))
        if polled is None or polled.password != query.get("pw"):
            return web.Response(status=404, text="unknown long-polling session")
        if "dframe" in query:
            page = _DISCONNECT_PAGE.format(id=polled.id, password=polled.password)
            return web.Response(text=page, content_type="text/html")
        if "disconn" in query:
            self._end(polled)
            return web.Response(text="")
        return await self._poll(polled, query)

    def begin_upgrade(self, session_id: str, link: Link) -> Upgrade | None:
        """A socket offers itself for a polled session; None when there is no such session."""
        connection = self._emulator.connections.get(session_id)
        polled = next((one for one in self._polled.values() if one.connection is connection), None)
        if connection is None or polled is None or polled.is_upgraded:
            return None
        upgrade = self._upgrades[polled.id] = Upgrade(self, polled, connection, link)
        return upgrade

    def socket_closed(self, polled: Polled, upgrade: Upgrade) -> None:
        """The socket is gone: the end of the session, if it had taken over."""
        if self._upgrades.get(polled.id) is upgrade:
            del self._upgrades[polled.id]
            if polled.is_upgraded and polled.connection is not None:
                self._emulator.disconnect(polled.connection)

    def _start(self, request: web.Request) -> str:
        callback = request.query.get("cb", "")
        polled = Polled(secrets.token_hex(8), callback if callback.isdigit() else "", self._end)
        connection = self._emulator.connect(request.query.get("ns"), polled, last=request.query.get("ls"))
        polled.connection = connection
        polled.last_poll = asyncio.get_running_loop().time()
        self._polled[polled.id] = polled
        self._schedule_sweep()
        return polled.greeting(connection.handshake(request.host, self._emulator.clock()))

    async def _poll(self, polled: Polled, query: Mapping[str, str]) -> web.Response:
        loop = asyncio.get_running_loop()
        polled.last_poll = loop.time()
        try:
            messages = polled.take(query)
        except ValueError:
            return web.Response(status=400, text="malformed segment")
        for message in messages:
            self._receive(polled, message)
        script = await polled.next_answer(self._settings.poll_hold)
        polled.last_poll = loop.time()
        return _script(script)

    def _receive(self, polled: Polled, message: bytes) -> None:
        if polled.connection is None or polled.is_upgraded:
            return
        kind = polled.connection.receive(message)
        if kind == "n" and polled.id in self._upgrades:
            self._upgrades[polled.id].complete()
            self._forget(polled)
            self._emulator.committer.hold(_CloseLater(polled))

    def _end(self, polled: Polled) -> None:
        if polled.is_upgraded or polled.connection is None:
            return
        self._forget(polled)
        self._emulator.disconnect(polled.connection)
        polled.close()
        upgrade = self._upgrades.pop(polled.id, None)
        if upgrade is not None:
            upgrade.cut()

    def _forget(self, polled: Polled) -> None:
        self._polled.pop(polled.id, None)
        self._closed[polled.id] = polled
        if len(self._closed) > _REMEMBERED:
            del self._closed[next(iter(self._closed))]

    def _schedule_sweep(self) -> None:
        if self._sweeper is None and self._polled:
            delay = self._settings.poll_timeout / 4
            self._sweeper = asyncio.get_running_loop().call_later(delay, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        silent_since = asyncio.get_running_loop().time() - self._settings.poll_timeout
        for polled in tuple(self._polled.values()):
            if polled.last_poll < silent_since:
                _LOG.info("long-polling session %s went silent", polled.id)
                self._end(polled)
        self._schedule_sweep()


class _CloseLater:
    """Closes a polled session once its farewell is in its queue."""

    def __init__(self, polled: Polled) -> None:
        self._polled = polled

    def release(self) -> None:
        self._polled.close()


def _decoded(text: str) -> bytes:
    if len(text) > MAX_MESSAGE_BYTES:
        raise ValueError("too big")
    return urlsafe_b64decode(text.replace(".", "="))


def _control_kind(message: bytes) -> str | None:
    try:
        envelope = loads(message)
    except ValueError:
        return None
    if not isinstance(envelope, dict) or envelope.get("t") != "c":
        return None
    body = envelope.get("d")
    kind = body.get("t") if isinstance(body, dict) else None
    return kind if isinstance(kind, str) else None


def _script_safe(text: str) -> str:
    # JSON is JavaScript, except that older engines end a line at these two.
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _script(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/javascript", charset="utf-8")
