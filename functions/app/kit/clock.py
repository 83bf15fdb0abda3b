"""The only source of time. Other code gets a `Clock` as an argument, so that a simulation can replace it."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime.min.replace(tzinfo=UTC) - _EPOCH
_LATEST = datetime.max.replace(tzinfo=UTC) - _EPOCH


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


def from_rfc3339(text: str) -> int:
    """Microseconds of an RFC 3339 time with an offset, in the years 1 to 9999; raises ValueError for anything else."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time needs an offset, such as Z")
    since = at - _EPOCH
    if not _EARLIEST <= since <= _LATEST:
        raise ValueError("a time lies within the years 1 to 9999 in UTC")
    return since // timedelta(microseconds=1)


def minutes(count: int) -> int:
    """Microseconds of `count` minutes."""
    return count * 60_000_000


def seconds(count: int) -> int:
    """Microseconds of `count` seconds."""
    return count * 1_000_000
