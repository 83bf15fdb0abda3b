"""HTTP/1.1 to one vendor, for streamed answers: a connection pool, and reads that another thread can stop.

h11 implements the protocol. Only the waiting is our own code, because a metered stream needs three things that a
general client does not give to a plain thread: the reader learns of a silence without an end of the stream (so that it
can keep its own client's connection alive), another thread can stop a read at once (T-30), and each phase has its own
deadline. Refuses to know what the bytes mean.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Final

import h11

from app.kit import telemetry
from app.kit.concurrency import Concurrency, Threads
from app.kit.network.http import ConnectionPool, HttpConnection
from app.kit.network.sockets import Connection
from app.models.faults import Blame, ModelBroke, ModelFault, ModelTimeout
from app.models.settings import Patience

_MOST_ERROR_BYTES: Final = 65_536
_DRAIN_US: Final = 200_000
ERROR_S: Final = 10
"""The longest that the body of an error is read, however it arrives."""

_log = telemetry.log("models")


class Stopped(Exception):
    """The caller stopped the call; nothing went wrong."""


class VendorCall:
    """One call to the vendor. Any thread may call `stop()`, which ends a waiting read at once."""

    def __init__(self, concurrency: Concurrency | None = None) -> None:
        self._clock = concurrency or Threads()
        self._stop = self._clock.signal()
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._ends_us: int | None = None

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ends the call; the thread that reads it gets `Stopped`."""
        with self._lock:
            self._stop.set()
            if self._connection is not None:
                self._connection.shut()

    def pause(self, seconds: int) -> None:
        """Waits before another try; raises `Stopped` when the call is stopped."""
        if self._stop.wait(seconds):
            raise Stopped

    def hurry(self, seconds: int) -> None:
        """Lets the thread that reads go on for so long at most; then it gets `Stopped`."""
        self._ends_us = self._clock.monotonic_us() + seconds * 1_000_000

    def within(self, deadline_us: int) -> int:
        """The monotonic time until which a read may wait: `deadline_us`, or the end of the call's own time.

        Raises:
            Stopped: the call's own time is up.
        """
        if self._ends_us is None:
            return deadline_us
        if self._clock.monotonic_us() >= self._ends_us:
            raise Stopped
        return min(deadline_us, self._ends_us)

    def attach(self, connection: Connection | None) -> None:
        """Sets the socket that `stop` shuts down; None when the call no longer reads."""
        with self._lock:
            if connection is not None and self._stop.is_set():
                raise Stopped
            self._connection = connection


class Transport:
    """Requests to one vendor. Thread-safe; makes no connection before the first request."""

    def __init__(self, pool: ConnectionPool) -> None:
        self.pool = pool

    def post(
        self, path: str, headers: Sequence[tuple[str, str]], body: bytes, *, call: VendorCall, patience: Patience
    ) -> "VendorResponse":
        """Sends a request. The caller reads the response and closes it.

        Raises:
            ModelFault: there is no connection, or it was lost.
            Stopped: the call was stopped.
        """
        request = h11.Request(
            method="POST",
            target=self.pool.path + path,
            headers=[("Host", self.pool.authority), *headers, ("Content-Length", str(len(body)))],
        )
        kept = self.pool.kept()
        answer = VendorResponse(self, request, body, kept or self.connect(patience), call, patience)
        try:
            answer.send(stale=kept is not None)
        except BaseException:
            answer.close()
            raise
        return answer

    def connect(self, patience: Patience) -> HttpConnection:
        """A new connection."""
        try:
            return self.pool.connect(patience.connect_s)
        except TimeoutError as error:
            raise ModelTimeout("the vendor accepts no connection", Blame.UNREACHED) from error
        except OSError as error:
            raise ModelFault(f"the vendor cannot be reached: {type(error).__name__}", Blame.UNREACHED) from error


