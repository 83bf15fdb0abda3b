"""Reads the chunks of a streamed chat completion: what a vendor's events mean, one answer at a time.

Follows https://platform.openai.com/docs/api-reference/chat/streaming and what its followers make of it. Refuses to know
connections, prices and which model is asked next.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.kit import telemetry
from app.models import faults, usage
from app.models.catalogue import Catalogue, Model
from app.models.faults import ModelBroke

_log = telemetry.log("models")
_decode = json.JSONDecoder().raw_decode
"""Takes a third of the time of json.loads, which first guesses an encoding; it runs once for every token."""


@dataclass(frozen=True, slots=True)
class Delta:
    """Text, and the number of non-empty pieces in which the vendor sent it."""

    text: str
    pieces: int


@dataclass(frozen=True, slots=True)
class Counted:
    """A usage report. Reports of one answer are cumulative; `raw` is kept for reconciliation (T-4)."""

    reported: usage.Reported
    raw: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class AnsweredBy:
    """The model that answers: comes before the first text, and again if the vendor names another model (T-20)."""

    model: Model


@dataclass(frozen=True, slots=True)
class Finished:
    """The vendor's own reason: `stop`, `length`, `content_filter`, ..."""

    reason: str


ChunkEvent = Delta | Counted | AnsweredBy | Finished


class ChunkReader:
    """Turns the vendor's chunks into events; text that arrived together becomes one `Delta`."""

    def __init__(self, catalogue: Catalogue, model: Model) -> None:
        self._catalogue = catalogue
        self._model = model
        self._finished = False
        self._counts = False
        self.done = False
        """Whether the vendor said that nothing follows."""
        self._vendor_id = model.vendor_id
        self._half = ""
        self._pieces = 0

    def events(self, data: Sequence[bytes]) -> Iterator[ChunkEvent]:
        texts: list[str] = []
        others: list[ChunkEvent] = []
        broken: Exception | None = None
        try:
            for one in data:
                if one.strip() == b"[DONE]":
                    self.done = True
                elif not self.done:
                    self._chunk(one, texts, others)
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
            broken = ModelBroke("the vendor's stream holds something unreadable")
            broken.__cause__ = error
        except Exception as error:  # noqa: BLE001 - raised again below, behind what came before it
            broken = error
        yield from (event for event in others if isinstance(event, AnsweredBy))
        yield from self._delta(texts)
        yield from (event for event in others if not isinstance(event, AnsweredBy))
        if broken is not None and not self.complete:
            raise broken

    @property
    def complete(self) -> bool:
        """Whether the answer has all that belongs to it: its end was said, and it is counted where it can be."""
        return self.done or (self._finished and self._counts)

    def end(self) -> None:
        """Called at the end of the body; raises ModelBroke when the vendor did not finish its answer."""
        if not (self._finished or self.done):
            raise ModelBroke("the vendor's stream ended without a finish")

    def _delta(self, texts: list[str]) -> Iterator[Delta]:
        """The text in whole characters: half a surrogate pair at its end waits for the other half."""
        if not texts:
            return
        self._pieces += len(texts)
        text, self._half = _whole(self._half + "".join(texts))
        if text:
            pieces, self._pieces = self._pieces, 0
            yield Delta(text, pieces)

    def _chunk(self, data: bytes, texts: list[str], others: list[ChunkEvent]) -> None:
        chunk, end = _decode(event := data.decode().strip())
        if end != len(event):
            raise ValueError("an event holds more than one value")
        if chunk.get("error") is not None:
            raise faults.of_event(chunk["error"])
        name = chunk.get("model")
        if name != self._vendor_id and isinstance(name, str) and name:
            self._renamed(name, others)
        # A chunk that carries nothing but usage has no choices (T-12).
        for choice in chunk.get("choices") or ():
            if choice.get("index"):
                continue
            delta = choice.get("delta") or {}
            text = delta.get("content") or delta.get("refusal")
            if text:
                texts.append(str(text))
            reason = choice.get("finish_reason")
            if reason:
                self._finished = True
                others.append(Finished(str(reason)[:40]))
        raw = chunk.get("usage")
        if isinstance(raw, dict):
            self._counts = True
            others.append(self._counted(raw))

    def _renamed(self, name: str, others: list[ChunkEvent]) -> None:
        self._vendor_id = name
        model = self._catalogue.answering_as(name)
        if model is None:
            # An unknown name has no price (T-18), so the model that was asked for is charged.
            _log.warning("unlisted_model_answered", model=self._model.id, name=name[:80])
        elif model is not self._model:
            self._model = model
            others.append(AnsweredBy(model))

    def _counted(self, raw: dict[str, object]) -> Counted:
        try:
            return Counted(usage.read(self._model.dialect, raw), raw)
        except usage.BadUsage as error:
            _log.error("vendor_usage_rejected", model=self._model.id, reason=str(error))
            return Counted(usage.NOTHING, raw)


def _whole(text: str) -> tuple[str, str]:
    """The text in whole characters, and the half of a surrogate pair at its end.

    JSON can escape each half by itself, and vendors that cut text by UTF-16 units do. A half that stays alone cannot be
    stored, hashed or sent on: it becomes U+FFFD, as in any decoder, and one at the end of the answer is dropped.
    """
    if text.isascii():
        return text, ""
    half = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
    kept = text[: len(text) - len(half)]
    return str(kept.encode("utf-16-le", "surrogatepass"), "utf-16-le", "replace"), half
