"""The only source of time. Other code gets a `Clock` as an argument, so that a simulation can replace it."""

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime.min.replace(tzinfo=UTC) - _EPOCH
_LATEST = datetime.max.replace(tzinfo=UTC) - _EPOCH
_DAY: Final = timedelta(days=1)
_MICROSECOND: Final = timedelta(microseconds=1)

_DATE: Final = r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]"
_CLOCK: Final = r"((?:[01][0-9]|2[0-3])):([0-5][0-9]):([0-5][0-9]|60)(?:\.([0-9]+))?"
_RFC_3339: Final = re.compile(_DATE + _CLOCK + r"([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])")
EARLIEST_US: Final = _EARLIEST // _MICROSECOND
"""The beginning of the year 1: no time before it can be written."""
_OURS: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z")
"""How documents spell a time; read with every message, hence without the work that other spellings need."""
_WITHOUT_OFFSET: Final = re.compile(_DATE + _CLOCK + r"(?: [0-9]{2}:[0-9]{2})?")
"""Also with the space that a plus sign becomes in an address."""
_AT_24: Final = re.compile(_DATE + "24:")


class Clock(Protocol):
    """Wall time. Microseconds since 1970 in UTC, the precision that Firestore keeps (T-52)."""

    def now_us(self) -> int: ...


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1000


def to_rfc3339(at_us: int) -> str:
    """`2026-11-21T08:30:00.000250Z`: fixed width, so that text order is time order."""
    return (_EPOCH + timedelta(microseconds=at_us)).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def optional_rfc3339(at_us: int | None) -> str | None:
    """As `to_rfc3339`; None stays None."""
    return None if at_us is None else to_rfc3339(at_us)


def is_stored_time(text: str) -> bool:
    """Whether it is a time as `to_rfc3339` spells it."""
    try:
        from_rfc3339(text)
    except ValueError:
        return False
    return _OURS.fullmatch(text) is not None


def from_rfc3339(text: str) -> int:
    """Microseconds of an RFC 3339 time in the years 1 to 9999 in UTC; raises ValueError for any other text.

    Every spelling of section 5.6 is read: `t` and `z`, a space between date and time, any number of decimals (what is
    finer than a microsecond is cut off), any offset. A leap second counts as the first second of the next day, as Unix
    counts it.
    """
    if _OURS.fullmatch(text):
        return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
    found = _RFC_3339.fullmatch(text)
    if found is None:
        raise ValueError(_what_is_wrong(text))
    date, hour, rest, second, decimals, offset = found.groups()
    leaps = second == "60"
    at = datetime.fromisoformat(f"{date}T{hour}:{rest}:{'59' if leaps else second}{offset.upper()}")
    since = at - _EPOCH + timedelta(seconds=leaps)
    if not _EARLIEST <= since <= _LATEST:
        raise ValueError("a time lies within the years 1 to 9999 in UTC")
    if leaps and (since % _DAY or (_EPOCH + since).day != 1):
        raise ValueError("a leap second is the last second of a month in UTC")
    return since // _MICROSECOND + int((decimals or "")[:6].ljust(6, "0"))


def _what_is_wrong(text: str) -> str:
    if _WITHOUT_OFFSET.fullmatch(text):
        return "a time needs an offset, such as Z or +01:00 (in an address, a plus sign is written %2B)"
    if _AT_24.match(text):
        return "the last hour of a day is 23; midnight is 00:00 of the next day"
    return "a time is written as RFC 3339 has it, such as 2026-11-21T08:30:00Z"


def minutes(count: int) -> int:
    """Microseconds of `count` minutes."""
    return count * 60_000_000


def seconds(count: int) -> int:
    """Microseconds of `count` seconds."""
    return count * 1_000_000
