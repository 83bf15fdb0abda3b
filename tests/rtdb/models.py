"""A plain model of the database: nested dicts and no cleverness, to compare the real one with."""

import random
import re
from copy import deepcopy
from functools import cmp_to_key
from typing import Any

from hypothesis import strategies as st

Model = Any  # a scalar, None, or a dict of models

_INTEGER = re.compile(r"-?0*[0-9]{1,10}\Z")


def put(tree: Model, path: tuple[str, ...], value: Model) -> Model:
    """The tree with `value` at `path`; empty nodes vanish."""
    if not path:
        return deepcopy(value) if value != {} else None
    members = dict(tree) if isinstance(tree, dict) else {}
    below = put(members.get(path[0]), path[1:], value)
    if below is None:
        members.pop(path[0], None)
        return members or (tree if not isinstance(tree, dict) else None)
    return {**members, path[0]: below}


def get(tree: Model, path: tuple[str, ...]) -> Model:
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def canonical(value: Model) -> str:
    """Text that is equal only for equal values: True is not 1 here."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key!r}:{canonical(value[key])}" for key in sorted(value)) + "}"
    return repr(value)


def compare_keys(one: str, other: str) -> int:
    """The order of keys, spelled out."""
    a, b = _integer(one), _integer(other)
    if a is not None and b is not None:
        return _sign(a, b) or _sign(len(one), len(other))
    if a is not None or b is not None:
        return -1 if a is not None else 1
    return _sign(one.encode("utf-16-be"), other.encode("utf-16-be"))


def sorted_keys(tree: Model) -> list[str]:
    return sorted(tree, key=cmp_to_key(compare_keys)) if isinstance(tree, dict) else []


def _integer(key: str) -> int | None:
    if not _INTEGER.match(key):
        return None
    number = int(key)
    return number if -(2**31) <= number < 2**31 else None


def _sign(a: Any, b: Any) -> int:
    return int(a > b) - int(a < b)


KEYS = st.one_of(
    st.sampled_from(["a", "b", "c", "1", "01", "10", "-5", "é", "🐵", "￮"]),
    st.text(st.characters(exclude_characters=".$#[]/", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6),
)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: not x.is_integer()),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
TREES = st.recursive(SCALARS, lambda below: st.dictionaries(KEYS, below, min_size=1, max_size=4), max_leaves=12)
SMALL_KEYS = st.sampled_from(["a", "b", "c", "1", "2"])
PATHS = st.lists(SMALL_KEYS, max_size=3).map(tuple)
VALUES = st.one_of(
    st.none(),
    st.integers(-3, 3),
    st.booleans(),
    st.sampled_from(["x", "y"]),
    st.recursive(
        st.integers(0, 3), lambda below: st.dictionaries(SMALL_KEYS, below, min_size=1, max_size=3), max_leaves=5
    ),
)


def random_key(rng: random.Random) -> str:
    return rng.choice(["a", "b", "c", "d", "0", "1", "2", "10", "k" + str(rng.randrange(20))])
