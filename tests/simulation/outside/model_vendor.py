"""The model vendor as the other end of outgoing connections: chat completions over HTTP/1.1, and every way to go wrong.

https://platform.openai.com/docs/api-reference/chat/streaming. It remembers what it was asked and what really arrived at
the other end: the auditor computes from that what an answer may cost. Refuses to know who is charged for what.
"""

import itertools
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from emulators.model_vendor.animals import ANIMALS
from emulators.model_vendor.zoo import Animal, Said
from simulation.machine.concurrency import GreenletSignal
from simulation.machine.kernel import Kernel

_SECOND: Final = 1_000_000
_FOR_EVER: Final = 10**15
_STREAM: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_CLOSED: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
_ANIMALS: Final = sorted(name for name, one in ANIMALS.items() if one.dialect == "openai" and not one.early)
"""Those of the vendor zoo that count as the bundled catalogue says, and not before the end."""
_PAGE: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nno"


@dataclass
class VendorAnswer:
    """One request, and of its answer what arrived. `prompt` holds the text of each message."""

    number: int
    model: str
    question: str
    prompt: tuple[str, ...]
    limit: int
    texts: list[str] = field(default_factory=list)
    usage: Mapping[str, object] | None = None
    finish: str | None = None
    thoughts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Arrival:
    """Bytes that arrive together, this long after those before, and what they mean; None: the connection ends."""

    after_us: int
    data: bytes | None
    text: str = ""
    usage: Mapping[str, object] | None = None
    finish: str | None = None
    thoughts: Sequence[str] = ()


