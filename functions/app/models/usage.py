"""What a vendor reports about tokens, as five buckets that never overlap.

Vendors disagree about what contains what (T-14, T-15); each dialect below says how, with the source of the claim. A
report that is negative, absurd, fractional, does not add up or holds an unknown kind of token is refused (T-16, T-23):
the caller then falls back to its own lower bound. Absent and zero are different things (T-5).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar, assert_never

from app.kit.errors import Failure
from app.models.catalogue import Bucket, Dialect

T = TypeVar("T", bound=tuple[int, ...])

MOST: Final = 100_000_000
"""No request has so many tokens of any kind."""


class BadUsage(Failure):
    """The vendor's report cannot be charged for. The message says why and holds no user data."""


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens per bucket. `input` is what was not cached, `output` what was not reasoning or picture."""

    input: int = 0
    cached_input: int = 0
    output: int = 0
    reasoning: int = 0
    image: int = 0

    @property
    def total_input(self) -> int:
        """All tokens of the prompt."""
        return self.input + self.cached_input

    @property
    def total_output(self) -> int:
        """All tokens of the answer."""
        return self.output + self.reasoning + self.image

    def buckets(self) -> dict[Bucket, int]:
        """The counts by bucket."""
        return {
            "input": self.input,
            "cached_input": self.cached_input,
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

    def complete(self, *, input_estimate: int, output_estimate: int) -> TokenUsage:
        """The usage, with an estimate for a side that was not reported."""
        uncached, cached = self.read if self.read is not None else (input_estimate, 0)
        output, reasoning, image = self.written if self.written is not None else (output_estimate, 0, 0)
        return TokenUsage(uncached, cached, output, reasoning, image)


NOTHING: Final = Reported(None, None)


def latest(one: Reported, other: Reported) -> Reported:
    """For each side the larger of two reports on one answer: reports are cumulative and never summed (T-13)."""
    return Reported(_larger(one.read, other.read), _larger(one.written, other.written))


def _larger(one: T | None, other: T | None) -> T | None:
    if one is None or other is None:
        return other if one is None else one
    return one if sum(one) > sum(other) else other


def read(dialect: Dialect, raw: Mapping[str, object]) -> Reported:
    """Reads a vendor's `usage` object.

    Raises:
        BadUsage: it cannot be charged for.
    """
    match dialect:
        case "openai":
            return _openai(raw)
        case "xai":
            return _openai(raw, reasoning_included=False)
        case "deepseek":
            return _deepseek(raw)
        case "anthropic":
            return _anthropic(raw)
        case "gemini":
            return _gemini(raw)
        case _:
            assert_never(dialect)


_PROMPT_DETAILS: Final = ("cached_tokens", "text_tokens", "image_tokens")
_COMPLETION_DETAILS: Final = (
    "reasoning_tokens",
    "text_tokens",
    "image_tokens",
    "accepted_prediction_tokens",
    "rejected_prediction_tokens",
)


def _openai(raw: Mapping[str, object], *, reasoning_included: bool = True) -> Reported:
    """`prompt_tokens` includes the cached ones, `completion_tokens` the reasoning ones
    (https://platform.openai.com/docs/api-reference/chat/object). At xAI `completion_tokens` excludes reasoning
    (https://docs.x.ai/docs/guides/reasoning). Predicted tokens, accepted or not, are output that is charged as output.
    """
    prompt, completion = _count(raw, "prompt_tokens"), _count(raw, "completion_tokens")
    prompt_details = _details(raw, "prompt_tokens_details", _PROMPT_DETAILS)
    completion_details = _details(raw, "completion_tokens_details", _COMPLETION_DETAILS)
    reasoning = completion_details.get("reasoning_tokens", 0)
    image = completion_details.get("image_tokens", 0)
    outside = 0 if reasoning_included else reasoning
    _adds_up(raw, "total_tokens", prompt, None if completion is None else completion + outside)
    written = None if completion is None else _split_output(completion + outside, reasoning, image)
    return Reported(_split_input(prompt, prompt_details.get("cached_tokens", 0)), written)


def _deepseek(raw: Mapping[str, object]) -> Reported:
    """`prompt_tokens` is the sum of cache hits and misses (https://api-docs.deepseek.com/guides/kv_cache)."""
    plain = _openai({key: value for key, value in raw.items() if key != "prompt_tokens_details"})
    prompt, hit = _count(raw, "prompt_tokens"), _count(raw, "prompt_cache_hit_tokens") or 0
    _adds_up(raw, "prompt_tokens", hit, _count(raw, "prompt_cache_miss_tokens"))
    return Reported(_split_input(prompt, hit), plain.written)


def _anthropic(raw: Mapping[str, object]) -> Reported:
    """`input_tokens` excludes what was read from or written to the cache
    (https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching). A cache write costs more than input and has
    no bucket, so it is refused.
    """
    if _count(raw, "cache_creation_input_tokens"):
        raise BadUsage("cache writes have no price")
    uncached, cached = _count(raw, "input_tokens"), _count(raw, "cache_read_input_tokens") or 0
    output = _count(raw, "output_tokens")
    return Reported(
        None if uncached is None else (uncached, cached), None if output is None else _split_output(output, 0, 0)
    )


def _gemini(raw: Mapping[str, object]) -> Reported:
    """`candidatesTokenCount` excludes thoughts, `promptTokenCount` includes cached content
    (https://ai.google.dev/api/generate-content#UsageMetadata).
    """
    prompt, shown = _count(raw, "promptTokenCount"), _count(raw, "candidatesTokenCount")
    thoughts = _count(raw, "thoughtsTokenCount") or 0
    if _count(raw, "toolUsePromptTokenCount"):
        raise BadUsage("tool use has no price")
    _adds_up(raw, "totalTokenCount", prompt, None if shown is None else shown + thoughts)
    written = None if shown is None else (shown, thoughts, 0)
    return Reported(_split_input(prompt, _count(raw, "cachedContentTokenCount") or 0), written)


def _split_input(total: int | None, cached: int) -> tuple[int, int] | None:
    if total is None:
        return None
    if cached > total:
        raise BadUsage("more input was cached than read")
    return total - cached, cached


def _split_output(total: int, reasoning: int, image: int) -> tuple[int, int, int]:
    if reasoning + image > total:
        raise BadUsage("the parts of the output exceed it")
    return total - reasoning - image, reasoning, image


def _adds_up(raw: Mapping[str, object], name: str, one: int | None, other: int | None) -> None:
    total = _count(raw, name)
    if None not in (total, one, other) and total != (one or 0) + (other or 0):
        raise BadUsage(f"{name} is not the sum of its parts")


def _count(raw: Mapping[str, object], name: str) -> int | None:
    value = raw.get(name)
    if value is None:
        return None
    if type(value) is not int:
        raise BadUsage(f"{name} is not a whole number")
    if not 0 <= value <= MOST:
        raise BadUsage(f"{name} is negative or absurd")
    return value


def _details(raw: Mapping[str, object], name: str, known: tuple[str, ...]) -> dict[str, int]:
    details = raw.get(name)
    if details is None:
        return {}
    if not isinstance(details, Mapping):
        raise BadUsage(f"{name} is not an object")
    counts = {str(key): _count(details, key) or 0 for key in details}
    strange = [key for key, count in counts.items() if count and key not in known]
    if strange:
        raise BadUsage(f"{name} counts a kind of token that has no price: {', '.join(sorted(strange))[:80]}")
    return counts
