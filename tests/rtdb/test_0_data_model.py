"""The data model: nodes, JSON in and out, order, hash, server values, push ids, multi-path updates."""

import random
from collections.abc import Sequence
from typing import Final, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtdb import models
from rtdb.harness import Namespace
from rtdb_emulator import tree
from rtdb_emulator.errors import InvalidData, InvalidPath, TooBig
from rtdb_emulator.json_text import Json, MalformedJson, loads
from rtdb_emulator.node_json import export_value, read_node, val_value
from rtdb_emulator.ordering import key_order, value_order
from rtdb_emulator.paths import parse_path
from rtdb_emulator.pushid import ALPHABET, PushIds
from rtdb_emulator.snapshot_hash import snapshot_hash
from rtdb_emulator.tree import Node
from rtdb_emulator.writes import Moment, read_put, read_update

T = TypeVar("T")
NOW: Final = 1_700_000_000_000


def node(data: Json, existing: Json = None) -> Node:
    before = None if existing is None else node(existing)
    return read_node(data, existing=before, now_ms=NOW)


class TestNodes:
    """What a node is: keys, leaves and their priorities, depth and size."""

    @pytest.mark.parametrize("nothing", [None, {}, [], {"a": None}, {"a": {"b": {}}}, [None, []], {".priority": 3}])
    def test_what_is_empty_does_not_exist(self, nothing: Json) -> None:
        assert node(nothing) is None

    def test_a_node_whose_last_child_goes_disappears_with_its_empty_ancestors(self) -> None:
        root = node({"a": {"b": {"c": 1}}, "x": 1})
        assert export_value(tree.put(root, ("a", "b", "c"), None)) == {"x": 1}

    def test_a_child_below_a_leaf_replaces_it_and_its_priority_stays(self) -> None:
        root = node({"a": {".value": 1, ".priority": 7}})
        assert export_value(tree.put(root, ("a", "b"), 2)) == {"a": {".priority": 7, "b": 2}}

    def test_null_below_a_leaf_changes_nothing(self) -> None:
        root = node({"a": 1})
        assert tree.put(root, ("a", "b", "c"), None) is root

    def test_a_plain_value_clears_the_priority_and_an_update_of_a_child_does_not(self) -> None:
        moment = Moment(node({"a": {".priority": 7, "b": 1}}), NOW)
        assert export_value(read_put("a", {"b": 2}, moment).apply(moment.root)) == {"a": {"b": 2}}
        updated = read_update("a", {"b": 2}, moment).apply(moment.root)
        assert export_value(updated) == {"a": {".priority": 7, "b": 2}}

    def test_setting_a_priority_alone(self) -> None:
        moment = Moment(node({"a": {"b": 1}, "c": 2}), NOW)
        assert export_value(read_put("a/.priority", 3, moment).apply(moment.root)) == {
            "a": {".priority": 3, "b": 1},
            "c": 2,
        }
        assert read_put("none/.priority", 3, moment).apply(moment.root) is moment.root

    @given(models.TREES, models.PATHS, models.VALUES)
    def test_a_put_does_what_the_model_does(self, before: Json, path: tuple[str, ...], value: Json) -> None:
        after = tree.put(node(before), path, node(value))
        assert export_value(after) == models.put(before, path, export_value(node(value)))

    @given(models.TREES, models.PATHS)
    def test_a_put_of_the_same_value_changes_nothing(self, before: Json, path: tuple[str, ...]) -> None:
        root = node(before)
        assert tree.put(root, path, node(export_value(tree.get(root, path)))) is root

    @given(models.TREES, models.TREES)
    def test_identity_means_equality(self, before: Json, after: Json) -> None:
        old = node(before)
        new = tree.put(old, (), node(after))
        assert (new is old) == (models.canonical(before) == models.canonical(after))
        for key in set(tree.keys(old)) & set(tree.keys(new)):
            same = models.canonical(export_value(tree.child(old, key))) == models.canonical(
                export_value(tree.child(new, key))
            )
            assert (tree.child(old, key) is tree.child(new, key)) == same


