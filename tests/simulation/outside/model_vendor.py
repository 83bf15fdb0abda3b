"""The model vendor as the other end of outgoing connections: chat completions over HTTP/1.1, and every way to go wrong.

https://platform.openai.com/docs/api-reference/chat/streaming. It remembers what it was asked and what really arrived at
the other end: the auditor computes from that what an answer may cost. Refuses to know who is charged for what.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast

from emulators.model_vendor.zoo import Animal, Said
from simulation.machine.kernel import START_US, Kernel, Process
from simulation.outside import mishaps, tokenizer
from simulation.outside.bodies import CHUNKED, Body, head
from simulation.outside.book import BY_VENDOR, DIALECTS, HOSTS, KEYS
from simulation.outside.dialects import UNCOUNTED, Odd, counts_with, habits, pieces, truth, widens
from simulation.outside.mishaps import BARE_DONE, CUTS, FINISHES, ODD_FINISHES, event
from simulation.outside.truth import SECOND, TAIL_S, Arrival, Count, Failing, in_chunk

_KINDS: Final = (
    *(("Content-Type: text/event-stream\r\n",) * 6),
    "content-type: Text/Event-Stream; charset=utf-8\r\n",
    "Content-Type: text/plain\r\n",
    "Content-Type: application/octet-stream\r\n",
    "",
)
"""Streams are sent under many types, and under none."""
_HABITS: Final = {dialect: habits(dialect) for dialect in {*DIALECTS.values()}}
_SLOW_US: Final = 25 * SECOND
SLOWLY: Final = "Slowly, please"
"""A question that begins so is answered at length and slowly, for a minute or more."""
BREAKS: Final = "Break "
"""A question that has this before the name of a model breaks the server of that model, whoever asks."""
_THOUGHT: Final = "Hm. "
_LETTERS: Final = ("", "", "", "é", "漢字", "привет", "(data:image/png;base64," + "iVBORw0KGgo" * 20 + "==)")
"""What hangs on each word of an answer: nothing, or something of another script; or a picture."""
_FLOOD: Final = 120_000
"""Letters in each word of an answer that never ends."""
_POPULAR: Final = ("sim-small", "sim-small", "sim-thrifty", "sim-grok")
"""Models whose fallbacks answer in their place."""
_CROWDED_UNTIL_US: Final = START_US + 300 * SECOND
_ROOMY: Final = 16_384
"""Tokens below which a flood would be a vendor that ignores its limit, and nothing else."""


@dataclass
class VendorAnswer:
    """One request, and of its answer what arrived. `prompt` holds the text of each message."""

    number: int
    model: str
    question: str
    prompt: tuple[str, ...]
    limit: int
    asker: Process | None = None
    texts: list[str] = field(default_factory=list)
    tokens: int = 0
    """Of the text that arrived."""
    usage: Count | None = None
    counted: bool = False
    finish: str | None = None
    done: bool = False
    thoughts: list[str] = field(default_factory=list)
    failing: Failing | None = None
    void: bool = False
    """Nobody had read the request: its connection was closed while it was kept."""
    sins: list[str] = field(default_factory=list)
    """What its reader did that no reader may."""
    planned: int = 0
    """How many pieces of text it means to send."""
    torn: bool = False
    """Whether its reader left while the last of `texts` was under way."""
    unsure: bool = False
    """Whether its reader's time was up with the last bytes, so that nobody knows what of them was heeded."""
    stood_still: bool = False
    """Whether its reader's instance stood still meanwhile, so that nobody knows what it took for silence."""
    closed_us: int = 0
    spoke_us: int = 0
    """When the first of its text arrived, and below when the last of it all did."""
    heard_us: int = 0
    unread: list[tuple[int, Arrival]] = field(default_factory=list)
    """What was still to come when its reader left, and when."""

    @property
    def over(self) -> bool:
        """Whether it has all that belongs to it, so that nothing can undo it."""
        return self.done or (self.finish is not None and self.counted)

    @property
    def final(self) -> bool:
        """Whether it ended in a way after which nobody may be asked instead."""
        return self.failing is not None and not (self.failing.follows.again or self.failing.follows.next)

    @property
    def once(self) -> bool:
        """Whether it ended in a way after which this model may not be asked again."""
        return self.failing is not None and not (self.failing.follows.again and self.failing.wait_s <= 2)

    def arrive(self, one: Arrival, at_us: int) -> None:
        """Notes what has arrived."""
        self.heard_us = at_us
        self.spoke_us = self.spoke_us or (at_us if one.text else 0)
        if one.fails is not None and not self.over and (self.finish is None or one.fails.told):
            self.failing = one.fails
        if one.text:
            self.texts.append(one.text)
            self.tokens += one.tokens
        self.thoughts.extend(one.thoughts)
        self.usage = one.usage or self.usage
        self.counted = self.counted or one.counted
        self.finish = one.finish or self.finish
        self.done = self.done or one.done