class VendorResponse:
    """The response to one request: its head, then its body piece by piece. The caller must close it."""

    def __init__(
        self,
        transport: Transport,
        request: h11.Request,
        body: bytes,
        connection: HttpConnection,
        call: VendorCall,
        patience: Patience,
    ) -> None:
        self._transport = transport
        self._request = request
        self._body = body
        self._connection = connection
        self._call = call
        self._patience = patience
        self._closed = False
        self._stale_until_us = -1
        """Until then a loss of the connection means that the vendor had closed it before our request came."""
        self._ends_us: int | None = None
        self.status = 0
        self.speaking = False
        """Whether the first text has come: from then on a shorter silence ends the answer."""
        self._headers: dict[bytes, bytes] = {}

    def header(self, name: str) -> str | None:
        """A header of the response, by its lower-case name."""
        value = self._headers.get(name.encode())
        return None if value is None else value.decode("latin-1")

    def send(self, *, stale: bool) -> None:
        """Writes the request in one go. `stale`: its connection was kept, and the vendor may have closed it.

        A stale connection is replaced once by a new one to the same vendor. That is no second run of the prompt: a loss
        within the time that a connection may take, before any byte of a response, means that nobody read the request.
        """
        self._call.attach(self._connection.wire)
        self._stale_until_us = self._now_us() + self._patience.connect_s * 1_000_000 if stale else -1
        http = self._connection.http
        parts = (http.send(self._request), http.send(h11.Data(data=self._body)), http.send(h11.EndOfMessage()))
        try:
            self._connection.wire.send(b"".join(part for part in parts if part), self._patience.connect_s)
        except TimeoutError as error:
            raise ModelTimeout("the vendor does not take the request", Blame.UNREACHED) from error
        except OSError as error:
            lost = self._lost(error)
            if not stale or isinstance(lost, Stopped):
                raise lost from error
            self._renew()

    def _renew(self) -> None:
        self._connection.wire.close()
        _log.info("stale_connection_renewed")
        self._connection = self._transport.connect(self._patience)
        self.send(stale=False)

    def head(self) -> Iterator[None]:
        """Waits for `status` and the headers; yields None for each tick of silence. Raises what `pieces` raises."""
        deadline = self._now_us() + self._patience.first_s * 1_000_000
        while True:
            try:
                event = self._next(deadline)
            except ModelBroke:
                if self._now_us() > self._stale_until_us:
                    raise
                self._renew()
                continue
            if event is None:
                yield None
            elif isinstance(event, h11.Response):
                self.status = event.status_code
                self._headers = dict(event.headers)
                return

    def pieces(self) -> Iterator[bytes | None]:
        """The body as it arrives; None for each tick of silence.

        Raises:
            ModelTimeout: nothing came for too long.
            ModelBroke: the connection ended before the answer did.
            Stopped: the call was stopped.
        """
        deadline = self._now_us() + self._silence_us()
        while True:
            event = self._next(deadline)
            if event is None:
                yield None
            elif isinstance(event, h11.Data):
                yield bytes(event.data)
                deadline = self._now_us() + self._silence_us()
            elif self._call.stopped:
                # A body that only ends with its connection has no other end than the one that `stop` makes.
                raise Stopped
            else:
                return

    def end_within(self, seconds: int | None) -> None:
        """Reading ends with `ModelTimeout` so many seconds from now, whatever arrives.

        Of several calls the first one counts, until None lifts it.
        """
        if seconds is None:
            self._ends_us = None
        elif self._ends_us is None:
            self._ends_us = self._now_us() + seconds * 1_000_000

    def read_some(self, pieces: Iterator[bytes | None]) -> bytes:
        """The start of an error's body: what `pieces` gives of it in ten seconds, about 64 KiB at most.

        The status has told that it is an error, so a body that is cut off or does not end hides nothing.
        """
        self.end_within(ERROR_S)
        body = b""
        try:
            for piece in pieces:
                body += piece or b""
                if len(body) > _MOST_ERROR_BYTES:
                    break
        except ModelFault:
            if self.status == 200:
                raise
        return body

    def drain(self) -> None:
        """Reads to the end of a body that has said all, if that comes at once, so that its connection can be kept."""
        if not self._headers.keys() & {b"content-length", b"transfer-encoding"}:
            return  # It ends with its connection, which cannot be kept.
        deadline = self._now_us() + _DRAIN_US
        try:
            while not isinstance(self._next(deadline), h11.EndOfMessage):
                continue
        except (ModelFault, Stopped):
            return

    def close(self) -> None:
        """Returns the connection to the pool after a complete response, and hangs up otherwise (T-30)."""
        if self._closed:
            return
        self._closed = True
        self._call.attach(None)
        if self._connection.reusable and not self._call.stopped:
            self._transport.pool.keep(self._connection)
        else:
            self._connection.wire.close()

    def _silence_us(self) -> int:
        """The longest silence at this point: a model may think long before its first word."""
        patience = self._patience
        return (patience.idle_s if self.speaking else max(patience.first_s, patience.idle_s)) * 1_000_000

    def _now_us(self) -> int:
        return self._transport.pool.concurrency.monotonic_us()

    def _next(self, deadline: int) -> h11.Event | None:
        """The next event of the protocol; None after a tick without one."""
        while True:
            try:
                event = self._connection.http.next_event()
            except h11.RemoteProtocolError as error:
                if self._call.stopped:
                    raise Stopped from None
                raise ModelBroke("the vendor's answer is no HTTP, or was cut off") from error
            if isinstance(event, h11.ConnectionClosed):
                raise Stopped if self._call.stopped else ModelBroke("the vendor hung up")
            if isinstance(event, h11.Event):
                return event
            if not self._receive(deadline):
                return None

    def _receive(self, deadline: int) -> bool:
        """Reads what has arrived; False after a tick of silence."""
        deadline = deadline if self._ends_us is None else min(deadline, self._ends_us)
        left_us = self._call.within(deadline) - self._now_us()
        if left_us <= 0:
            raise ModelTimeout("the vendor is silent")
        try:
            data = self._connection.wire.receive(min(left_us / 1_000_000, self._patience.tick_s))
            self._stale_until_us = -1 if data else self._stale_until_us
            self._connection.http.receive_data(data)
        except TimeoutError:
            return False
        except OSError as error:
            raise self._lost(error) from error
        return True

    def _lost(self, error: OSError) -> Exception:
        if self._call.stopped:
            return Stopped()
        return ModelBroke(f"the connection to the vendor was lost: {type(error).__name__}")
