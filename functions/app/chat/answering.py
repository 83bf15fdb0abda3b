"""Gives a paid answer: reserves, streams, and settles however the stream ends.

The answer is one generator. Each of its exits leads through one settlement: its end, a cancel, a client that left, a
vendor that broke, money that ran out. It knows no HTTP, no prices and no tokens.
"""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final, Generic, Protocol, TypeVar

from app.chat.attempt import AnswerAttempt, AnswerEvent, Called, Over, Start, Text, Tick
from app.chat.live.running import Running
from app.chat.live.stream_mirror import Closing, StreamMirror
from app.chat.opening import Opened
from app.chat.paid_turn import Finish, ended, live_end
from app.chat.prompting import texts
from app.chat.turn import End, Turn
from app.kit import telemetry
from app.kit.clock import Clock
from app.kit.errors import Failure, InvariantViolation
from app.kit.ids import derived
from app.kit.stopwatch import Stopwatch
from app.metering.billing import Mode
from app.metering.meter import Meter
from app.metering.settling import CallEnd, Settling
from app.models.gateway import Gateway, Question, Stopped
from app.models.settings import Patience

_log = telemetry.log("chat")


_BEGUN: Final = Tick()


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
        events = self._events(AnswerAttempt(opened, mode, meter, deadline_us, stopwatch, self._gateway.call()))
        next(events)  # A generator that was never begun would be closed without a settlement.
        return Answer(events, replayed=False)

    def _events(self, attempt: AnswerAttempt) -> Generator[AnswerEvent, None, None]:
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

    def _question(self, attempt: AnswerAttempt) -> Question:
        return Question(
            model=attempt.opened.model,
            messages=attempt.opened.messages,
            max_output_tokens=attempt.turn.max_output_tokens,
            limits=attempt.opened.grant.limits,
            account=derived("acct", attempt.turn.account),
            patience=self._patience,
            options=attempt.opened.options,
        )

    def _end(self, attempt: AnswerAttempt, finish: Finish) -> End:
        """Settles and records, and ends the live text."""
        turn, meter = attempt.turn, attempt.meter
        answer = meter.text if meter.legible else ""
        finish = replace(finish, route_reason=attempt.route_reason, calls=attempt.calls.made)
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
    for index, call in enumerate(turn.end.calls):
        yield Called(index, call.arguments, call.id, call.name)
    yield Over(turn, turn.end)
