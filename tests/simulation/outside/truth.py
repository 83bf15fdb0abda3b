"""What a model vendor really did, written down beside the bytes in which it says so. Refuses to know our code."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SECOND: Final = 1_000_000
FOR_EVER: Final = 10**15
TAIL_S: Final = 5
"""How long anything is waited for behind a finish (docs/decisions.md)."""
ERROR_S: Final = 10
"""How long the body of an error is read."""


@dataclass(frozen=True)
class Count:
    """Tokens by the price that they have. `read` and `written`: whether the report tells this side believably."""

    input: int
    output: int
    cached_input: int = 0
    cache_write: int = 0
    reasoning: int = 0
    read: bool = True
    written: bool = True

    @property
    def whole(self) -> bool:
        """Whether both sides were told."""
        return self.read and self.written


@dataclass(frozen=True)
class Consequence:
    """What follows from a failure: is the same model asked again, another one, is a person alarmed, is the model sick?

    `code` is what the user is told.
    """

    again: bool
    next: bool
    alarm: bool
    sick: bool
    code: str


_OURS: Final = Consequence(again=False, next=True, alarm=True, sick=True, code="model_unavailable")
_BUSY: Final = Consequence(again=True, next=True, alarm=False, sick=True, code="model_busy")


def _users(code: str) -> Consequence:
    return Consequence(again=False, next=False, alarm=False, sick=False, code=code)


FOLLOWS: Final = {
    "our_balance": _OURS,
    "our_key": _OURS,
    "our_request": _OURS,
    "retired_model": _OURS,
    "unknown": _OURS,
    "context_too_long": _users("prompt_too_long"),
    "moderation": _users("content_refused"),
    "request": _users("model_refused"),
    "capacity": _BUSY,
    "rate": _BUSY,
    "oversized": Consequence(again=False, next=True, alarm=True, sick=False, code="model_busy"),
    "unreached": Consequence(again=True, next=True, alarm=False, sick=True, code="model_unavailable"),
    "silent": Consequence(again=False, next=False, alarm=False, sick=True, code="model_timeout"),
    "broken": Consequence(again=True, next=True, alarm=False, sick=True, code="model_unavailable"),
}
"""By whose fault it is."""


@dataclass(frozen=True)
class Failing:
    """A failure of a call: whose fault it is, and how long the vendor asks to wait.

    `broke`: it came in place of an answer or in it, so that the user is told that the answer broke. `told`: the vendor
    says so itself, which undoes a text that is whole and was not counted. `slow`: nobody said anything in time.
    """

    whose: str
    wait_s: int = 0
    broke: bool = False
    told: bool = False
    slow: bool = False

    @property
    def follows(self) -> Consequence:
        """What follows from it."""
        return FOLLOWS[self.whose]

    @property
    def code(self) -> str:
        """What the user is told."""
        if self.slow:
            return "model_timeout"
        return "model_broke" if self.broke and self.whose in ("broken", "unknown") else self.follows.code


CUT: Final = Failing("broken", broke=True)
SILENT: Final = Failing("silent")
UNREACHED: Final = Failing("unreached")


@dataclass(frozen=True)
class Arrival:
    """Bytes that arrive together, this long after those before, and what they mean; None: the connection ends.

    `counted`: a report came, believable (`usage`) or not. `done`: the vendor says that nothing follows. `tail_s`: how
    long the reader may go on from here, where that has an end.
    """

    after_us: int
    data: bytes | None
    text: str = ""
    tokens: int = 0
    usage: Count | None = None
    counted: bool = False
    finish: str | None = None
    done: bool = False
    thoughts: Sequence[str] = ()
    fails: Failing | None = None
    tail_s: int = 0


def in_chunk(data: bytes) -> bytes:
    """One chunk of HTTP."""
    return b"%x\r\n%s\r\n" % (len(data), data)
