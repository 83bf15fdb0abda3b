"""The vendor zoo: one answer in the dressing of many real servers. Pure, so that other simulators can play it too.

Each animal gives the same text and the same counts, and differs in one habit that was seen in public bug reports; its
docstring says where. The words are ours. Owns the bytes of chunks; refuses to know sockets and when bytes are sent.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

Json = Mapping[str, object]
Framing = Literal["chunked", "close", "trailers", "length", "length-too-long", "more-than-length", "reset"]
"""How the body's end is told: by HTTP's chunks, by hanging up, with trailers, by its length (right, larger than what
comes, smaller than what comes), or not at all, because the connection is reset behind it."""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer before it is dressed. `written` counts all output tokens, hidden `reasoning` included."""

    model: str
    pieces: Sequence[str]
    prompt: int
    written: int
    reasoning: int = 0
    cached: int = 0
    finish: str = "stop"
    id: str = "chatcmpl-zoo"

    @property
    def shown(self) -> int:
        """Output tokens that are no reasoning."""
        return self.written - self.reasoning


class Animal:
    """The plain one: chunks as OpenAI documents them, with the usage in a chunk of its own behind the finish."""

    framing: ClassVar[Framing] = "chunked"
    dialect: ClassVar[str] = "openai"
    """The catalogue's name for how this vendor counts."""
    early: ClassVar[bool] = False
    """Whether it reports usage before the finish."""
    reports: ClassVar[bool] = True
    """Whether it has an event for the usage alone."""
    thinks: ClassVar[bool] = False
    """Whether hidden reasoning is sent as text, marked as such."""
    keeps: ClassVar[bool] = False
    """Whether its report tells of writes to the cache."""
    last: ClassVar[bytes] = b"data: [DONE]\n\n"
    """What ends the stream."""

    def opening(self, said: Said) -> bytes:
        """What comes before the first text."""
        return self.chunk(said, {"role": "assistant", "content": ""})

    def thoughts(self, said: Said) -> Sequence[str]:
        """The pieces of reasoning that `opening` holds: one a token, at most eight."""
        return ["Hm. "] * min(said.reasoning, 8) if self.thinks else ()

    def kept(self, said: Said) -> int:
        """How many of the prompt's tokens its report calls written to the cache."""
        return (said.prompt - said.cached) // 2 if self.keeps else 0

    def piece(self, said: Said, number: int) -> bytes:
        """The piece of text with this number."""
        return self.chunk(said, self.delta(said.pieces[number]))

    def finish(self, said: Said) -> bytes:
        """The finish reason, and whatever usage stands beside it."""
        return self.chunk(said, {}, finish=said.finish)

    def report(self, said: Said) -> bytes:
        """The usage in an event of its own."""
        if not self.reports:
            return b""
        return self.event({**self.head(said), "choices": [], "usage": self.usage(said, said.written)})

    def closing(self, said: Said) -> bytes:
        """All that comes behind the last text."""
        return self.finish(said) + self.report(said) + self.last

    def head(self, said: Said) -> Json:
        return {"id": said.id, "object": "chat.completion.chunk", "created": 1_767_225_600, "model": said.model}

    def delta(self, text: str) -> Json:
        return {"content": text}

    def choice(self, delta: object, finish: str | None) -> Json:
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}

    def chunk(self, said: Said, delta: object, *, finish: str | None = None, **more: object) -> bytes:
        return self.event({**self.head(said), "choices": [self.choice(delta, finish)], **more})

    def event(self, chunk: Json) -> bytes:
        return b"data: " + dumped(chunk) + b"\n\n"

    def usage(self, said: Said, written: int) -> Json:
        return {
            **plain(said, written),
            "prompt_tokens_details": {"cached_tokens": said.cached, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": said.reasoning, "audio_tokens": 0},
        }


def plain(said: Said, written: int) -> dict[str, object]:
    """The plain counts."""
    return {"prompt_tokens": said.prompt, "completion_tokens": written, "total_tokens": said.prompt + written}


def dumped(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def body(animal: Animal, said: Said) -> bytes:
    """The whole body."""
    pieces = b"".join(animal.piece(said, number) for number in range(len(said.pieces)))
    return animal.opening(said) + pieces + animal.closing(said)