class ModelVendor:
    """What all connections lead to."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.answers: list[VendorAnswer] = []

    def answer(self, request: bytes) -> tuple[VendorAnswer, Iterator[Arrival]]:
        """What comes back for a whole request."""
        asked = json.loads(request.partition(b"\r\n\r\n")[2])
        texts = tuple(str(message["content"]) for message in asked["messages"])
        limit = asked.get("max_completion_tokens", asked.get("max_tokens"))
        answer = VendorAnswer(len(self.answers), asked["model"], texts[-1], texts, limit)
        self.answers.append(answer)
        return answer, self._arrivals(answer)

    def _arrivals(self, answer: VendorAnswer) -> Iterator[Arrival]:
        random, faults = self._kernel.random, self._kernel.faults
        pace_us = random.choice((4_000, 40_000, 400_000))
        if self._kernel.chance(faults.vendor):
            failing = random.choice(_REFUSALS)
            yield failing if failing.data is None else Arrival(random.randrange(pace_us), failing.data)
            return
        if self._kernel.chance(0.3):
            yield from self._dressed(answer, ANIMALS[random.choice(_ANIMALS)], pace_us)
            return
        yield Arrival(random.randrange(pace_us), _STREAM)
        filtered = self._kernel.chance(faults.vendor / 4)
        rude = self._kernel.chance(faults.vendor / 4)
        wanted = 0 if filtered else random.randrange(1, 9) + (answer.limit if rude and answer.limit < 100 else 0)
        written = wanted if rude else min(wanted, answer.limit)
        for index in range(written):
            yield from self._disturbance(pace_us)
            yield self._piece(one_token(answer.number, index), random.randrange(pace_us))
        finish = "content_filter" if filtered else "length" if written < wanted else "stop"
        yield Arrival(0, _chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}), finish=finish)
        yield from self._reports(answer, written, pace_us)
        yield Arrival(0, _bytes(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    def _dressed(self, answer: VendorAnswer, animal: Animal, pace_us: int) -> Iterator[Arrival]:
        """An answer as an animal of the vendor zoo gives it: it may break in the middle, and its end is sound."""
        random = self._kernel.random
        wanted = random.randrange(1, 9)
        written, thought = min(wanted, answer.limit), random.choice((0, 0, 2))
        read = sum(len(text) // 2 + 4 for text in answer.prompt) + 3
        said = Said(
            model=answer.model,
            pieces=[one_token(answer.number, index) for index in range(written)],
            prompt=read,
            written=written + thought,
            reasoning=thought,
            cached=random.choice((0, 0, read // 2)),
            finish="length" if written < wanted else "stop",
        )
        closed = animal.framing == "close"
        framed = _plain if closed else _bytes
        thoughts = animal.thoughts(said)
        opening = (_CLOSED if closed else _STREAM) + framed(animal.opening(said))
        yield Arrival(random.randrange(pace_us), opening, thoughts=thoughts)
        for index in range(written):
            if self._kernel.chance(self._kernel.faults.vendor / 4):
                yield random.choice(_BREAKS[:2])
            yield Arrival(random.randrange(pace_us), framed(animal.piece(said, index)), said.pieces[index])
        usage: dict[str, object] = {
            "prompt_tokens": read,
            "completion_tokens": said.written,
            "prompt_tokens_details": {"cached_tokens": said.cached},
            "completion_tokens_details": {"reasoning_tokens": thought},
        }
        end = framed(animal.closing(said)) + (b"" if closed or animal.framing == "reset" else b"0\r\n\r\n")
        yield Arrival(random.randrange(pace_us), end, usage=usage, finish=said.finish)
        if closed:
            yield Arrival(0, None)

    def _disturbance(self, pace_us: int) -> Iterator[Arrival]:
        """Something between two pieces of text, now and then."""
        random, faults = self._kernel.random, self._kernel.faults
        if self._kernel.chance(0.05):
            # A comment says that it still thinks; to whoever waits that is silence.
            yield Arrival(random.choice((pace_us, 11 * _SECOND)), _bytes(b": thinking\n\n"))
        if self._kernel.chance(faults.vendor / 4):
            yield random.choice(_BREAKS)

    def _piece(self, text: str, after_us: int) -> Arrival:
        chunk = _chunk({"choices": [{"index": 0, "delta": {"content": text}}]})
        return Arrival(after_us, chunk, text)

    def _reports(self, answer: VendorAnswer, written: int, pace_us: int) -> Iterator[Arrival]:
        """The usage, sometimes none, sometimes with a wrong total, sometimes a lie, sometimes twice."""
        random, faults = self._kernel.random, self._kernel.faults
        if self._kernel.chance(faults.vendor / 2):
            return
        read = sum(len(text) // 2 + 4 for text in answer.prompt) + 3
        thought = random.choice((0, 0, 2))
        usage: dict[str, object] = {
            "prompt_tokens": read,
            "completion_tokens": written + thought,
            "prompt_tokens_details": {"cached_tokens": random.choice((0, 0, read // 2))},
            "completion_tokens_details": {"reasoning_tokens": thought},
        }
        if self._kernel.chance(faults.vendor / 4):
            wrong = {**usage, "total_tokens": 1}
            yield Arrival(random.randrange(pace_us), _chunk({"choices": [], "usage": wrong}), usage=usage)
            return
        if written and self._kernel.chance(faults.vendor / 4):
            lie = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
            yield Arrival(random.randrange(pace_us), _chunk({"choices": [], "usage": lie}))
            return
        for _ in range(random.choice((1, 1, 2))):
            yield Arrival(random.randrange(pace_us), _chunk({"choices": [], "usage": usage}), usage=usage)


def _plain(data: bytes) -> bytes:
    return data


def one_token(answer: int, index: int) -> str:
    """The text of one token: a word of its answer's number in small letters and its place in capitals."""
    return f"{_letters(answer, 'a')}{_letters(index, 'A')} "


def answer_of(text: str) -> int:
    """The number of the answer that a text begins."""
    number = 0
    for letter in itertools.takewhile(str.islower, text):
        number = number * 26 + ord(letter) - ord("a")
    return number


def _letters(number: int, first: str) -> str:
    more, last = divmod(number, 26)
    return (_letters(more, first) if more else "") + chr(ord(first) + last)