def shuffled(values: Sequence[T]) -> list[T]:
    return random.Random(1).sample(values, len(values))


class TestJsonIn:
    """What a client may send as data."""

    def test_arrays_become_objects_without_their_nulls(self) -> None:
        assert export_value(node({"l": ["a", None, "c"]})) == {"l": {"0": "a", "2": "c"}}

    def test_value_and_priority(self) -> None:
        assert export_value(node({".value": "x", ".priority": 3})) == {".value": "x", ".priority": 3}
        assert export_value(node({".value": "x"})) == "x"
        assert export_value(node({".priority": "p", "k": 1})) == {".priority": "p", "k": 1}
        assert export_value(node({".value": None, ".priority": "p", "k": 1})) == {".priority": "p", "k": 1}

    @pytest.mark.parametrize(
        "data",
        [
            {".value": 1, "k": 2},
            {"": 1},
            {"a.b": 1},
            {"a": {"$": 1}},
            {"#": 1},
            {"[": 1},
            {"]": 1},
            {"a/b": 1},
            {"\x00": 1},
            {"\x1f": 1},
            {"\x7f": 1},
            {".foo": 1},
            {".sv": "nonsense"},
            {".sv": {"increment": "1"}},
            {".sv": {"increment": True}},
            {".value": 1, ".priority": True},
            {".value": 1, ".priority": {}},
            {"k" * 769: 1},
            {"é" * 385: 1},
        ],
        ids=repr,
    )
    def test_what_cannot_be_stored(self, data: Json) -> None:
        with pytest.raises(InvalidData):
            node(data)

    def test_the_longest_key_and_the_deepest_tree(self) -> None:
        assert node({"k" * 768: 1, "é" * 384: 1}) is not None
        deep: Json = 1
        for _ in range(32):
            deep = {"d": deep}
        assert node(deep) is not None
        with pytest.raises(InvalidData):
            node({"d": deep})
        with pytest.raises(InvalidPath):
            parse_path("/".join("d" * 33))

    def test_the_longest_string(self) -> None:
        assert node("x" * 10 * 1024 * 1024) is not None
        with pytest.raises(TooBig):
            node("é" * (5 * 1024 * 1024) + "x")

    def test_the_numbers_have_one_form(self) -> None:
        assert [repr(node(x)) for x in (1.0, -3.0, 2.0**53, 10**30, 0.5, -0.0)] == [
            "1", "-3", "9007199254740992.0", "1e+30", "0.5", "-0.0",
        ]  # fmt: skip

    @pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "[NaN]", "{'a':1}", "1 2", "", "1e999"])
    def test_what_python_takes_for_json_and_is_not(self, text: str) -> None:
        with pytest.raises(MalformedJson):
            loads(text)

    def test_a_lone_surrogate_cannot_be_stored_and_is_replaced(self) -> None:
        assert loads(r'{"a\ud800": ["\udc00x"]}') == {"a�": ["�x"]}

    def test_a_nesting_bomb_is_no_more_than_an_error(self) -> None:
        with pytest.raises(MalformedJson):
            loads("[" * 100_000)


class TestJsonOut:
    """How data is given back."""

    @pytest.mark.parametrize(
        ("stored", "shown"),
        [
            ({"0": "a", "2": "c"}, ["a", None, "c"]),
            ({"1": "x"}, [None, "x"]),
            ({"0": "a", "4": "d"}, {"0": "a", "4": "d"}),
            ({"00": 1}, {"00": 1}),
            ({"0": 1, "01": 2}, {"0": 1, "01": 2}),
            ({"0": 1, "k": 2}, {"0": 1, "k": 2}),
            ({"-1": 1}, {"-1": 1}),
            ({"a": {"0": [1, 2]}}, {"a": [[1, 2]]}),
            ({"99999999999999999999": 1}, {"99999999999999999999": 1}),
            ({"²": 1}, {"²": 1}),
        ],
        ids=repr,
    )
    def test_array_coercion(self, stored: Json, shown: Json) -> None:
        assert val_value(node(stored)) == shown

    def test_val_form_drops_priorities_and_export_form_has_no_arrays(self) -> None:
        stored = node({".priority": 1, "0": {".value": "x", ".priority": "p"}, "1": "y"})
        assert val_value(stored) == ["x", "y"]
        assert export_value(stored) == {".priority": 1, "0": {".value": "x", ".priority": "p"}, "1": "y"}

    @given(models.TREES)
    def test_export_form_can_be_read_back(self, data: Json) -> None:
        assert export_value(node(data)) == data
        assert export_value(node(export_value(node(data)))) == data

    def test_a_wide_node_is_complete(self) -> None:
        wide: Json = {f"k{i}": i for i in range(5000)}
        assert export_value(node(wide)) == wide
        assert val_value(node({str(i): i for i in range(5000)})) == list(range(5000))


