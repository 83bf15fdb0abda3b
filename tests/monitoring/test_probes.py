"""Whether a service answers at its address."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from app.kit.errors import Unavailable
from app.monitoring.probes import answers


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class TestAProbe:
    @pytest.mark.parametrize("status", [200, 204, 301, 401, 403, 404, 429])
    def test_takes_any_answer_for_life(self, url: str, status: int) -> None:
        answers(f"{url}/{status}")()

    @pytest.mark.parametrize("status", [500, 502, 503])
    def test_but_not_a_servers_error(self, url: str, status: int) -> None:
        with pytest.raises(Unavailable, match=f"answered {status}"):
            answers(f"{url}/{status}")()

    def test_says_that_nobody_is_there(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with pytest.raises(Unavailable, match="no connection"):
            answers(f"http://127.0.0.1:{port}")()

    def test_gives_up_on_who_takes_the_call_and_says_nothing(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            with pytest.raises(Unavailable, match="no answer within"):
                answers(f"http://127.0.0.1:{port}", timeout_s=0.05)()

    def test_takes_nonsense_for_no_answer(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as odd:

            def answer() -> None:
                caller, _ = odd.accept()
                caller.recv(1000)
                caller.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")
                caller.close()

            thread = threading.Thread(target=answer)
            thread.start()
            with pytest.raises(Unavailable):
                answers(f"http://127.0.0.1:{odd.getsockname()[1]}")()
            thread.join(5)
