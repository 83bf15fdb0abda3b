"""The tree in its text: whatever is joined stands there once, and reads as it was joined."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chat.branching.tree import FIRST, Spent, Tree, nodes_of, tree_of
from app.kit.errors import InvariantViolation

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
    adopted = tree.adopting(["old1", "old2", "old3"])
    assert adopted.nodes().parents == {"old1": FIRST, "old2": "old1", "old3": "old2", "new": "old2", "other": "old1"}
    assert adopted.text == "old1:- old2 old3 new:1 other:0"


def test_a_parent_behind_its_child_is_refused() -> None:
    with pytest.raises(InvariantViolation):
        Tree("a:1 b").nodes()


def test_what_was_spent_adds_up() -> None:
    assert Spent(1, 2, 3) + Spent(10, 20, 30) == Spent(11, 22, 33)
