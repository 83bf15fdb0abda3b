"""Which queries Firestore answers with the indexes it makes by itself and those of firestore.indexes.json.

Sources: https://firebase.google.com/docs/firestore/query-data/index-overview and the format of the file,
https://firebase.google.com/docs/reference/firestore/indexes. The emulator answers every query.

The rules, for one disjunction of a query (an `in` is an equality with each of its values):

- Conditions of equality and `array_contains` without an order use one index for each field, merged. The order by the
  document's name in the end is every index's own.
- With an order, or ranges, every index that is used must end with the fields of the whole order in their directions,
  and begin with fields of the equalities, in any order and direction; several such indexes are merged.
- Indexes of single fields exist for a collection, upwards, downwards and for `array_contains`, and for a group of
  collections not at all; an override of the field, of a map around it or of `*` replaces both.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from app.kit.stores.documents import Query

Field = tuple[str, str]
"""A name, and how an index holds it: ASCENDING, DESCENDING or CONTAINS."""
Condition = tuple[str, str]
"""A field, and == or CONTAINS."""

_UP: Final = ("__name__", "ASCENDING")
_DOWN: Final = ("__name__", "DESCENDING")


class Indexes:
    """All indexes of a database, from the contents of a firestore.indexes.json."""

    def __init__(self, configured: Mapping[str, Any]) -> None:
        self._composites = [
            (each["collectionGroup"], each["queryScope"], _with_name([*map(_field, each["fields"])]))
            for each in configured["indexes"]
        ]
        self._overrides = {
            (each["collectionGroup"], each["fieldPath"]): {(_mode(one), one["queryScope"]) for one in each["indexes"]}
            for each in configured["fieldOverrides"]
        }
        self._served: dict[tuple[object, ...], bool] = {}

    def serve(self, query: Query) -> bool:
        """Whether Firestore answers a query."""
        conditions = frozenset(_conditions(query))
        equal = {field for field, _ in conditions}
        order = tuple(one for one in _order(query) if one[0] not in equal)
        group, scope = query.collection.rpartition("/")[2], "COLLECTION_GROUP" if query.group else "COLLECTION"
        asked = conditions, order, group, scope
        if asked not in self._served:
            begins = [begin for begin in self._begins(group, scope, order, equal) if begin <= conditions]
            by_documents = not conditions and order == (_UP,)
            self._served[asked] = by_documents or (bool(begins) and frozenset().union(*begins) == conditions)
        return self._served[asked]

    def _begins(
        self, group: str, scope: str, order: Sequence[Field], equal: set[str]
    ) -> Iterator[frozenset[Condition]]:
        """The conditions that each index serves which ends with this order."""
        fields = [fields for one, its_scope, fields in self._composites if (one, its_scope) == (group, scope)]
        for name in {*equal, *(name for name, _ in order)}:
            fields += self._of_one_field(group, name, scope)
        for each in fields:
            if each[-len(order) :] == order:
                yield frozenset((name, mode if mode == "CONTAINS" else "==") for name, mode in each[: -len(order)])

    def _of_one_field(self, group: str, name: str, scope: str) -> Iterator[tuple[Field, ...]]:
        for mode in self._modes(group, name, scope):
            yield (name, mode), _DOWN if mode == "DESCENDING" else _UP

    def _modes(self, group: str, name: str, scope: str) -> list[str]:
        """How a field is indexed by itself: an override of a map holds for what is in it."""
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            override = self._overrides.get((group, ".".join(parts[:length])))
            if override is not None:
                return [mode for mode, its_scope in override if its_scope == scope]
        override = self._overrides.get((group, "*"))
        if override is not None:
            return [mode for mode, its_scope in override if its_scope == scope]
        return ["ASCENDING", "DESCENDING", "CONTAINS"] if scope == "COLLECTION" else []


def _field(configured: Mapping[str, str]) -> Field:
    return configured["fieldPath"], _mode(configured)


def _mode(configured: Mapping[str, str]) -> str:
    return configured.get("order") or configured["arrayConfig"]


def _with_name(fields: Sequence[Field]) -> tuple[Field, ...]:
    if fields[-1][0] == "__name__":
        return tuple(fields)
    return (*fields, _DOWN if fields[-1][1] == "DESCENDING" else _UP)


def _conditions(query: Query) -> Iterator[Condition]:
    for where in query.where:
        if where.op == "array_contains":
            yield where.field, "CONTAINS"
        elif where.op in ("==", "in"):
            yield where.field, "=="


def _order(query: Query) -> Iterator[Field]:
    for field in query.whole_order:
        yield field.lstrip("-"), "DESCENDING" if field.startswith("-") else "ASCENDING"


CONFIGURED: Final = Indexes(json.loads((Path(__file__).parents[3] / "firestore.indexes.json").read_text()))
