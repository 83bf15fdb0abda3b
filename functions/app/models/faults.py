"""The failures of a call to a model, and how a vendor's errors are translated into them.

    ModelFault (a Fault: 503)             the vendor failed; `repeatable` ones are tried again before the first token
    ├── ModelBusy                         429 or overloaded, with its Retry-After
    ├── ModelTimeout                      nothing arrived in time
    └── ModelBroke                        the answer is unreadable, cut off, or holds an error
    ModelMisconfigured                    our key, address or catalogue is wrong: no request can succeed
    PromptTooLong, ContentRefused, ModelRefused (Rejections: 422)

A vendor's own texts never reach a client: they can hold keys, prompts and addresses.
"""

import json
from collections.abc import Mapping
from typing import ClassVar

from app.kit.errors import Fault, InvariantViolation, Rejection


class ModelFault(Fault):
    """The vendor did not answer as it should. `repeatable`: another try may succeed."""

    code = "model_unavailable"

    def __init__(self, detail: str, *, repeatable: bool = True, retry_after_s: int | None = None) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)
        self.repeatable = repeatable


class ModelBusy(ModelFault):
    """The vendor asks to come back later."""

    code = "model_busy"


class ModelTimeout(ModelFault):
    """The vendor was silent for too long."""

    code = "model_timeout"


class ModelBroke(ModelFault):
    """The answer was unreadable or cut off, or reported an error in the middle."""

    code = "model_broke"


class ModelMisconfigured(InvariantViolation):
    """The vendor refuses our credential, or does not know what our catalogue names."""


class PromptTooLong(Rejection):
    """The prompt does not fit the model."""

    status = 422
    code = "prompt_too_long"
    title = "The prompt is too long"


class ContentRefused(Rejection):
    """The vendor's safety rules refuse the prompt."""

    status = 422
    code = "content_refused"
    title = "The prompt was refused"


class ModelRefused(Rejection):
    """The vendor calls the request invalid."""

    status = 422
    code = "model_refused"
    title = "The model cannot take this request"


_TOO_LONG = frozenset(("context_length_exceeded", "string_above_max_length"))
_UNSAFE = frozenset(("content_policy_violation", "content_filter", "moderation_blocked"))
_UNPAID = frozenset(("insufficient_quota", "billing_hard_limit_reached"))
_LONGEST_WAIT_S = 3600


class VendorWord:
    """The code and the type in a vendor's error object; its message is dropped."""

    __slots__ = ("code", "type")
    _sane: ClassVar[str] = "abcdefghijklmnopqrstuvwxyz0123456789_-."

    def __init__(self, error: object) -> None:
        fields = error if isinstance(error, Mapping) else {}
        self.code = self._word(fields.get("code"))
        self.type = self._word(fields.get("type"))

    @classmethod
    def of_body(cls, body: bytes) -> "VendorWord":
        """The error in a response body; empty when there is none to read."""
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError):
            parsed = None
        return cls(parsed.get("error") if isinstance(parsed, dict) else None)

    def _word(self, value: object) -> str:
        text = str(value).lower()[:60] if isinstance(value, str | int) else ""
        return text if all(letter in self._sane for letter in text) else ""

    def __str__(self) -> str:
        return self.code or self.type or "no code"


def of_status(status: int, body: bytes, retry_after: str | None) -> Exception:
    """The failure that a response with an error status means."""
    word = VendorWord.of_body(body)
    wait = _whole_seconds(retry_after)
    if word.code in _UNPAID:
        return ModelFault(f"the vendor wants to be paid ({word})", repeatable=False)
    if status in (401, 403, 404):
        return ModelMisconfigured(f"the model vendor answered {status} ({word}): check its key and the catalogue")
    if status == 429:
        return ModelBusy(f"the vendor is busy ({word})", retry_after_s=wait)
    if status in (408, 409) or status >= 500:
        return ModelFault(f"the vendor answered {status} ({word})", retry_after_s=wait)
    if 400 <= status < 500:
        return _refusal(word)
    return ModelBroke(f"the vendor answered {status}, which no API of this kind does")


def of_event(error: object) -> Exception:
    """The failure that an error object in the middle of a stream means."""
    word = VendorWord(error)
    if word.code in _UNSAFE:
        return ContentRefused("The model's safety rules refuse this prompt.")
    if word.type in ("requests", "tokens", "rate_limit_error") or word.code == "rate_limit_exceeded":
        return ModelBusy(f"the vendor became busy in the middle of an answer ({word})")
    return ModelBroke(f"the vendor reported an error in the middle of an answer ({word})")


def _refusal(word: VendorWord) -> Rejection:
    if word.code in _TOO_LONG:
        return PromptTooLong("The conversation and the message together do not fit this model.")
    if word.code in _UNSAFE:
        return ContentRefused("The model's safety rules refuse this prompt.")
    return ModelRefused("The model does not accept this request.", vendor_code=str(word))


def _whole_seconds(retry_after: str | None) -> int | None:
    """The header's seconds, rounded up; None for a date, which RFC 9110 10.2.3 allows and these vendors do not send."""
    whole, _, fraction = (retry_after or "").strip().partition(".")
    if not whole.isascii() or not whole.isdigit() or len(whole) > 6:
        return None
    return min(int(whole) + (1 if fraction.strip("0") else 0), _LONGEST_WAIT_S)
