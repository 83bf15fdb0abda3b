"""How vendors say one answer: the animals of the vendor zoo, and habits that no healthy server has.

Each says beside its bytes what is true: which text, how it ends, what was counted and whether that can be believed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Final, Literal

from emulators.model_vendor.animals import ANIMALS, CacheBeside, CacheWrites, Cumulative, WithFinish, WrongTotal
from emulators.model_vendor.zoo import Animal, Json, Said, plain
from simulation.outside.book import STRANGERS
from simulation.outside.truth import Count

Told = Literal["both", "written", "neither"]


class Odd(Animal):
    """`told`: which side of its report can be believed. `says_finish`: whether it has a finish reason."""

    told: ClassVar[Told] = "both"
    says_finish: ClassVar[bool] = True
    claims: ClassVar[bool] = False
    """Whether each of its chunks claims to be the last."""


class EachChunkEnds(Odd):
    """Each chunk says that it is the last one; the last one holds no text."""

    claims: ClassVar[bool] = True

    def piece(self, said: Said, number: int) -> bytes:
        return self.chunk(said, self.delta(said.pieces[number]), finish="stop")


class HarmlessErrors(Odd):
    """Each chunk has an error that says nothing, and the status of a success."""

    def event(self, chunk: Json) -> bytes:
        error: Json = {"message": "", "type": "", "param": None, "code": None, "inner": {}}
        return super().event({**chunk, "error": error, "base_resp": {"status_code": 0, "status_msg": "success"}})


class Successes(Odd):
    """Each choice has the error of a success."""

    def choice(self, delta: object, finish: str | None) -> Json:
        return {**super().choice(delta, finish), "error": {"code": 0, "message": "success"}}


class DoneAlone(Odd):
    """A count and `[DONE]`, and no finish reason."""

    says_finish: ClassVar[bool] = False

    def finish(self, said: Said) -> bytes:
        return b""


class FinishAsObject(Odd):
    """The finish reason is an object, and a word for nothing before the end."""

    def choice(self, delta: object, finish: str | None) -> Json:
        reason: object = "null" if finish is None else {"type": finish, "matched": 2}
        return {**super().choice(delta, finish), "finish_reason": reason}


class RawBytes(Odd):
    """Control characters that JSON would escape."""

    def event(self, chunk: Json) -> bytes:
        return super().event(chunk).replace(b"\\u0001", b"\x01")


class HalfCharacters(Odd):
    """Text cut by UTF-16 units: half of a character at the end of a piece, and the rest at the begin of the next."""

    def event(self, chunk: Json) -> bytes:
        return b"data: " + json.dumps(chunk).encode() + b"\n\n"

    def piece(self, said: Said, number: int) -> bytes:
        text = said.pieces[number].removeprefix("😀") if number else said.pieces[number]
        before, after = ("\ude00" if number else ""), ("\ud83d" if number + 1 < len(said.pieces) else "")
        return self.chunk(said, self.delta(before + text + after))


class PoorerReport(Odd):
    """A second report with the same sums and without their parts."""

    def report(self, said: Said) -> bytes:
        poorer = {**self.head(said), "choices": [], "usage": plain(said, said.written)}
        return super().report(said) + self.event(poorer)


class OtherNames(Odd):
    """The names of the Responses API."""

    def usage(self, said: Said, written: int) -> Json:
        return {
            "input_tokens": said.prompt,
            "output_tokens": written,
            "total_tokens": said.prompt + written,
            "input_tokens_details": {"cached_tokens": said.cached},
            "output_tokens_details": {"reasoning_tokens": said.reasoning},
        }


class Floats(Odd):
    """Counts of languages with one kind of number."""

    def usage(self, said: Said, written: int) -> Json:
        return _floating(super().usage(said, written))


class Absurd(Odd):
    """Counts millions of tokens that nobody can have sent or asked for."""

    told: ClassVar[Told] = "neither"

    def usage(self, said: Said, written: int) -> Json:
        return {"prompt_tokens": 10_000_000, "completion_tokens": 10_000_000, "total_tokens": 20_000_000}


class Zeros(Odd):
    """Counts nothing beside a text that everybody sees."""

    told: ClassVar[Told] = "neither"

    def usage(self, said: Said, written: int) -> Json:
        return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


class NegativePrompt(Odd):
    """One side of the report is no count."""

    told: ClassVar[Told] = "written"

    def usage(self, said: Said, written: int) -> Json:
        return {"prompt_tokens": -1, "completion_tokens": written}


class HalfReport(Odd):
    """One side of the report is missing."""

    told: ClassVar[Told] = "written"

    def usage(self, said: Said, written: int) -> Json:
        return {"prompt_tokens": None, "completion_tokens": written}


class NumberedBlocks(Odd):
    """The blocks of the one answer are numbered as if they were choices."""

    def choice(self, delta: object, finish: str | None) -> Json:
        return {**super().choice(delta, finish), "index": 1}


class Refusals(Odd):
    """The text of a refusal, in a field of its own."""

    def delta(self, text: str) -> Json:
        return {"content": None, "refusal": text}


class DatedName(Odd):
    """Answers under a name with a date, which no price book has."""

    def head(self, said: Said) -> Json:
        return {**super().head(said), "model": f"{said.model}-2026-11-29"}


class NameOfAnothers(Odd):
    """Answers under a name by which another vendor has a model, of another price."""

    def head(self, said: Said) -> Json:
        return {**super().head(said), "model": STRANGERS[said.model]}


class CountsEarly(WithFinish, Odd):
    """A count with the last of its words, before the finish."""

    def piece(self, said: Said, number: int) -> bytes:
        if number + 1 < len(said.pieces):
            return super().piece(said, number)
        return self.chunk(said, self.delta(said.pieces[number]), usage=self.usage(said, said.written))


def _floating(value: object) -> dict[str, object]:
    assert isinstance(value, Mapping)
    return {name: _floating(it) if isinstance(it, Mapping) else float(str(it)) for name, it in value.items()}


_ODD: Final[Sequence[Animal]] = (
    *((EachChunkEnds(),) * 8),
    HarmlessErrors(),
    Successes(),
    DoneAlone(),
    FinishAsObject(),
    RawBytes(),
    HalfCharacters(),
    *((PoorerReport(),) * 4),
    *((OtherNames(),) * 3),
    Floats(),
    Absurd(),
    Zeros(),
    NegativePrompt(),
    HalfReport(),
    NumberedBlocks(),
    Refusals(),
    DatedName(),
    *((NameOfAnothers(),) * 4),
    CountsEarly(),
    *((Cumulative(),) * 8),
)


UNCOUNTED: Final[Sequence[Animal]] = (Absurd(), Zeros())
"""Those of whose counts nothing can be believed."""
_MEANING: Final = ("usage", "finish", "report", "choice", "chunk", "delta", "piece", "opening")


def habits(dialect: str) -> list[Animal]:
    """All that a vendor may be whose model counts so; twice where it is more than a way to write lines."""
    tame = [one for _, one in sorted(ANIMALS.items()) if one.dialect in ("openai", dialect)]
    tame += [one for one in tame if any(getattr(type(one), name) is not getattr(Animal, name) for name in _MEANING)]
    tame += [one for one in tame if isinstance(one, CacheBeside | CacheWrites)] * 2
    # Where the total is wrong, such a vendor's reasoning stands beside what it wrote, and the animal's does not.
    return [*(one for one in tame if dialect != "xai" or not isinstance(one, WrongTotal)), *_ODD]


def pieces(animal: Animal, words: Sequence[str]) -> list[str]:
    """The text as this vendor cuts it."""
    match animal:
        case HalfCharacters():
            return [words[0].rstrip(), *("😀 " + word.rstrip() for word in words[1:])] if words else []
        case RawBytes():
            return [word.rstrip() + "\x01 " for word in words]
        case _:
            return [*words]


def widens(animal: Animal) -> bool:
    """Whether its words are more than one token because of what it hangs on them."""
    return isinstance(animal, HalfCharacters | RawBytes)


def counts_with(animal: Animal, said: Said, index: int) -> Said | None:
    """What it has counted by the piece with this index, where that piece has a report."""
    if isinstance(animal, Cumulative):
        return replace(said, written=said.reasoning + index + 1)
    return said if isinstance(animal, CountsEarly) and index + 1 == len(said.pieces) else None


def truth(animal: Animal, said: Said) -> Count | None:
    """What its report says of the whole answer, as far as it can be believed."""
    told = animal.told if isinstance(animal, Odd) else "both"
    if told == "neither":
        return None
    kept = animal.kept(said)
    if told == "written":
        return Count(0, said.written, read=False)
    return Count(
        input=said.prompt - said.cached - kept,
        output=said.shown,
        cached_input=said.cached,
        cache_write=kept,
        reasoning=said.reasoning,
    )
