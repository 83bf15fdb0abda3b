"""The model vendor as the other end of outgoing connections: chat completions over HTTP/1.1, and every way to go wrong.

https://platform.openai.com/docs/api-reference/chat/streaming. It remembers what it was asked and what really arrived at
the other end: the auditor computes from that what an answer may cost. Refuses to know who is charged for what.
"""

import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from emulators.model_vendor.animals import ANIMALS
from emulators.model_vendor.zoo import Animal, Said
from simulation.machine.concurrency import GreenletSignal
from simulation.machine.kernel import Kernel
from simulation.outside.mishaps import (
    BREAKS,
    FOR_EVER,
    ODD_FINISHES,
    REFUSALS,
    SECOND,
    STREAM,
    Arrival,
    event,
    in_chunk,
)

_CLOSED: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
_ANIMALS: Final = sorted(name for name, one in ANIMALS.items() if one.dialect == "openai" and not one.early)
"""Those of the vendor zoo that count as the bundled catalogue says, and not before the end."""
_SLOW_US: Final = 25 * SECOND
_THOUGHT: Final = "Hm. "


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
    final: bool = False
    """It was refused in a way after which nobody may be asked instead."""
    once: bool = False
    """It was refused in a way after which this model may not be asked again."""


class ModelVendor:
    """What all connections lead to."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.answers: list[VendorAnswer] = []
        self.watchers: list[Callable[[VendorAnswer], None]] = []
        """Hear of every question when it arrives."""
        self.unread: dict[str, str] = {}
        """Questions that came over a connection which had been closed before, and the model that was asked."""

    def answer(self, request: bytes) -> tuple[VendorAnswer, Iterator[Arrival]]:
        """What comes back for a whole request."""
        answer = self._asked(request)
        self.answers.append(answer)
        for hear in self.watchers:
            hear(answer)
        return answer, self._arrivals(answer)

    def missed(self, request: bytes) -> None:
        """A request that nobody reads: its connection was closed while it was kept."""
        asked = self._asked(request)
        self.unread[asked.question] = asked.model

    def _asked(self, request: bytes) -> VendorAnswer:
        asked = json.loads(request.partition(b"\r\n\r\n")[2])
        texts = tuple(str(message["content"]) for message in asked["messages"])
        limit = asked.get("max_completion_tokens", asked.get("max_tokens"))
        return VendorAnswer(len(self.answers), asked["model"], texts[-1], texts, limit)

    def _arrivals(self, answer: VendorAnswer) -> Iterator[Arrival]:
        random, faults = self._kernel.random, self._kernel.faults
        pace_us = _SLOW_US if self._kernel.chance(0.04) else random.choice((4_000, 40_000, 400_000))
        if self._kernel.chance(faults.vendor * 1.5):
            refused = random.choice(REFUSALS)
            answer.final, answer.once = refused.final, refused.once
            failing = refused.arrival
            yield failing if failing.data is None else Arrival(random.randrange(pace_us), failing.data)
            return
        if self._kernel.chance(0.5):
            yield from self._dressed(answer, ANIMALS[random.choice(_ANIMALS)], pace_us)
            return
        yield Arrival(random.randrange(pace_us), STREAM)
        rude = self._kernel.chance(faults.vendor / 4)
        odd = self._kernel.chance(0.04 + faults.vendor)
        wanted = self._wanted(pace_us) + (answer.limit if rude and answer.limit < 100 else 0)
        empty = odd and self._kernel.chance(0.4)
        wanted = 0 if empty else wanted
        written = wanted if rude else min(wanted, answer.limit)
        if odd:
            yield from self._thinks(random.choice((0, 3)), pace_us)
        for index in range(written):
            yield from self._disturbance(pace_us)
            yield self._piece(one_token(answer.number, index), random.randrange(pace_us))
        finish = "length" if written < wanted else "stop"
        if odd and not (empty and self._kernel.chance(0.5)):
            finish = random.choice(ODD_FINISHES)
        end = event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        yield Arrival(0, end, finish=finish)
        yield from self._reports(answer, written, pace_us)
        yield Arrival(0, in_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    def _wanted(self, pace_us: int) -> int:
        """How much it has to say, in tokens: now and then more than a small reservation pays for."""
        long = pace_us < SECOND and self._kernel.chance(0.08)
        return self._kernel.random.randrange(16, 40) if long else self._kernel.random.randrange(1, 9)

    def _thinks(self, thoughts: int, pace_us: int) -> Iterator[Arrival]:
        """Hidden reasoning, before the first text."""
        for _ in range(thoughts):
            thought = event({"choices": [{"index": 0, "delta": {"reasoning_content": _THOUGHT}}]})
            yield Arrival(self._kernel.random.randrange(pace_us), thought, thoughts=(_THOUGHT,))

    def _dressed(self, answer: VendorAnswer, animal: Animal, pace_us: int) -> Iterator[Arrival]:
        """An answer as an animal of the vendor zoo gives it: it may break in the middle, and its end is sound."""
        random = self._kernel.random
        wanted = self._wanted(pace_us)
        written, thought = min(wanted, answer.limit), random.choice((0, 2, 3))
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
        framed = _plain if closed else in_chunk
        thoughts = animal.thoughts(said)
        opening = (_CLOSED if closed else STREAM) + framed(animal.opening(said))
        yield Arrival(random.randrange(pace_us), opening, thoughts=thoughts)
        for index in range(written):
            if self._kernel.chance(self._kernel.faults.vendor / 4):
                yield random.choice(BREAKS[:2])
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
            yield Arrival(random.choice((pace_us, 11 * SECOND)), in_chunk(b": thinking\n\n"))
        if self._kernel.chance(faults.vendor / 4):
            yield random.choice(BREAKS)

    def _piece(self, text: str, after_us: int) -> Arrival:
        chunk = event({"choices": [{"index": 0, "delta": {"content": text}}]})
        return Arrival(after_us, chunk, text)

    def _reports(self, answer: VendorAnswer, written: int, pace_us: int) -> Iterator[Arrival]:
        """The usage, sometimes none, sometimes with a wrong total, sometimes a lie, sometimes twice."""
        random, faults = self._kernel.random, self._kernel.faults
        if self._kernel.chance(faults.vendor / 2):
            return
        read = sum(len(text) // 2 + 4 for text in answer.prompt) + 3
        thought = len(answer.thoughts) or random.choice((0, 0, 2))
        usage: dict[str, object] = {
            "prompt_tokens": read,
            "completion_tokens": written + thought,
            "prompt_tokens_details": {"cached_tokens": random.choice((0, 0, read // 2))},
            "completion_tokens_details": {"reasoning_tokens": thought},
        }
        if self._kernel.chance(faults.vendor / 4):
            wrong = {**usage, "total_tokens": 1}
            yield Arrival(random.randrange(pace_us), event({"choices": [], "usage": wrong}), usage=usage)
            return
        if written and self._kernel.chance(faults.vendor / 4):
            lie = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
            yield Arrival(random.randrange(pace_us), event({"choices": [], "usage": lie}))
            return
        for _ in range(random.choice((1, 1, 2))):
            yield Arrival(random.randrange(pace_us), event({"choices": [], "usage": usage}), usage=usage)


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
        self._at_us = self._kernel.now_us
        if self._answer is not None and self._kernel.chance(0.05):
            # The vendor closed this connection while it was kept, and that shows only now.
            self._vendor.missed(data)
            self._arrivals.append(Arrival(self._kernel.random.randrange(200_000), None))
            return
        self._answer, arrivals = self._vendor.answer(data)
        self._arrivals.extend(arrivals)

    def receive(self, timeout_s: float) -> bytes:
        self._kernel.pause("model writes")
        until_us = self._kernel.now_us + round(timeout_s * SECOND)
        arrives_us = self._at_us + self._arrivals[0].after_us if self._arrivals else FOR_EVER * 10
        left_us = min(until_us, arrives_us) - self._kernel.now_us
        if self._shut.is_set() or (left_us > 0 and self._shut.wait(left_us / SECOND)):
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
            self.kernel.sleep(round(timeout_s * SECOND))
            raise TimeoutError
        return VendorConnection(self.kernel, self.vendor)
