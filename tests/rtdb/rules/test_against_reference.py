"""Random expressions and random requests come out as two independent, naive implementations say."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from hypothesis import assume, settings
from hypothesis import given as examples
from hypothesis import strategies as st

from rtdb.rules.reference import Failed, Plain, Reference, Term, text
from rtdb.rules.world import Given, evaluate, keys_of, merged, read, write
from rtdb_emulator.rules import Json, Ruleset
from rtdb_emulator.rules.errors import RuleFailure

NAMES: Final = ["one", "two", "three", "none"]


def literals(values: st.SearchStrategy[Plain]) -> st.SearchStrategy[Term]:
    return values.map(lambda value: Term("literal", value=value))


LOOKUPS = st.builds(Term, st.sampled_from(["claim", "stored"]), value=st.sampled_from(NAMES))
NUMBERS = literals(st.sampled_from([0.0, 1.0, 2.0, 0.5, 10.0]))
STRINGS = literals(st.text("ab", max_size=3))
BOOLEANS = literals(st.booleans())


def joined(kinds: list[str], *parts: st.SearchStrategy[Term]) -> st.SearchStrategy[Term]:
    return st.builds(Term, st.sampled_from(kinds), st.tuples(*parts))


def deeper(depth: int) -> tuple[st.SearchStrategy[Term], st.SearchStrategy[Term], st.SearchStrategy[Term]]:
    """Strategies for what is, at upload, surely boolean, possibly a number, possibly a string."""
    if depth == 0:
        return BOOLEANS, NUMBERS | LOOKUPS, STRINGS | LOOKUPS
    truth, number, string = deeper(depth - 1)
    anything = truth | number | string
    truths = (
        joined(["&&", "||"], truth, truth)
        | joined(["not"], truth)
        | joined(["?"], truth, truth, truth)
        | joined(["==", "!="], anything, anything)
        | joined(["<", "<=", ">", ">="], number, number)
        | joined(["<", "<=", ">", ">="], string, string)
        | joined(["contains", "beginsWith", "endsWith"], string, string)
    )
    numbers = (
        joined(["+", "-", "*", "/", "%"], number, number)
        | joined(["negative"], number)
        | joined(["?"], truth, number, number)
        | joined(["length"], string)
    )
    strings = (
        joined(["+"], string, number | string)
        | joined(["+"], number | string, string)
        | joined(["replace"], string, string, string)
        | joined(["toUpperCase"], string)
        | joined(["?"], truth, string, string)
    )
    return truths | BOOLEANS, numbers | NUMBERS | LOOKUPS, strings | STRINGS | LOOKUPS


SCALARS: st.SearchStrategy[Plain] = st.sampled_from([None, True, False, 0.0, 1.0, 2.5, "", "a", "ab", "b"])
WORLDS: st.SearchStrategy[dict[str, Plain]] = st.dictionaries(st.sampled_from(NAMES[:3]), SCALARS)


@settings(max_examples=800, deadline=None)
@examples(deeper(4)[0], WORLDS, WORLDS)
def test_a_random_expression_has_the_value_of_the_reference(
    term: Term, claims: dict[str, Plain], stored: dict[str, Plain]
) -> None:
    expression = text(term)
    assume(len(expression) < 2_000)
    try:
        expected: Plain = Reference(claims, stored).value(term)
    except Failed:
        expected = None
    try:
        found: bool | None = evaluate(expression, Given(auth=dict(claims), root=dict(stored)))
    except RuleFailure:
        found = None
    assert found is expected, expression


@dataclass(frozen=True)
class Place:
    """What a condition of the naive decider may look at."""

    before: Json
    after: Json
    names: Mapping[str, str]


def present(data: Json) -> bool:
    return any(present(item) for item in data.values()) if isinstance(data, dict) else data is not None


CONDITIONS: Final[Mapping[str, Callable[[Place], bool]]] = {
    "true": lambda _: True,
    "false": lambda _: False,
    "data.exists()": lambda place: present(place.before),
    "newData.exists()": lambda place: present(place.after),
    "newData.isNumber()": lambda place: isinstance(place.after, int),
    "newData.hasChild('a')": lambda place: isinstance(place.after, dict) and present(place.after.get("a")),
    "!data.hasChild('b')": lambda place: not (isinstance(place.before, dict) and present(place.before.get("b"))),
    "auth.uid == 'a'": lambda _: False,
}
BOUND: Final[Mapping[str, Callable[[Place], bool]]] = {
    "$x == 'a'": lambda place: place.names["$x"] == "a",
    "$y != 'b'": lambda place: place.names["$y"] != "b",
}
Rules = dict[str, "str | Rules"]


def rules_nodes(depth: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[Rules]:
    known = [*CONDITIONS, *(condition for condition in BOUND if condition[:2] in names)]
    fields: dict[str, st.SearchStrategy[str | Rules]] = {
        ".write": st.sampled_from(known),
        ".validate": st.sampled_from(known),
    }
    if depth:
        fields |= {key: rules_nodes(depth - 1, names) for key in ("a", "b")}
        variable = next((name for name in ("$x", "$y") if name not in names), None)
        if variable:
            fields[variable] = rules_nodes(depth - 1, (*names, variable))
    return st.fixed_dictionaries({}, optional=fields)


def below(data: Json, key: str) -> Json:
    return data.get(key) if isinstance(data, dict) else None


def condition_holds(rules: Rules, kind: str, place: Place) -> bool | None:
    condition = rules.get(kind)
    return {**CONDITIONS, **BOUND}[condition](place) if isinstance(condition, str) else None


def descend(rules: Rules, place: Place, key: str) -> tuple[Rules, Place] | None:
    for name in (key, "$x", "$y"):
        found = rules.get(name)
        if isinstance(found, dict):
            names = {**place.names, name: key} if name.startswith("$") else place.names
            return found, Place(below(place.before, key), below(place.after, key), names)
    return None


def way(rules: Rules, place: Place, path: tuple[str, ...]) -> Iterator[tuple[int, Rules, Place]]:
    yield 0, rules, place
    for depth, key in enumerate(path, start=1):
        step = descend(rules, place, key)
        if step is None:
            return
        rules, place = step
        yield depth, rules, place


def valid_below(rules: Rules, place: Place) -> bool:
    if not present(place.after):
        return True
    if condition_holds(rules, ".validate", place) is False:
        return False
    children = place.after if isinstance(place.after, dict) else {}
    steps = [descend(rules, place, key) for key in children]
    return all(valid_below(*step) for step in steps if step is not None)


def naive_decision(rules: Rules, place: Place, path: tuple[str, ...]) -> bool:
    steps = list(way(rules, place, path))
    if not any(condition_holds(found, ".write", here) for _, found, here in steps):
        return False
    for depth, found, here in steps:
        if depth == len(path) and not valid_below(found, here):
            return False
        if present(here.after) and condition_holds(found, ".validate", here) is False:
            return False
    return True


KEYS = st.sampled_from(["a", "b", "c"])
TREES: st.SearchStrategy[Json] = st.recursive(
    st.sampled_from([None, 1, "s"]), lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)
PATHS = st.lists(KEYS, max_size=3).map("/".join)


@settings(max_examples=600, deadline=None)
@examples(rules_nodes(3), TREES, PATHS, TREES)
def test_a_random_write_is_decided_as_the_naive_decider_does(
    rules: Rules, before: Json, path: str, value: Json
) -> None:
    ruleset = Ruleset.parse(json.dumps({"rules": rules}))
    after = merged(before, keys_of(path), value)
    decision = write(ruleset, {path: value}, Given(root=before))
    assert decision.allowed is naive_decision(rules, Place(before, after, {}), keys_of(path)), decision.reason


@settings(max_examples=200, deadline=None)
@examples(rules_nodes(2), TREES, st.dictionaries(st.sampled_from(["a", "b", "c/a", "c/b"]), TREES, max_size=4))
def test_an_update_is_allowed_if_each_of_its_paths_is(rules: Rules, before: Json, changes: dict[str, Json]) -> None:
    ruleset = Ruleset.parse(json.dumps({"rules": rules}))
    after = before
    for path, value in changes.items():
        after = merged(after, keys_of(path), value)
    place = Place(before, after, {})
    expected = all(naive_decision(rules, place, keys_of(path)) for path in changes)
    assert write(ruleset, changes, Given(root=before)).allowed is expected


@settings(max_examples=200, deadline=None)
@examples(rules_nodes(3), TREES, PATHS)
def test_what_may_be_read_may_be_read_below(rules: Rules, root: Json, path: str) -> None:
    readable = json.loads(json.dumps(rules).replace("newData", "data").replace(".write", ".read"))
    ruleset = Ruleset.parse(json.dumps({"rules": readable}))
    if read(ruleset, path, Given(root=root)).allowed:
        assert read(ruleset, path + "/a/b", Given(root=root)).allowed
