"""The gateway to the model vendors: streams the text, the usage and the finish reason of an answer as they arrive.

It asks for chat completions as OpenAI defined them and its followers serve them; `app.models.chunks` reads the answer
(https://platform.openai.com/docs/api-reference/chat/streaming). Tries again before the first piece of text, never
after; who is asked again, or in place of another, stands in `error_policy.toml`. Refuses to know users, prices and
credits.
"""

import json
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, Literal

from app.kit import telemetry
from app.kit.errors import Rejection
from app.models import faults
from app.models.catalogue import Catalogue, Model
from app.models.chunks import AnsweredBy, ChunkEvent, ChunkReader, Counted, Delta, Finished, Thought
from app.models.circuits.breakers import Breakers
from app.models.circuits.circuit import Permit
from app.models.faults import Blame, ContentRefused, ModelFault, ModelRefused, ModelResting, PromptTooLong
from app.models.finishes import FinishKind, kind_of
from app.models.health import ModelHealth
from app.models.settings import Patience
from app.models.sse import Parser, begins_stream
from app.models.tools.calls import CallPiece
from app.models.transport import Stopped, VendorCall, VendorResponse
from app.models.vendors.lines import VendorLines
from app.models.vendors.vendor import Vendor

MessageRole = Literal["system", "user", "assistant", "tool"]

MOST_TRIES: Final = 4
"""Over the model and its fallbacks together."""
TAIL_S: Final = 5
"""How long a count or the end of the stream is waited for after the finish, whatever arrives meanwhile."""
LONGEST_WAIT_S: Final = 2
"""After a longer `Retry-After` the same model is not asked again: a fallback is, or the fault goes to the caller."""

_log = telemetry.log("models")


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the prompt; `images` are addresses that the vendor fetches, or `data:` URLs.

    `sent` is the message as the vendor gets it, where it has more than these: a name, or an order of its parts. `text`
    and `images` then say what of it is counted.
    """

    role: MessageRole
    text: str
    images: tuple[str, ...] = ()
    sent: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked. `account` is an opaque name for the vendor's abuse detection.

    `limits` has the most output tokens of each model that may answer, by id; a fallback without one is not asked. When
    it is empty, `max_output_tokens` holds for all of them. `options` are further parameters, sent as they are.
    """

    model: Model
    messages: Sequence[Message]
    max_output_tokens: int
    limits: Mapping[str, int] = field(default_factory=dict)
    account: str = ""
    patience: Patience = field(default_factory=Patience)
    options: Mapping[str, object] = field(default_factory=dict)

    def asks(self, model: Model) -> bool:
        """Whether `model` may answer."""
        return not self.limits or model.id in self.limits

    @property
    def offers_tools(self) -> bool:
        """Whether the model may call tools."""
        return "tools" in self.options

    def limit(self, model: Model) -> int:
        """The most output tokens that `model` is asked for."""
        return min(self.limits.get(model.id, self.max_output_tokens), model.max_output_tokens)


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing arrived for `tick_s`; the caller may keep its own client's connection alive."""


ModelEvent = ChunkEvent | Silence


