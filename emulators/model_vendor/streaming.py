"""A completion as server-sent events, with the interruptions that the request asked for.

Owns chunk bytes, their order, and what happens after chunk k. Refuses to know how the answer was found.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import orjson
from aiohttp import web

from emulators.model_vendor import usage
from emulators.model_vendor.animals import ANIMALS
from emulators.model_vendor.calls import Spelled, deltas
from emulators.model_vendor.completion import Completion
from emulators.model_vendor.errors import MID_STREAM
from emulators.model_vendor.faults import FOREVER_S, Behaviour, UsageFault
from emulators.model_vendor.framing import RawBody, reset
from emulators.model_vendor.journal import Record
from emulators.model_vendor.pacing import Pacer
from emulators.model_vendor.zoo import Animal, Said, body

CREATED = 1_767_225_600
"""2026-01-01T00:00:00Z. The same input gives the same bytes, so `created` is no clock."""
FINGERPRINT = "fp_simulator1"
DONE = b"data: [DONE]\n\n"
_HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
_MALFORMED = b'data: {"id":"chatcmpl-sim","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"con\n\n'


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of one event and the completion tokens that they carry."""

    data: bytes
    tokens: int


@dataclass(frozen=True, slots=True)
class Stream:
    """Everything one streamed answer needs."""

    completion: Completion
    behaviour: Behaviour
    record: Record
    pacer: Pacer
    include_usage: bool


class Ended(Exception):
    """The stream stops here on purpose."""


async def send(request: web.Request, stream: Stream) -> web.StreamResponse:
    """Stream the answer. Leaves by exception when the client is gone."""
    record = stream.record
    record.status = 200
    events, response = _dressed(stream)
    chunks = list(events.content())
    stops = _stops(stream.behaviour, len(chunks))
    try:
        await response.prepare(request)
        pending = events.role()
        position = 0
        token = stream.completion.reasoning
        while True:
            for kind in stops.get(position, ()):
                if pending:
                    await response.write(pending)
                    pending = b""
                await _interrupt(kind, request, response, stream)
            if position == len(chunks):
                break
            allowed = await stream.pacer.until(token)
            while position < len(chunks) and token < allowed:
                chunk = chunks[position]
                pending += chunk.data
                token += chunk.tokens
                position += 1
                if position in stops:
                    break
            record.tokens_generated = token
            record.chunks_sent = position
            await response.write(pending)
            pending = b""
        await _close(response, pending, events, stream)
    except Ended:
        pass
    # What was written past aiohttp closed its connection, so an empty response reaches nobody.
    return response if isinstance(response, web.StreamResponse) else web.Response()


def _dressed(stream: Stream) -> "tuple[Events | DressedEvents, web.StreamResponse | RawBody]":
    """The events as the animal that was asked for gives them, and the body that it ends in its way."""
    response = web.StreamResponse(headers={**_HEADERS, "x-request-id": stream.record.request_id})
    if stream.behaviour.zoo is None:
        return Events(stream), response
    animal = ANIMALS[stream.behaviour.zoo]
    events = DressedEvents(animal, stream)
    if animal.framing == "chunked":
        return events, response
    return events, RawBody(animal.framing, len(body(animal, events.said)))


async def _close(
    response: web.StreamResponse | RawBody, pending: bytes, events: "Events | DressedEvents", stream: Stream
) -> None:
    stream.record.tokens_generated = stream.completion.generated
    tail = pending + events.finish()
    if not stream.behaviour.no_done:
        tail += events.done()
    stream.record.ending = stream.completion.finish_reason
    await response.write(tail)
    await response.write_eof()


def _stops(behaviour: Behaviour, chunks: int) -> dict[int, list[str]]:
    """What happens before chunk number k; a k beyond the end happens before the finish chunk."""
    stops: dict[int, list[str]] = {}
    for kind, after in (
        ("stall", behaviour.stall_after),
        ("malformed", behaviour.malformed_after),
        ("error", behaviour.error_after),
        ("truncate", behaviour.truncate_after),
        ("disconnect", behaviour.disconnect_after),
    ):
        if after is not None:
            stops.setdefault(min(after, chunks), []).append(kind)
    return stops


async def _interrupt(kind: str, request: web.Request, response: web.StreamResponse | RawBody, stream: Stream) -> None:
    stream.record.ending = kind
    match kind:
        case "stall":
            pause_ms = stream.behaviour.stall_ms
            pause_s = FOREVER_S if pause_ms is None else pause_ms / 1000
            await asyncio.sleep(pause_s)
            stream.pacer.pause(pause_s)
        case "malformed":
            await response.write(_MALFORMED)
        case "error":
            await response.write(b"data: " + MID_STREAM.json() + b"\n\n")
            await response.write_eof()
            raise Ended
        case "truncate":
            await response.write_eof()
            raise Ended
        case _:
            await reset(request)
            raise Ended


