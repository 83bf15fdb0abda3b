"""Gives a paid answer: reserves, streams, and settles however the stream ends.

The answer is one generator. Each of its exits leads through one settlement: its end, a cancel, a client that left, a
vendor that broke, money that ran out. It knows no HTTP, no prices and no tokens.
"""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final, Generic, Protocol, TypeVar, assert_never

from app.chat.live.running import Running
from app.chat.live.stream_mirror import Closing, StreamMirror
from app.chat.opening import Opened
from app.chat.paid_turn import CUT_OFF, UNKNOWN_END, Finish, ended, live_end, problem_of
from app.chat.prompting import texts
from app.chat.turn import End, Turn
from app.kit import telemetry
from app.kit.clock import Clock
from app.kit.errors import Failure, InvariantViolation
from app.kit.ids import derived
from app.kit.stopwatch import Stopwatch
from app.metering.billing import Ending, Mode
from app.metering.meter import Meter
from app.metering.settling import CallEnd, Settling
from app.models import gateway
from app.models.faults import ContentRefused, EmptyAnswer, ModelBroke, ModelTimeout
from app.models.finishes import FinishKind, kind_of
from app.models.gateway import Gateway, ModelEvent, Question, Stopped, VendorCall
from app.models.settings import Patience

_log = telemetry.log("chat")


