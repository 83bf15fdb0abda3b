"""Server-Sent Events."""

import json
import threading
from collections.abc import Iterator

import flask
import pytest

from app.api.streaming import ServerSentEvent, sse, sse_of
from app.kit.errors import Rejection
from support.shop import Shop
from support.world import Caller, frames


class Refused(Rejection):
    status = 402
    code = "refused"


@pytest.fixture(autouse=True)
def context() -> Iterator[None]:
    with flask.Flask("test").test_request_context():
        yield


def chunks(response: flask.Response) -> Iterator[bytes]:
    stream = response.response
    assert isinstance(stream, Iterator)
    return stream


class TestFrames:
    def test_arrive_in_order(self, client: Caller, shop: Shop) -> None:
        answer = client.get("/v1/shop/stream")
        assert answer.mimetype == "text/event-stream"
        assert frames([answer.data]) == [("tick", f'{{"number": {n}}}') for n in range(3)]
        assert shop.closed_streams.wait(5)

    def test_hold_text_with_line_breaks_on_one_line(self) -> None:
        """For every reader: Python's `splitlines` knows eleven ends of a line, an event stream three."""
        text = "a\nb\r\nc\u2028d\u2029e\x85f\rg\x0bh\x0ci\x1cj\x1dk\x1el"
        encoded = ServerSentEvent("delta", {"text": text}).encode()
        assert len(encoded.decode().splitlines()) == encoded.count(b"\n") == 3
        assert b"\r" not in encoded
        assert json.loads(frames([encoded])[0][1]) == {"text": text}

    def test_the_first_is_out_before_the_source_goes_on(self) -> None:
        """T-90"""
        go_on = threading.Event()

        def source() -> Iterator[ServerSentEvent]:
            yield ServerSentEvent("start", {})
            assert go_on.wait(5)
            yield ServerSentEvent("done", {})

        stream = chunks(sse(source()))
        assert frames([next(stream)]) == [("start", "{}")]
        go_on.set()
        assert frames(stream) == [("done", "{}")]

    def test_a_silent_source_keeps_the_connection_alive(self) -> None:
        go_on = threading.Event()

        def source() -> Iterator[ServerSentEvent]:
            assert go_on.wait(5)
            yield ServerSentEvent("done", {})

        stream = chunks(sse(source(), keep_alive_s=0.01))
        assert next(stream) == b": keep-alive\n\n"
        go_on.set()
        assert frames(stream) == [("done", "{}")]

    def test_no_proxy_is_to_hold_them_back(self, client: Caller) -> None:
        headers = client.get("/v1/shop/stream").headers
        assert headers["X-Accel-Buffering"] == "no"
        assert "no-transform" in headers["Cache-Control"]


class TestASourceThatKnowsNoFrames:
    @staticmethod
    def counted(number: int) -> list[ServerSentEvent | None]:
        return [ServerSentEvent("tick", {"number": number})] * number or [None]

    def test_is_told_by_the_frames_of_each_event(self) -> None:
        stream = [*chunks(sse_of(iter([2, 0, 1]), self.counted))]
        assert frames(stream[:1]) == [("tick", '{"number": 2}')] * 2
        assert stream[1] == b": keep-alive\n\n"
        assert frames(stream[2:]) == [("tick", '{"number": 1}')]

    def test_is_closed_when_an_event_has_no_frames(self) -> None:
        closed: list[bool] = []

        def source() -> Iterator[str]:
            try:
                yield "one"
                yield "two"
            finally:
                closed.append(True)

        def broken(_: str) -> list[ServerSentEvent | None]:
            raise ValueError("no such frame")

        stream = [*chunks(sse_of(source(), broken))]
        assert [name for name, _ in frames(stream)] == ["error"]
        assert closed == [True]


