"""A model vendor that sends exactly the bytes of a test, cut where the test cuts them, also malformed ones."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def event(**members: object) -> bytes:
    """One event of a stream; lone surrogates are escaped, as JSON allows."""
    return b"data: " + json.dumps(members).encode() + b"\n\n"


def text(content: str) -> bytes:
    """A chunk with some text."""
    return event(choices=[{"index": 0, "delta": {"content": content}}])


@dataclass(frozen=True)
class Trickle:
    """Sends the same bytes twenty times a second, until `stop` is set."""

    piece: bytes
    stop: threading.Event = field(default_factory=threading.Event)

    def __iter__(self) -> Iterator[bytes]:
        while not self.stop.wait(0.05):
            yield self.piece


@dataclass(frozen=True)
class Reply:
    """One answer of a vendor."""

    status: int = 200
    body: bytes = b""
    kind: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Replies:
    """A vendor that gives one reply after the other, the last one for ever.

    `asked`: which models, in order; `keys`: the `Authorization` header of each request; `bodies`: what it asks.
    """

    base_url: str
    asked: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    bodies: list[dict[str, object]] = field(default_factory=list)


def stream(*pieces: bytes) -> Reply:
    """A reply that is a whole stream."""
    return Reply(body=b"".join(pieces), kind="text/event-stream")


END = event(
    choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage={"prompt_tokens": 10, "completion_tokens": 5}
)


@contextmanager
def sending(*pieces: bytes | Trickle) -> Iterator[str]:
    """Serves these pieces as every answer, each flushed by itself. Yields the base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            _send(self, pieces)

        def log_message(self, *_: object) -> None:
            return

    with _serving(Handler) as url:
        yield url


@contextmanager
def replying(*replies: Reply | None, uses: int = 1000) -> Iterator[Replies]:
    """Gives these replies in order; None hangs up without one. A connection is hung up on after `uses` requests."""
    left = list(replies)
    told = Replies("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        used = 0

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.used += 1
            self.close_connection = self.used > uses
            if self.close_connection:
                return
            told.asked.append(asked["model"])
            told.keys.append(self.headers["Authorization"])
            told.bodies.append(asked)
            reply = left.pop(0) if len(left) > 1 else left[0]
            if reply is None:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in (("Content-Type", reply.kind), *reply.headers):
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            return

    with _serving(Handler) as url:
        yield replace(told, base_url=url)


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()


def _send(handler: BaseHTTPRequestHandler, pieces: Sequence[bytes | Trickle]) -> None:
    try:
        for piece in pieces:
            for part in piece if isinstance(piece, Trickle) else (piece,):
                handler.wfile.write(part)
    except OSError:
        return  # the caller hung up
