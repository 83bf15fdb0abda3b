"""What a vendor reports about tokens, as six buckets that never overlap.

The plain counts, prompt and completion, are what a vendor bills by. They are used whenever they are whole, not negative
and not absurd; what stands beside them only divides them into buckets. A neighbour that is odd (text, a fraction,
negative, larger than its whole) is left out and named, so that somebody can look (T-16, T-23). A plain count that is
odd is as good as missing: the caller falls back to its own estimate. Absent and zero are different things (T-5).

Vendors disagree about what contains what (T-14, T-15). Where a report has a total, the total decides:

    total = prompt + completion                  the details are parts of the two
    total = prompt + completion + reasoning      reasoning stands beside the completion, and is output
    total = prompt + completion + cache          cache reads and writes stand beside the prompt, and are input
    total > prompt + completion                  the rest is hidden thinking, and is output (Gemini)
    total < prompt + completion                  the total is odd

Without a total, the dialect says whether reasoning stands beside the completion.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from app.kit.errors import Failure
from app.models.catalogue import Bucket
from app.models.vendors.vendor import Dialect

MOST: Final = 100_000_000
"""No request has so many tokens of any kind."""


class BadUsage(Failure):
    """A usage cannot be charged for. The message says why and holds no user data."""


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens per bucket. `input` is what the cache had no part in, `output` what was not reasoning or picture."""

    input: int = 0
    cached_input: int = 0
    output: int = 0
    reasoning: int = 0
    image: int = 0
    cache_write: int = 0

    @property
    def total_input(self) -> int:
        """All tokens of the prompt."""
        return self.input + self.cached_input + self.cache_write

    @property
    def total_output(self) -> int:
        """All tokens of the answer."""
        return self.output + self.reasoning + self.image

    def buckets(self) -> dict[Bucket, int]:
        """The counts by bucket."""
        return {
            "input": self.input,
            "cached_input": self.cached_input,
            "cache_write": self.cache_write,
            "output": self.output,
            "reasoning": self.reasoning,
            "image": self.image,
        }


@dataclass(frozen=True, slots=True)
class Reported:
    """The counts of one report; a side that it leaves out is None."""

    read: tuple[int, int] | None
    """Uncached and cached input."""
    written: tuple[int, int, int] | None
    """Output, reasoning and picture tokens."""
    cache_write: int = 0
    """How many of the uncached input tokens were written to the vendor's cache."""

    def complete(self, *, input_estimate: int, output_estimate: int) -> TokenUsage:
        """The usage, with an estimate for a side that was not reported."""
        uncached, cached = self.read if self.read is not None else (input_estimate, 0)
        kept = 0 if self.read is None else self.cache_write
        output, reasoning, image = self.written if self.written is not None else (output_estimate, 0, 0)
        return TokenUsage(uncached - kept, cached, output, reasoning, image, kept)


