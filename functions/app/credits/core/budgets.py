"""What API keys have spent of their budgets, counted in the account that their reservations are written to. Pure.

A window is cut into twelve slots, and a charge counts in the slot of its time. It ceases to count with its whole slot,
up to a twelfth of the window late and never early: so no window, wherever it begins, has more charges than the budget.
What running calls hold counts in every window. Counts are no money: without them a budget begins anew, and no credit
is gained or lost.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final, Literal, NamedTuple, cast, get_args

from app.credits.core.rejections import BudgetExceeded
from app.kit.clock import minutes, to_rfc3339
from app.kit.errors import ensure

Window = Literal["1h", "24h", "30d", "total"]
WINDOWS: Final[tuple[Window, ...]] = get_args(Window)
SLOTS: Final = 12
MOST_LINES: Final = 80
"""Budgets that an account counts: those of 20 keys. The one that was used longest ago goes first."""
_SLOT_US: Final[dict[Window, int]] = {"1h": minutes(5), "24h": minutes(120), "30d": minutes(60 * 60), "total": 0}
_SEPARATOR: Final = "|"


class Limit(NamedTuple):
    """At most `amount` micro-credits within any `window`."""

    window: Window
    amount: int


def limits(given: Iterable[tuple[str, int]]) -> tuple[Limit, ...]:
    """Budgets as keys store them, micro-credits by window; the shortest window first."""
    by_window = dict(given)
    return tuple(Limit(window, by_window[window]) for window in WINDOWS if window in by_window)


class Spender(NamedTuple):
    """The API key that pays for a call, and its budgets."""

    api_key: str
    limits: tuple[Limit, ...] = ()


class Line(NamedTuple):
    """One budget of one key, and what was charged by slot, the oldest first."""

    api_key: str
    limit: Limit
    slots: tuple[tuple[int, int], ...] = ()

    def text(self) -> str:
        """All of it in one text, as it is stored."""
        slots = ",".join(f"{slot}:{amount}" for slot, amount in self.slots)
        return _SEPARATOR.join((self.api_key, self.limit.window, str(self.limit.amount), slots))

    @classmethod
    def parse(cls, text: str) -> "Line":
        """The inverse of `text`."""
        api_key, window, amount, slots = text.split(_SEPARATOR)
        ensure(window in WINDOWS, "a stored budget has a known window")
        pairs = [one.split(":") for one in slots.split(",") if one]
        charged = tuple((int(slot), int(amount)) for slot, amount in pairs)
        return cls(api_key, Limit(cast(Window, window), int(amount)), charged)

    def at(self, at_us: int) -> "Line":
        """The line without what lies a whole window back."""
        first = _slot(self.limit.window, at_us) - SLOTS
        return self._replace(slots=tuple(one for one in self.slots if one[0] >= first))

    @property
    def spent(self) -> int:
        """What it counts, as of the last `at`."""
        return sum(amount for _, amount in self.slots)

    @property
    def resets_us(self) -> int | None:
        """When the oldest part of what it counts no longer does; None when that is never, or nothing is counted."""
        if self.limit.window == "total" or not self.slots:
            return None
        return (self.slots[0][0] + SLOTS + 1) * _SLOT_US[self.limit.window]

    def charged(self, amount: int, at_us: int) -> "Line":
        """The line with one more charge."""
        now, here = self.at(at_us), _slot(self.limit.window, at_us)
        # A clock that went back charges to the newest slot, so that slots stay in their order.
        slot = max(here, now.slots[-1][0]) if now.slots else here
        before = dict(now.slots)
        before[slot] = before.get(slot, 0) + amount
        return now._replace(slots=tuple(before.items()))


Lines = tuple[Line, ...]


def left(lines: Lines, spender: Spender, *, held: int, at_least: int, at_us: int) -> int | None:
    """How much more may be held for this key; None where nothing limits it. `held`: what its running calls hold.

    Raises:
        BudgetExceeded: less than `at_least`.
    """
    found: int | None = None
    for limit in spender.limits:
        line = line_of(lines, spender.api_key, limit, at_us)
        free = limit.amount - line.spent - held
        if free < at_least:
            raise BudgetExceeded(
                api_key=spender.api_key,
                window=limit.window,
                limit=limit.amount,
                spent=line.spent,
                held=held,
                required=at_least,
                resets_at=None if line.resets_us is None else to_rfc3339(line.resets_us),
            )
        found = free if found is None else min(found, free)
    return found


def line_of(lines: Lines, api_key: str, limit: Limit, at_us: int) -> Line:
    """The count of one budget at that time; nothing where it was never used."""
    for line in lines:
        if line.api_key == api_key and line.limit.window == limit.window:
            return line.at(at_us)._replace(limit=limit)
    return Line(api_key, limit)


def used(lines: Lines, spender: Spender, at_us: int, running: Collection[str] = ()) -> Lines:
    """The lines with those of a key that reserves, as its budgets are now, at the end. Those of keys with `running`
    calls stay, however many there are: they bound what these calls may still hold.
    """
    own = [line_of(lines, spender.api_key, limit, at_us) for limit in spender.limits]
    others = [one for one in lines if one.api_key != spender.api_key]
    idle = [one for one in others if one.api_key not in running]
    dropped = idle[: max(0, len(others) + len(own) - MOST_LINES)]
    return (*(one for one in others if one not in dropped), *own)


def charged(lines: Lines, api_key: str, amount: int, at_us: int) -> Lines:
    """The lines after a call of this key was charged for."""
    return tuple(one.charged(amount, at_us) if one.api_key == api_key else one for one in lines)


def last_spender(lines: Sequence[Line], api_key: str) -> Spender:
    """The key with the budgets that it last reserved under."""
    return Spender(api_key, tuple(one.limit for one in lines if one.api_key == api_key))


def _slot(window: Window, at_us: int) -> int:
    return at_us // _SLOT_US[window] if window != "total" else 0
