"""The tree in its text: whatever is joined stands there once, and reads as it was joined."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chat.branching.tree import FIRST, Spent, Tree, nodes_of, read_spent, tree_of
from app.kit.errors import InvariantViolation
from app.kit.stores.documents import Value

choices = st.lists(st.integers(min_value=-1, max_value=60), max_size=60)
"""For each turn, which one before it is answered; -1 and what is too large stand for none."""


def grown(chosen: list[int]) -> list[tuple[str, str]]:
    return [(f"msg_{n}", f"msg_{at}" if 0 <= at < n else FIRST) for n, at in enumerate(chosen)]


@given(choices)
def test_reads_as_it_was_joined(chosen: list[int]) -> None:
    tree, pairs = Tree(), grown(chosen)
    for turn, parent in pairs:
        tree = tree.joined(turn, parent)
    assert [*tree.nodes().parents.items()] == pairs
    assert (len(tree), tree) == (len(pairs), tree_of(pairs))
    assert all(turn in tree for turn, _ in pairs)


@given(choices, st.integers(0, 59))
def test_each_turn_is_on_its_own_branch_once(chosen: list[int], at: int) -> None:
    nodes = nodes_of(grown(chosen))
    if f"msg_{at}" not in nodes.parents:
        return
    path = [*nodes.up(nodes.newest_leaf(f"msg_{at}"))]
    assert f"msg_{at}" in path
    assert len({*path}) == len(path)
    assert all(nodes.parents[turn] == parent for turn, parent in zip(path, [*path[1:], FIRST]))


def test_a_turn_that_is_joined_again_stays_where_it_is() -> None:
    tree = Tree().joined("a", FIRST).joined("b", "a")
    assert tree.joined("a", "b") == tree


def test_an_id_within_another_is_another_turn() -> None:
    tree = Tree().joined("msg_10", FIRST)
    assert "msg_1" not in tree
    assert [*tree.joined("msg_1", "msg_10").joined("msg_2", "msg_10").nodes().parents.values()] == [
        FIRST,
        "msg_10",
        "msg_10",
    ]


def test_a_turn_of_the_time_before_trees_is_named_until_it_is_adopted() -> None:
    tree = Tree().joined("new", "old2").joined("other", "old1")
    assert tree.nodes().parents == {"new": "old2", "other": "old1"}
    adopted = tree.adopting(Tree("old1:- old2 old3"))
    assert adopted.nodes().parents == {"old1": FIRST, "old2": "old1", "old3": "old2", "new": "old2", "other": "old1"}
    assert adopted.text == "old1:- old2 old3 new:1 other:0"


@pytest.mark.parametrize(
    ("text", "parents", "cut"),
    [
        ("a:a", {"a": FIRST}, ("a",)),
        ("a:b b:a", {"a": FIRST, "b": "a"}, ("a",)),
        ("a:1 b", {"a": FIRST, "b": "a"}, ("a",)),
        ("a:- b:c c d:b", {"a": FIRST, "b": FIRST, "c": "b", "d": "b"}, ("b",)),
        ("a:- b a:b c:0", {"a": FIRST, "b": "a", "c": "a"}, ("a",)),
        ("a", {"a": FIRST}, ("a",)),
        ("a:-  b", {"a": FIRST, "b": FIRST}, ("", "b")),
        ("a:- b:9 c:" + "9" * 5000, {"a": FIRST, "b": FIRST, "c": FIRST}, ("b", "c")),
        ("a:- b/c b:0 c:x/y", {"a": FIRST, "b": "a", "c": FIRST}, ("b/c", "c")),
        ("a:-\tb c:0", {"a": FIRST, "c": "a"}, ("a",)),
        ("a:- b:\u0660 c:--5", {"a": FIRST, "b": FIRST, "c": "--5"}, ("b",)),
    ],
)
def test_what_cannot_be_in_a_tree_is_cut(text: str, parents: dict[str, str], cut: tuple[str, ...]) -> None:
    nodes = Tree(text).nodes()
    assert (nodes.parents, nodes.cut) == (parents, cut)


def test_a_whole_tree_has_no_parent_elsewhere() -> None:
    nodes = Tree("a:old b c:-").nodes()
    assert (nodes.parents["a"], nodes.cut) == ("old", ())
    whole = nodes.whole()
    assert (whole.parents, whole.cut) == ({"a": FIRST, "b": "a", "c": FIRST}, ("a",))
    assert Tree("a:- b c:0").nodes().whole() == Tree("a:- b c:0").nodes()


tokens = st.lists(st.sampled_from([*"abc:-0129 ", ":1", " a", "a:", " b:a", "__a__", "\n", "\u0660"]), max_size=60)


@given(st.one_of(st.text(max_size=200), tokens.map("".join)), st.lists(st.tuples(st.text("abc"), st.text("abc"))))
def test_any_text_is_a_tree(text: str, others: list[tuple[str, str]]) -> None:
    for nodes in (Tree(text).nodes(), Tree(text).nodes().with_others(others).whole()):
        for turn in nodes.parents:
            path = [*islice(nodes.up(nodes.newest_leaf(turn)), 500)]
            assert turn in path
            assert len({*path}) == len(path) < 500
    more = Tree(text).joined("new", "b").adopting(Tree("b:- a"))
    assert "new" in more.nodes().parents


def test_the_longest_text_of_one_chain_is_read_at_once() -> None:
    """A document holds a megabyte."""
    nodes = Tree(" ".join(["x:-", *(f"{n:x}" for n in range(180_000))])).nodes()
    assert len([*nodes.up(nodes.newest_leaf("x"))]) == 180_001


@pytest.mark.parametrize("value", [3, "x", {"a": 1}, [1, 2], [1, 2, True], [1, 2, -3], [1, 2, 3.0], [1, 2, 3, 4]])
def test_a_spoilt_sum_is_refused(value: Value) -> None:
    with pytest.raises(InvariantViolation):
        read_spent({"spent": value}, "spent")


def test_what_was_spent_adds_up() -> None:
    assert Spent(1, 2, 3) + Spent(10, 20, 30) == Spent(11, 22, 33)
