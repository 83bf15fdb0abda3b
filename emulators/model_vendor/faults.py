"""The fault grammar: what a caller can ask the vendor to do wrong, and how it is written.

Owns parsing and the meaning of each directive's value. Refuses to know HTTP and how a fault is carried out.

    model  = name [ "!" spec ]            sim-small!disconnect-after=3,usage=missing
    spec   = directive { "," directive }
    directive = name [ "=" value ]

The same `spec` is accepted in the header `X-Sim-Fault` and by `POST /__sim/faults`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from hashlib import blake2b
from math import inf

from emulators.model_vendor.animals import ANIMALS
from emulators.model_vendor.calls import CallShape
from emulators.model_vendor.errors import bad_request

FOREVER_S = 3600.0
"""A bare `timeout` or `stall-after` lasts this long unless the client leaves first."""


class UsageFault(StrEnum):
    """Where and how the usage of an answer is (mis)reported."""

    NORMAL = "normal"
    MISSING = "missing"
    NULL = "null"
    ZERO = "zero"
    NEGATIVE = "negative"
    ABSURD = "absurd"
    CUMULATIVE = "cumulative"
    LAST_CONTENT = "last-content"
    WITH_FINISH = "with-finish"
    USAGE_ONLY = "usage-only"
    AFTER_FINISH = "after-finish"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Everything that can differ from a healthy answer. Counts are content chunks, `_ms` milliseconds."""

    status: int | None = None
    code: str | None = None
    retry_after: str | None = None
    timeout: float | None = None
    reset: bool = False
    html: bool = False
    disconnect_after: int | None = None
    truncate_after: int | None = None
    malformed_after: int | None = None
    error_after: int | None = None
    stall_after: int | None = None
    stall_ms: float | None = None
    usage: UsageFault = UsageFault.NORMAL
    finish: str | None = None
    ignore_max_tokens: bool = False
    empty: bool = False
    no_done: bool = False
    flaky: float | None = None
    first: int | None = None
    keep_generating: bool = False
    tokens_per_chunk: int = 1
    answers_as: str | None = None
    zoo: str | None = None
    calls: CallShape = CallShape.SPLIT
    slow: bool = False
    first_token_ms: float | None = None
    tokens_per_second: float | None = None


Value = str | int | float | bool | UsageFault | CallShape
_ALWAYS = frozenset(
    ("keep_generating", "tokens_per_chunk", "answers_as", "zoo", "calls", "slow", "first_token_ms", "tokens_per_second")
)
"""Manners, not failures: they hold in every attempt, whatever `flaky` and `first` say."""


def _whole(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _amount(text: str) -> float:
    value = float(text)
    if not 0 <= value < inf:
        raise ValueError
    return value


def _speed(text: str) -> float:
    value = inf if text == "max" else float(text)
    if not value > 0:
        raise ValueError
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


def _status(text: str) -> int:
    value = int(text)
    if not 400 <= value <= 599:
        raise ValueError
    return value


def _animal(text: str) -> str:
    if text not in ANIMALS:
        raise ValueError
    return text


def _seconds(text: str) -> str:
    _amount(text)
    return text


_VALUES: Mapping[str, Callable[[str], Value]] = {
    "status": _status,
    "code": str,
    "retry-after": _seconds,
    "timeout": _amount,
    "disconnect-after": _whole,
    "truncate-after": _whole,
    "malformed-after": _whole,
    "error-after": _whole,
    "stall-after": _whole,
    "stall-ms": _amount,
    "usage": UsageFault,
    "finish": str,
    "flaky": _share,
    "first": _positive,
    "tokens-per-chunk": _positive,
    "answers-as": str,
    "zoo": _animal,
    "calls": CallShape,
    "first-token-ms": _amount,
    "tokens-per-second": _speed,
}
_FLAGS = frozenset(("reset", "html", "ignore-max-tokens", "empty", "no-done", "keep-generating", "slow"))
_BARE: Mapping[str, Value] = {"timeout": FOREVER_S}

Directives = Mapping[str, Value]
"""Parsed directives by field name; later ones win when merged."""


def split_model(model: str) -> tuple[str, str]:
    """The model's name and its fault spec (empty when there is none)."""
    name, _, spec = model.partition("!")
    return name, spec


def parse(spec: str) -> Directives:
    """Read a spec, or refuse with 400 and the names that are known."""
    directives: dict[str, Value] = {}
    for item in filter(None, (part.strip() for part in spec.split(","))):
        name, has_value, text = (piece.strip() for piece in item.partition("="))
        directives[name.replace("-", "_")] = _value(name, text if has_value else None)
    return directives


def _value(name: str, text: str | None) -> Value:
    if name in _FLAGS and text is None:
        return True
    if name in _BARE and text is None:
        return _BARE[name]
    if name not in _VALUES or text is None:
        known = ", ".join(sorted((*_FLAGS, *(f"{key}=" for key in _VALUES))))
        raise bad_request(f"Unknown fault `{name}`. Known: {known}.", code="sim_unknown_fault")
    try:
        return _VALUES[name](text)
    except ValueError:
        raise bad_request(f"Fault `{name}` cannot be `{text}`.", code="sim_bad_fault_value") from None


_FIELDS = frozenset(field.name for field in fields(Behaviour))


def behaviour(directives: Directives, *, body: bytes, attempt: int) -> Behaviour:
    """What to do in attempt number `attempt` (from 1) of a request with these body bytes."""
    if _fails(directives, body=body, attempt=attempt):
        chosen = dict(directives)
        if "flaky" in chosen and not set(chosen) - _ALWAYS - {"flaky", "first", "retry_after", "code"}:
            chosen["status"] = 500
    else:
        chosen = {name: value for name, value in directives.items() if name in _ALWAYS}
    return Behaviour(**{name: value for name, value in chosen.items() if name in _FIELDS})  # type: ignore[arg-type]


def _fails(directives: Directives, *, body: bytes, attempt: int) -> bool:
    first = directives.get("first")
    if isinstance(first, int) and attempt > first:
        return False
    share = directives.get("flaky")
    if not isinstance(share, int | float):
        return True
    digest = blake2b(body + b"#%d" % attempt, digest_size=8).digest()
    return int.from_bytes(digest) / 2**64 < share