class TestOrder:
    """The order of keys, and the order by an index."""

    def test_keys(self) -> None:
        ordered = ["-2147483648", "-5", "0", "1", "01", "001", "10", "2147483647", "-2147483649", "-x", "2147483648"]
        ordered += ["a", "é", "🐵", "￮"]
        assert sorted(shuffled(ordered), key=key_order) == ordered
        assert key_order("[MIN_NAME]") < key_order("-2147483648") < key_order("￿") < key_order("[MAX_NAME]")

    @given(st.lists(models.KEYS, unique_by=key_order))
    def test_keys_like_the_model(self, keys: list[str]) -> None:
        assert sorted(keys, key=key_order) == models.sorted_keys(dict.fromkeys(keys))

    def test_values(self) -> None:
        ordered: list[Json] = [None, False, True, -1.5, 0, 2, 1e300, "", "a", "é", "🐵", "￮"]
        assert sorted(shuffled(ordered), key=lambda value: value_order(node(value))) == ordered
        assert value_order(node({"a": 1})) == value_order(node({"b": 2})) > value_order("￿")


class TestHash:
    """The hash of a snapshot, which clients compute as well."""

    @pytest.mark.parametrize(
        ("data", "digest"),
        [
            (None, ""),
            (4, "eVih19a6ZDz3NL32uVBtg9KSgQY="),
            (4.5623, "vf1CL0tIRwXXunHcG/irRECk3lY="),
            ("hey guys", "CUNLXWpCVoJE6z7z1vE57lGaKAU="),
            (True, "E5z61QM0lN/U2WsOnusszCTkR8M="),
            (
                {"intNode": 4, "doubleNode": 4.5623, "stringNode": "hey guys", "boolNode": True},
                "6Mc4jFmNdrLVIlJJjz2/MakTK9I=",
            ),
            ({"root": {"c": {".value": 99, ".priority": "abc"}, ".priority": "def"}}, "Fm6tzN4CVEu5WxFDZUdTtqbTVaA="),
            ({"root": {"c": {".value": 99, ".priority": 42}, ".priority": 3.14}}, "B15QCqrzCxrI5zz1y00arWqFRFg="),
        ],
        ids=repr,
    )
    def test_vectors(self, data: Json, digest: str) -> None:
        assert snapshot_hash(node(data)) == digest

    def test_it_is_known_again_after_a_change_and_back(self) -> None:
        root = node({"a": {"b": 1, "c": {"d": "x"}}})
        before = snapshot_hash(root)
        changed = tree.put(root, ("a", "c", "d"), "y")
        assert snapshot_hash(changed) != before
        assert snapshot_hash(tree.put(changed, ("a", "c", "d"), "x")) == before


