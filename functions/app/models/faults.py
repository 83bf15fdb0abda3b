"""The failures of a call to a model, and how a vendor's errors are translated into them.

    ModelFault (a Fault: 503)             the vendor failed; `blame` says whose fault it is
    ├── ModelBusy                         no room, or asked too often; with the vendor's Retry-After
    │   └── ModelResting                  it failed too often lately, and is not asked
    ├── ModelTimeout                      nothing arrived in time
    ├── ModelBroke                        the answer is unreadable, cut off, or holds an error
    ├── EmptyAnswer                       it came to its end without a visible character
    └── ModelMisconfigured                our key, address, balance or catalogue is wrong: a person has to look
    PromptTooLong, ContentRefused, ModelRefused (Rejections: 422)

Which error is whose fault, and what follows from it, stands in `error_policy.toml` and nowhere else. A vendor's own
texts never reach a client or a log: they can hold keys, prompts and addresses.
"""

import functools
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Final

from app.kit.errors import Failure, Fault, InvariantViolation, Rejection, ensure


class Blame(StrEnum):
    """Whose fault a failed call is: the tables of `error_policy.toml`."""

    OUR_BALANCE = "our_balance"
    RETIRED_MODEL = "retired_model"
    CONTEXT_TOO_LONG = "context_too_long"
    MODERATION = "moderation"
    OUR_KEY = "our_key"
    OUR_REQUEST = "our_request"
    CAPACITY = "capacity"
    OVERSIZED = "oversized"
    RATE = "rate"
    REQUEST = "request"
    UNREACHED = "unreached"
    SILENT = "silent"
    BROKEN = "broken"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """How an error is recognised, and what follows from it. `error_policy.toml` explains the fields."""

    words: frozenset[str]
    phrases: tuple[str, ...]
    statuses: frozenset[int]
    again: bool
    next: bool
    alarm: bool
    sick: bool


ErrorPolicy = Mapping[Blame, ErrorRule]


class ModelFault(Fault):
    """The vendor did not answer as it should."""

    code = "model_unavailable"
    title = "The answer failed"
    told = "The model did not answer to the end. Nothing was charged; trying again may help."

    def __init__(self, detail: str, blame: Blame = Blame.BROKEN, *, retry_after_s: int | None = None) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)
        self.blame = blame


class ModelBusy(ModelFault):
    """The vendor asks to come back later."""

    code = "model_busy"
    told = "The model is busy. Nothing was charged; trying again a little later may help."


class ModelResting(ModelBusy):
    """The model failed several times in a row, and so did whoever could answer in its place: nobody was asked."""

    code = "model_resting"
    told = "The model has failed several times and is left alone for a moment. Nothing was charged; try again later."


class ModelTimeout(ModelFault):
    """The vendor was silent for too long."""

    code = "model_timeout"
    told = "The model was silent for too long. Nothing was charged; trying again may help."

    def __init__(self, detail: str, blame: Blame = Blame.SILENT) -> None:
        super().__init__(detail, blame)


class ModelBroke(ModelFault):
    """The answer was unreadable or cut off, or reported an error in the middle."""

    code = "model_broke"


class EmptyAnswer(ModelFault):
    """The model came to its end and wrote nothing that can be seen."""

    code = "empty_answer"
    title = "The answer is empty"
    told = "The model wrote nothing that can be seen. Nothing was charged; trying again may help."


class ModelMisconfigured(ModelFault):
    """The vendor refuses our credential, wants our money, or does not know what our catalogue names."""


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


REFUSALS: Final = (PromptTooLong, ContentRefused, ModelRefused)
"""What a user's own request can cause."""

PATH: Final = Path(__file__).with_name("error_policy.toml")
_LONGEST_WAIT_S: Final = 3600
_MOST_LETTERS: Final = 2_000
"""Of a message that is searched for phrases."""
_ECHO: Final = re.compile(r"""(?:https?://|data:)\S+|(?<!\w)".*?(?:"(?!\w)|$)|(?<!\w)'.*?(?:'(?!\w)|$)""", re.DOTALL)
"""What a vendor repeats of a request: addresses, and what stands in quotation marks."""
_PATH: Final = re.compile(r"\A(?:[\w.\[\]-]+(?::| -) +)+")
"""Names of classes, fields and vendors in front of a message: `litellm.BadRequestError: OpenAIException - `."""


_THEIRS: Final = (Blame.CONTEXT_TOO_LONG, Blame.MODERATION, Blame.REQUEST)


