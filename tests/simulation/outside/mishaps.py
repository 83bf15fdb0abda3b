"""What a model vendor answers when it does not answer: refusals, breaks in the middle, and ends that are no success.

Recorded from real vendors (`tests/models/golden`, docs/traps.md T-101 to T-113). Each says whose fault it is.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Final

from simulation.outside.truth import CUT, ERROR_S, FOR_EVER, SECOND, SILENT, Arrival, Failing, in_chunk

_PAGE: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nno"
_GOLDEN: Final = Path(__file__).parents[2] / "models" / "golden"
_BUSY: Final = 429
_RATE: Final = {"code": "rate_limit_exceeded"}
_TODAY: Final = "Date: Fri, 15 Jan 2027 08:00:00 GMT\r\n"


def event(chunk: Mapping[str, object], name: bytes = b"") -> bytes:
    """One event of the stream, in a chunk of its own."""
    head = b"event: " + name + b"\n" if name else b""
    return in_chunk(head + b"data: " + json.dumps(chunk).encode() + b"\n\n")


def _body(status: int, body: object, fails: Failing, header: str = "") -> Arrival:
    text = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} So\r\nContent-Type: application/json\r\n{header}Content-Length: {len(text)}\r\n\r\n"
    return Arrival(0, head.encode() + text, fails=fails)


def _refusal(status: int, error: Mapping[str, object], fails: Failing, header: str = "") -> Arrival:
    return _body(status, {"error": error}, fails, header)


def _rate(wait_s: int, header: str) -> Arrival:
    return _refusal(_BUSY, _RATE, Failing("rate", wait_s), header)


_WAITS: Final = (
    _rate(0, ""),
    _rate(1, "Retry-After: 1\r\n"),
    _rate(2, "Retry-After: 1.5\r\n"),
    _rate(30, "Retry-After: 30\r\n"),
    _rate(1, f"{_TODAY}Retry-After: Fri, 15 Jan 2027 08:00:01 GMT\r\n"),
    _rate(600, f"{_TODAY}Retry-After: Fri, 15 Jan 2027 08:10:00 GMT\r\n"),
    _rate(60, f"{_TODAY}Retry-After: Friday, 15-Jan-27 08:01:00 GMT\r\n"),
)
_PLAIN: Final = (
    _refusal(500, {"type": "server_error"}, Failing("broken")),
    _refusal(503, {"code": 503, "message": "The model is overloaded."}, Failing("capacity")),
    _refusal(401, {"code": "invalid_api_key"}, Failing("our_key")),
    _refusal(400, {"code": "content_policy_violation"}, Failing("moderation")),
    _refusal(400, {"code": 400, "message": "maximum context length is 8 tokens"}, Failing("context_too_long")),
    _refusal(400, {"type": "invalid_request_error", "message": "no"}, Failing("request")),
    _refusal(200, {"code": 429, "message": "Provider returned error"}, Failing("rate")),
    _refusal(200, {"code": "content_filter"}, Failing("moderation")),
    Arrival(0, _PAGE, fails=CUT),
    Arrival(0, None, fails=CUT),
    Arrival(0, None, fails=CUT),
    Arrival(FOR_EVER, None, fails=SILENT),
)
OVERLOADED: Final = _PLAIN[1]
BROKEN: Final = _PLAIN[0]
_ERRORS: Final = json.loads((_GOLDEN / "errors.json").read_text())
_RECORDED: Final = tuple(_body(row["status"], row["body"], Failing(row["blame"])) for row in _ERRORS["recorded"])
_QUOTES: Final = tuple(
    _body(status, {"error": {"message": said, "type": "invalid_request_error", "code": status}}, Failing("request"))
    for said in _ERRORS["quotes"]
    for status in (400, 422)
)
"""Refusals of a user's own request that repeat what the user wrote, which may be the words of any other error."""


def busy(random: Random) -> Arrival:
    """A vendor that has no room, now or for long."""
    return random.choice((_PLAIN[1], _WAITS[3], _WAITS[5]))