class TestServerValues:
    """Placeholders that the server fills in."""

    def test_every_timestamp_of_a_request_is_the_same(self) -> None:
        stamp: Json = {".sv": "timestamp"}
        assert export_value(node({"a": stamp, "b": {"c": stamp, ".priority": stamp}})) == {
            "a": NOW,
            "b": {"c": NOW, ".priority": NOW},
        }

    @pytest.mark.parametrize(
        ("existing", "amount", "total"),
        [(None, 3, 3), ("x", 3, 3), (True, 3, 3), ({"k": 1}, 3, 3), (4, 3, 7), (4, -0.5, 3.5), (0.5, 0.5, 1)],
        ids=repr,
    )
    def test_increments(self, existing: Json, amount: float, total: float) -> None:
        assert export_value(node({"a": {".sv": {"increment": amount}}}, {"a": existing})) == {"a": total}

    @pytest.mark.parametrize(
        ("existing", "amount"), [(1.7e308, 1.7e308), (-1.7e308, -1.7e308), (1.7976931348623157e308, 1e292)]
    )
    def test_that_leave_the_finite_numbers_are_refused(self, existing: float, amount: float) -> None:
        """JSON has no infinity: the node would exist and show as null."""
        data: Json = {"a": {".sv": {"increment": amount}}}
        with pytest.raises(InvalidData, match="finite"):
            node(data, {"a": existing})
        with pytest.raises(InvalidData, match="finite"):
            node(
                {"a": {".value": 1, ".priority": {".sv": {"increment": amount}}}},
                {"a": {".value": 1, ".priority": existing}},
            )

    @pytest.mark.parametrize("told", ['{".value": 1e999}', '{".value": 1, ".priority": 1e999}'])
    def test_that_only_a_lax_reader_takes_for_numbers_are_refused(self, told: str) -> None:
        """Text with half a surrogate pair is read by another reader, which knows infinity."""
        with pytest.raises(InvalidData, match="finite"):
            node(loads('{"a": "\\ud800", "b": ' + told + "}"))

    def test_of_integers_that_leave_64_bits_go_on_as_doubles(self) -> None:
        big = 2**63 - 1
        assert export_value(node({"a": {".sv": {"increment": big}}}, {"a": big})) == {"a": 2.0**64}

    def test_increments_of_one_update_read_what_was_there_before_it(self) -> None:
        moment = Moment(node({"a": 1, "b": 10}), NOW)
        more: Json = {".sv": {"increment": 5}}
        assert export_value(read_update("", {"a": more, "b": more}, moment).apply(moment.root)) == {"a": 6, "b": 15}


class TestPushIds:
    """Keys that clients make and that sort by time."""

    def test_they_are_twenty_characters_and_ascend(self) -> None:
        ids = PushIds(lambda bits: 2**bits - 1)
        made = [ids.next(NOW + step // 4) for step in range(1000)] + [ids.next(NOW)]
        assert made == sorted(set(made))
        assert {len(one) for one in made} == {20}

    def test_the_first_eight_characters_are_the_time(self) -> None:
        text = PushIds(lambda bits: 0).next(NOW)
        number = 0
        for character in text[:8]:
            number = number * 64 + ALPHABET.index(character)
        assert number == NOW
        assert text[8:] == "-" * 12


class TestUpdates:
    """Writes of several places at once."""

    def test_no_key_may_be_an_ancestor_of_another(self) -> None:
        with pytest.raises(InvalidData):
            read_update("", {"a": 1, "a/b": 2}, Moment(None, NOW))
        with pytest.raises(InvalidData):
            read_update("", {"a": 1, "/a/": 2}, Moment(None, NOW))

    def test_an_empty_update_is_a_success_that_does_nothing(self, ns: Namespace) -> None:
        ns.put("a", 1)
        assert ns.request("PATCH", "a", {}).status_code == 200
        with ns.connect() as wire:
            wire.ok("m", {"p": "/a", "d": {}})
        assert ns.get("a") == 1

    def test_deep_keys_and_priorities(self) -> None:
        moment = Moment(node({"a": {"b": 1}, "c": {"d": 1, "e": 2}}), NOW)
        write = read_update("", {"a/x/y": 5, "c/d": None, "c/.priority": 9}, moment)
        assert export_value(write.apply(moment.root)) == {
            "a": {"b": 1, "x": {"y": 5}},
            "c": {".priority": 9, "e": 2},
        }
        assert set(write.touched) == {("a", "x", "y"), ("c",)}