@dataclass(frozen=True, slots=True)
class Start:
    """The turn is reserved for and begins."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Text:
    """More of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing new came for a while; a client may be told that the answer is still being given."""


@dataclass(frozen=True, slots=True)
class Over:
    """The last event: the turn, and its end as it was settled and recorded."""

    turn: Turn
    end: End


AnswerEvent = Start | Text | Tick | Over

_BEGUN: Final = Tick()
MOST_ANSWER_BYTES: Final = 512 * 1024
"""UTF-8 bytes of one answer. Its turn, which also holds the question, must fit a document of 1 MiB to be settled."""
COUNT_WAIT_S: Final = 1
"""How long the vendor's count is waited for when a client leaves. It costs us what the model writes in that time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that has begun. Reading `events` to their end or closing them, at any point, settles its turn once.

    `replayed`: the key was answered before, and these are the events of that answer.
    """

    events: Generator[AnswerEvent, None, None]
    replayed: bool

    def __iter__(self) -> Generator[AnswerEvent, None, None]:
        return self.events

    def close(self) -> None:
        """Ends the answer as a client that leaves does."""
        self.events.close()

    def over(self) -> Over:
        """Reads to the end and returns it."""
        *_, last = self.events
        if not isinstance(last, Over):
            raise InvariantViolation("the last event of an answer is its end")
        return last


@dataclass(slots=True)
class _AnswerAttempt:
    """One answer while it is given: what has come of it, whether that is `paid` for, and how it ends."""

    opened: Opened
    mode: Mode
    meter: Meter
    deadline_us: int
    stopwatch: Stopwatch
    call: VendorCall
    paid: bool = True
    route_reason: str = ""
    bytes: int = 0

    @property
    def turn(self) -> Turn:
        """With what is held for it now."""
        return replace(self.opened.turn, reserved=self.opened.holding.held)

    @property
    def full(self) -> bool:
        """Whether the vendor has sent more than a turn can hold."""
        return self.bytes > MOST_ANSWER_BYTES

    def hear(self, event: ModelEvent, now_us: int) -> Text | Tick | None:
        """Counts what the gateway tells, and holds what pays for it; returns what the caller is told of it.

        Raises ModelTimeout when the time is up and no text has come: who has waited for nothing pays nothing (T-3).
        """
        if now_us > self.deadline_us and not self.meter.visible:
            raise ModelTimeout("the model wrote nothing in the time that an answer may take")
        told = self._heard(event)
        if not isinstance(event, gateway.Silence):
            # A count that cannot be held for is our loss and ends nothing: its text was held for as it came.
            self.paid = self.opened.holding.pays(self.meter) or isinstance(event, gateway.Counted | gateway.Finished)
        return told

    def _heard(self, event: ModelEvent) -> Text | Tick | None:
        match event:
            case gateway.Delta():
                self.bytes += len(event.text) if event.text.isascii() else len(event.text.encode("utf-8", "replace"))
                if self.full:
                    return None
                if not self.meter.delivered:
                    self.stopwatch.end("first_text")
                shown = self.meter.visible
                self.meter.add(event)
                if not self.meter.visible:
                    # Characters that do not show can carry a whole text, and an answer of them is free: it is withheld.
                    return None
                return Text(event.text if shown else self.meter.text)
            case gateway.Silence():
                return Tick()
            case gateway.Counted():
                self.meter.count(event)
            case gateway.Thought():
                self.meter.think(event)
            case gateway.AnsweredBy():
                self.stopwatch.end("vendor")
                self.meter.answered_by(event.model)
                asked = event.model.id == self.opened.model.id
                self.route_reason = "" if asked else event.because or self.route_reason or "vendor_choice"
            case gateway.Finished():
                self.meter.finish = event.reason
        return None

    def hear_out(self, heard: Generator[ModelEvent, None, None]) -> None:
        """Reads on for a moment after the client left: the vendor's count follows the text (T-108).

        What is written in that moment is not charged for.
        """
        if not self.meter.visible:
            return
        if self.opened.holding.halfway:
            self.meter.miss()
        self.call.hurry(COUNT_WAIT_S)
        try:
            for event in heard:
                match event:
                    case gateway.Delta():
                        self.meter.miss()
                    case gateway.Counted() | gateway.Finished():
                        self._heard(event)
        except (Failure, Stopped):
            # The vendor had nothing more to tell, or not in time: the answer is charged by our estimate.
            pass
        self.opened.holding.pays(self.meter)

    def cut_short(self, now_us: int) -> Finish | None:
        """The finish of an answer that may not go on, though the vendor would.

        Raises:
            EmptyAnswer: the credits ended, and no text has come.
            ModelBroke: the first piece alone is more than an answer can hold.
        """
        if self.full and not self.meter.visible:
            raise ModelBroke("the model's answer is too large to be kept")
        if self.full:
            return Finish(Ending.LENGTH, "length")
        if not self.paid and not self.meter.visible:
            raise EmptyAnswer("the credits ended before the model wrote anything that can be seen")
        if not self.paid:
            return Finish(Ending.BUDGET, "budget")
        return self._finish_by("length") if now_us > self.deadline_us else None

    def finished(self) -> Finish:
        """The finish of an answer that the vendor has ended."""
        return self._finish_by(self.meter.finish or "stop")

    def left(self) -> Finish:
        """The finish of an answer whose client is gone."""
        return self._finish_of_leaver(Ending.CLIENT_GONE_BEFORE, Ending.CLIENT_GONE_AFTER)

    def broken(self, error: Exception) -> Finish:
        """The finish of an answer that was cancelled or that failed."""
        if isinstance(error, Stopped):
            return self._finish_of_leaver(Ending.CANCELLED_BEFORE, Ending.CANCELLED_AFTER)
        if isinstance(error, ContentRefused):
            ending = Ending.MODERATION
        elif isinstance(error, EmptyAnswer):
            ending = Ending.EMPTY
        elif self.meter.visible:
            ending = Ending.VENDOR_FAILED_AFTER
        else:
            ending = Ending.VENDOR_FAILED_BEFORE
        return Finish(ending, "error", state="error", problem=problem_of(error))

    def _finish_of_leaver(self, before: Ending, after: Ending) -> Finish:
        return Finish(after if self.meter.visible else before, "cancelled")

    def _finish_by(self, reason: str) -> Finish:
        """The finish that a vendor's word stands for.

        Raises:
            ContentRefused: the safety rules let no visible character pass.
            EmptyAnswer: it holds no visible character for another reason.
        """
        kind = kind_of(reason)
        if not self.meter.visible and kind is FinishKind.FILTERED:
            raise ContentRefused("The model's safety rules refuse this prompt.")
        if not self.meter.visible:
            raise EmptyAnswer("the model wrote nothing that can be seen")
        match kind:
            case FinishKind.WHOLE:
                missing = self.meter.measured().reported is None
                return Finish(Ending.USAGE_MISSING if missing else Ending.COMPLETED, "stop")
            case FinishKind.LENGTH:
                return Finish(Ending.BUDGET, "budget") if self.meter.cut else Finish(Ending.LENGTH, "length")
            case FinishKind.CONTEXT:
                return Finish(Ending.MODEL_LENGTH, "length")
            case FinishKind.FILTERED:
                return Finish(Ending.FILTERED, "error", state="error", problem=CUT_OFF)
            case FinishKind.UNKNOWN | FinishKind.FAILED:
                return Finish(Ending.UNKNOWN_FINISH, "error", state="error", problem=UNKNOWN_END)
            case _:
                assert_never(kind)


AskT = TypeVar("AskT", contravariant=True)


class Opens(Protocol[AskT]):
    """Reserves for an answer, see `Opening.open`."""

    def open(self, ask: AskT, stopwatch: Stopwatch, /) -> Opened | Turn: ...


class Answering(Generic[AskT]):
    """Answers messages. `longest_us`: an answer is ended cleanly after so many microseconds."""

    def __init__(
        self,
        *,
        opening: Opens[AskT],
        settling: Settling,
        gateway: Gateway,
        mirror: StreamMirror,
        running: Running,
        clock: Clock,
        longest_us: int,
        patience: Patience,
    ) -> None:
        self._opening = opening
        self._settling = settling
        self._gateway = gateway
        self._mirror = mirror
        self._running = running
        self._clock = clock
        self._longest_us = longest_us
        self._patience = patience

    def answer(self, ask: AskT, mode: Mode) -> Answer:
        """Reserves for the message; the answer streams as its events are read.

        Raises:
            Rejection: nothing was reserved or written. See `Opening.open`.
        """
        stopwatch = Stopwatch()
        opened = self._opening.open(ask, stopwatch)
        stopwatch.end("reserve")
        if isinstance(opened, Turn):
            return Answer(_replay(opened), replayed=True)
        images = sum(len(message.images) for message in opened.messages)
        prompt = [*texts(opened.messages), *opened.beside]
        meter = Meter(opened.book, opened.model, prompt=prompt, granted=opened.grant, images=images)
        deadline_us = self._clock.now_us() + min(self._longest_us, opened.waits_us)
        events = self._events(_AnswerAttempt(opened, mode, meter, deadline_us, stopwatch, self._gateway.call()))
        next(events)  # A generator that was never begun would be closed without a settlement.
        return Answer(events, replayed=False)

    def _events(self, attempt: _AnswerAttempt) -> Generator[AnswerEvent, None, None]:
        """`_BEGUN`, which only begins the generator, and then the events of the answer."""
        turn, failure, finish = attempt.turn, None, None
        self._show(turn)
        self._running.add(turn.account, turn.id, attempt.call)
        try:
            yield _BEGUN
            yield Start(turn)
            with closing(self._gateway.stream(self._question(attempt), attempt.call)) as heard:
                try:
                    for event in attempt.opened.holding.parts(attempt.meter, heard):
                        now_us = self._clock.now_us()
                        told = attempt.hear(event, now_us)
                        if isinstance(told, Text):
                            self._mirror.append(turn.id, told.text, attempt=turn.attempt)
                        if told is not None:
                            yield told
                        if finish := attempt.cut_short(now_us):
                            break
                except GeneratorExit:
                    attempt.hear_out(heard)
                    raise
            finish = finish or attempt.finished()
        except Exception as error:  # noqa: BLE001 - whatever broke, the turn is settled; the error is raised again below
            finish = attempt.broken(error)
            failure = None if isinstance(error, Stopped) else error
        except BaseException:
            # GeneratorExit: the client is gone. Nobody listens any more, and nothing can interrupt what follows (T-31).
            self._end(attempt, attempt.left())
            self._mirror.drained(turn.id)
            raise
        end = self._end(attempt, finish)
        try:
            if failure is None or end.answer:
                yield Over(attempt.turn, end)
        finally:
            self._mirror.drained(turn.id)
        if failure is not None and not end.answer:
            raise failure

    def _show(self, turn: Turn) -> None:
        """Begins the live text, and says there why its model was chosen."""
        self._mirror.open(turn.account, turn.id, turn.model, attempt=turn.attempt)
        if turn.choice is not None:
            self._mirror.explain(turn.id, turn.choice.because)

    def _question(self, attempt: _AnswerAttempt) -> Question:
        return Question(
            model=attempt.opened.model,
            messages=attempt.opened.messages,
            max_output_tokens=attempt.turn.max_output_tokens,
            limits=attempt.opened.grant.limits,
            account=derived("acct", attempt.turn.account),
            patience=self._patience,
            options=attempt.opened.options,
        )

    def _end(self, attempt: _AnswerAttempt, finish: Finish) -> End:
        """Settles and records, and ends the live text."""
        turn, meter = attempt.turn, attempt.meter
        answer = meter.text if meter.visible else ""
        finish = replace(finish, route_reason=attempt.route_reason)
        self._running.remove(turn.id, attempt.call)
        attempt.stopwatch.end("stream")
        try:
            settlement = self._settling.settle(
                attempt.opened.call,
                CallEnd(finish.ending, attempt.mode, meter.measured(), turn.reserved),
                attempt.opened.record(turn, finish, answer, attempt.opened.place),
            )
        except Failure:
            # Whether the last try was written is not known, so the live text names no cost.
            self._mirror.close(turn.id, Closing("error", "error", None), attempt=turn.attempt)
            raise
        end = ended(finish, answer, settlement)
        if settlement.replaced:
            self._mirror.leave(turn.id, attempt=turn.attempt)
        else:
            self._mirror.close(turn.id, live_end(end), attempt=turn.attempt)
        attempt.stopwatch.end("settle")
        us = attempt.stopwatch.spent
        _log.info("turn_settled", turn=turn.id, model=end.answered_by, reason=end.reason, cost=end.cost, us=us)
        return end


def _replay(turn: Turn) -> Generator[AnswerEvent, None, None]:
    if turn.end is None:
        raise InvariantViolation("a running turn is not replayed")
    yield Start(turn)
    if turn.end.answer:
        yield Text(turn.end.answer)
    yield Over(turn, turn.end)
