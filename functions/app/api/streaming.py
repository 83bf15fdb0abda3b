"""Server-Sent Events over WSGI: frames, a comment while the source is silent, and a clean end when the client leaves.

The source is any generator of events. One that yields `None` now and then while it waits is read directly by the thread
of the request (`ticks=True`). Any other runs in a thread of its own, so that a source that waits does not keep the
connection silent. When the client leaves, the source is closed (GeneratorExit), and what it has to do last, such as
settling a charge, runs in the source itself.
"""

import contextvars
import json
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from flask import Response

from app.api import context, problems
from app.kit import telemetry

MEDIA_TYPE: Final = "text/event-stream"
KEEP_ALIVE_S: Final = 15.0
_AHEAD: Final = 64
"""Events that a source may run ahead of a slow client before it has to wait."""
_KEEP_ALIVE: Final = b": keep-alive\n\n"
_LINE_ENDS: Final = (("\u2028", "\\u2028"), ("\u2029", "\\u2029"), ("\x85", "\\u0085"))
"""JSON leaves these as they are, and readers that split lines as Unicode has it, as Python's do, end one there."""
_MARK: Final = "__credits_streams__"

View = TypeVar("View", bound=Callable[..., object])
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One frame. `data` is written as JSON."""

    name: str
    data: Mapping[str, object]

    def encode(self) -> bytes:
        """The frame on the wire. `data` is one line for every reader."""
        text = json.dumps(self.data, ensure_ascii=False, default=str)
        for char, escaped in _LINE_ENDS:
            text = text.replace(char, escaped)
        return f"event: {self.name}\ndata: {text}\n\n".encode()


def streams(view: View) -> View:
    """Marks a handler that answers with events when `Accept` asks for them. Stands below the route's decorator."""
    setattr(view, _MARK, True)
    return view


def may_stream(view: Callable[..., object]) -> bool:
    """Whether this handler answers with events when it is asked to."""
    return bool(getattr(view, _MARK, False))


def sse(
    events: Iterable[ServerSentEvent | None], *, ticks: bool = False, keep_alive_s: float = KEEP_ALIVE_S
) -> Response:
    """The answer that streams `events`; `None` among them is a comment that keeps the connection alive.

    `ticks` promises that the source never waits for long without yielding: then no thread is needed.
    An error that the source raises becomes a last `error` frame with the problem object: the status is sent already.
    """
    source = iter(events)
    request_id = context.request_id()
    return _response(_Direct(source, _alone, request_id) if ticks else _Pumped(source, request_id, keep_alive_s))


def sse_of(events: Iterable[T], frames: Callable[[T], Sequence[ServerSentEvent | None]]) -> Response:
    """As `sse(ticks=True)`, of a source that knows no frames: `frames` gives those of each of its events."""
    return _response(_Direct(iter(events), frames, context.request_id()))


def sse_bytes(
    events: Iterable[T], frames: Callable[[T], Sequence[bytes]], failure: Callable[[Exception], bytes]
) -> Response:
    """As `sse_of`, of frames that are written already. `failure` gives the last one after an error of the source."""
    return _response(_Direct(iter(events), frames, context.request_id(), failure))


def _response(frames: Iterator[bytes]) -> Response:
    return Response(
        frames,
        mimetype=MEDIA_TYPE,
        # Without these some proxies buffer a stream; nginx reads the second one.
        headers={"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"},
        direct_passthrough=True,
    )


class _Direct(Generic[T]):
    """An iterator of bytes with a `close`, as WSGI servers expect one. Reads the source in the server's thread."""

    def __init__(
        self,
        events: Iterator[T],
        frames: Callable[[T], Sequence[ServerSentEvent | bytes | None]],
        request_id: str,
        failure: Callable[[Exception], bytes] | None = None,
    ) -> None:
        self._events = events
        self._frames = frames
        self._failure = failure or (lambda error: _failure(error, request_id))
        self._context = contextvars.copy_context()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._context.run(self._next)

    def close(self) -> None:
        """Called when the client has received everything, or has left."""
        self._context.run(_close, self._events)

    def _next(self) -> bytes:
        try:
            return b"".join(map(_encode, self._frames(next(self._events))))
        except StopIteration:
            raise
        except Exception as error:  # noqa: BLE001 - an edge: the source's error is sent to the client and logged
            # Closed even if the source is fine and only its event could not be encoded: nothing follows an error frame.
            broken, self._events = self._events, iter(())
            _close(broken)
            return self._failure(error)


class _Pumped:
    """Like `_Direct`, with a thread that reads the source. Frames that wait for a busy socket go out in one write."""

    def __init__(self, events: Iterator[ServerSentEvent | None], request_id: str, keep_alive_s: float) -> None:
        self._events = events
        self._request_id = request_id
        self._keep_alive_s = keep_alive_s
        self._frames: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._left = threading.Event()
        self._finished = False
        self._thread: threading.Thread | None = None
        self._context = contextvars.copy_context()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._finished:
            raise StopIteration
        self._start()
        try:
            frame = self._frames.get(timeout=self._keep_alive_s)
        except queue.Empty:
            return _KEEP_ALIVE
        return self._with_queued(frame)

    def close(self) -> None:
        """Called when the client has received everything, or has left. The thread of the source closes the source."""
        self._left.set()
        self._start()
        while True:  # makes room, in case the source waits to queue a frame
            try:
                self._frames.get_nowait()
            except queue.Empty:
                return

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._context.run, args=(self._pump,), name="sse", daemon=True)
            self._thread.start()

    def _with_queued(self, frame: bytes | None) -> bytes:
        frames: list[bytes] = []
        while frame is not None:
            frames.append(frame)
            try:
                frame = self._frames.get_nowait()
            except queue.Empty:
                return b"".join(frames)
        self._finished = True
        if not frames:
            raise StopIteration
        return b"".join(frames)

    def _pump(self) -> None:
        try:
            for event in self._events:
                if not self._put(_encode(event)):
                    break
        except Exception as error:  # noqa: BLE001 - an edge: the source's error is sent to the client and logged
            self._put(_failure(error, self._request_id))
        finally:
            _close(self._events)
            self._put(None)

    def _put(self, frame: bytes | None) -> bool:
        """Queues a frame, waiting for room; False when the client has left."""
        while not self._left.is_set():
            try:
                self._frames.put(frame, timeout=1.0)
            except queue.Full:
                continue
            return True
        return False


def _alone(event: ServerSentEvent | None) -> Sequence[ServerSentEvent | None]:
    return (event,)


def _encode(event: ServerSentEvent | bytes | None) -> bytes:
    if isinstance(event, bytes):
        return event
    return _KEEP_ALIVE if event is None else event.encode()


def _close(events: Iterator[object]) -> None:
    if not isinstance(events, Generator):
        return
    try:
        events.close()
    except Exception as error:  # noqa: BLE001 - an edge: the client has left
        telemetry.log("api").error("stream_close_failed", exc_info=error)


def _failure(error: Exception, request_id: str) -> bytes:
    """The last frame: a generator that raised yields nothing more."""
    described = problems.describe(error)
    problems.report(described, error)
    return ServerSentEvent("error", described.body(request_id)).encode()
