"""Lists of stored rows, read in pages: a row that cannot be read is passed over and listed, and ends no page.

Where a page ended is told by the row as it is stored, not by what was read of it. Knows nothing of what the rows are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from app.kit.errors import InvariantViolation
from app.kit.stores.documents import Document, Documents, Query, Value
from app.kit.stores.rows import GuardedRows, place_of_row

MOST_READ: Final = 1_000
"""Rows that are read for one page at most, while none of them can be shown."""

T = TypeVar("T")
S = TypeVar("S")
Place = tuple[Value, ...]
Fits = Callable[[Place], bool]


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """A page. It may be short, or empty, while rows cannot be read; nothing follows exactly when `after` is None."""

    items: list[T]
    after: Place | None


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """The rows of `query`, as `read` understands them; it gives None for a row that is not shown. `job` names the
    document of broken rows in which those that it cannot read are listed.
    """

    documents: Documents
    rows: GuardedRows
    job: str
    query: Query
    read: Callable[[Document], T | None]

    def shown(self, show: Callable[[T], S]) -> "Listing[S]":
        """The same list of what `show` makes of each item. An item for which it fails counts as broken."""

        def read(row: Document) -> S | None:
            found = self.read(row)
            return None if found is None else show(found)

        return Listing(self.documents, self.rows, self.job, self.query, read)

    def page(self, limit: int, after: Place = (), fits: Fits = lambda _: True) -> Listed[T]:
        """At most `limit` items behind `after`. `fits` says whether a cursor can name a row's place; a row whose place
        it cannot is broken.
        """
        items: list[T] = []
        read = 0
        while True:
            found = self.documents.query(replace(self.query, limit=limit + 1, start_after=after))
            page = _until_a_place(self.query, found[:limit], fits)
            items += [one for one in self.rows.decoded(self.job, page, self._guarded(fits)) if one is not None]
            read += len(page)
            if len(found) == len(page):
                return Listed(items, None)
            after = place_of_row(self.query, page[-1])
            if (items or read >= MOST_READ) and fits(after):
                return Listed(items, after)

    def first(self, most: int) -> list[T]:
        """The first `most` items, behind whatever cannot be read."""
        listed = self.page(most)
        items = listed.items
        while listed.after is not None and len(items) < most:
            listed = self.page(most - len(items), listed.after)
            items += listed.items
        return items

    def _guarded(self, fits: Fits) -> Callable[[Document], T | None]:
        def read(row: Document) -> T | None:
            if not fits(place_of_row(self.query, row)):
                raise InvariantViolation("its place in a list cannot be read")
            return self.read(row)

        return read


def _until_a_place(query: Query, page: Sequence[Document], fits: Fits) -> Sequence[Document]:
    """The page up to its last row whose place fits; all of it when there is none."""
    for end in range(len(page), 0, -1):
        if fits(place_of_row(query, page[end - 1])):
            return page[:end]
    return page
