"""What is kept of ChatGPT's `conversations.json`, and what is counted of the rest."""

from typing import Any, Final

import pytest

from app.chat.importing import threads
from app.chat.importing.chatgpt import read
from app.chat.importing.draft import ConversationUnreadable, ImportedConversation
from app.kit.clock import from_rfc3339

NOW: Final = from_rfc3339("2026-11-30T12:00:00Z")
ASKED: Final = 1765670401.266
SAYS_X: Final = {"content_type": "text", "parts": ["x"]}


def node(id: str, parent: str | None, role: str, *parts: object, **more: Any) -> dict[str, Any]:
    """A node with a message; `more` are fields of the message, or `content`."""
    content = more.pop("content", {"content_type": "text", "parts": [*parts]})
    message = {"id": id, "author": {"role": role, "name": None, "metadata": {}}, "content": content, "weight": 1.0}
    message |= {"create_time": None, "recipient": "all", "metadata": {}, **more}
    return {"id": id, "message": message, "parent": parent, "children": []}


def converted(*nodes: dict[str, Any], current: str | None = None, **more: Any) -> ImportedConversation:
    mapping = {one["id"]: one for one in nodes}
    for one in nodes:
        if one["parent"] in mapping:
            mapping[one["parent"]]["children"].append(one["id"])
    return read({"title": "T", "create_time": ASKED, "mapping": mapping, "current_node": current, **more}, NOW)


def told(found: ImportedConversation) -> list[tuple[int | None, str, str]]:
    return [(turn.parent, turn.question, turn.answer) for turn in found.turns]


def root() -> dict[str, Any]:
    return {"id": "root", "message": None, "parent": None, "children": []}


