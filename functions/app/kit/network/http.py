"""HTTP/1.1 over kept connections: a pool for one host, and a client for small requests and whole responses.

h11 implements the protocol. Google's small JSON APIs are asked on the path of every message, and there the general
clients spend several times the CPU of the call itself: on proxies, netrc, cookies, and on headers read as e-mail.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final
from urllib.parse import urlsplit

import h11

from app.kit.concurrency import Concurrency, Threads
from app.kit.network.sockets import Connection, Network, Sockets

_MOST_HEADER_BYTES: Final = 65_536


class NoResponse(Exception):
    """The server could not be reached, or its response was lost: whether it did what was asked is not known."""


class HttpConnection:
    """One connection and the state of HTTP on it."""

    def __init__(self, wire: Connection) -> None:
        self.wire = wire
        self.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEADER_BYTES)
        self.idle_since_us = 0

    @property
    def reusable(self) -> bool:
        """Whether request and response are complete, neither side closed and nothing follows the response."""
        done = self.http.our_state is h11.DONE and self.http.their_state is h11.DONE
        return done and not self.http.trailing_data[0]


class ConnectionPool:
    """The connections to the host of one base URL. Thread-safe; connects to nothing by itself.

    It never blocks: many threads at once open more connections rather than wait.
    """

    def __init__(
        self,
        base_url: str,
        *,
        network: Network | None = None,
        concurrency: Concurrency | None = None,
        most_kept: int = 80,
        kept_for_s: int = 30,
    ) -> None:
        parts = urlsplit(base_url)
        self._network = network or Sockets()
        self.concurrency = concurrency or Threads()
        self._tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self.authority = parts.netloc.rpartition("@")[2]
        self.path = parts.path.rstrip("/")
        self._kept: deque[HttpConnection] = deque()
        self._lock = Lock()
        self._most_kept = most_kept
        self._kept_for_us = kept_for_s * 1_000_000

    def connect(self, timeout_s: float) -> HttpConnection:
        """A new connection.

        Raises:
            TimeoutError, OSError: there is none.
        """
        return HttpConnection(self._network.connect(self._host, self._port, tls=self._tls, timeout_s=timeout_s))

    def keep(self, connection: HttpConnection) -> None:
        """Takes a connection back after a complete response; the one that was idle for longest may go for it."""
        connection.http.start_next_cycle()
        now_us = connection.idle_since_us = self.concurrency.monotonic_us()
        with self._lock:
            self._kept.append(connection)
            old = now_us - self._kept[0].idle_since_us >= self._kept_for_us
            spare = self._kept.popleft() if old or len(self._kept) > self._most_kept else None
        if spare is not None:
            spare.wire.close()

    def kept(self) -> HttpConnection | None:
        """The idle connection used last, so that a quiet pool shrinks by itself; None when there is none."""
        while True:
            with self._lock:
                connection = self._kept.pop() if self._kept else None
            if connection is None:
                return None
            idle_us = self.concurrency.monotonic_us() - connection.idle_since_us
            if idle_us < self._kept_for_us and connection.wire.quiet():
                return connection
            connection.wire.close()

    def close(self) -> None:
        """Closes all idle connections."""
        with self._lock:
            kept, self._kept = self._kept, deque()
        for connection in kept:
            connection.wire.close()


@dataclass(frozen=True, slots=True)
class Response:
    """Header names are in lower case."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass(frozen=True, slots=True)
class Retries:
    """What is tried again, besides a connection that could not be made (once).

    `lost`: a request whose response was lost (once); only for what may happen twice. `statuses`: refusals, up to
    `most` times; the first at once, the next ones after 2, 4, ... times `backoff_us`. `ends_us` is the monotonic time
    at which the request is given up with all its tries.
    """

    lost: bool
    statuses: frozenset[int]
    most: int
    backoff_us: int = 0
    ends_us: int | None = None


class HttpClient:
    """Requests to the host of one base URL. Thread-safe."""

    def __init__(self, pool: ConnectionPool, timeout_s: float) -> None:
        """`timeout_s`: the patience of each step: to connect, to send, to receive what comes next."""
        self._pool = pool
        self._timeout_s = timeout_s

    def request(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes | None, retries: Retries
    ) -> Response:
        """The response, whatever its status. `target` is a path with its query.

        Raises:
            NoResponse: there is none, or it is no HTTP, or the request can be none.
        """
        length = () if body is None else (("content-length", str(len(body))),)
        try:
            head = h11.Request(
                method=method, target=target, headers=[("host", self._pool.authority), *headers, *length]
            )
        except (h11.LocalProtocolError, UnicodeError) as error:
            raise NoResponse(f"the request is no HTTP ({type(error).__name__})") from error
        unreached = lost = False
        refused = 0
        while True:
            try:
                # Where one kept connection was dead, others of its age may be.
                kept = None if lost else self._pool.kept()
                connection = kept or self._pool.connect(self._patience_s(retries.ends_us))
            except (OSError, UnicodeError) as error:
                if unreached or isinstance(error, UnicodeError):
                    raise NoResponse(f"it cannot be reached ({type(error).__name__})") from error
                unreached = True
                continue
            try:
                response = self._exchange(connection, head, body, retries.ends_us)
            except (OSError, h11.RemoteProtocolError) as error:
                connection.wire.close()
                if lost or not retries.lost:
                    raise NoResponse(f"its response was lost ({type(error).__name__})") from error
                lost = True
                continue
            if response.status not in retries.statuses or refused == retries.most:
                return response
            if refused:
                self._pool.concurrency.sleep_us(retries.backoff_us << refused)
            refused += 1

    def _patience_s(self, ends_us: int | None) -> float:
        """How long the next step may take; raises TimeoutError when the time of the whole request is over."""
        if ends_us is None:
            return self._timeout_s
        left_s = (ends_us - self._pool.concurrency.monotonic_us()) / 1_000_000
        if left_s <= 0:
            raise TimeoutError
        return min(self._timeout_s, left_s)

    def _exchange(
        self, connection: HttpConnection, head: h11.Request, body: bytes | None, ends_us: int | None
    ) -> Response:
        http, wire = connection.http, connection.wire
        sent = (head, h11.Data(data=body), h11.EndOfMessage()) if body else (head, h11.EndOfMessage())
        wire.send(b"".join(http.send(event) or b"" for event in sent), self._patience_s(ends_us))
        status, headers, content = 0, {}, []
        while True:
            event = http.next_event()
            if isinstance(event, h11.Data):
                content.append(bytes(event.data))
            elif isinstance(event, h11.Response):
                status, headers = event.status_code, dict(event.headers)
            elif isinstance(event, h11.EndOfMessage):
                break
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError("the server hung up")
            elif event is h11.NEED_DATA:
                http.receive_data(wire.receive(self._patience_s(ends_us)))
        if connection.reusable:
            self._pool.keep(connection)
        else:
            wire.close()
        return Response(status, headers, b"".join(content))
