"""What vendors say about the end of an answer, as a closed list. A word that is not in it is no success (T-107)."""

from enum import StrEnum
from typing import Final


class FinishKind(StrEnum):
    """What a vendor's finish reason means."""

    WHOLE = "whole"
    LENGTH = "length"
    """The limit that we sent was reached."""
    CONTEXT = "context"
    """The model's own context is full."""
    CALLS = "calls"
    """The model calls tools. Without such a call it is a word that means nothing."""
    FILTERED = "filtered"
    """The vendor's safety rules cut the answer off, or refused it."""
    FAILED = "failed"
    UNKNOWN = "unknown"


_KINDS: Final[dict[FinishKind, tuple[str, ...]]] = {
    FinishKind.WHOLE: ("stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed", "end"),
    FinishKind.LENGTH: ("length", "max_tokens", "max_output_tokens", "max_completion_tokens"),
    FinishKind.CALLS: ("tool_calls", "tool_call", "function_call", "tool_use"),
    FinishKind.CONTEXT: ("model_length", "model_context_window_exceeded", "context_length_exceeded"),
    FinishKind.FILTERED: (
        "content_filter",
        "content_filtered",
        "safety",
        "sensitive",
        "refusal",
        "recitation",
        "prohibited_content",
        "blocklist",
        "guardrail_intervened",
        "error_toxic",
    ),
    FinishKind.FAILED: (
        "error",
        "insufficient_system_resource",
        "abort",
        "aborted",
        "network_error",
        "timeout",
        "cancelled",
        "malformed_function_call",
    ),
}
_BY_WORD: Final = {word: kind for kind, words in _KINDS.items() for word in words}


def kind_of(reason: str) -> FinishKind:
    """What a finish reason means, in whatever case it is written (Gemini's are in capitals)."""
    return _BY_WORD.get(reason.lower().removeprefix("finish_reason_"), FinishKind.UNKNOWN)
