"""Counts the requests of one subject within one minute, on one instance and through the store on all of them. Pure.

An instance lets a twentieth of the limit pass before it asks: an ordinary caller costs no call of the store. After that
it takes its next part, a tenth of the limit, out of the shared count in advance, so that one call serves many requests.
Together all instances let no more pass than the limit, and what each of them did not need to tell.
"""

from typing import Final, NamedTuple

from app.kit.clock import minutes
from app.kit.stores.realtime import Json

WINDOW_US: Final = minutes(1)
_UNTOLD: Final = 20
_AHEAD: Final = 10


class Count(NamedTuple):
    """`used`: requests that this instance let pass. `told`: these, and those taken in advance, as they stand in the
    shared count. `others`: what else stood there when it was last asked.
    """

    used: int = 0
    told: int = 0
    others: int = 0

    def left(self, limit: int) -> int:
        """How many more may pass; negative when more than the limit came."""
        return limit - self.others - self.used

    def must_ask(self, limit: int) -> bool:
        """Whether the store must be asked before the last request passes."""
        return self.used > max(self.told, limit // _UNTOLD)

    def asked(self, stored: Json, limit: int) -> "Count":
        """The count after the store was asked, which then holds `shared`. What is no count there counts as nothing."""
        known = stored if isinstance(stored, int) and not isinstance(stored, bool) else 0
        told = self._replace(others=max(0, known - self.told))
        ahead = max(0, min(limit // _AHEAD, told.left(limit)))
        return told._replace(told=self.used + ahead)

    @property
    def shared(self) -> int:
        """What the store holds after it was asked."""
        return self.others + self.told


def window_of(subject: str, at_us: int) -> tuple[int, int]:
    """The number of the minute that a time lies in, and when it ends. Each subject's minutes begin at another second,
    so that not everybody comes back at the same one.
    """
    shift = sum(subject.encode()) * 7_919_000 % WINDOW_US
    number = (at_us + shift) // WINDOW_US
    return number, (number + 1) * WINDOW_US - shift