def _bytes(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _chunk(event: Mapping[str, object]) -> bytes:
    return _bytes(b"data: " + json.dumps(event).encode() + b"\n\n")


def _refusal(status: str, error: Mapping[str, str], header: str = "") -> Arrival:
    body = json.dumps({"error": error}).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{header}Content-Length: {len(body)}\r\n\r\n"
    return Arrival(0, head.encode() + body)


_REFUSALS: Final = (
    _refusal("429 Too Many Requests", {"code": "rate_limit_exceeded"}),
    _refusal("429 Too Many Requests", {"code": "rate_limit_exceeded"}, "Retry-After: 1\r\n"),
    _refusal("429 Too Many Requests", {"code": "rate_limit_exceeded"}, "Retry-After: 30\r\n"),
    _refusal("500 Internal Server Error", {"type": "server_error"}),
    _refusal("400 Bad Request", {"code": "content_policy_violation"}),
    Arrival(0, _PAGE),
    Arrival(0, None),
    Arrival(_FOR_EVER, None),
)
"""Answers without text: busy, broken, against the rules, of the wrong type, none, and silence."""

_BREAKS: Final = (
    Arrival(0, None),
    Arrival(_FOR_EVER, None),
    Arrival(0, _bytes(b'data: {"choi') + _bytes(b"\n\n")),
    Arrival(0, _chunk({"error": {"type": "server_error"}})),
    Arrival(0, _chunk({"error": {"code": "content_filter"}})),
)
"""Ends in the middle: cut off, silence, something unreadable, and errors of its own."""


class VendorConnection:
    """`app.kit.network.Connection`. Each `receive` gets what arrived together and no more."""

    def __init__(self, kernel: Kernel, vendor: ModelVendor) -> None:
        self._kernel, self._vendor = kernel, vendor
        self._shut = GreenletSignal(kernel)
        self._arrivals: deque[Arrival] = deque()
        self._answer: VendorAnswer | None = None
        self._at_us = 0
        """When the last of what was received arrived."""

    def send(self, data: bytes, timeout_s: float) -> None:
        self._kernel.pause("model asked")
        if self._shut.is_set() or self._kernel.chance(self._kernel.faults.vendor / 8):
            raise ConnectionResetError
        self._answer, arrivals = self._vendor.answer(data)
        self._arrivals.extend(arrivals)
        self._at_us = self._kernel.now_us

    def receive(self, timeout_s: float) -> bytes:
        self._kernel.pause("model writes")
        until_us = self._kernel.now_us + round(timeout_s * _SECOND)
        arrives_us = self._at_us + self._arrivals[0].after_us if self._arrivals else _FOR_EVER * 10
        left_us = min(until_us, arrives_us) - self._kernel.now_us
        if self._shut.is_set() or (left_us > 0 and self._shut.wait(left_us / _SECOND)):
            return b""
        if arrives_us > self._kernel.now_us:
            raise TimeoutError
        return self._arrive(self._arrivals.popleft(), arrives_us)

    def _arrive(self, arrived: Arrival, at_us: int) -> bytes:
        self._at_us = at_us
        assert self._answer is not None
        if arrived.text:
            self._answer.texts.append(arrived.text)
        self._answer.thoughts.extend(arrived.thoughts)
        self._answer.usage = arrived.usage or self._answer.usage
        self._answer.finish = arrived.finish or self._answer.finish
        return arrived.data or b""

    def quiet(self) -> bool:
        """A kept connection may have been closed by the vendor in the meantime."""
        return not (self._shut.is_set() or self._kernel.chance(0.1))

    def shut(self) -> None:
        self._shut.set()

    def close(self) -> None:
        self._shut.set()


@dataclass(frozen=True)
class VendorNetwork:
    """`app.kit.network.Network`: every address is the vendor's."""

    kernel: Kernel
    vendor: ModelVendor

    def connect(self, host: str, port: int, *, tls: bool, timeout_s: float) -> VendorConnection:
        self.kernel.pause("model dialled")
        if self.kernel.chance(self.kernel.faults.vendor / 8):
            if self.kernel.chance(0.5):
                raise ConnectionRefusedError
            self.kernel.sleep(round(timeout_s * _SECOND))
            raise TimeoutError
        return VendorConnection(self.kernel, self.vendor)
