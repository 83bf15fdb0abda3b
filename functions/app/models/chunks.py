"""Reads the chunks of a streamed chat completion: what a vendor's events mean, one answer at a time.

Follows https://platform.openai.com/docs/api-reference/chat/streaming and what its followers make of it. Refuses to know
connections, prices and which model is asked next.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.kit import telemetry
from app.models import faults, usage
from app.models.catalogue import Catalogue, Model
from app.models.faults import ModelBroke
from app.models.sse import Event
from app.models.tools.calls import CallPiece, CallReader, whole

_log = telemetry.log("models")
_decode = json.JSONDecoder(strict=False).raw_decode
"""Takes a third of the time of json.loads, which first guesses an encoding; it runs once for every token.
It is not strict: a vendor that forgets to escape a tab means a tab."""


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
    """The model that answers: comes before the first text, and again if the vendor names another model (T-20).

    `because`: the code of the failure for which the model that was asked first does not answer.
    """

    model: Model
    because: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """The vendor's own reason: `stop`, `length`, `content_filter`, ..."""

    reason: str


@dataclass(frozen=True, slots=True)
class Thought:
    """Hidden reasoning: how many characters came, in how many pieces. It is counted and shown to nobody."""

    length: int
    pieces: int


ChunkEvent = Delta | CallPiece | Thought | Counted | AnsweredBy | Finished

_OURS: Final = frozenset((b"", b"message"))
"""Names of the events that hold chunks. Others, such as `ping`, may; what they hold besides is not looked at."""
_FIRST: Final = (None, 0, "0")
"""Indexes of the one answer that was asked for."""
_THOUGHTS: Final = ("reasoning_content", "reasoning", "thinking", "reasoning_text", "reasoning_details")
"""Where vendors put hidden reasoning in a delta: DeepSeek, vLLM and llama.cpp; Ollama, OpenRouter and newer vLLM;
Ollama's own API; Copilot; OpenRouter's list. Some send it under two names at once: the first that holds any counts."""
_NOT_THOUGHTS: Final = frozenset(_THOUGHTS).isdisjoint
_NO_REASONS: Final = frozenset(("null", "none", "undefined"))
"""Finish reasons of chunks that finish nothing, by languages that write their word for nothing as text."""
_NO_ERRORS: Final = frozenset(("", "0", "200", "null", "none", "ok", "success"))
"""What stands in the members of an error that is none, besides zero and nothing: frameworks that always write one."""
_PLAIN_CHUNK: Final = frozenset(("error", "base_resp", "x_groq")).isdisjoint
_PLAIN_CHOICE: Final = frozenset(("error", "usage")).isdisjoint
_THINKING_PARTS: Final = frozenset(("thinking", "reasoning", "redacted_thinking"))