class TestTheTree:
    def test_of_a_plain_conversation(self) -> None:
        found = converted(
            root(),
            node("s", "root", "system", "", weight=0.0, metadata={"is_visually_hidden_from_conversation": True}),
            node("u", "s", "user", "Hi", create_time=ASKED),
            node("a", "u", "assistant", "Hello", create_time=ASKED + 2, metadata={"model_slug": "gpt-5-2"}),
            node("u2", "a", "user", "More", create_time=ASKED + 3),
            node("a2", "u2", "assistant", "Here", create_time=ASKED + 4),
            current="a2",
            update_time=ASKED + 9,
            is_archived=True,
            is_starred=True,
        )
        assert told(found) == [(None, "Hi", "Hello"), (0, "More", "Here")]
        assert (found.active, found.title, found.archived, found.pinned, found.left_out) == (1, "T", True, True, {})
        first = found.turns[0]
        assert (first.created_at, first.ended_at) == ("2025-12-14T00:00:01.266000Z", "2025-12-14T00:00:03.266000Z")
        assert (first.model, first.done, first.claim) == ("gpt-5-2", True, None)
        assert found.updated_at == "2025-12-14T00:00:10.266000Z"

    def test_an_edit_and_a_regeneration_are_branches(self) -> None:
        found = converted(
            root(),
            node("u", "root", "user", "one"),
            node("a", "u", "assistant", "first"),
            node("b", "u", "assistant", "second"),
            node("u2", "a", "user", "two"),
            node("a2", "u2", "assistant", "deep"),
            node("u3", "a", "user", "two, edited"),
            current="a2",
        )
        assert told(found) == [
            (None, "one", "first"),
            (0, "two", "deep"),
            (0, "two, edited", ""),
            (None, "one", "second"),
        ]
        assert found.active == 1
        assert [turn.done for turn in found.turns] == [True, True, False, True]

    def test_children_stand_in_the_order_that_their_parent_names(self) -> None:
        nodes = [
            root(),
            node("u", "root", "user", "one"),
            node("b", "u", "assistant", "2"),
            node("a", "u", "assistant", "1"),
        ]
        found = converted(*nodes)
        assert [turn.answer for turn in found.turns] == ["2", "1"]
        nodes[1]["children"] = ["a", "b"]
        swapped = read({"mapping": {one["id"]: one for one in nodes}}, NOW)
        assert [turn.answer for turn in swapped.turns] == ["1", "2"]

    def test_a_message_whose_parent_is_missing_is_a_first_one(self) -> None:
        found = converted(node("u", "gone", "user", "one"), node("v", None, "user", "two"))
        assert told(found) == [(None, "one", ""), (None, "two", "")]

    def test_messages_in_a_circle_are_counted(self) -> None:
        found = converted(node("u", "a", "user", "x"), node("a", "u", "assistant", "y"), node("v", None, "user", "z"))
        assert told(found) == [(None, "z", "")]
        assert found.left_out == {"unreachable_message": 2}

    def test_the_shown_branch_is_the_one_below_the_current_node(self) -> None:
        nodes = [
            root(),
            node("u", "root", "user", "one"),
            node("a", "u", "assistant", "first"),
            node("b", "u", "assistant", "second"),
        ]
        assert [converted(*(dict(one, children=[]) for one in nodes), current=at).active for at in "abu"] == [0, 1, 1]
        assert converted(*(dict(one, children=[]) for one in nodes), current="gone").active is None

    def test_a_hidden_leaf_below_an_answer_is_no_second_turn(self) -> None:
        found = converted(
            node("u", None, "user", "one"),
            node("a", "u", "assistant", "first"),
            node("t", "a", "tool", "", metadata={}),
            node("v", "a", "user", "two"),
            current="t",
        )
        assert told(found) == [(None, "one", "first"), (0, "two", "")]
        assert found.active == 0

    def test_a_deep_one_needs_no_deep_stack(self) -> None:
        nodes = [node("0", None, "user", "x")]
        nodes += [node(str(n), str(n - 1), "assistant" if n % 2 else "user", f"{n}") for n in range(1, 10_000)]
        assert len(converted(*nodes).turns) == 5_000

    def test_one_that_repeats_its_texts_too_often_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(threads, "MOST_TEXT", 1_000)
        nodes = [node("0", None, "user", "x")]
        for n in range(1, 60):
            nodes += [node(f"{n}", f"{n - 1}", "assistant", "y"), node(f"u{n}", f"{n}", "user", "z")]
        with pytest.raises(ConversationUnreadable):
            converted(*nodes)

    @pytest.mark.parametrize("time", [None, "soon", True, -5, 0, 10**400, 1e300, {}])
    def test_a_time_that_tells_nothing_is_replaced(self, time: object) -> None:
        found = converted(node("u", None, "user", "x", create_time=time), create_time=time)
        assert found.turns[0].created_at == found.created_at == "2026-11-30T12:00:00.000000Z"


