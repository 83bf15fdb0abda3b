"""A stand-in for the functions emulator: takes trigger events and answers when it is told to."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from rtdb.harness import TIMEOUT
from rtdb_emulator.json_text import Json, loads


class Functions:
    """Records events, in the order in which they come in."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.content_types: list[str] = []
        self.status = 200
        self.before_answer: Callable[[str, dict[str, Any]], object] = lambda route, event: None
        self._came = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def wait_for(self, count: int) -> None:
        """Wait until that many events have come in."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.events) >= count, TIMEOUT), self.events

    def take(self) -> list[dict[str, Any]]:
        """The events so far, without their routes."""
        events, self.events = self.events, []
        return [event for _, event in events]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive(self, route: str, content_type: str, event: Json) -> None:
        assert isinstance(event, dict)
        with self._came:
            self.events.append((route, event))
            self.content_types.append(content_type)
            self._came.notify_all()
        self.before_answer(route, event)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        functions = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                functions._receive(self.path, self.headers["Content-Type"], loads(body))
                self.send_response(functions.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
