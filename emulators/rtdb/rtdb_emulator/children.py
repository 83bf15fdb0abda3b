"""An immutable map of children that is cheap to change, however many there are.

Few children live in a plain dict that is copied on change. Many live in a trie of hash buckets (32 ways, buckets of at
most 64), of which a change copies one bucket and the handful of lists above it. A wide map that was asked for its
keys in order keeps them so. Knows nothing about nodes, nor which order that is.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeAlias, TypeVar

V = TypeVar("V")

SMALL = 64
_BITS = 5
_WAYS = 1 << _BITS
_BUCKET = 64
_DEEPEST = 60  # beyond this many bits a 64-bit hash has nothing left to tell keys apart

Place: TypeAlias = tuple[tuple[int, float, bytes], tuple[int, int, int, bytes]]
"""Where a key stands in the order."""

_Slot: TypeAlias = "dict[str, V] | list[_Slot[V]]"


class Wide(Generic[V]):
    """A persistent hash trie. Never changed after it was made; only the sorted keys move on to the newest."""

    __slots__ = ("_count", "_order", "_slot")

    def __init__(self, slot: "_Slot[V]", count: int) -> None:
        self._slot = slot
        self._count = count
        self._order: _Order | None = None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        for bucket in _buckets(self._slot):
            yield from bucket

    def __contains__(self, key: str) -> bool:
        return key in _bucket_of(self._slot, key)

    def get(self, key: str) -> V | None:
        return _bucket_of(self._slot, key).get(key)

    def items(self) -> Iterator[tuple[str, V]]:
        for bucket in _buckets(self._slot):
            yield from bucket.items()

    def values(self) -> Iterator[V]:
        for bucket in _buckets(self._slot):
            yield from bucket.values()

    def ordered(self, place: Callable[[str], Place]) -> list[tuple[Place, str]]:
        """All keys in the order of their places; not to be changed. `place` is the same function at every call.

        Sorted at the first call; a map made from this one takes the list along and moves one key in it. So one that is
        asked again after another was made from it, as a refused write does, sorts again.
        """
        if self._order is None:
            self._order = _Order(place, sorted((place(key), key) for key in self))
        return self._order.entries

    def _with(self, key: str, value: V) -> "Wide[V]":
        added = 0 if key in self else 1
        changed = Wide(_set(self._slot, key, value, 0), self._count + added)
        self._hand_on(changed)
        if added and changed._order is not None:
            changed._order.add(key)
        return changed

    def _without(self, key: str) -> "Wide[V]":
        changed = Wide(_remove(self._slot, key, 0), self._count - 1)
        self._hand_on(changed)
        if changed._order is not None:
            changed._order.remove(key)
        return changed

    def _hand_on(self, changed: "Wide[V]") -> None:
        changed._order, self._order = self._order, None


class _Order:
    """Keys, sorted by place."""

    __slots__ = ("_place", "entries")

    def __init__(self, place: Callable[[str], Place], entries: list[tuple[Place, str]]) -> None:
        self._place = place
        self.entries = entries

    def add(self, key: str) -> None:
        insort(self.entries, (self._place(key), key))

    def remove(self, key: str) -> None:
        del self.entries[bisect_left(self.entries, (self._place(key), key))]


Children: TypeAlias = dict[str, V] | Wide[V]


def make(items: dict[str, V]) -> Children[V]:
    """The cheapest map for `items`, which the caller gives away."""
    return items if len(items) <= SMALL else Wide(_build(items.items(), 0), len(items))


def with_child(children: Children[V], key: str, value: V) -> Children[V]:
    """A map in which `key` is `value`."""
    if isinstance(children, Wide):
        return children._with(key, value)
    copy = children.copy()
    copy[key] = value
    return make(copy)


def without_child(children: Children[V], key: str) -> Children[V]:
    """A map without `key`, which must be in it."""
    if isinstance(children, Wide):
        smaller = children._without(key)
        return dict(smaller.items()) if len(smaller) <= SMALL // 2 else smaller
    copy = children.copy()
    del copy[key]
    return copy


def as_dict(children: Children[V]) -> dict[str, V]:
    """The same children as a dict, which the caller must not change."""
    return dict(children.items()) if isinstance(children, Wide) else children


def _bucket_of(slot: "_Slot[V]", key: str) -> dict[str, V]:
    bits = hash(key)
    while isinstance(slot, list):
        slot = slot[bits & (_WAYS - 1)]
        bits >>= _BITS
    return slot


def _buckets(slot: "_Slot[V]") -> Iterator[dict[str, V]]:
    if isinstance(slot, list):
        for below in slot:
            yield from _buckets(below)
    else:
        yield slot


def _build(items: Iterable[tuple[str, V]], shift: int) -> "_Slot[V]":
    ways: list[dict[str, V]] = [{} for _ in range(_WAYS)]
    for key, value in items:
        ways[(hash(key) >> shift) & (_WAYS - 1)][key] = value
    return [_split_if_full(way, shift + _BITS) for way in ways]


def _split_if_full(bucket: dict[str, V], shift: int) -> "_Slot[V]":
    if len(bucket) <= _BUCKET or shift > _DEEPEST:
        return bucket
    return _build(bucket.items(), shift)


def _set(slot: "_Slot[V]", key: str, value: V, shift: int) -> "_Slot[V]":
    if isinstance(slot, list):
        way = (hash(key) >> shift) & (_WAYS - 1)
        copy = slot.copy()
        copy[way] = _set(slot[way], key, value, shift + _BITS)
        return copy
    bucket = slot.copy()
    bucket[key] = value
    return _split_if_full(bucket, shift)


def _remove(slot: "_Slot[V]", key: str, shift: int) -> "_Slot[V]":
    if isinstance(slot, list):
        way = (hash(key) >> shift) & (_WAYS - 1)
        copy = slot.copy()
        copy[way] = _remove(slot[way], key, shift + _BITS)
        return copy
    bucket = slot.copy()
    del bucket[key]
    return bucket
