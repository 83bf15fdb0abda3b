"""A paid answer: quote -> reserve -> stream -> settle, whatever happens in between.

The stream is a generator whose every exit leads through one settlement: its end, a cancel, a client that left, a vendor
that broke, money that ran out. Refuses to know HTTP, prices and how text becomes tokens.
"""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from app.chat.live.running import Running
from app.chat.live.stream_mirror import Closing, StreamMirror
from app.chat.opening import Ask, Opened, Opening
from app.chat.settling import Finish, Settling
from app.chat.turn import End, Turn, TurnProblem
from app.kit import telemetry
from app.kit.clock import Clock
from app.kit.errors import Failure, InvariantViolation, Rejection, Unavailable
from app.kit.ids import derived
from app.kit.money import to_decimal
from app.kit.stopwatch import Stopwatch
from app.metering.billing import Ending, Mode
from app.metering.meter import Meter
from app.models import gateway
from app.models.faults import ContentRefused, ModelTimeout
from app.models.gateway import Gateway, Question, Stopped
from app.models.pricing import PriceBook
from app.models.transport import Patience

SETTLE_TRIES: Final = 5

_log = telemetry.log("chat")


@dataclass(frozen=True, slots=True)
class Start:
    """The turn is paid for and begins. Amounts are micro-credits."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Text:
    """More of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing new; whoever waits may be told that the answer still lives."""


@dataclass(frozen=True, slots=True)
class Over:
    """The turn as it was recorded, settled."""

    turn: Turn
    end: End


AnswerEvent = Start | Text | Tick | Over


@dataclass(frozen=True, slots=True)
class AnsweringParts:
    """What answering is made of. `longest_us`: how long an answer may take before it is ended cleanly."""

    opening: Opening
    settling: Settling
    gateway: Gateway
    book: PriceBook
    mirror: StreamMirror
    running: Running
    clock: Clock
    pause: Callable[[int], None]
    longest_us: int
    patience: Patience


class Answering:
    """Answers messages."""

    def __init__(self, parts: AnsweringParts) -> None:
        self._parts = parts

    def answer(self, ask: Ask, mode: Mode) -> "Answer":
        """Reserves for the message; the answer streams as the result is read.

        Raises:
            Rejection: nothing was reserved or written. See `Opening.open`.
        """
        stopwatch = Stopwatch()
        opened = self._parts.opening.open(ask, stopwatch)
        stopwatch.end("reserve")
        if isinstance(opened, Turn):
            return Answer(_replay(opened), replayed=True)
        return Answer(_Stream(self._parts, opened, mode, stopwatch).run(), replayed=False)


class Answer(Generator[AnswerEvent, None, None]):
    """The events of one answer. It is begun at once, so that closing it always ends and settles the turn."""

    def __init__(self, events: Generator[AnswerEvent, None, None], *, replayed: bool) -> None:
        self.replayed = replayed
        self._events = events
        self._first: AnswerEvent | None = next(events)

    def send(self, value: None, /) -> AnswerEvent:
        """The next event."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return self._events.send(value)

    def throw(
        self,
        typ: type[BaseException] | BaseException,
        _val: BaseException | object = None,
        _tb: TracebackType | None = None,
        /,
    ) -> AnswerEvent:
        """Ends the answer in the way that the exception says; GeneratorExit: the client is gone."""
        self._first = None
        error = typ if isinstance(typ, BaseException) else typ()
        return self._events.throw(error)

    def over(self) -> Over:
        """Reads to the end. The end."""
        *_, last = self
        if not isinstance(last, Over):
            raise InvariantViolation("an answer ends with its end")
        return last


def _replay(turn: Turn) -> Generator[AnswerEvent, None, None]:
    if turn.end is None:
        raise InvariantViolation("a running turn is not replayed")
    yield Start(turn)
    if turn.end.answer:
        yield Text(turn.end.answer)
    yield Over(turn, turn.end)


