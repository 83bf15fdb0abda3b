"""The `usage` object, true or as a fault distorts it, and where in a stream it stands."""

from dataclasses import dataclass

from emulators.model_vendor.completion import Completion
from emulators.model_vendor.faults import UsageFault

ABSURD = 9_007_199_254_740_993
"""2^53 + 1: absurd as a count, and not representable as a double."""

Usage = dict[str, int | dict[str, int]]


def of(completion: Completion, fault: UsageFault, generated: int) -> Usage | None:
    """Usage after `generated` completion tokens; None for a `null` fault."""
    prompt, cached = completion.prompt.total, completion.prompt.cached
    reasoning = completion.reasoning
    match fault:
        case UsageFault.NULL:
            return None
        case UsageFault.ZERO:
            prompt = cached = generated = reasoning = 0
        case UsageFault.NEGATIVE:
            prompt, generated = -prompt, -generated
        case UsageFault.ABSURD:
            generated = ABSURD
        case _:
            pass
    return {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


@dataclass(frozen=True, slots=True)
class Report:
    """Where a stream carries usage. `nulls`: every other chunk says `"usage":null`, as the vendor's do."""

    nulls: bool = False
    with_finish: bool = False
    after_finish: bool = False
    usage_only: bool = False
    in_content: bool = False

    @property
    def sent(self) -> bool:
        """Whether any usage object is sent at all."""
        return self.with_finish or self.after_finish or self.usage_only or self.in_content

    @classmethod
    def of(cls, fault: UsageFault, *, include_usage: bool) -> "Report":
        """The report for this fault; one that names a place is sent even when nobody asked for usage."""
        match fault:
            case UsageFault.MISSING:
                return cls()
            case UsageFault.NULL:
                return cls(nulls=True)
            case UsageFault.CUMULATIVE:
                return cls(with_finish=True, in_content=True)
            case UsageFault.LAST_CONTENT:
                return cls(in_content=True)
            case UsageFault.WITH_FINISH:
                return cls(with_finish=True)
            case UsageFault.AFTER_FINISH:
                return cls(after_finish=True)
            case UsageFault.USAGE_ONLY:
                return cls(nulls=True, usage_only=True)
            case _:
                return cls(nulls=include_usage, usage_only=include_usage)