class ChunkReader:
    """Turns the vendor's chunks into events; text that arrived together becomes one `Delta`.

    Tool calls are read where `tools` were offered; no other caller could answer them.
    """

    def __init__(self, catalogue: Catalogue, model: Model, *, tools: bool = False) -> None:
        self._catalogue = catalogue
        self._model = model
        self._finished = False
        self._early = False
        """Whether text came behind a finish: then each chunk says that it is the last, and this one proves nothing."""
        self._counts = False
        self._counted_last = False
        """Whether a count came behind the last text: with a count in each chunk, this one proves nothing either."""
        self.done = False
        """Whether the vendor said that nothing follows."""
        self._vendor_id = model.vendor_id
        self._half = ""
        self._pieces = 0
        self._odd: set[str] = set()
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls = CallReader() if tools else None
        self._called: list[CallPiece] = []
        self._others: list[Counted | AnsweredBy | Finished] = []

    def events(self, sent: Sequence[Event]) -> Iterator[ChunkEvent]:
        """What these events of the stream say. What came before something that fails is told first.

        Raises:
            ModelBroke: a chunk cannot be read, or the vendor tells an error. Not when it can no longer matter.
            ModelFault, Rejection: see `app.models.faults.of_event`.
        """
        broken: Exception | None = None
        try:
            for data, name in sent:
                if self.done:
                    break
                self._event(data, name)
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
            if not self._finished:
                broken = ModelBroke("the vendor's stream holds something unreadable")
                broken.__cause__ = error
        except Exception as error:  # noqa: BLE001 - raised again below, behind what came before it
            broken = error
        if self._others or self._thoughts or self._called:
            yield from self._told()
        elif self._texts and (delta := self._delta()):
            yield delta
        if broken is not None and not self.complete:
            raise broken

    @property
    def complete(self) -> bool:
        """Whether the answer has all that belongs to it: its end was said, and it is counted where it can be."""
        return self.done or (self._finished and self._counts)

    @property
    def finished(self) -> bool:
        """Whether the whole text came. Its count may follow; without it, the answer is charged by our own."""
        return self._finished or self.done

    def end(self) -> None:
        """Called at the end of the body; raises ModelBroke when the vendor did not finish its answer.

        `[DONE]` alone finishes an answer that was counted behind its last text, or whose chunks all claimed to be the
        last. Proxies send it as well after the connection to the server behind them broke, and servers that count with
        each piece of text had counted by then.
        """
        if not (self._finished or (self.done and (self._counted_last or self._early))):
            raise ModelBroke("the vendor's stream ended without a finish")

    def _told(self) -> Iterator[ChunkEvent]:
        thoughts, self._thoughts = self._thoughts, []
        others, self._others = self._others, []
        yield from (event for event in others if isinstance(event, AnsweredBy))
        if thoughts:
            yield Thought(sum(map(len, thoughts)), len(thoughts))
        if self._texts and (delta := self._delta()):
            yield delta
        called, self._called = self._called, []
        yield from called
        yield from (event for event in others if not isinstance(event, AnsweredBy))

    def _delta(self) -> Delta | None:
        """The text in whole characters: half a surrogate pair at its end waits for the other half."""
        texts, self._texts = self._texts, []
        pieces = self._pieces + len(texts)
        text, self._half = whole(self._half + "".join(texts))
        self._pieces = 0 if text else pieces
        return Delta(text, pieces) if text else None

    def _event(self, data: bytes, name: bytes) -> None:
        text = data.decode("utf-8", "replace")
        if text[:1] != "{":
            text = text.strip()
            if text == "[DONE]":
                self.done = True
                return
            if not text or text[0] == ":":
                return  # Proxies send empty data as a sign of life, and pass on comments as if they were data.
        try:
            chunk, end = _decode(text)
            if end != len(text) and text[end:].strip():
                raise ValueError("an event holds more than one value")
        except ValueError:
            if name in _OURS:
                raise
            chunk = None
        if name == b"error":
            raise faults.of_event(chunk.get("error") or chunk if isinstance(chunk, dict) else chunk)
        if isinstance(chunk, dict) and not self._plain(chunk):
            self._chunk(chunk)

    def _plain(self, chunk: Mapping[str, object]) -> bool:
        """Reads a chunk that has nothing but text, as nearly all have, in half the time of `_chunk`; False for others.

        It reads what `_chunk` and `_choice` would read, and knows nothing that they do not.
        """
        choices = chunk.get("choices")
        if not isinstance(choices, list) or len(choices) != 1 or chunk.get("usage") or not _PLAIN_CHUNK(chunk):
            return False
        choice = choices[0]
        if not isinstance(choice, dict) or choice.get("finish_reason") or not _PLAIN_CHOICE(choice):
            return False
        delta = choice.get("delta")
        if not isinstance(delta, dict) or len(delta) != 1 or self._finished or chunk.get("model") != self._vendor_id:
            return False
        content = delta.get("content")
        if not isinstance(content, str) or not content:
            return False
        self._texts.append(content)
        self._counted_last = False
        return True

    def _chunk(self, chunk: Mapping[str, object]) -> None:
        error = chunk.get("error")
        if error and _tells_error(error):
            raise faults.of_event(error)
        if "base_resp" in chunk:
            _check_base(chunk["base_resp"])
        name = chunk.get("model")
        if name != self._vendor_id and isinstance(name, str) and name:
            self._renamed(name)
        # A chunk that carries nothing but usage has no choices (T-12).
        choices = chunk.get("choices")
        before = self._written
        if isinstance(choices, list):
            for choice in choices:
                # One alone is ours whatever its index: some number the blocks of one answer (LiteLLM).
                if isinstance(choice, dict) and (len(choices) == 1 or choice.get("index") in _FIRST):
                    self._choice(choice)
        if raw := chunk.get("usage"):
            self._count(raw)
        if "x_groq" in chunk and isinstance(groq := chunk["x_groq"], dict):
            self._count(groq.get("usage"))
        if self._written > before:
            self._counted_last = False

    @property
    def _written(self) -> int:
        """How many pieces of text and of tool calls wait to be told."""
        return len(self._texts) + len(self._called)

    def _choice(self, choice: Mapping[str, object]) -> None:
        """One choice: a delta, or with older servers a whole message in its place."""
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            delta = choice.get("message")
        before = self._written
        if isinstance(delta, dict):
            self._said(delta)
        wrote = self._written > before
        if wrote and self._finished:
            self._finished, self._early = False, True
        if (error := choice.get("error")) and _tells_error(error):
            raise faults.of_event(error)
        if reason := choice.get("finish_reason"):
            self._ends(reason, wrote=wrote)
        if "usage" in choice:
            self._count(choice["usage"])

    def _said(self, delta: Mapping[str, object]) -> None:
        """The text, the reasoning and the tool calls of a delta."""
        content = delta.get("content") or delta.get("refusal")
        if isinstance(content, str) and content:
            self._texts.append(content)
        elif content:
            self._parts(content)
        if not (content and len(delta) == 1) and not _NOT_THOUGHTS(delta):
            self._thinks(delta)
        if self._calls is not None and (calls := delta.get("tool_calls")):
            self._called += self._calls.read(calls)

    def _thinks(self, delta: Mapping[str, object]) -> None:
        for name in _THOUGHTS:
            if name in delta and (thought := "".join(_texts_in(delta[name]))):
                self._thoughts.append(thought)
                break

    def _ends(self, reason: object, *, wrote: bool) -> None:
        """A finish reason: a word, or with SGLang an object that has it as its type."""
        word = str(reason.get("type") or "" if isinstance(reason, dict) else reason)[:40]
        if not word or word.lower() in _NO_REASONS:
            return
        self._finished = not (self._early and wrote)
        self._others.append(Finished(word))

    def _parts(self, content: object) -> None:
        """Content as a list of parts: texts are shown, thinking is counted, anything else is neither."""
        for part in content if isinstance(content, list) else (content,):
            if not isinstance(part, dict):
                self._texts.extend(_texts_in(part))
            elif part.get("type") in _THINKING_PARTS:
                if thought := "".join(_texts_in(part)):
                    self._thoughts.append(thought)
            elif isinstance(text := part.get("text"), str) and text:
                self._texts.append(text)

    def _renamed(self, name: str) -> None:
        self._vendor_id = name
        model = self._catalogue.answering_as(name, self._model.vendor)
        if model is None:
            # An unknown name has no price (T-18), so the model that was asked for is charged.
            _log.warning("unlisted_model_answered", model=self._model.id, name=name[:80])
        elif model is not self._model:
            self._model = model
            self._others.append(AnsweredBy(model))

    def _count(self, raw: object) -> None:
        """Notes a usage report, wherever it stood; what is odd about it is logged once for an answer."""
        if not isinstance(raw, dict) or not raw:
            return
        reading = usage.read(self._model.dialect, raw)
        if new := [odd for odd in reading.odd if odd not in self._odd]:
            self._odd.update(new)
            _log.warning("vendor_usage_odd", model=self._model.id, reason="; ".join(new))
        if reading.reported.written is not None:
            self._counts = self._counted_last = True
        self._others.append(Counted(reading.reported, raw))


def _tells_error(error: object) -> bool:
    """Whether an `error` member says anything: some servers send an empty one, or that of a success, in each chunk."""
    if isinstance(error, dict):
        return any(map(_tells_error, error.values()))
    if isinstance(error, list):
        return any(map(_tells_error, error))
    return bool(error) and str(error).strip().lower() not in _NO_ERRORS


def _check_base(base: object) -> None:
    """Raises the error of a `base_resp`, in which MiniMax tells one beside an empty choice; 0 is none."""
    if isinstance(base, dict) and base.get("status_code"):
        raise faults.of_event({"message": base.get("status_msg")})


def _texts_in(value: object) -> Iterator[str]:
    """The texts of reasoning, which vendors send as text, as an object or as a list of either."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _texts_in(one)
    elif isinstance(value, dict):
        for name in ("text", "thinking", "reasoning", "content", "summary"):
            yield from _texts_in(value.get(name))