class Events:
    """Renders one answer's events; the part before and after each delta is computed once."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        completion = stream.completion
        head = {
            "id": completion.id,
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": completion.model,
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
        }
        self._head = b"data: " + orjson.dumps(head)[:-1] + b',"choices":'
        self._report = usage.Report.of(stream.behaviour.usage, include_usage=stream.include_usage)
        stream.record.usage_sent = self._report.in_content

    def _event(self, delta: bytes, finish: bytes = b"null", counted: bytes | None = None) -> bytes:
        choice = b'[{"index":0,"delta":' + delta + b',"logprobs":null,"finish_reason":' + finish + b"}]"
        return self._head + choice + self._usage(counted) + b"}\n\n"

    def _usage(self, counted: bytes | None) -> bytes:
        if counted is not None:
            return b',"usage":' + counted
        return b',"usage":null' if self._report.nulls else b""

    def role(self) -> bytes:
        """The first event; it names the role and carries no tokens."""
        return self._event(b'{"role":"assistant","content":' + (b"null" if self._only_calls else b'""') + b"}")

    @property
    def _only_calls(self) -> bool:
        return bool(self._stream.completion.calls) and not self._stream.completion.pieces

    def content(self) -> Iterator[Chunk]:
        """The events that carry tokens, in order."""
        deltas = list(self._deltas())
        size = self._stream.behaviour.usage
        reported = self._stream.completion.reasoning
        before, _, after = self._event(b"\0").partition(b"\0")
        for index, (delta, carried) in enumerate(deltas):
            reported += carried
            last = index == len(deltas) - 1
            if size is UsageFault.CUMULATIVE or (size is UsageFault.LAST_CONTENT and last):
                yield Chunk(self._event(delta, counted=self._counted(reported)), carried)
            else:
                yield Chunk(before + delta + after, carried)

    def _deltas(self) -> Iterator[tuple[bytes, int]]:
        completion = self._stream.completion
        width = self._stream.behaviour.tokens_per_chunk
        for group in _grouped(completion.pieces, width):
            yield b'{"content":' + orjson.dumps("".join(group)) + b"}", len(group)
        spelled = [Spelled(one.id, one.name, one.head, [*_grouped(one.pieces, width)]) for one in completion.calls]
        for part, carried in deltas(spelled, self._stream.behaviour.calls):
            yield orjson.dumps({"tool_calls": [part]}), carried

    def finish(self) -> bytes:
        """Everything after the last content event but `[DONE]`."""
        completion, report = self._stream.completion, self._report
        whole = self._counted(completion.generated)
        reason = orjson.dumps(completion.finish_reason)
        parts = [self._event(b"{}", reason, whole if report.with_finish else None)]
        if report.after_finish:
            parts.append(self._event(b"{}", counted=whole))
        if report.usage_only:
            parts.append(self._head + b'[],"usage":' + whole + b"}\n\n")
        self._stream.record.usage_sent = report.sent
        return b"".join(parts)

    def done(self) -> bytes:
        """The last event."""
        return DONE

    def _counted(self, generated: int) -> bytes:
        return orjson.dumps(usage.of(self._stream.completion, self._stream.behaviour.usage, generated))


def _grouped(pieces: tuple[str, ...], width: int) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(pieces), width):
        yield pieces[start : start + width]


class DressedEvents:
    """The events of an answer in the dressing of an animal of the zoo. It gives text, and no tools."""

    def __init__(self, animal: Animal, stream: Stream) -> None:
        completion = stream.completion
        pieces = ["".join(group) for group in _grouped(completion.pieces, stream.behaviour.tokens_per_chunk)]
        self._animal = animal
        self._width = stream.behaviour.tokens_per_chunk
        self._record = stream.record
        self.said = Said(
            model=completion.model,
            pieces=pieces,
            prompt=completion.prompt.total,
            written=completion.reasoning + len(completion.pieces),
            reasoning=completion.reasoning,
            cached=completion.prompt.cached,
            finish=completion.finish_reason,
            id=completion.id,
        )

    def role(self) -> bytes:
        """What comes before the first text."""
        return self._animal.opening(self.said)

    def content(self) -> Iterator[Chunk]:
        """The events that carry text, in order."""
        for number in range(len(self.said.pieces)):
            yield Chunk(self._animal.piece(self.said, number), self._width)

    def finish(self) -> bytes:
        """The finish and the usage."""
        self._record.usage_sent = True
        return self._animal.finish(self.said) + self._animal.report(self.said)

    def done(self) -> bytes:
        """The last bytes."""
        return self._animal.last
