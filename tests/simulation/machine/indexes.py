"""Sorted lists beside the stores in memory, so that a deep queue is asked as quickly as a shallow one.

What is found, and in which order, is what `support.firestore.queries` finds by looking at everything.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable

from app.kit.stores.documents import Document, Query
from support.firestore.queries import Rank, at, holds, rank, rank_of_path

Place = tuple[Rank, Rank, str]
"""Where a document stands: by its field's value, then by its path, which comes again as it is."""

_RANGE = frozenset({"<", "<=", "==", ">", ">="})
_BELOW = frozenset({"<", "<=", "=="})


class Keys:
    """The names of a node's children."""

    def __init__(self, names: Iterable[str]) -> None:
        self._sorted = sorted(names)

    def first(self, limit: int, start_at: str) -> list[str]:
        at = bisect_left(self._sorted, start_at)
        return self._sorted[at : at + limit]

    def note(self, name: str, *, was: bool, stays: bool) -> None:
        """A child may have come or gone."""
        if stays and not was:
            insort(self._sorted, name)
        elif was and not stays:
            del self._sorted[bisect_left(self._sorted, name)]


class FieldIndex:
    """The documents of a collection that have a field."""

    def __init__(self, field: str, documents: Iterable[Document]) -> None:
        self._field = field
        self._places: list[Place] = []
        self._documents: dict[str, Document] = {}
        for document in documents:
            self.replace(None, document)

    def replace(self, old: Document | None, new: Document | None) -> None:
        """A document came, changed or went."""
        if old is not None and (place := self._place(old)):
            del self._places[bisect_left(self._places, place)]
            del self._documents[old.path]
        if new is not None and (place := self._place(new)):
            insort(self._places, place)
            self._documents[new.path] = new

    def find(self, query: Query) -> list[Document]:
        """The documents of a query whose `index_of` is this index's field."""
        kind = rank(query.where[0].value)[0]
        tops = [rank(where.value) for where in query.where if where.op in _BELOW]
        found: list[Document] = []
        for index in range(bisect_right(self._places, _start(query, kind)), len(self._places)):
            value, _, path = self._places[index]
            if value[0] != kind or any(value > top for top in tops) or len(found) == query.limit:
                break
            document = self._documents[path]
            if all(holds(document, where) for where in query.where):
                found.append(document)
        return found

    def _place(self, document: Document) -> Place | None:
        there, value = at(document, self._field)
        return (rank(value), rank_of_path(document.path), document.path) if there else None


def index_of(query: Query) -> str | None:
    """The one field that a query asks about and is ordered by, upwards; None when there is no such field."""
    fields = {where.field for where in query.where}
    if query.group or query.limit is None or len(fields) != 1 or not all(one.op in _RANGE for one in query.where):
        return None
    (field,) = fields
    return field if tuple(query.whole_order) == (field, "__name__") else None


def _start(query: Query, kind: int) -> tuple[object, ...]:
    """What every place that is wanted stands behind. A shorter tuple stands before its continuations."""
    lowest: tuple[object, ...] = ((kind,),)
    if not query.start_after:
        return lowest
    value, *name = query.start_after
    path = f"{query.collection}/{name[0]}" if name else ""
    after: tuple[object, ...] = (rank(value), rank_of_path(path) if name else (_BEHIND_PATHS,), path)
    return max(lowest, after)


_BEHIND_PATHS = 99