class Gateway:
    """Asks models, each over the line to its vendor."""

    def __init__(self, catalogue: Catalogue, *, lines: VendorLines, health: ModelHealth, breakers: Breakers) -> None:
        self._catalogue = catalogue
        self._lines = lines
        self._health = health
        self._breakers = breakers

    def call(self) -> VendorCall:
        """The handle by which another thread stops an answer."""
        return VendorCall(self._lines.concurrency)

    def stream(self, question: Question, call: VendorCall) -> Generator[ModelEvent, None, None]:
        """Streams the answer. Closing the iterator hangs up on the vendor at once.

        Raises:
            ModelFault: no model of the chain answered, or one failed after its first text.
            ModelResting: all of them failed too often lately, and none was asked.
            Rejection: the vendor refuses the prompt.
            ModelMisconfigured: our key, balance or catalogue is wrong, and a person is alarmed.
            Stopped: `call` was stopped.
        """
        asking = _Asking([one for one in self._catalogue.chain(question.model) if question.asks(one)], self._breakers)
        failed = False
        while True:
            model, permit, clock = asking.model, asking.permit, self._lines.concurrency
            first_text_us = None
            try:
                if failed:
                    yield Silence()
                    asking.pause(call)
                began_us = clock.monotonic_us()
                for event in self._once(question, asking, call):
                    if first_text_us is None and isinstance(event, Delta | CallPiece):
                        first_text_us = clock.monotonic_us() - began_us
                        self._breakers.spoke(permit)
                    yield event
            except (ModelFault, PromptTooLong, ContentRefused, ModelRefused) as told:
                failure = _of_options(told) if question.options else told
                self._note(failure, permit, question.account)
                if first_text_us is not None or not asking.goes_on(failure):
                    raise failure from told.__cause__
                failed = True
                _log.warning("model_retried", model=model.id, next=asking.model.id, reason=failure.detail)
            except BaseException:
                # The user left or stopped it, or we are at fault: that tells nothing of the model.
                self._breakers.left(permit)
                raise
            else:
                self._health.answered(model.id, first_text_us)
                self._breakers.answered(permit)
                return

    def _note(self, failure: ModelFault | Rejection, permit: Permit, account: str) -> None:
        """Health and alarms, as the error policy says. What a user's request caused makes no model sick."""
        whose, rule, model = faults.blame_of(failure), faults.rule_of(failure), permit.model
        if rule.alarm:
            _log.error("model_needs_attention", model=model, blame=whose, reason=failure.detail)
        if rule.sick:
            self._breakers.failed(permit, account)
        else:
            self._breakers.left(permit)
        if whose is Blame.RETIRED_MODEL:
            self._health.gone(model, account)
        elif rule.sick:
            self._health.failed(model, account)
        elif self._health.refused(model, account):
            _log.error("model_refused_everybody", model=model, blame=whose)

    def _once(self, question: Question, asking: "_Asking", call: VendorCall) -> Generator[ModelEvent, None, None]:
        model = asking.model
        line = self._lines.to(model)
        patience = _patience(question.patience, model, line.vendor)
        body = _body(question, model, line.vendor)
        with closing(
            line.transport.post("/chat/completions", line.headers, body, call=call, patience=patience)
        ) as answer:
            for _ in answer.head():
                yield Silence()
            pieces = yield from self._opened(answer)
            yield AnsweredBy(model, asking.because)
            reader = ChunkReader(self._catalogue, model, tools=question.offers_tools)
            parser = Parser()
            clock, tick_us = self._lines.concurrency, patience.tick_s * 1_000_000
            spoken_us = clock.monotonic_us()
            for piece in _until_complete(answer, pieces, reader):
                for event in () if piece is None else reader.events(parser.feed(piece)):
                    if isinstance(event, Finished):
                        _check_finish(event, model, tools=question.offers_tools)
                    answer.speaking = answer.speaking or isinstance(event, Delta | CallPiece)
                    yield event
                    if not isinstance(event, Thought):
                        spoken_us = clock.monotonic_us()
                # Comments and hidden reasoning arrive and say nothing: to whoever waits that is silence as well.
                if piece is None or clock.monotonic_us() - spoken_us >= tick_us:
                    yield Silence()
                    spoken_us = clock.monotonic_us()
            for event in reader.events(parser.end()):
                if isinstance(event, Finished):
                    _check_finish(event, model, tools=question.offers_tools)
                yield event
            reader.end()

    def _opened(self, answer: VendorResponse) -> Generator[Silence, None, Iterator[bytes | None]]:
        """The body of a stream of events; raises what any other response means.

        Some servers and proxies send a stream under another type, or under none: then its first bytes decide.
        """
        pieces = answer.pieces()
        if answer.status != 200:
            raise self._refusal(answer, pieces, b"")
        kind = (answer.header("content-type") or "").partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            return pieces
        start = b""
        for piece in pieces:
            start += piece or b""
            if (found := begins_stream(start)) is not None:
                break
            yield Silence()
        else:
            found = False
        if not found:
            raise self._refusal(answer, pieces, start)
        return chain((start,), pieces)

    def _refusal(self, answer: VendorResponse, pieces: Iterator[bytes | None], start: bytes) -> Exception:
        wait = answer.header("retry-after")
        # A date is meant by the vendor's clock, which its Date header tells (RFC 9110 6.6.1).
        now_us = faults.date_us(answer.header("date")) or self._health.now_us
        body = start + answer.read_some(pieces)
        if answer.status != 200:
            return faults.of_status(answer.status, body, wait, now_us)
        return faults.of_body(body, wait, now_us)


def _of_options(failure: ModelFault | Rejection) -> ModelFault | Rejection:
    """The failure of a request whose parameters the caller chose: one that the vendor does not take is the caller's."""
    if isinstance(failure, ModelFault) and failure.blame is Blame.OUR_REQUEST:
        return ModelRefused("The model does not take one of the parameters.")
    return failure


