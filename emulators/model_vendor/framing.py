"""Bodies whose end is told in other ways than aiohttp tells it: written to the connection as they are.

Owns the head and the frames of such a response. Refuses to know what the body holds.
"""

import socket
import struct

from aiohttp import web

from emulators.model_vendor.zoo import Framing

_HEADS = {
    "trailers": b"Transfer-Encoding: chunked\r\nTrailer: X-Cost\r\n",
    "length": b"Connection: close\r\nContent-Length: %d\r\n",
    "length-too-long": b"Content-Length: 9%d\r\n",
    "more-than-length": b"Connection: close\r\nContent-Length: %d\r\n",
    "reset": b"Transfer-Encoding: chunked\r\n",
}
"""Nothing for `close`, whose body ends with the connection."""
_CHUNKED = frozenset(("trailers", "reset"))


async def reset(request: web.Request) -> None:
    """Reset the connection: the peer reads what was sent, then ECONNRESET."""
    transport = request.transport
    if transport is None:
        return
    await request.writer.drain()
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class RawBody:
    """The part of `web.StreamResponse` that a stream needs. `length` is that of the whole body."""

    def __init__(self, framing: Framing, length: int) -> None:
        self._framing = framing
        self._length = length
        self._request: web.Request | None = None

    async def prepare(self, request: web.Request) -> None:
        """Send the head."""
        self._request = request
        head = _HEADS.get(self._framing, b"")
        length = head % self._length if b"%d" in head else head
        await self._send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + length + b"\r\n")

    async def write(self, data: bytes) -> None:
        """Send a part of the body, in a frame where there are frames."""
        if data:
            await self._send(b"%x\r\n%b\r\n" % (len(data), data) if self._framing in _CHUNKED else data)

    async def write_eof(self) -> None:
        """End the body, and with it the connection."""
        assert self._request is not None
        if self._framing == "reset":
            await reset(self._request)
            return
        if self._framing == "trailers":
            await self._send(b"0\r\nX-Cost: 0.2\r\n\r\n")
        if self._framing == "more-than-length":
            await self._send(b"<!-- served from a cache -->\n")
        if self._request.transport is not None:
            self._request.transport.close()

    async def _send(self, data: bytes) -> None:
        assert self._request is not None
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        transport.write(data)
        await self._request.writer.drain()