NOTHING: Final = Reported(None, None)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a report says, and in short sentences what is odd about it. They hold no words of the vendor."""

    reported: Reported
    odd: tuple[str, ...] = ()


def latest(one: Reported, other: Reported) -> Reported:
    """For each side the larger of two reports on one answer: reports are cumulative and never summed (T-13)."""
    reads = one if _more(one.read, other.read) else other
    writes = one if _more(one.written, other.written) else other
    return Reported(reads.read, writes.written, reads.cache_write)


def _more(one: tuple[int, ...] | None, other: tuple[int, ...] | None) -> bool:
    """Whether `one` counts more; of two that count the same, the one that says more about its parts."""
    return one is not None and (other is None or (sum(one), sum(one[1:])) > (sum(other), sum(other[1:])))


def read(dialect: Dialect | None, raw: Mapping[str, object]) -> Reading:
    """Reads a vendor's `usage` object. Never fails: what cannot be used is left out and named.

    openai: `completion_tokens` includes the reasoning ones (https://platform.openai.com/docs/api-reference/chat/object).
    xai: it excludes them (https://docs.x.ai/docs/guides/reasoning).
    deepseek: the cache has names of its own (https://api-docs.deepseek.com/guides/kv_cache).

    Proxies of the Responses and Messages APIs pass on their names, `input_tokens` and `output_tokens`.
    """
    report = _Report(raw)
    prompt, inside = report.side("prompt_tokens", "input_tokens")
    completion, made = report.side("completion_tokens", "output_tokens")
    reasoning = _first(made.count("reasoning_tokens"), report.count("reasoning_tokens"))
    cached = _cached(dialect, report, inside)
    written_to_cache = _first(
        inside.count("cache_write_tokens"),
        inside.count("cache_creation_tokens"),
        report.count("cache_creation_input_tokens"),
    )
    total = report.count("total_tokens")
    if total is None or prompt is None or completion is None:
        more_read, more_written = 0, reasoning if dialect == "xai" else 0
    else:
        rest = total - prompt - completion
        more_read, more_written = _beside(rest, reasoning=reasoning, cache=cached + written_to_cache)
        if rest < 0:
            report.note("total_tokens is less than its parts")
            more_written = reasoning if dialect == "xai" else 0
    reads, kept = _divided_input(report, None if prompt is None else prompt + more_read, cached, written_to_cache)
    image = made.count("image_tokens") or 0
    writes = _divided_output(report, completion, more_written, reasoning, image)
    return Reading(Reported(reads, writes, kept), tuple(report.odd))


def _cached(dialect: Dialect | None, report: "_Report", inside: "_Report") -> int:
    """Cache reads: OpenAI and most; DeepSeek; LiteLLM and Bedrock's proxies; Moonshot."""
    hits = report.count("prompt_cache_hit_tokens")
    named = _first(
        inside.count("cached_tokens"), report.count("cache_read_input_tokens"), report.count("cached_tokens")
    )
    return hits if dialect == "deepseek" and hits is not None else named


def _first(*counts: int | None) -> int:
    """The first that is more than nothing: vendors that give one count two names fill one of them with zero."""
    return next((count for count in counts if count), 0)


def _beside(rest: int, *, reasoning: int, cache: int) -> tuple[int, int]:
    """What stands beside prompt and completion when the total exceeds their sum by `rest`."""
    if rest <= 0:
        return 0, 0
    if rest == cache and rest != reasoning:
        return rest, 0
    return 0, rest


def _divided_input(
    report: "_Report", total: int | None, cached: int, written: int
) -> tuple[tuple[int, int] | None, int]:
    """Uncached and cached input, and what of the uncached was written to the cache."""
    if total is None:
        return None, 0
    if cached > total:
        report.note("more input was cached than read")
        cached = 0
    if cached + written > total:
        report.note("more input was written to the cache than read")
        written = 0
    return (total - cached, cached), written


def _divided_output(
    report: "_Report", completion: int | None, more: int, reasoning: int, image: int
) -> tuple[int, int, int] | None:
    """Output, reasoning and pictures; `more` came beside the completion and is reasoning."""
    if completion is None:
        return None
    inside = 0 if more == reasoning else reasoning
    if inside + image > completion:
        report.note("the parts of the output exceed it")
        inside = image = 0
    return completion - inside - image, inside + more, image


@dataclass(frozen=True, slots=True)
class _Report:
    """Reads one object of a report, and notes what is odd in it."""

    raw: Mapping[str, object]
    odd: list[str] = field(default_factory=list)

    def note(self, sentence: str) -> None:
        self.odd.append(sentence)

    def count(self, name: str) -> int | None:
        """A count; None where there is none, or an odd one."""
        value = self.raw.get(name)
        if value is None:
            return None
        if type(value) is float and value.is_integer():
            value = int(value)  # Languages with one kind of number write 10 as 10.0.
        if type(value) is not int:
            self.note(f"{name} is not a whole number")
        elif not 0 <= value <= MOST:
            self.note(f"{name} is negative or absurd")
        else:
            return value
        return None

    def side(self, name: str, other: str) -> tuple[int | None, "_Report"]:
        """The count under one of two names, with its details."""
        name = name if self.raw.get(name) is not None or self.raw.get(other) is None else other
        return self.count(name), self.inner(f"{name}_details")

    def inner(self, name: str) -> "_Report":
        """The object below `name`; an empty one where there is none."""
        value = self.raw.get(name)
        if value is not None and not isinstance(value, Mapping):
            self.note(f"{name} is not an object")
        return _Report(value if isinstance(value, Mapping) else {}, self.odd)