class TestAClientThatLeaves:
    def test_closes_the_source_where_it_stands(self) -> None:
        """T-1, T-30: the source is closed, and settles then."""
        closed, started, go_on = threading.Event(), threading.Event(), threading.Event()

        def source() -> Iterator[ServerSentEvent]:
            try:
                yield ServerSentEvent("start", {})
                started.set()
                assert go_on.wait(5)
                yield ServerSentEvent("delta", {})
                raise AssertionError("nobody reads this")
            except GeneratorExit:
                closed.set()
                raise

        response = sse(source())
        next(chunks(response))
        assert started.wait(5)
        response.close()
        go_on.set()
        assert closed.wait(5)

    def test_before_the_first_byte_still_lets_the_source_clean_up(self) -> None:
        closed = threading.Event()

        def source() -> Iterator[ServerSentEvent]:
            try:
                yield ServerSentEvent("start", {})
            finally:
                closed.set()

        sse(source()).close()
        assert closed.wait(5)

    def test_frees_a_source_that_waits_for_a_slow_reader(self) -> None:
        closed, full = threading.Event(), threading.Event()

        def source() -> Iterator[ServerSentEvent]:
            try:
                for number in range(10_000):
                    if number == 63:
                        full.set()
                    yield ServerSentEvent("delta", {"number": number})
            finally:
                closed.set()

        response = sse(source())
        next(chunks(response))
        assert full.wait(5)
        response.close()
        assert closed.wait(5)


class TestAnErrorInTheStream:
    def test_becomes_the_last_frame(self) -> None:
        def source() -> Iterator[ServerSentEvent]:
            yield ServerSentEvent("start", {})
            raise Refused("No more credits.", available="0")

        name, data = frames(chunks(sse(source())))[-1]
        assert name == "error"
        assert json.loads(data)["code"] == "refused"
        assert json.loads(data)["available"] == "0"

    def test_tells_nothing_of_the_inside(self) -> None:
        def source() -> Iterator[ServerSentEvent]:
            yield ServerSentEvent("start", {})
            raise RuntimeError("secret")

        name, data = frames(chunks(sse(source())))[-1]
        assert (name, json.loads(data)["code"]) == ("error", "internal_error")
        assert "secret" not in data


class TestASourceThatTicks:
    def test_needs_no_thread(self) -> None:
        before = threading.active_count()

        def source() -> Iterator[ServerSentEvent | None]:
            yield ServerSentEvent("start", {})
            yield None
            yield ServerSentEvent("done", {})

        pieces = list(chunks(sse(source(), ticks=True)))
        assert pieces[1] == b": keep-alive\n\n"
        assert frames(pieces) == [("start", "{}"), ("done", "{}")]
        assert threading.active_count() == before

    def test_is_closed_at_once_when_the_client_leaves(self) -> None:
        """T-1, T-31: the source has settled when `close` returns to the server's thread."""
        settled = []

        def source() -> Iterator[ServerSentEvent]:
            try:
                yield ServerSentEvent("start", {})
                raise AssertionError("nobody reads this")
            finally:
                settled.append(True)

        response = sse(source(), ticks=True)
        next(chunks(response))
        response.close()
        assert settled == [True]

    def test_tells_its_error_in_the_last_frame(self) -> None:
        def source() -> Iterator[ServerSentEvent]:
            yield ServerSentEvent("start", {})
            raise Refused("No more credits.")

        name, data = frames(chunks(sse(source(), ticks=True)))[-1]
        assert (name, json.loads(data)["code"]) == ("error", "refused")

    def test_ends_with_an_event_that_cannot_be_written(self) -> None:
        closed: list[bool] = []

        def source() -> Iterator[ServerSentEvent]:
            try:
                yield ServerSentEvent("delta", {"text": "\ud800"})
                yield ServerSentEvent("done", {})
            finally:
                closed.append(True)

        [(name, _)] = frames(chunks(sse(source(), ticks=True)))
        assert name == "error"
        assert closed == [True]

    def test_that_breaks_while_it_is_closed_troubles_nobody(self) -> None:
        def source() -> Iterator[ServerSentEvent]:
            try:
                yield ServerSentEvent("start", {})
            finally:
                raise RuntimeError("secret")

        response = sse(source(), ticks=True)
        next(chunks(response))
        response.close()
