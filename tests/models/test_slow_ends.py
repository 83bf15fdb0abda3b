"""Vendors that never come to an end: behind the finish, in the body of an error, and between two tries."""

from collections.abc import Sequence

import pytest

from app.models.catalogue import load
from app.models.faults import ModelFault
from app.models.gateway import Counted, Delta, Gateway, Message, ModelEvent, Question, Silence
from app.models.health import ModelHealth
from app.models.transport import Stopped
from support.clock import ManualClock
from support.lines import no_breakers, one_vendor
from support.raw_vendor import END, event, text
from support.slow_network import Script, SlowTime, Step

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
COMMENT = b": keep-alive\n\n"
FINISH = event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
USAGE = event(choices=[], usage={"prompt_tokens": 10, "completion_tokens": 5})


class Asked:
    """What a vendor's answers make the gateway tell, and how many seconds that took by the script's clock."""

    def __init__(self, *answers: Sequence[Step]) -> None:
        self.time = SlowTime()
        self.network = Script(self.time, [*answers])
        lines = one_vendor("http://vendor.example/v1", network=self.network, concurrency=self.time)
        catalogue = load()
        gateway = Gateway(catalogue, lines=lines, health=ModelHealth(ManualClock().now_us), breakers=no_breakers())
        self.events: list[ModelEvent] = []
        self.failure: Exception | None = None
        try:
            for one in gateway.stream(Question(catalogue.get("large"), [Message("user", "Hi")], 12), gateway.call()):
                self.events.append(one)
        except ModelFault as failure:
            self.failure = failure

    @property
    def seconds(self) -> int:
        return self.time.at_us // 1_000_000

    def count(self, kind: type[ModelEvent]) -> int:
        return sum(isinstance(one, kind) for one in self.events)


def often(piece: bytes, pause: int, times: int = 1000) -> list[Step]:
    return [step for _ in range(times) for step in (pause, piece)]


class TestBehindTheFinish:
    @pytest.mark.parametrize("piece", [COMMENT, USAGE, b"x", text("")])
    @pytest.mark.parametrize("end", [END, FINISH])
    def test_nothing_that_arrives_holds_an_answer_for_long(self, end: bytes, piece: bytes) -> None:
        """T-106: signs of life and repeated counts are no reason to wait for a `[DONE]` that never comes."""
        asked = Asked([STREAM, text("Hi"), end, *often(piece, 1)])
        assert asked.failure is None
        assert asked.seconds == 5

    def test_a_silence_ends_it_as_soon(self) -> None:
        asked = Asked([STREAM, text("Hi"), END])
        assert (asked.failure, asked.seconds) == (None, 5)

    def test_a_count_is_still_waited_for(self) -> None:
        """T-12: also one that comes after another, as the last one knows what was cached."""
        asked = Asked([STREAM, text("Hi"), END, 4, USAGE, b"data: [DONE]\n\n", None])
        assert (asked.count(Counted), asked.seconds) == (2, 4)

    def test_that_each_chunk_claims_to_be_counts_from_the_last_one(self) -> None:
        """T-107: a vendor whose chunks all say that they are the last may write on for long."""
        chunks = [event(choices=[{"index": 0, "delta": {"content": "Hi "}, "finish_reason": "stop"}])] * 5
        asked = Asked([STREAM, *(step for chunk in chunks for step in (chunk, 3)), FINISH, USAGE, b"data: [DONE]\n\n"])
        assert asked.failure is None
        assert "".join(one.text for one in asked.events if isinstance(one, Delta)) == "Hi " * 5
        assert asked.seconds == 15


class TestACallerInAHurry:
    @pytest.mark.parametrize(("pause", "counts"), [(1, 1), (3, 0)])
    def test_is_told_the_count_that_comes_in_its_time(self, pause: int, counts: int) -> None:
        """T-108: who leaves waits so many seconds for it, and no longer."""
        time, catalogue = SlowTime(), load()
        network = Script(time, [[STREAM, text("Hi"), pause, USAGE, *often(COMMENT, 1)]])
        lines = one_vendor("http://vendor.example/v1", network=network, concurrency=time)
        gateway = Gateway(catalogue, lines=lines, health=ModelHealth(ManualClock().now_us), breakers=no_breakers())
        call, told = gateway.call(), 0
        events = gateway.stream(Question(catalogue.get("large"), [Message("user", "Hi")], 12), call)
        while not isinstance(next(events), Delta):
            pass
        call.hurry(2)
        with pytest.raises(Stopped):
            for one in events:
                told += isinstance(one, Counted)
        assert (told, time.at_us) == (counts, 2_000_000)


class TestAnErrorsBody:
    @pytest.mark.parametrize("pause", [1, 50])
    @pytest.mark.parametrize("status", [b"500 Oops", b"429 Slower", b"200 OK"])
    def test_holds_nobody_longer_than_ten_seconds_a_try(self, status: bytes, pause: int) -> None:
        head = b"HTTP/1.1 " + status + b"\r\ncontent-type: application/json\r\ncontent-length: 99999\r\n\r\n"
        answer = [head, b"{", *often(b"x", pause)]
        asked = Asked(answer, answer)
        assert asked.failure is not None
        assert asked.seconds <= 10 * len(asked.network.requests)

    def test_that_does_not_end_hides_no_status(self) -> None:
        head = b"HTTP/1.1 429 Slower\r\ncontent-length: 99999\r\nretry-after: 30\r\n\r\n"
        asked = Asked([head, *often(b"x", 1)])
        assert asked.failure is not None
        assert getattr(asked.failure, "retry_after_s", None) == 30

    def test_lets_the_caller_look_at_its_clock_before_the_next_try(self) -> None:
        """Whoever has left, or whose time is up, is not asked for a second time without noticing."""
        answer = [b"HTTP/1.1 500 Oops\r\ncontent-length: 99999\r\n\r\n", *often(b"x", 1)]
        assert Asked(answer, answer).count(Silence) >= 1


class TestAnotherContentType:
    @pytest.mark.parametrize(
        "kind", ["text/plain", "application/octet-stream", "", "application/json", "application/x-ndjson"]
    )
    @pytest.mark.parametrize("first", [b"", COMMENT, b"event: message\n", b"\xef\xbb\xbf", b"\n\n", b"id: 1\n"])
    def test_is_believed_less_than_the_first_bytes(self, kind: str, first: bytes) -> None:
        """T-106: proxies and file servers send a stream under any type, or under none."""
        said = f"content-type: {kind}\r\n" if kind else ""
        head = f"HTTP/1.1 200 OK\r\n{said}\r\n".encode()
        whole = first + text("Hi")
        asked = Asked([head, *(bytes([one]) for one in whole), END, b"data: [DONE]\n\n", None])
        assert asked.failure is None
        assert [one.text for one in asked.events if isinstance(one, Delta)] == ["Hi"]

    @pytest.mark.parametrize("body", [b"<html>data: no</html>", b'{"choices":[]}', b"", b"  ", b"dat"])
    def test_with_another_body_is_no_answer(self, body: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        assert Asked([head, body], [head, body]).failure is not None

    def test_lets_the_caller_look_at_its_clock_while_blanks_arrive(self) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n"
        answer = [head, *often(b" ", 1, 50)]
        assert Asked(answer, answer).count(Silence) >= 50

    def test_is_not_provoked_by_asking_for_a_compressed_body(self) -> None:
        asked = Asked([STREAM, text("Hi"), END, b"data: [DONE]\n\n", None])
        assert b"accept-encoding: identity" in asked.network.requests[0].lower()
