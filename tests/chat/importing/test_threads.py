"""Whatever the tree of messages is, no text of it is lost without being counted."""

from collections import Counter
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from app.chat.importing.threads import ForeignMessage, ForeignTree, turns_of

ROLES: st.SearchStrategy[Literal["user", "assistant"] | None] = st.sampled_from(["user", "assistant", None])


@st.composite
def trees(draw: st.DrawFn) -> ForeignTree:
    """Messages that name any parent: one of before, one that comes later, themselves, or none that there is."""
    count = draw(st.integers(1, 20))
    ids = [str(number) for number in range(count)]
    messages = {
        id: ForeignMessage(id, draw(st.none() | st.sampled_from([*ids, "gone"])), draw(ROLES), text=f"text-{id}.")
        for id in ids
    }
    children = {id: draw(st.permutations(ids)) for id in ids}
    return ForeignTree(messages, children, draw(st.none() | st.sampled_from(ids)), 0)


def above(tree: ForeignTree, id: str) -> list[str] | None:
    """The messages from the first one down to this one; None when it stands below a circle."""
    path = [id]
    while (parent := tree.messages[path[-1]].parent) in tree.messages:
        if parent in path:
            return None
        path.append(str(parent))
    return path[::-1]


@given(trees())
@settings(max_examples=300, deadline=None)
def test_every_text_is_in_a_turn_or_counted(tree: ForeignTree) -> None:
    counts: Counter[str] = Counter()
    turns, active = turns_of(tree, counts)
    said = "".join(turn.question + turn.answer for turn in turns)
    lost = {id for id in tree.messages if above(tree, id) is None}
    early = {
        id
        for id in tree.messages.keys() - lost
        if tree.messages[id].role == "assistant"
        and not any(tree.messages[one].role == "user" for one in above(tree, id) or ())
    }
    for id, message in tree.messages.items():
        kept = message.role is not None and id not in lost | early
        assert (message.text in said) is kept
    assert (counts["unreachable_message"], counts["answer_without_question"]) == (len(lost), len(early))
    assert active is None or active < len(turns)


@given(trees())
@settings(max_examples=300, deadline=None)
def test_a_branch_of_turns_says_what_its_branch_of_messages_says(tree: ForeignTree) -> None:
    turns, _ = turns_of(tree, Counter())
    branches = set()
    for number in range(len(turns)):
        texts: list[str] = []
        at: int | None = number
        while at is not None:
            assert turns[at].parent is None or turns[at].parent < at  # type: ignore[operator]  # it is a number here
            texts = [turns[at].question, *([turns[at].answer] if turns[at].answer else []), *texts]
            at = turns[at].parent
        branches.add("".join("".join(texts).split()))
    for id in tree.messages:
        path = above(tree, id) or []
        roles = [tree.messages[one].role for one in path]
        first = roles.index("user") if "user" in roles else len(path)
        spoken = "".join(tree.messages[one].text for one in path[first:] if tree.messages[one].role is not None)
        assert not spoken or any(branch.startswith(spoken) for branch in branches)