class TestAMessage:
    def test_answers_in_several_messages_are_one(self) -> None:
        code = {"content_type": "code", "language": "python", "text": "p()"}
        found = converted(
            node("u", None, "user", "plot it"),
            node("a", "u", "assistant", "First:"),
            node("c", "a", "assistant", recipient="python", content=code),
            node("t", "c", "tool", content={"content_type": "execution_output", "text": "a ``` b"}),
            node("b", "t", "assistant", "Done."),
        )
        assert told(found) == [(None, "plot it", "First:\n\n```python\np()\n```\n\n````\na ``` b\n````\n\nDone.")]
        assert found.left_out == {}

    @pytest.mark.parametrize(
        ("role", "content", "kind", "more"),
        [
            ("assistant", {"content_type": "thoughts", "thoughts": [{"summary": "s"}]}, "thought", {}),
            ("assistant", {"content_type": "reasoning_recap", "content": "8s"}, "thought", {}),
            ("assistant", {"content_type": "code", "text": "search('x')"}, "tool_call", {"recipient": "web"}),
            ("assistant", SAYS_X, "tool_call", {"recipient": "bio"}),
            ("tool", {"content_type": "tether_quote", "text": "x"}, "tool_message", {}),
            ("tool", {"content_type": "tether_browsing_display", "result": "x"}, "tool_message", {}),
            ("tool", SAYS_X, "tool_message", {}),
            ("system", SAYS_X, "system_message", {}),
            ("assistant", SAYS_X, "hidden_message", {"weight": 0}),
            ("assistant", {"content_type": "new_thing", "text": "x"}, "unknown_content", {}),
            ("robot", SAYS_X, "unknown_content", {}),
            ("user", {"content_type": "user_editable_context", "user_profile": "me"}, "custom_instructions", {}),
            ("system", {}, "custom_instructions", {"metadata": {"user_context_message_data": {"about": "me"}}}),
        ],
    )
    def test_what_cannot_be_kept_is_counted(
        self, role: str, content: dict[str, Any], kind: str, more: dict[str, Any]
    ) -> None:
        found = converted(node("u", None, "user", "x"), node("a", "u", role, content=content, **more))
        assert told(found) == [(None, "x", "")]
        assert found.left_out == {kind: 1}

    def test_pictures_sound_and_files_are_counted_and_transcripts_kept(self) -> None:
        parts = [
            {"content_type": "image_asset_pointer", "asset_pointer": "file-service://f"},
            {"content_type": "audio_transcription", "text": "spoken"},
            {"content_type": "real_time_user_audio_video_asset_pointer"},
            "typed",
            5,
        ]
        attachments = [{"mime_type": "image/png"}, {"mime_type": "text/csv"}, {"name": "x"}]
        found = converted(
            node(
                "u",
                None,
                "user",
                content={"content_type": "multimodal_text", "parts": parts},
                metadata={"attachments": attachments},
            )
        )
        assert told(found) == [(None, "spoken\n\ntyped", "")]
        assert found.left_out == {"image": 1, "audio": 1, "file": 2, "unknown_content": 1}

    def test_pictures_that_a_tool_made_are_counted(self) -> None:
        made = {"content_type": "multimodal_text", "parts": [{"content_type": "image_asset_pointer"}]}
        found = converted(node("u", None, "user", "x"), node("t", "u", "tool", content=made))
        assert found.left_out == {"image": 1}

    def test_marks_of_citations_are_taken_out(self) -> None:
        text = "A\ue200cite\ue202turn0search1\ue201 b\ue200open"
        found = converted(node("u", None, "user", "x"), node("a", "u", "assistant", text))
        assert found.turns[0].answer == "A b\ue200open"
        assert found.left_out == {"citation": 1}

    def test_long_texts_are_cut_and_counted(self) -> None:
        found = converted(
            node("u", None, "user", "x" * 100_001), node("a", "u", "assistant", "ü" * 300_000), title="t" * 201
        )
        assert (len(found.turns[0].question), len(found.turns[0].answer), len(found.title)) == (100_000, 262_144, 200)
        assert found.left_out == {"text_cut": 3}

    def test_an_answer_without_a_question_is_counted(self) -> None:
        found = converted(node("a", None, "assistant", "Welcome"), node("u", "a", "user", "x"))
        assert told(found) == [(None, "x", "")]
        assert found.left_out == {"answer_without_question": 1}


@pytest.mark.parametrize(
    "mapping",
    [
        {"a": None},
        {"a": {"message": 5, "parent": 5, "children": 5}},
        {"a": {"message": {"author": [], "content": "x", "metadata": "y"}}},
        {"a": {"message": {"author": {"role": "user"}, "content": {"content_type": "text", "parts": "x"}}}},
    ],
)
def test_odd_nodes_break_nothing(mapping: dict[str, Any]) -> None:
    read({"mapping": mapping}, NOW)


def test_one_without_messages_is_refused() -> None:
    with pytest.raises(ConversationUnreadable):
        read({"mapping": []}, NOW)
