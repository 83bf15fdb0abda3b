"""What is kept of Open WebUI's exports, old and new, and what is counted of the rest."""

from typing import Any, Final

import pytest

from app.chat.importing.draft import ConversationUnreadable, ImportedConversation
from app.chat.importing.open_webui import read
from app.kit.clock import from_rfc3339

NOW: Final = from_rfc3339("2026-11-30T12:00:00Z")
AT: Final = 1765670401


def message(id: str, parent: str | None, role: str, content: object, **more: Any) -> dict[str, Any]:
    return {"id": id, "parentId": parent, "childrenIds": [], "role": role, "content": content, "timestamp": AT, **more}


def converted(*messages: dict[str, Any], current: str | None = None, **more: Any) -> ImportedConversation:
    chat = {"title": "inner", "history": {"messages": {one["id"]: one for one in messages}, "currentId": current}}
    return read(
        {"id": "x", "user_id": "y", "title": "T", "chat": chat, "created_at": AT, "updated_at": AT, **more}, NOW
    )


def told(found: ImportedConversation) -> list[tuple[int | None, str, str]]:
    return [(turn.parent, turn.question, turn.answer) for turn in found.turns]


def test_a_tree_with_two_models_beside_each_other() -> None:
    found = converted(
        message("u", None, "user", "Hi", childrenIds=["a", "b"], models=["m1", "m2"]),
        message("a", "u", "assistant", "one", model="m1", timestamp=AT + 2),
        message("b", "u", "assistant", "two", model="m2"),
        message("v", "b", "user", "more"),
        message("c", "v", "assistant", "end"),
        current="c",
        archived=True,
        pinned=True,
    )
    assert told(found) == [(None, "Hi", "one"), (None, "Hi", "two"), (1, "more", "end")]
    assert ([turn.model for turn in found.turns], found.active) == (["m1", "m2", ""], 2)
    assert (found.title, found.archived, found.pinned, found.left_out) == ("T", True, True, {})
    assert (found.turns[0].created_at, found.turns[0].ended_at) == (
        "2025-12-14T00:00:01.000000Z",
        "2025-12-14T00:00:03.000000Z",
    )


@pytest.mark.parametrize(
    "value",
    [
        {"chat": {"title": "T", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}},
        {"title": "T", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {
            "title": "T",
            "history": {"messages": {}, "currentId": None},
            "messages": [{"id": "1", "role": "user", "content": "a"}, {"id": "1", "role": "assistant", "content": "b"}],
        },
        {
            "id": "x",
            "title": "T",
            "timestamp": AT * 1000,
            "history": {
                "messages": {"1": message("1", None, "user", "a"), "2": message("2", "1", "assistant", "b")},
                "currentId": "2",
            },
        },
    ],
)
def test_older_shapes(value: dict[str, Any]) -> None:
    found = read(value, NOW)
    assert (found.title, told(found), found.active) == ("T", [(None, "a", "b")], 0)


@pytest.mark.parametrize("factor", [1, 1_000, 1_000_000, 1_000_000_000])
def test_times_in_any_unit(factor: int) -> None:
    found = converted(message("u", None, "user", "x", timestamp=AT * factor))
    assert found.turns[0].created_at == "2025-12-14T00:00:01.000000Z"


def test_a_system_prompt_is_kept_and_others_are_counted() -> None:
    found = converted(message("s", None, "system", "Be kind."), message("u", "s", "user", "x"))
    assert (found.system_prompt, found.left_out) == ("Be kind.", {})
    chat = {"system": "One", "params": {"system": "Two"}, "messages": []}
    found = read({"chat": chat}, NOW)
    assert (found.system_prompt, found.left_out) == ("One", {"system_message": 1})


def test_thoughts_and_calls_of_tools_are_taken_out_and_counted() -> None:
    thought = '<details type="reasoning" done="true" duration="3">\n<summary>Thought</summary>\n> hm\n</details>\n'
    call = '<details type="tool_calls" done="true" name="x">\n<summary>Ran</summary>\n</details>\n'
    found = converted(message("u", None, "user", "x"), message("a", "u", "assistant", f"{thought}A{call}B{thought}C"))
    assert told(found) == [(None, "x", "A\nB\nC")]
    assert found.left_out == {"thought": 2, "tool_call": 1}


def test_an_answer_that_is_a_list_of_what_came_is_read() -> None:
    output = [
        {"type": "reasoning", "summary": []},
        {"type": "message", "content": [{"type": "output_text", "text": "A"}, {"type": "output_text", "text": "B"}]},
        {"type": "function_call", "name": "f"},
    ]
    found = converted(message("u", None, "user", "x"), message("a", "u", "assistant", "", output=output))
    assert told(found) == [(None, "x", "A\n\nB")]
    assert found.left_out == {"thought": 1, "tool_call": 1}


def test_pictures_with_an_address_are_kept_and_others_counted() -> None:
    files = [
        {"type": "image", "url": "https://example.org/a.png"},
        {"type": "image", "url": "data:image/png;base64,xx"},
        {"type": "file", "name": "x.pdf"},
    ]
    parts = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:x"}}]
    found = converted(message("u", None, "user", parts, files=files))
    assert (found.turns[0].question, found.turns[0].images) == ("see", ("https://example.org/a.png",))
    assert found.left_out == {"image": 2, "file": 1}


def test_an_answer_that_failed_has_failed() -> None:
    found = converted(
        message("u", None, "user", "x"),
        message("a", "u", "assistant", "", error={"content": "boom"}),
        message("b", "u", "assistant", "half", error=True),
    )
    assert [(turn.answer, turn.done) for turn in found.turns] == [("", False), ("half", False)]
    assert found.left_out == {"error_message": 2}


def test_tags_folders_sources_and_tools_are_counted() -> None:
    found = converted(
        message("u", None, "user", "x"),
        message("t", "u", "tool", "result"),
        message("a", "t", "assistant", "y", sources=[{}, {}]),
        meta={"tags": ["a", "b"]},
        folder_id="f",
    )
    assert told(found) == [(None, "x", "y")]
    assert found.left_out == {"tool_message": 1, "citation": 2, "tag": 2, "folder": 1}


def test_a_title_is_made_of_the_first_words_where_there_is_none() -> None:
    found = read({"messages": [{"role": "user", "content": "What is a ledger?\nPlease."}]}, NOW)
    assert found.title == "What is a ledger? Please."


@pytest.mark.parametrize("value", [{"chat": {}}, {"chat": 5}, {"history": 5}, {"messages": None}])
def test_one_without_messages_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(ConversationUnreadable):
        read(value, NOW)


@pytest.mark.parametrize("odd", [None, 5, "x", [], {"role": 5, "content": 5, "files": 5, "output": 5, "parentId": 5}])
def test_odd_messages_break_nothing(odd: object) -> None:
    read({"chat": {"history": {"messages": {"a": odd}, "currentId": 5}}}, NOW)
    read({"chat": {"messages": [odd, odd]}}, NOW)
