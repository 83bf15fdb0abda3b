"""What is held for a paid call while it runs. It begins with what such a call usually needs, and grows in steps.

A step is one commit on the account, before what it pays for is passed on. It says how much is held *after* it, so that
the same step twice is one. Only what was acknowledged counts: whatever becomes of a step that nobody heard of, no more
than `held` is charged, and what was held beyond it goes back with the rest.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from app.credits.public import Credits, Extend, Outcome, Participant, Reserved, Seen
from app.kit import telemetry
from app.kit.errors import Failure, Rejection
from app.kit.optimistic import Pause
from app.kit.stores.documents import Replace, Write
from app.metering.meter import Meter
from app.metering.paid_call import PaidCall
from app.metering.quote import LEAST_OUTPUT, Granted, Quote
from app.models.catalogue import Model
from app.models.gateway import CallPiece, Delta, ModelEvent
from app.models.tokens import without_pictures

PORTION: Final = 64
"""Characters of text that are passed on whole: at most so much more than is held for reaches a reader."""
AHEAD: Final = 64
"""Output tokens before the end of what is held at which it is extended: a second of writing, or a quarter of it."""
HALF: Final = 2
"""A step leaves so many parts of what is available but one to others."""
MOST_TRIES: Final = 5
"""How often in a row a step is waited for that the store does not answer, though the answer cannot do without it."""

_log = telemetry.log("metering")


class Holding:
    """The hold of one running call. `held` is what was acknowledged, in micro-credits, and at most `grant.most`."""

    def __init__(self, credits: Credits, pause: Pause, call: PaidCall, quote: Quote, grant: Granted) -> None:
        """`pause` waits after a step that the store did not answer."""
        self._credits = credits
        self._book = quote.book
        self._pause = pause
        self._call = call
        self._quote = quote
        self._grant = grant
        self._early = True
        """Whether steps are made before they are needed: not behind one that came to nothing."""
        self._unanswered = 0
        """How many steps in a row the store did not answer."""
        self._paid: tuple[str, int, int] = ("", 0, 0)
        self._enough: tuple[Model | None, int] = (None, 0)
        """Output tokens of a model up to which nothing is to be done."""
        self.held = grant.reserved
        self.halfway = False
        """Whether a part of the text that came last has not been passed on yet."""

    def parts(self, meter: Meter, events: Iterable[ModelEvent]) -> Iterator[ModelEvent]:
        """The events, with text that comes all at once in parts that are held for: no more of it is passed on.

        `meter` has counted one before the next is asked for.
        """
        for event in events:
            text = _text_of(event)
            # A picture that is written as text is whole or nothing, and its letters are no tokens.
            if not text or without_pictures(text) != text:
                yield event
                continue
            done, size = 0, len(text)
            while done < size:
                end = done + self._portion(meter, size - done)
                self.halfway = end < size
                yield event if end - done == size else _part(event, done, end)
                done = end

    def _portion(self, meter: Meter, size: int) -> int:
        """How many of so many characters may come at once: none of them is more than a token."""
        paid = self._output(meter.model)
        if size <= PORTION or not self._growing(meter.model) or not meter.wrote_more_than(paid - size - 1):
            return size
        return min(size, max(PORTION, paid - meter.written))

    def pays(self, meter: Meter) -> bool:
        """Whether what has come is paid for, after it was extended where that was needed and possible.

        While the store does not answer, a step that the answer cannot do without is waited for, for seconds. It is
        tried again whenever more comes, so that a count behind the end of an answer is not lost.
        """
        model, enough = self._enough
        if meter.model is model and not meter.counts and not meter.wrote_more_than(enough):
            return True
        paid = self._held_for(meter)
        self._enough = (meter.model, self._until_next(meter.model)) if paid else (None, 0)
        return paid

    def _held_for(self, meter: Meter) -> bool:
        while (step := self._step(meter)) is not None:
            try:
                self._extend(step)
            except Rejection:
                self._early = False
                break
            except Failure as failure:
                self._early, self._unanswered = False, self._unanswered + 1
                _log.warning(
                    "hold_not_extended", reservation=self._call.reservation_id, held=self.held, reason=str(failure)
                )
                if self._unanswered >= MOST_TRIES or self._covers(meter):
                    break
                self._pause(self._unanswered)
        return self._covers(meter)

    def _covers(self, meter: Meter) -> bool:
        """Whether what is held pays for what has come, or for the least useful answer of a model that begins."""
        if meter.spent(self.held) or self._unheld(meter):
            return False
        return not self._growing(meter.model) or not meter.wrote_more_than(self._output(meter.model))

    def _unheld(self, meter: Meter) -> bool:
        """Whether another model answers than the one that is held for, and costs more than is held."""
        model = meter.model
        return not meter.delivered and self._growing(model) and self._output(model) < self._quote.least_output

    def _step(self, meter: Meter) -> Extend | None:
        """The next step, if one is needed now or soon."""
        if self.held >= self._grant.most:
            return None
        model, paid, counted = meter.model, self._output(meter.model), meter.counted_price
        unheld = self._unheld(meter)
        # Text may follow a finish: some vendors say with each chunk that it is the last.
        ahead = self._ahead(paid) if meter.finish is None else 0
        short = self._growing(model) and (unheld or meter.wrote_more_than(paid - ahead))
        if counted <= self.held and not short:
            return None
        least = max(self.held + 1, self._price(model, max(paid, 0) + LEAST_OUTPUT)) if short else self.held + 1
        wanted = counted if meter.finish is not None and not short else max(2 * self.held, counted)
        if unheld:
            wanted = max(wanted, self._price(model, self._quote.usual_output))
        least = min(self._grant.most, least)
        return Extend(
            self._call.reservation_id,
            expires_in_us=1,
            to_amount=min(self._grant.most, max(least, wanted)),
            at_least=least,
            share=1 if counted > self.held else HALF,
        )

    def _ahead(self, paid: int) -> int:
        """How many tokens before the end of so many a step is made."""
        return min(AHEAD, max(paid, 0) // 4) if self._early else 0

    def _until_next(self, model: Model) -> int:
        """Output tokens of `model` up to which what is held suffices and no step is made."""
        paid = self._output(model)
        return paid - self._ahead(paid) if self._growing(model) else self._grant.limit(model)

    def _extend(self, step: Extend) -> None:
        """Makes a step. Only one that is acknowledged counts."""
        participant = Participant((self._call.path,), self._told)
        held = self._credits.extend(self._call.account, step, participant).amount
        self.held = max(self.held, min(held, self._grant.most))
        self._early, self._unanswered = True, 0

    def _told(self, outcome: Outcome, seen: Seen) -> list[Write]:
        """The owner's document shows what is held. One that was deleted meanwhile is not written again."""
        stored = seen[0]
        if not isinstance(outcome, Reserved) or stored is None:
            return []
        if stored.fields.get("reservation_id") != self._call.reservation_id:
            return []
        return [Replace(stored.path, {**stored.fields, "reserved": outcome.reservation.amount}, stored.version)]

    def _growing(self, model: Model) -> bool:
        """Whether less is held than the vendor was asked for, so that nobody but we ends the answer in time."""
        return self.held < self._grant.most and self._output(model) < self._grant.limit(model)

    def _output(self, model: Model) -> int:
        """Output tokens of `model` that are held for after the longest prompt; below 0 when that is not."""
        id, held, paid = self._paid
        if (id, held) != (model.id, self.held):
            paid = self._book.affordable_output(model, self._quote.demand, self.held)
            self._paid = (model.id, self.held, paid)
        return paid

    def _price(self, model: Model, output: int) -> int:
        demand = self._quote.demand
        return self._book.worst(model, replace(demand, output_tokens=min(output, demand.output_tokens)))


def _text_of(event: ModelEvent) -> str:
    """What of it may come in parts."""
    match event:
        case Delta():
            return event.text
        case CallPiece():
            return event.arguments
        case _:
            return ""


def _part(event: ModelEvent, begin: int, end: int) -> ModelEvent:
    """The text from `begin` to `end` alone. A call has its name in its first part."""
    match event:
        case Delta():
            size = len(event.text)
            return Delta(event.text[begin:end], event.pieces * end // size - event.pieces * begin // size)
        case CallPiece():
            begun = ("", "") if begin else (event.name, event.id)
            return CallPiece(event.index, event.arguments[begin:end], *begun)
        case _:
            return event
