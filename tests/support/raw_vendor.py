"""A model vendor that sends exactly the bytes of a test, cut where the test cuts them, also malformed ones."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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
