"""What a model vendor answers when it does not answer: refusals, breaks in the middle, and ends that are no success.

Recorded from real vendors (`tests/models/golden`, docs/traps.md T-101 to T-113). Each says what a caller may do next.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

SECOND: Final = 1_000_000
FOR_EVER: Final = 10**15
STREAM: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_PAGE: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nno"


@dataclass(frozen=True)
class Arrival:
    """Bytes that arrive together, this long after those before, and what they mean; None: the connection ends."""

    after_us: int
    data: bytes | None
    text: str = ""
    usage: Mapping[str, object] | None = None
    finish: str | None = None
    thoughts: Sequence[str] = ()


@dataclass(frozen=True)
class Mishap:
    """An answer without text. `final`: nobody may be asked in its place; `once`: not the same model again."""

    arrival: Arrival
    final: bool = False
    once: bool = False


def in_chunk(data: bytes) -> bytes:
    """One chunk of HTTP."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(chunk: Mapping[str, object], name: bytes = b"") -> bytes:
    """One event of the stream, in a chunk of its own."""
    head = b"event: " + name + b"\n" if name else b""
    return in_chunk(head + b"data: " + json.dumps(chunk).encode() + b"\n\n")


def _refusal(status: str, error: Mapping[str, object], header: str = "") -> Arrival:
    body = json.dumps({"error": error}).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{header}Content-Length: {len(body)}\r\n\r\n"
    return Arrival(0, head.encode() + body)


_BUSY: Final = "429 Too Many Requests"
_RATE: Final = {"code": "rate_limit_exceeded"}
_TODAY: Final = "Date: Fri, 15 Jan 2027 08:00:00 GMT\r\n"

REFUSALS: Final = (
    Mishap(_refusal(_BUSY, _RATE)),
    Mishap(_refusal(_BUSY, _RATE, "Retry-After: 1\r\n")),
    Mishap(_refusal(_BUSY, _RATE, "Retry-After: 30\r\n"), once=True),
    Mishap(_refusal(_BUSY, _RATE, f"{_TODAY}Retry-After: Fri, 15 Jan 2027 08:00:01 GMT\r\n")),
    Mishap(_refusal(_BUSY, _RATE, f"{_TODAY}Retry-After: Fri, 15 Jan 2027 08:10:00 GMT\r\n"), once=True),
    Mishap(_refusal("500 Internal Server Error", {"type": "server_error"})),
    Mishap(_refusal("503 Service Unavailable", {"code": 503, "message": "The model is overloaded."})),
    Mishap(_refusal("401 Unauthorized", {"code": "invalid_api_key"}), once=True),
    Mishap(_refusal("402 Payment Required", {"message": "Insufficient credits"}), once=True),
    Mishap(_refusal(_BUSY, {"type": "insufficient_quota", "code": "insufficient_quota"}), once=True),
    Mishap(_refusal("404 Not Found", {"code": "model_not_found"}), once=True),
    Mishap(_refusal("400 Bad Request", {"code": "content_policy_violation"}), final=True),
    Mishap(_refusal("400 Bad Request", {"code": 400, "message": "maximum context length is 8 tokens"}), final=True),
    Mishap(_refusal("400 Bad Request", {"type": "invalid_request_error", "message": "no"}), final=True),
    Mishap(_refusal("200 OK", {"code": 429, "message": "Provider returned error"})),
    Mishap(_refusal("200 OK", {"code": "content_filter"}), final=True),
    Mishap(Arrival(0, _PAGE)),
    Mishap(Arrival(0, None)),
    Mishap(Arrival(0, None)),
    Mishap(Arrival(FOR_EVER, None), final=True),
)
"""Answers without text: busy, broken, not paid, retired, against the rules, of the wrong type, none, and silence."""

BREAKS: Final = (
    Arrival(0, None),
    Arrival(FOR_EVER, None),
    Arrival(0, in_chunk(b'data: {"choi') + in_chunk(b"\n\n")),
    Arrival(0, event({"error": {"type": "server_error"}})),
    Arrival(0, event({"error": {"code": "content_filter"}})),
    Arrival(0, event({"type": "error", "error": {"type": "overloaded_error"}}, b"error")),
    Arrival(0, event({"choices": [{"index": 0, "delta": {}, "error": {"code": 502, "message": "upstream"}}]})),
    Arrival(0, event({"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]})),
)
"""Ends in the middle: cut off, silence, something unreadable, and errors of its own in all their places."""

ODD_FINISHES: Final = ("content_filter", "model_length", "MAX_TOKENS", "end_turn", "paused", "paused", "SAFETY")
"""Reasons for an end other than OpenAI's two usual ones."""

REASONS: Final = {
    "completed": ("stop", "end_turn", "eos_token"),
    "usage_missing": ("stop", "end_turn", "eos_token"),
    "length_limit": ("length", "MAX_TOKENS"),
    "model_length": ("model_length",),
    "content_filtered": ("content_filter", "SAFETY"),
    "unknown_finish": ("paused",),
}
"""What a turn says of its end, and what the vendor must have said for that."""
