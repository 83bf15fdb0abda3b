"""The application inside functions-framework with gunicorn, spoken to over real sockets."""

import http.client
import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from app.api.bodies import MAX_IMAGE_BODY
from support.framework import serving

MAIN = """
import threading
import flask
from flask_openapi import APIBlueprint
from app.api import mount
from app.api.app import Edges, create_app
from app.api.auth import Principal, public
from app.api.bodies import takes_images
from app.api.edge import Edge
from app.api.schemas import RequestBody
from app.api.streaming import ServerSentEvent, sse
from app.kit.clock import SystemClock
from app.kit.ids import RandomIds

go_on, closed = threading.Event(), threading.Event()
blueprint = APIBlueprint("trial", __name__)

class Anything(RequestBody):
    text: str

@blueprint.post("/echo")
@takes_images
def echo(body: Anything):
    return {"length": len(body.text)}

@blueprint.get("/stream")
@public
def stream():
    def source():
        try:
            yield ServerSentEvent("first", {})
            go_on.wait(10)
            yield ServerSentEvent("last", {})
        finally:
            closed.set()
    return sse(source(), keep_alive_s=0.2)

@blueprint.get("/go-on")
@public
def let_go():
    go_on.set()
    return {}

@blueprint.get("/closed")
@public
def was_closed():
    return {"closed": closed.wait(10)}

edge = Edge(create_app([blueprint], Edges(lambda token, **_: Principal("alice"))), ids=RandomIds(SystemClock()))

def api(request):
    return mount.serve(edge, request)
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    source = tmp_path_factory.mktemp("trial") / "main.py"
    source.write_text(MAIN)
    with serving(source, "api", {}) as base:
        yield base


@pytest.fixture
def connection(url: str) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    yield connection
    connection.close()


def post(
    connection: http.client.HTTPConnection, size: int, *, chunked: bool = False, token: str = "Bearer of.alice.x"
) -> tuple[int, dict[str, object]]:
    text = json.dumps({"text": "x" * size}).encode()
    pieces = [text[at : at + 65536] for at in range(0, len(text), 65536)] if chunked else text
    headers = {"Content-Type": "application/json", "Authorization": token}
    connection.request("POST", "/v1/echo", body=pieces, headers=headers, encode_chunked=chunked)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


@pytest.mark.parametrize("chunked", [False, True])
class TestBodies:
    def test_are_read_whole(self, connection: http.client.HTTPConnection, chunked: bool) -> None:
        assert post(connection, 300_000, chunked=chunked) == (200, {"length": 300_000})

    def test_that_are_too_large_are_refused_and_the_connection_lives(
        self, connection: http.client.HTTPConnection, chunked: bool
    ) -> None:
        status, problem = post(connection, MAX_IMAGE_BODY + 1, chunked=chunked)
        assert (status, problem["code"]) == (413, "body_too_large")
        assert post(connection, 5, chunked=chunked) == (200, {"length": 5})

    def test_of_nobody_are_refused_and_the_connection_lives(
        self, connection: http.client.HTTPConnection, chunked: bool
    ) -> None:
        status, problem = post(connection, MAX_IMAGE_BODY, chunked=chunked, token="")
        assert (status, problem["code"]) == (401, "unauthenticated")
        assert post(connection, 5, chunked=chunked) == (200, {"length": 5})


class TestStreams:
    def test_arrive_piece_by_piece_and_end_when_the_client_leaves(self, url: str) -> None:
        """T-90: the first event is here while the source still waits."""
        first = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
        first.request("GET", "/v1/stream")
        answer = first.getresponse()
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["X-Request-Id"]
        assert answer.fp.readline() or answer.fp.readline()
        assert first.sock is not None
        first.sock.shutdown(socket.SHUT_RDWR)
        first.close()
        other = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
        other.request("GET", "/v1/go-on")
        other.getresponse().read()
        other.request("GET", "/v1/closed")
        assert json.loads(other.getresponse().read()) == {"closed": True}


class TestAnswers:
    def test_keep_their_headers(self, connection: http.client.HTTPConnection) -> None:
        connection.request("GET", "/api/v1/nowhere", headers={"X-Request-Id": "trace-1", "Origin": "https://a.example"})
        answer = connection.getresponse()
        body = json.loads(answer.read())
        assert (answer.status, answer.headers["Content-Type"]) == (404, "application/problem+json")
        assert answer.headers["X-Request-Id"] == body["request_id"] == "trace-1"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"

    def test_without_a_body_have_none(self, connection: http.client.HTTPConnection) -> None:
        connection.request("OPTIONS", "/v1/echo", headers={"Origin": "x", "Access-Control-Request-Method": "POST"})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (204, b"")
        assert answer.headers["Content-Type"] is None
        connection.request("HEAD", "/v1/closed")
        answer = connection.getresponse()
        assert answer.read() == b""
