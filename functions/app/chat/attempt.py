"""One answer while it is given: what its caller is told of it, what has come of it, and how it ends.

It counts what the gateway tells and names the ending of each way out; it settles nothing and asks nobody.
"""

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from app.chat.opening import Opened
from app.chat.paid_turn import CUT_OFF, UNKNOWN_END, Finish, problem_of
from app.chat.turn import End, Turn
from app.kit.errors import Failure
from app.kit.ids import derived
from app.kit.stopwatch import Stopwatch
from app.metering.billing import Ending, Mode
from app.metering.meter import Meter
from app.models import gateway
from app.models.faults import ContentRefused, EmptyAnswer, ModelBroke, ModelTimeout
from app.models.finishes import FinishKind, kind_of
from app.models.gateway import ModelEvent, Stopped, VendorCall
from app.models.tools.calls import CallTexts

MOST_ANSWER_BYTES: Final = 512 * 1024
"""UTF-8 bytes of one answer. Its turn, which also holds the question, must fit a document of 1 MiB to be settled."""
COUNT_WAIT_S: Final = 1
"""How long the vendor's count is waited for when a client leaves. It costs us what the model writes in that time."""
_CALL_BYTES: Final = 256
"""What a tool call adds to the document of an answer beside its name and arguments."""


@dataclass(frozen=True, slots=True)
class Start:
    """The turn is reserved for and begins."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Text:
    """More of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Called:
    """More of tool call number `index`: of its arguments, and in its first piece its id and its name."""

    index: int
    arguments: str
    id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing new came for a while; a client may be told that the answer is still being given."""


@dataclass(frozen=True, slots=True)
class Over:
    """The last event: the turn, and its end as it was settled and recorded."""

    turn: Turn
    end: End


AnswerEvent = Start | Text | Called | Tick | Over


@dataclass(slots=True)
class AnswerAttempt:
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
    calls: CallTexts = field(default_factory=CallTexts)

    @property
    def turn(self) -> Turn:
        """With what is held for it now."""
        return replace(self.opened.turn, reserved=self.opened.holding.held)

    @property
    def full(self) -> bool:
        """Whether the vendor has sent more than a turn can hold."""
        return self.bytes > MOST_ANSWER_BYTES

    def hear(self, event: ModelEvent, now_us: int) -> Text | Called | Tick | None:
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

    def _heard(self, event: ModelEvent) -> Text | Called | Tick | None:
        match event:
            case gateway.Delta():
                return self._text(event)
            case gateway.CallPiece():
                return self._call(event)
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

    def _text(self, delta: gateway.Delta) -> Text | None:
        self.bytes += len(delta.text) if delta.text.isascii() else len(delta.text.encode("utf-8", "replace"))
        if self.full:
            return None
        if not self.meter.delivered:
            self.stopwatch.end("first_text")
        shown = self.meter.legible
        self.meter.add(delta)
        if not self.meter.legible:
            # Characters that do not show can carry a whole text, and an answer of them is free: it is withheld.
            return None
        return Text(delta.text if shown else self.meter.text)

    def _call(self, piece: gateway.CallPiece) -> Called | None:
        self.bytes += len((piece.name + piece.arguments).encode("utf-8", "replace"))
        self.bytes += _CALL_BYTES if piece.name else 0
        if self.full:
            return None
        if not self.meter.delivered:
            self.stopwatch.end("first_text")
        self.meter.call(piece)
        # Results come back by this id, and some vendors give none.
        id = (piece.id or derived("call", self.turn.id, str(piece.index))) if piece.name else ""
        self.calls.add(piece.index, piece.arguments, id=id, name=piece.name)
        return Called(piece.index, piece.arguments, id, piece.name)

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
                    case gateway.Delta() | gateway.CallPiece():
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
            ContentRefused: the safety rules let no visible character and no tool call pass.
            EmptyAnswer: it holds neither for another reason.
        """
        kind = kind_of(reason)
        if kind is FinishKind.CALLS:
            kind = FinishKind.WHOLE if self.meter.called else FinishKind.UNKNOWN
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
            case FinishKind.UNKNOWN | FinishKind.FAILED | FinishKind.CALLS:
                return Finish(Ending.UNKNOWN_FINISH, "error", state="error", problem=UNKNOWN_END)
            case _:
                assert_never(kind)
