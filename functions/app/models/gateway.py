"""The gateway to the model vendors: streams the text, the usage and the finish reason of an answer as they arrive.

It asks for chat completions as OpenAI defined them and its followers serve them; `app.models.chunks` reads the answer
(https://platform.openai.com/docs/api-reference/chat/streaming). Tries again before the first piece of text, never
after. Refuses to know users, prices and credits.
"""

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final, Literal

from app.kit import telemetry
from app.models import faults
from app.models.catalogue import Catalogue, Model
from app.models.chunks import AnsweredBy, ChunkEvent, ChunkReader, Counted, Delta, Finished, Thought
from app.models.faults import ModelBroke, ModelFault
from app.models.health import ModelHealth
from app.models.settings import Patience
from app.models.sse import Parser
from app.models.transport import Stopped, Transport, VendorCall, VendorResponse

MessageRole = Literal["system", "user", "assistant"]

MOST_TRIES: Final = 3
"""Over the model and its fallbacks together."""
LONGEST_WAIT_S: Final = 2
"""After a longer `Retry-After` the same model is not asked again: the fault goes to the caller, with that time."""

_log = telemetry.log("models")


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the prompt; `images` are addresses that the vendor fetches, or `data:` URLs."""

    role: MessageRole
    text: str
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked. `account` is an opaque name for the vendor's abuse detection."""

    model: Model
    messages: Sequence[Message]
    max_output_tokens: int
    account: str = ""
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing arrived for `tick_s`; the caller may keep its own client's connection alive."""


ModelEvent = ChunkEvent | Silence


class Gateway:
    """Asks models. Holds one connection pool, which opens nothing before the first question."""

    def __init__(self, catalogue: Catalogue, *, transport: Transport, api_key: str, health: ModelHealth) -> None:
        self._catalogue = catalogue
        self._transport = transport
        self._health = health
        self._headers = (
            ("Authorization", f"Bearer {api_key}"),
            ("Content-Type", "application/json"),
            ("Accept", "text/event-stream"),
        )

    def call(self) -> VendorCall:
        """The handle by which another thread stops an answer."""
        return VendorCall(self._transport.concurrency)

    def stream(self, question: Question, call: VendorCall) -> Generator[ModelEvent, None, None]:
        """Streams the answer. Closing the iterator hangs up on the vendor at once.

        Raises:
            ModelFault: no model of the chain answered, or one failed after its first text.
            Rejection: the vendor refuses the prompt.
            ModelMisconfigured: our key or catalogue is wrong.
            Stopped: `call` was stopped.
        """
        plan = _plan(self._catalogue.chain(question.model))
        for attempt, model in enumerate(plan, start=1):
            started = False
            try:
                for event in self._once(question, model, call):
                    started = started or isinstance(event, Delta)
                    yield event
            except ModelFault as fault:
                self._health.failed(model.id)
                last = attempt == len(plan)
                if started or last or not fault.repeatable:
                    raise
                _log.warning("model_retried", model=model.id, next=plan[attempt].id, reason=fault.detail)
                _wait(fault, same=plan[attempt] is model, call=call)
            else:
                self._health.answered(model.id)
                return

    def _once(self, question: Question, model: Model, call: VendorCall) -> Generator[ModelEvent, None, None]:
        with closing(self._open(question, model, call)) as answer:
            for _ in answer.head():
                yield Silence()
            _check(answer)
            yield AnsweredBy(model)
            reader = ChunkReader(self._catalogue, model)
            parser = Parser()
            clock, tick_us = self._transport.concurrency, question.patience.tick_s * 1_000_000
            spoken_us = clock.monotonic_us()
            for piece in _until_complete(answer, reader):
                for event in () if piece is None else reader.events(parser.feed(piece)):
                    yield event
                    if not isinstance(event, Thought):
                        spoken_us = clock.monotonic_us()
                # Comments and hidden reasoning arrive and say nothing: to whoever waits that is silence as well.
                if piece is None or clock.monotonic_us() - spoken_us >= tick_us:
                    yield Silence()
                    spoken_us = clock.monotonic_us()
            yield from reader.events(parser.end())
            reader.end()

    def _open(self, question: Question, model: Model, call: VendorCall) -> VendorResponse:
        return self._transport.post(
            "/chat/completions", self._headers, _body(question, model), call=call, patience=question.patience
        )


def _until_complete(answer: VendorResponse, reader: ChunkReader) -> Iterator[bytes | None]:
    """The pieces of the body until the vendor is done. A break behind the finish ends it: the text is whole (T-106)."""
    pieces = answer.pieces()
    while not reader.done:
        try:
            piece = next(pieces)
        except StopIteration:
            return
        except ModelFault:
            if reader.finished:
                return
            raise
        yield piece
    answer.drain()


def _plan(chain: Sequence[Model]) -> tuple[Model, ...]:
    """The models to ask, in order: each fallback once, or the same model again when it has none."""
    return tuple(chain[:MOST_TRIES]) if len(chain) > 1 else (chain[0], chain[0])


def _wait(fault: ModelFault, *, same: bool, call: VendorCall) -> None:
    if not same:
        return
    seconds = fault.retry_after_s or 0
    if seconds > LONGEST_WAIT_S:
        raise fault
    if seconds:
        call.pause(seconds)


def _check(answer: VendorResponse) -> None:
    if answer.status != 200:
        raise faults.of_status(answer.status, answer.read_some(), answer.header("retry-after"))
    kind = (answer.header("content-type") or "").partition(";")[0].strip().lower()
    if kind != "text/event-stream":
        raise ModelBroke(f"the vendor's answer is of the wrong type: {kind[:60] or 'none'}")


def _body(question: Question, model: Model) -> bytes:
    body: dict[str, object] = {
        "model": model.vendor_id,
        "messages": [_message(message) for message in question.messages],
        "stream": True,
        # Without it a stream carries no usage at all, and every answer would be charged by estimate (T-12).
        "stream_options": {"include_usage": True},
        model.limit_field: min(question.max_output_tokens, model.max_output_tokens),
    }
    if question.account:
        body["user"] = question.account
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _message(message: Message) -> dict[str, object]:
    if not message.images:
        return {"role": message.role, "content": message.text}
    parts: list[dict[str, object]] = [{"type": "text", "text": message.text}]
    parts += [{"type": "image_url", "image_url": {"url": url}} for url in message.images]
    return {"role": message.role, "content": parts}


__all__ = [
    "AnsweredBy",
    "Counted",
    "Delta",
    "Finished",
    "Gateway",
    "Message",
    "ModelEvent",
    "Question",
    "Silence",
    "Stopped",
    "Thought",
    "VendorCall",
]