def refusal(random: Random) -> Iterator[Arrival]:
    """An answer without text: busy, broken, not paid, retired, against the rules, of the wrong type, none, silence."""
    kind = random.randrange(11)
    if kind in (0, 10):
        yield from _endless(random)
    elif kind <= 2:
        yield random.choice(_WAITS)
    elif kind <= 5:
        yield random.choice(_PLAIN)
    elif kind <= 8:
        yield random.choice(_RECORDED)
    else:
        yield random.choice(_QUOTES)


def _endless(random: Random) -> Iterator[Arrival]:
    """The body of an error that never ends, and never stands still for long. Its status tells what it is."""
    status, fails = random.choice(
        ((500, Failing("broken")), (429, Failing("rate")), (402, Failing("our_balance")), (200, SILENT))
    )
    head = b"HTTP/1.1 %d So\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n{" % status
    yield Arrival(0, head, fails=fails, tail_s=ERROR_S)
    for _ in range(200):
        yield Arrival(SECOND, b" ")


def _error(chunk: Mapping[str, object], whose: str, name: bytes = b"") -> Arrival:
    return Arrival(0, event(chunk, name), fails=Failing(whose, broke=True, told=True))


def _choice(**fields: object) -> Mapping[str, object]:
    return {"choices": [{"index": 0, "delta": {}, **fields}]}


BARE_DONE: Final = Arrival(0, in_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n", fails=CUT)
"""What a proxy sends when the server behind it broke."""
FAILED: Final = _error(_choice(finish_reason="error"), "broken")
"""A finish that is none."""
CUTS: Final = (
    Arrival(0, None, fails=CUT),
    Arrival(FOR_EVER, None, fails=SILENT),
    Arrival(0, in_chunk(b'data: {"choi') + in_chunk(b"\n\n"), fails=CUT),
    BARE_DONE,
    _error({"error": {"type": "server_error"}}, "broken"),
    _error({"error": {"code": "content_filter"}}, "moderation"),
    _error({"type": "error", "error": {"type": "overloaded_error"}}, "capacity", b"error"),
    _error(_choice(error={"code": 502, "message": "upstream"}), "broken"),
    FAILED,
    _error(_choice(finish_reason="insufficient_system_resource"), "capacity"),
    _error({"choices": None, "base_resp": {"status_code": 1000, "status_msg": "unknown error"}}, "broken"),
)
"""Ends in the middle: cut off, silence, something unreadable, a proxy's own end, and errors in all their places."""

FINISHES: Final = {
    "whole": ("stop", "end_turn", "eos_token", "STOP", "FINISH_REASON_STOP"),
    "length": ("length", "max_tokens", "MAX_TOKENS"),
    "context": ("model_length", "model_context_window_exceeded"),
    "filtered": ("content_filter", "SAFETY", "refusal", "PROHIBITED_CONTENT"),
    "unknown": ("paused", "tool_calls", "stopped"),
}
"""Vendors' words for the end of an answer, by what they mean."""
KINDS: Final = {word: kind for kind, words in FINISHES.items() for word in words}
ODD_FINISHES: Final[Sequence[str]] = tuple(
    word for kind in ("context", "filtered", "unknown") for word in FINISHES[kind]
)


def behind_the_finish(random: Random) -> Arrival:
    """What may come behind a finish and before a count: rubbish, a cut, or an error that the vendor tells."""
    return random.choice(
        (
            *((Arrival(0, in_chunk(b"data: {broken\n\n"), fails=CUT),) * 3),
            Arrival(0, in_chunk(b"data: 7\n\n") + b"0\r\n\r\n"),
            Arrival(0, None, fails=CUT),
            _error({"error": {"code": "overloaded"}}, "capacity"),
        )
    )


def signs_of_life(seconds: int) -> Iterator[Arrival]:
    """Comments, one a second: a connection that lives and has nothing more to say."""
    for _ in range(seconds):
        yield Arrival(SECOND, in_chunk(b": keep-alive\n\n"))