class _Asking:
    """Which model is asked, and which one next: the first one at most twice, each of its fallbacks once.

    A model whose circuit lets no request out is passed over.

    Raises:
        ModelResting: the circuits of all of them are open.
    """

    def __init__(self, chain: Sequence[Model], breakers: Breakers) -> None:
        self.because = ""
        """The code of the failure for which the first model does not answer."""
        self._wait_s = 0
        self._breakers = breakers
        self._left = deque(chain)
        self._most = MOST_TRIES - 1
        found = self._next()
        if found is None:
            wait_s = min(breakers.wait_s(one.id) for one in chain)
            raise ModelResting("whoever may answer failed too often", Blame.CAPACITY, retry_after_s=max(wait_s, 1))
        self.model, self.permit = found
        self._twice = self.model is chain[0]

    def goes_on(self, failure: ModelFault | Rejection) -> bool:
        """Whether somebody is asked after this failure, as the error policy says: then `model` and `permit` say who."""
        rule = faults.rule_of(failure)
        self._wait_s = (failure.retry_after_s or 0) if isinstance(failure, ModelFault) else 0
        if rule.again and self._twice and self._wait_s <= LONGEST_WAIT_S:
            self._twice = False
            if permit := self._takes(self.model):
                self.permit = permit
                return True
        self.because = self.because or failure.code
        found = self._next() if rule.next else None
        if found is None:
            return False
        self.model, self.permit = found
        self._wait_s, self._twice = 0, False
        return True

    def pause(self, call: VendorCall) -> None:
        """Waits as long as the vendor wanted before `model` is asked."""
        if self._wait_s:
            call.pause(self._wait_s)

    def _next(self) -> tuple[Model, Permit] | None:
        """The next model of the chain whose circuit lets a request out; None also when enough were asked."""
        while self._left and self._most:
            model = self._left.popleft()
            if permit := self._takes(model):
                self._most -= 1
                return model, permit
            self.because = self.because or ModelResting.code
        return None

    def _takes(self, model: Model) -> Permit | None:
        permit = self._breakers.take(model.id)
        if permit is None:
            _log.warning("model_passed_over", model=model.id)
        return permit


def _patience(usual: Patience, model: Model, vendor: Vendor) -> Patience:
    """How long this model is waited for: its own patience where the catalogue gives it one, else its vendor's."""
    return Patience(
        connect_s=vendor.connect_seconds or usual.connect_s,
        first_s=model.first_token_seconds or vendor.first_token_seconds or usual.first_s,
        idle_s=model.silence_seconds or vendor.silence_seconds or usual.idle_s,
        tick_s=usual.tick_s,
    )


def _check_finish(finished: Finished, model: Model, *, tools: bool) -> None:
    """Raises when the vendor says that it failed; alarms when nobody knows what it says (T-107), as when it calls
    `tools` that were not offered.
    """
    kind = kind_of(finished.reason)
    if kind is FinishKind.FAILED:
        raise faults.of_event({"code": finished.reason})
    if kind is FinishKind.UNKNOWN or (kind is FinishKind.CALLS and not tools):
        _log.error("unknown_finish_reason", model=model.id, finish=finished.reason)


def _until_complete(
    answer: VendorResponse, pieces: Iterator[bytes | None], reader: ChunkReader
) -> Iterator[bytes | None]:
    """The pieces of the body until the vendor is done. A break behind the finish ends it: the text is whole (T-106).

    A count may follow the finish, also after an earlier one, so the end is waited for, but not longer than `TAIL_S`.
    """
    while not reader.done:
        # Where text follows a finish, each chunk claims to be the last, and the time does not count from the first one.
        answer.end_within(TAIL_S if reader.finished else None)
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


def _body(question: Question, model: Model, vendor: Vendor) -> bytes:
    body: dict[str, object] = {
        **question.options,
        "model": model.vendor_id,
        "messages": [_message(message) for message in question.messages],
        "stream": True,
        model.limit_field: question.limit(model),
    }
    if "stream_options" in vendor.takes:
        # Without it most streams carry no usage at all, and every answer would be charged by estimate (T-12).
        body["stream_options"] = {"include_usage": True}
    if question.account and "user" in vendor.takes:
        body["user"] = question.account
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _message(message: Message) -> Mapping[str, object]:
    if message.sent is not None:
        return message.sent
    if not message.images:
        return {"role": message.role, "content": message.text}
    parts: list[dict[str, object]] = [{"type": "text", "text": message.text}]
    parts += [{"type": "image_url", "image_url": {"url": url}} for url in message.images]
    return {"role": message.role, "content": parts}


__all__ = [
    "AnsweredBy",
    "CallPiece",
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
