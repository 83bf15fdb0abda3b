"""Pages of lists: one rule and one kind of cursor for all of them.

A list takes `?limit=` (1 to 100, else 20) and `?cursor=`, and answers `{"items": [...], "next_cursor": ...}`; see
`PageParameters` and `Page`. `next_cursor` is null exactly when nothing follows, so a route asks for one item more than
it shows. Rows that cannot be read make a page shorter, or empty, and never the last one. A cursor holds where the page
before ended, in one spelling:

    base64url, without padding, of the JSON [version, list, digest of the question, part of the position, ...]

The question is who asks, and with which filters: a cursor is refused by another list, for another user and with other
filters. It is not signed, because nothing is won by making one up. Each part is checked by the shape that the list
declares, and every query is bounded by the path of its caller, or by the caller's role, and never by a cursor: a
made-up one is at most another place in a list that its maker may read from the start. Firestore is sent no value that
it refuses.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from app.kit.clock import from_rfc3339, to_rfc3339
from app.kit.errors import Invalid
from app.kit.stores.listing import Listing

Position = TypeVar("Position", bound=tuple[int | str, ...])
Found = TypeVar("Found")
Shown = TypeVar("Shown")

Shape = Callable[[Sequence[object]], Position]
"""Reads the parts of a position, as they came from JSON; raises ValueError when they are none of this list."""

_VERSION: Final = 1
_ID: Final = re.compile(r"(?!__)[A-Za-z0-9_-]{1,128}", re.ASCII)
"""An id becomes a path. Firestore keeps `__...__` for itself."""
_LEAST: Final = -(2**63)
_MOST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Cursors(Generic[Position]):
    """The cursors of `list` for one `question`: whoever asks, and the filters."""

    list: str
    shape: Shape[Position]
    question: tuple[int | str | None, ...] = ()

    def read(self, cursor: str | None) -> Position | None:
        """The position that a cursor holds; None for the first page.

        Raises:
            Invalid: this list gave out no such cursor for this question.
        """
        if cursor is None:
            return None
        try:
            parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
            position = self.shape(parts[3:]) if isinstance(parts, list) else None
        except (ValueError, RecursionError):
            position = None
        # A cursor is valid only if writing its position again gives the same text.
        if position is None or self.write(position) != cursor:
            raise Invalid("This list gave out no such cursor for this question. Start again without one.")
        return position

    def write(self, position: Position) -> str:
        """The cursor behind `position`."""
        digest = hashlib.sha256(json.dumps(self.question).encode()).hexdigest()[:16]
        parts = json.dumps([_VERSION, self.list, digest, *position], separators=(",", ":"))
        return base64.urlsafe_b64encode(parts.encode()).decode().rstrip("=")

    def listed(
        self, listing: Listing[Found], show: Callable[[Found], Shown], limit: int, cursor: str | None
    ) -> tuple[Sequence[Shown], str | None]:
        """A page as `show` makes its items, and `next_cursor`. What cannot be read or shown is passed over.

        Raises:
            Invalid: as `read`.
        """
        found = listing.shown(show).page(limit, self.read(cursor) or (), self._fits)
        return found.items, None if found.after is None else self.write(self.shape(found.after))

    def _fits(self, place: Sequence[object]) -> bool:
        try:
            self.shape(place)
        except ValueError:
            return False
        return True

    def page(
        self, found: Sequence[Found], limit: int, place: Callable[[Found], Position]
    ) -> tuple[Sequence[Found], str | None]:
        """The items to show of what was found by asking for `limit + 1`, and `next_cursor`."""
        shown = found[:limit]
        return shown, self.write(place(shown[-1])) if len(found) > limit else None


def time_and_id(parts: Sequence[object]) -> tuple[str, str]:
    """The shape of a list in order of time."""
    at, id = parts
    return as_time(at), as_id(id)


def as_time(value: object) -> str:
    """A time as documents store it; raises ValueError for any other value."""
    if not isinstance(value, str) or to_rfc3339(from_rfc3339(value)) != value:
        raise ValueError("no time in the spelling of documents")
    return value


def as_id(value: object) -> str:
    """An id of a document; raises ValueError for any other value."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError("no id")
    return value


def as_integer(value: object, *, least: int = _LEAST, most: int = _MOST) -> int:
    """An integer within bounds, by default what Firestore can hold; raises ValueError for any other value."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError("no integer within the bounds")
    return value