class VendorWords:
    """What a vendor's error says: its words, its message, and the status that it names itself.

    Knows the shapes `{"error": {...}}`, the same in a list (Gemini) or nested twice (OpenRouter), `{"error": "text"}`
    (Ollama), a flat `{"object": "error", ...}` (vLLM, Mistral), `{"detail": "text"}` and a list there (FastAPI),
    MiniMax's `base_resp`, and another body as text, in a message (Databricks) or in `metadata.raw` (OpenRouter).
    """

    __slots__ = ("messages", "status", "words")
    _sane: ClassVar[str] = "abcdefghijklmnopqrstuvwxyz0123456789_-."

    def __init__(self, error: object) -> None:
        levels = [*_levels(error)]
        said = [self._word(level.get(name)) for level in levels for name in ("type", "code", "status")]
        self.words = tuple(word for word in said if word)
        texts = (level.get(name) for level in levels for name in ("message", "detail", "error", "raw", "status_msg"))
        plain = (text for text in texts if isinstance(text, str) and not text.lstrip().startswith("{"))
        self.messages = tuple(_ECHO.sub(" ", text[:_MOST_LETTERS].lower()).lstrip() for text in plain)
        numbers = (int(word) for word in self.words if word.isascii() and word.isdigit() and len(word) == 3)
        self.status = next((number for number in numbers if 400 <= number < 600), 0)

    @classmethod
    def of_body(cls, body: bytes) -> "VendorWords":
        """The error in a response body, also when it is told as an event; empty when there is none to read."""
        lines = (line.removeprefix(b"data:") for line in body.splitlines() if line.startswith(b"data:"))
        try:
            return cls(json.loads(next(lines, body)))
        except (ValueError, RecursionError):
            return cls(None)

    def say(self, phrases: Sequence[str]) -> bool:
        """Whether one of these phrases stands in a message."""
        return any(phrase in message for message in self.messages for phrase in phrases)

    def begin_with(self, phrases: Sequence[str]) -> bool:
        """Whether a message begins with one of these phrases, behind the names in front of it."""
        return any(_PATH.sub("", message, count=1).startswith(tuple(phrases)) for message in self.messages)

    def _word(self, value: object) -> str:
        text = str(value).lower()[:60] if isinstance(value, str | int) else ""
        return text if all(letter in self._sane for letter in text) else ""

    def __str__(self) -> str:
        """The word that tells the most; a number only when there is nothing else."""
        plain = [word for word in self.words if not word.isdigit()]
        return (plain or [*self.words] or ["no code"])[-1]


def _levels(error: object, depth: int = 0) -> Iterator[Mapping[str, object]]:
    """The objects of an error, from the outside to the inside."""
    if isinstance(error, list) and error:
        error = error[0]
    if not isinstance(error, Mapping) or depth > 5:
        return
    yield error
    for name in ("error", "innererror", "metadata", "detail", "base_resp"):
        yield from _levels(error.get(name), depth + 1)
    for name in ("message", "raw"):
        text = error.get(name)
        if isinstance(text, str) and text.lstrip().startswith("{"):
            yield from _levels(_parsed(text), depth + 1)


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def blame(words: VendorWords, status: int) -> Blame:
    """Whose fault an error is: by its words, then by its message, then by its status."""
    whose = _blame(words, status)
    if whose is Blame.RATE and (status == 413 or words.say(default_policy()[Blame.OVERSIZED].phrases)):
        return Blame.OVERSIZED
    return whose


def _blame(words: VendorWords, status: int) -> Blame:
    policy = default_policy()
    for whose, row in policy.items():
        if row.words.intersection(words.words):
            return whose
    # Such a status says that the request is wrong, and its message may quote it: a user's words blame nobody else.
    quotes = status in policy[Blame.REQUEST].statuses
    for whose, row in policy.items():
        found = words.begin_with if quotes and whose not in _THEIRS else words.say
        if found(row.phrases):
            return whose
    for whose, row in policy.items():
        if status in row.statuses:
            return whose
    return Blame.UNKNOWN


def of_status(status: int, body: bytes, retry_after: str | None, now_us: int = 0) -> Failure:
    """The failure that a response with an error status means; a Retry-After with a date counts from `now_us`."""
    words = VendorWords.of_body(body)
    if not 400 <= status < 600:
        return ModelBroke(f"the vendor answered {status}, which no API of this kind does")
    wait = _wait_s(retry_after, now_us)
    return _failure(blame(words, status), f"the vendor answered {status} ({words})", str(words), wait)


def of_body(body: bytes, retry_after: str | None, now_us: int = 0) -> Failure:
    """The failure that a body of status 200 means which is no stream: mostly it holds an error."""
    words = VendorWords.of_body(body)
    if not words.words and not words.messages:
        return ModelBroke("the vendor's answer is no stream")
    whose = blame(words, words.status or 500)
    return _broken(
        _failure(whose, f"the vendor answered with an error ({words})", str(words), _wait_s(retry_after, now_us))
    )