@dataclass(frozen=True)
class Away:
    """A model has no room until a time, and says so so late."""

    until_us: int
    slow_us: int


class ModelVendor:
    """What all connections lead to."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.answers: list[VendorAnswer] = []
        self.met: dict[Process, list[VendorAnswer | Failing]] = {}
        """What each process met, in order: answers, and failures of its connections."""
        self.watchers: list[Callable[[VendorAnswer], None]] = []
        """Hear of every question when it arrives."""
        self.unread: dict[str, str] = {}
        """Questions that came over a connection which had been closed before, and the model that was asked."""
        self.away: dict[str, Away] = {}
        """Models whose vendor has no room for anybody."""
        self._crowded = kernel.random.choice(_POPULAR) if kernel.chance(0.3) else ""
        """A model that mostly has no room in the first minutes."""

    def last_word(self, text: str) -> bool:
        """Whether nothing follows a text that was read so far."""
        number = answer_of(text)
        return number < len(self.answers) and len(text.split()) >= self.answers[number].planned > 0

    def answer(self, request: bytes, host: str) -> tuple[VendorAnswer, Iterator[Arrival]]:
        """What comes back for a whole request."""
        answer = self._asked(request, host)
        self.answers.append(answer)
        self.meets(answer)
        for hear in self.watchers:
            hear(answer)
        return answer, self._arrivals(answer)

    def missed(self, request: bytes, host: str) -> VendorAnswer:
        """A request that nobody reads: its connection was closed while it was kept."""
        asked = self._asked(request, host)
        asked.void = True
        self.meets(asked)
        self.unread[asked.question] = asked.model
        return asked

    def meets(self, what: VendorAnswer | Failing) -> None:
        """Notes what the current process meets."""
        if self._kernel.current is not None:
            self.met.setdefault(self._kernel.current, []).append(what)

    def _asked(self, request: bytes, host: str) -> VendorAnswer:
        top, _, body = request.partition(b"\r\n\r\n")
        asked = json.loads(body)
        texts = tuple(_text(message["content"]) for message in asked["messages"])
        limit = asked.get("max_completion_tokens", asked.get("max_tokens"))
        found = VendorAnswer(len(self.answers), asked["model"], texts[-1], texts, limit, self._kernel.current)
        whose = HOSTS[host]
        if (BY_VENDOR[found.model].vendor, f"Bearer {KEYS.get(whose)}") != (whose, _authorization(top)):
            found.sins.append(f"{whose} was asked for it, with {_authorization(top)}")
        return found

    def _arrivals(self, answer: VendorAnswer) -> Iterator[Arrival]:
        random, faults = self._kernel.random, self._kernel.faults
        slowly = self._kernel.chance(0.04) or answer.question.startswith(SLOWLY)
        pace_us = _SLOW_US if slowly else random.choice((4_000, 40_000, 400_000))
        away = self.away.get(answer.model)
        if away is not None and self._kernel.now_us < away.until_us:
            yield replace(mishaps.OVERLOADED, after_us=away.slow_us)
        elif f"{BREAKS}{BY_VENDOR[answer.model].id}" in answer.question:
            yield mishaps.BROKEN
        elif answer.model == self._crowded and self._kernel.now_us < _CROWDED_UNTIL_US and self._kernel.chance(0.5):
            yield mishaps.busy(random)
        elif self._kernel.chance(faults.vendor * 1.5):
            first, *more = mishaps.refusal(random)
            yield first if first.data is None else replace(first, after_us=random.randrange(pace_us))
            yield from more
        elif answer.limit >= _ROOMY and self._kernel.chance(0.015):
            yield from self._flood(answer)
        elif tokenizer.blank(answer.question) and self._kernel.chance(0.5):
            yield from self._dressed(answer, random.choice(UNCOUNTED), pace_us)
        elif self._kernel.chance(0.75):
            yield from self._dressed(answer, random.choice(_HABITS[DIALECTS[answer.model]]), pace_us)
        else:
            yield from self._plain(answer, pace_us)

    def _plain(self, answer: VendorAnswer, pace_us: int) -> Iterator[Arrival]:
        """The vendor of the documentation, as long as nothing goes wrong."""
        random, faults = self._kernel.random, self._kernel.faults
        yield Arrival(random.randrange(pace_us), head(_KINDS[0] + CHUNKED))
        rude = self._kernel.chance(faults.vendor / 4)
        odd = self._kernel.chance(0.04 + faults.vendor)
        wanted = self._wanted(pace_us) + (answer.limit if rude and answer.limit < 100 else 0)
        empty = odd and self._kernel.chance(0.4)
        wanted = 0 if empty else wanted
        written = wanted if rude else min(wanted, answer.limit)
        answer.planned = written
        if odd:
            yield from self._thinks(random.choice((0, 3)), pace_us)
        for index in range(written):
            if self._kernel.chance(0.05):
                # A comment says that it still thinks; to whoever waits that is silence.
                yield Arrival(random.choice((pace_us, 11 * SECOND)), in_chunk(b": thinking\n\n"))
            if self._kernel.chance(faults.vendor / 4):
                yield random.choice(CUTS)
                return
            yield self._piece(one_token(answer.number, index), random.randrange(pace_us))
        if self._kernel.chance(0.06):
            yield Arrival(random.randrange(pace_us), mishaps.FAILED.data, fails=mishaps.FAILED.fails)
            return
        finish = self._word("length" if written < wanted else "whole")
        if odd and not (empty and self._kernel.chance(0.5)):
            finish = random.choice(ODD_FINISHES)
        end = event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        yield Arrival(0, end, finish=finish, tail_s=TAIL_S)
        if self._kernel.chance(0.1 + faults.vendor / 3):
            yield mishaps.behind_the_finish(random)
            return
        yield from self._reports(answer, written, pace_us)
        yield from self._lingers(in_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    def _lingers(self, end: bytes) -> Iterator[Arrival]:
        """The end, which some vendors never say."""
        if self._kernel.chance(0.12):
            yield from mishaps.signs_of_life(100)
        yield Arrival(0, end, done=True)

    def _wanted(self, pace_us: int) -> int:
        """How much it has to say, in tokens: now and then more than a small reservation pays for."""
        if pace_us == _SLOW_US:
            return self._kernel.random.randrange(5, 10)
        long = pace_us < SECOND and self._kernel.chance(0.08)
        return self._kernel.random.randrange(16, 40) if long else self._kernel.random.randrange(1, 9)

    def _thinks(self, thoughts: int, pace_us: int) -> Iterator[Arrival]:
        """Hidden reasoning, before the first text."""
        for _ in range(thoughts):
            thought = event({"choices": [{"index": 0, "delta": {"reasoning_content": _THOUGHT}}]})
            yield Arrival(self._kernel.random.randrange(pace_us), thought, thoughts=(_THOUGHT,))

    def _dressed(self, answer: VendorAnswer, animal: Animal, pace_us: int) -> Iterator[Arrival]:
        """An answer as an animal gives it: it may break in the middle, and its end is sound."""
        random = self._kernel.random
        said, each = self._said(answer, animal, 0 if self._kernel.chance(0.03) else self._wanted(pace_us))
        answer.planned = len(said.pieces)
        body = Body(animal, said, self._framing(animal), random.choice(_KINDS))
        yield Arrival(random.randrange(pace_us), body.opening(), thoughts=animal.thoughts(said))
        # Signs with each chunk prove nothing, so such an answer breaks more often, but never waits as long as a tail.
        claims = isinstance(animal, Odd) and animal.claims
        pace_us = random.choice((min(pace_us, 4 * SECOND), 2 * SECOND)) if claims else pace_us
        breaks = 0.5 if claims or animal.early else self._kernel.faults.vendor * 1.5
        first, most = (2, len(said.pieces)) if claims else (0, len(said.pieces) if animal.early else 6)
        broken = random.randrange(first, max(first + 1, most)) if self._kernel.chance(breaks) else -1
        for index, text in enumerate(said.pieces):
            if index == broken:
                # An end of HTTP's chunks is nothing to a body with a length.
                # Nobody can tell one that breaks behind an opening report from one that had nothing to say.
                bare = body.framing == "chunked" and not claims and (index > 0 or not animal.early)
                bares = (BARE_DONE,) * (4 if animal.early else 2)
                yield random.choice((*CUTS[:2], *bares) if bare else CUTS[:2])
                return
            counted = counts_with(animal, said, index)
            data, usage = body.framed(animal.piece(said, index)), truth(animal, counted) if counted else None
            yield Arrival(random.randrange(pace_us), data, text, each, usage, counted=counted is not None)
        finish = said.finish if not isinstance(animal, Odd) or animal.says_finish else None
        end = body.framed(animal.closing(said)) + body.end()
        yield Arrival(random.randrange(pace_us), end, usage=truth(animal, said), counted=True, finish=finish, done=True)
        if body.framing == "more-than-length":
            yield Arrival(0, b"<!-- served from a cache -->\n")
        if body.hangs_up:
            yield Arrival(0, None)

    def _said(self, answer: VendorAnswer, animal: Animal, wanted: int) -> tuple[Said, int]:
        """What it says, and of how many tokens each piece of that is."""
        random = self._kernel.random
        more = "" if animal.early else random.choice(_LETTERS)
        tokens = 3 if more or widens(animal) else 1
        written, thought = min(wanted, answer.limit // tokens), random.choice((0, 2, 3))
        read = tokenizer.prompt(answer.prompt)
        said = Said(
            model=answer.model,
            pieces=pieces(animal, [one_token(answer.number, index, more) for index in range(written)]),
            prompt=read,
            written=written * tokens + thought,
            reasoning=thought,
            cached=random.choice((0, read // 2, read // 2)),
            finish=self._word("length" if written < wanted else "whole"),
        )
        if not (isinstance(animal, Odd) and animal.claims) and self._kernel.chance(0.08):
            said = replace(said, finish=random.choice(ODD_FINISHES))
        return said, tokens

    def _word(self, kind: str) -> str:
        """A vendor's word for this kind of end: mostly the first of them."""
        words = FINISHES[kind]
        return self._kernel.random.choice(words) if self._kernel.chance(0.3) else words[0]

    def _framing(self, animal: Animal) -> str:
        """How the end of the body is told: the animal's own way, or another."""
        if animal.framing != "chunked":
            return animal.framing
        return self._kernel.random.choice(("chunked", "chunked", "chunked", "close", "length"))

    def _flood(self, answer: VendorAnswer) -> Iterator[Arrival]:
        """More text than anybody asked for, and no end."""
        yield Arrival(0, head(_KINDS[0] + CHUNKED))
        for index in range(8):
            word = one_token(answer.number, index, "x" * _FLOOD)
            yield replace(self._piece(word, 1_000), tokens=1 + len(word) // 20)

    def _piece(self, text: str, after_us: int) -> Arrival:
        chunk = event({"choices": [{"index": 0, "delta": {"content": text}}]})
        return Arrival(after_us, chunk, text, 1)

    def _reports(self, answer: VendorAnswer, written: int, pace_us: int) -> Iterator[Arrival]:
        """The usage, sometimes none, sometimes with a wrong total, sometimes a lie, sometimes twice."""
        random, faults = self._kernel.random, self._kernel.faults
        if self._kernel.chance(faults.vendor / 2):
            return
        read = tokenizer.prompt(answer.prompt)
        thought = len(answer.thoughts) or random.choice((0, 0, 2))
        cached = random.choice((0, 0, read // 2))
        usage: dict[str, object] = {
            "prompt_tokens": read,
            "completion_tokens": written + thought,
            # Without a total, such a vendor's reasoning stands beside what it wrote.
            **({"total_tokens": read + written + thought} if DIALECTS[answer.model] == "xai" else {}),
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": thought},
        }
        count = Count(read - cached, written, cached, reasoning=thought)
        told, times = usage, random.choice((1, 1, 2))
        if DIALECTS[answer.model] != "xai" and self._kernel.chance(faults.vendor / 4):
            told, times = {**usage, "total_tokens": 1}, 1
        elif written and self._kernel.chance(faults.vendor / 4):
            zeros = event({"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}})
            yield Arrival(random.randrange(pace_us), zeros, counted=True)
            return
        # What is not waited for any longer is not read, and a report may come late.
        late_us = 4 * SECOND if self._kernel.chance(0.05) else random.randrange(pace_us)
        report = event({"choices": [], "usage": told})
        for after_us in (late_us, *(1_000 for _ in range(times - 1))):
            yield Arrival(after_us, report, usage=count, counted=True)


def _authorization(top: bytes) -> str:
    lines = (line.partition(":") for line in top.decode().split("\r\n"))
    return next((value.strip() for name, _, value in lines if name.lower() == "authorization"), "")


def _text(content: object) -> str:
    """The text of a message, which stands beside its pictures where it has some."""
    if isinstance(content, str):
        return content
    parts = cast(Sequence[Mapping[str, str]], content)
    return "".join(part["text"] for part in parts if part["type"] == "text")


def one_token(answer: int, index: int, more: str = "") -> str:
    """A word of an answer: the answer's number in small letters, its place in capitals, and `more`, in all one token
    where there is no more.
    """
    return f"{_letters(answer, 'a')}{_letters(index, 'A')}{more} "


def answer_of(text: str) -> int:
    """The number of the answer that a text begins."""
    number = 0
    for letter in itertools.takewhile(str.islower, text):
        number = number * 26 + ord(letter) - ord("a")
    return number


def _letters(number: int, first: str) -> str:
    more, last = divmod(number, 26)
    return (_letters(more, first) if more else "") + chr(ord(first) + last)