class _Stream:
    """One attempt on its way."""

    def __init__(self, parts: AnsweringParts, opened: Opened, mode: Mode, stopwatch: Stopwatch) -> None:
        self._parts = parts
        self._stopwatch = stopwatch
        self._opened = opened
        self._mode = mode
        self._call = parts.gateway.call()
        self._texts: list[str] = []
        self._deadline_us = parts.clock.now_us() + parts.longest_us
        self._meter = Meter(
            parts.book,
            opened.model,
            prompt_length=opened.prompt_length,
            max_output_tokens=opened.turn.max_output_tokens,
        )

    def run(self) -> Generator[AnswerEvent, None, None]:
        turn, parts = self._opened.turn, self._parts
        failure: Exception | None = None
        parts.mirror.open(turn.account, turn.id, turn.model)
        parts.running.add(turn.account, turn.id, self._call)
        try:
            yield Start(turn)
            finish = yield from self._stream()
        except Stopped:
            finish = self._unfinished(Ending.CANCELLED_BEFORE, Ending.CANCELLED_AFTER)
        except Exception as error:  # noqa: BLE001 - whatever broke, the turn is settled; the error goes on below
            failure = error
            finish = self._failed(error)
        except BaseException:
            # GeneratorExit: the client is gone. Nobody listens any more, and nothing can interrupt what follows (T-31).
            self._end(self._unfinished(Ending.CLIENT_GONE_BEFORE, Ending.CLIENT_GONE_AFTER))
            parts.mirror.drained(turn.id)
            raise
        end = self._end(finish)
        try:
            if failure is None or end.answer:
                yield Over(turn, end)
        finally:
            parts.mirror.drained(turn.id)
        if failure is not None and not end.answer:
            raise failure

    def _stream(self) -> Generator[AnswerEvent, None, Finish]:
        parts, meter, turn = self._parts, self._meter, self._opened.turn
        question = Question(
            model=self._opened.model,
            messages=self._opened.messages,
            max_output_tokens=turn.max_output_tokens,
            account=derived("acct", turn.account),
            patience=parts.patience,
        )
        with closing(parts.gateway.stream(question, self._call)) as events:
            for event in events:
                match event:
                    case gateway.Delta():
                        if not meter.delivered:
                            self._stopwatch.end("first_text")
                        meter.add(event)
                        self._texts.append(event.text)
                        parts.mirror.append(turn.id, event.text)
                        yield Text(event.text)
                        if meter.spent(turn.reserved):
                            return Finish(Ending.BUDGET, "budget")
                    case gateway.Counted():
                        meter.count(event)
                    case gateway.AnsweredBy():
                        self._stopwatch.end("vendor")
                        meter.answered_by(event.model)
                    case gateway.Finished():
                        meter.finish = event.reason
                    case gateway.Silence():
                        yield Tick()
                if parts.clock.now_us() > self._deadline_us:
                    return self._out_of_time()
        return self._finished(meter.finish or "stop")

    def _out_of_time(self) -> Finish:
        """The platform is about to kill us. Who has waited for nothing pays nothing (T-3)."""
        if not self._meter.delivered:
            raise ModelTimeout("the model wrote nothing in the time that an answer may take", repeatable=False)
        return self._finished("length")

    def _finished(self, reason: str) -> Finish:
        if reason == "length":
            if self._opened.turn.clamped:
                return Finish(Ending.BUDGET, "budget")
            return Finish(Ending.LENGTH, "length")
        if reason == "content_filter" and not self._meter.delivered:
            raise ContentRefused("The model's safety rules refuse this prompt.")
        missing = self._meter.measured().reported is None
        return Finish(Ending.USAGE_MISSING if missing else Ending.COMPLETED, "stop")

    def _unfinished(self, before: Ending, after: Ending) -> Finish:
        """Somebody ended it: it is done as far as it came."""
        return Finish(after if self._meter.delivered else before, "cancelled")

    def _failed(self, error: Exception) -> Finish:
        if isinstance(error, ContentRefused):
            ending = Ending.MODERATION
        elif self._meter.delivered:
            ending = Ending.VENDOR_FAILED_AFTER
        else:
            ending = Ending.VENDOR_FAILED_BEFORE
        return Finish(ending, "error", state="error", problem=_problem(error))

    def _end(self, finish: Finish) -> End:
        """Charges and records, again while the store does not answer: the same settlement twice is one (T-6)."""
        turn, parts = self._opened.turn, self._parts
        parts.running.remove(turn.id)
        self._stopwatch.end("stream")
        answer = "".join(self._texts)
        for attempt in range(1, SETTLE_TRIES + 1):
            try:
                end = parts.settling.settle(self._opened, self._meter, finish, answer, self._mode)
            except Unavailable as fault:
                if attempt == SETTLE_TRIES:
                    _log.error("a turn could not be settled", turn=turn.id, why=str(fault))
                    parts.mirror.close(turn.id, Closing("error", "error", "0"))
                    raise
                parts.pause(attempt)
            else:
                break
        parts.mirror.close(turn.id, Closing(end.state, end.finish_reason, to_decimal(end.cost)))
        self._stopwatch.end("settle")
        _log.info(
            "a turn ended",
            turn=turn.id,
            model=end.answered_by,
            reason=end.reason,
            cost=end.cost,
            us=self._stopwatch.spent,
        )
        return end


def _problem(error: Exception) -> TurnProblem:
    if isinstance(error, Rejection):
        return TurnProblem(error.code, error.title, error.detail, error.status)
    code = getattr(error, "code", "internal_error") if isinstance(error, Failure) else "internal_error"
    return TurnProblem(
        code=str(code),
        title="The answer failed",
        detail="The model did not answer to the end. Nothing was charged; trying again may help.",
        status=503,
    )