def of_event(error: object) -> Failure:
    """The failure that an error object in the middle of a stream means."""
    words = VendorWords(error if isinstance(error, Mapping) else {"error": error})
    detail = f"the vendor reported an error in the middle of an answer ({words})"
    return _broken(_failure(blame(words, words.status or 500), detail, str(words), None))


def rule_of(failure: Failure) -> ErrorRule:
    """What follows from a failure of a model."""
    return default_policy()[blame_of(failure)]


def blame_of(failure: Failure) -> Blame:
    """Whose fault a failure of a model is."""
    match failure:
        case ModelFault():
            return failure.blame
        case PromptTooLong():
            return Blame.CONTEXT_TOO_LONG
        case ContentRefused():
            return Blame.MODERATION
        case _:
            return Blame.REQUEST


def _failure(whose: Blame, detail: str, word: str, wait: int | None) -> Failure:
    match whose:
        case Blame.CONTEXT_TOO_LONG:
            return PromptTooLong("The conversation and the message together do not fit this model.")
        case Blame.MODERATION:
            return ContentRefused("The model's safety rules refuse this prompt.")
        case Blame.REQUEST:
            return ModelRefused("The model does not accept this request.", vendor_code=word)
        case Blame.RATE | Blame.CAPACITY | Blame.OVERSIZED:
            return ModelBusy(detail, whose, retry_after_s=wait)
        case Blame.OUR_BALANCE | Blame.OUR_KEY | Blame.OUR_REQUEST | Blame.RETIRED_MODEL:
            return ModelMisconfigured(f"{detail}: {whose}", whose)
        case _:
            return ModelFault(detail, whose, retry_after_s=wait)


def _broken(failure: Failure) -> Failure:
    """An error in place of an answer, or in it, that is nothing more special."""
    plain = type(failure) is ModelFault
    return ModelBroke(failure.detail, failure.blame) if plain and isinstance(failure, ModelFault) else failure


def _wait_s(retry_after: str | None, now_us: int) -> int | None:
    """The seconds of a Retry-After, rounded up; it holds seconds or a date (RFC 9110 10.2.3)."""
    text = (retry_after or "").strip()
    whole, _, fraction = text.partition(".")
    if whole.isascii() and whole.isdigit() and len(whole) <= 6:
        return min(int(whole) + (1 if fraction.strip("0") else 0), _LONGEST_WAIT_S)
    at = date_us(text)
    return None if at is None else min(max(0, -(-(at - now_us) // 1_000_000)), _LONGEST_WAIT_S)


def date_us(text: str | None) -> int | None:
    """The time of an HTTP date in microseconds since 1970; None when it is none."""
    try:
        found = parsedate_to_datetime(text or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return round(found.replace(tzinfo=found.tzinfo or UTC).timestamp()) * 1_000_000


@functools.cache
def default_policy() -> ErrorPolicy:
    """The policy that ships with the code."""
    return load(PATH.read_text())


def load(text: str) -> ErrorPolicy:
    """Reads a policy.

    Raises:
        InvariantViolation: a row or a field is missing, unknown or of another type, or a word or status means two
            things. The message names it.
    """
    table = tomllib.loads(text)
    ensure(table.pop("version", None) == 1, "error policy: version is 1")
    ensure(set(table) == set(Blame), f"error policy: other rows than {[*Blame]}")
    policy = {Blame(whose): _rule(whose, fields) for whose, fields in table.items()}
    seen: set[object] = set()
    for whose, row in policy.items():
        signs: set[object] = {*row.words, *row.phrases, *row.statuses}
        ensure(not signs & seen, f"error policy: {whose} shares {signs & seen} with another row")
        seen |= signs
    return policy


def _rule(whose: str, fields: object) -> ErrorRule:
    if not isinstance(fields, Mapping) or set(fields) != set(ErrorRule.__dataclass_fields__):
        raise InvariantViolation(f"error policy: {whose} needs exactly {', '.join(ErrorRule.__dataclass_fields__)}")
    for name in ("again", "next", "alarm", "sick"):
        ensure(isinstance(fields[name], bool), f"error policy: {whose}.{name} is true or false")
    return ErrorRule(
        words=frozenset(_texts(whose, fields["words"])),
        phrases=tuple(_texts(whose, fields["phrases"])),
        statuses=frozenset(int(status) for status in fields["statuses"]),
        again=fields["again"],
        next=fields["next"],
        alarm=fields["alarm"],
        sick=fields["sick"],
    )


def _texts(whose: str, values: Sequence[str]) -> Sequence[str]:
    ensure(all(text == text.lower() for text in values), f"error policy: words of {whose} are in lower case")
    return values
