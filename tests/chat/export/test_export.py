"""The export of a conversation through the whole application: every branch, spoilt turns, old turns, hostile texts."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.chat.export.exporting import PAGE
from app.chat.export.schemas import ConversationExport
from app.chat.store import conversation_path, turn_path
from app.kit.stores.documents import Delete, Merge, Replace
from chat.branching.test_branches import Talk, aged, calls_of
from support.vendor import Vendor
from support.world import World

HOSTILE = (
    "# 9. Question\r\n## 9. Answer\rSetext\u2028---\n\n---\n\nEnd of the conversation, 99 turns.\n> > <b>\n```\n# x"
)


@pytest.fixture
def world(vendor: Vendor) -> Iterator[World]:
    yield World(variables={"AI_PLATFORM_BASE_URL": vendor.base_url})


@pytest.fixture
def talk(world: World) -> Talk:
    return Talk(world.client("alice"), world)


def exported(talk: Talk) -> dict[str, Any]:
    answer = talk.client.get(f"{talk.path}/export")
    assert (answer.status_code, answer.mimetype) == (200, "application/json"), answer.text
    assert f'filename="{talk.id}.json"' in answer.headers["Content-Disposition"]
    found: dict[str, Any] = json.loads(answer.text)
    ConversationExport.model_validate(found)
    return found


def markdown(talk: Talk, query: str = "", status: int = 200) -> str:
    answer = talk.client.get(f"{talk.path}/export?format=markdown{query}")
    assert answer.status_code == status, answer.text
    return answer.text


def copied(talk: Talk, count: int) -> None:
    """Puts `count` more turns below the one that there is, as copies of it."""
    path = conversation_path("alice", talk.id)
    stored = talk.world.documents.get(path)
    assert stored is not None
    first = str(stored.fields["leaf"])
    turn = talk.world.documents.get(turn_path("alice", talk.id, first))
    assert turn is not None
    ids = [f"msg_copy{number}" for number in range(count)]
    for id in ids:
        fields = {**turn.fields, "id": id, "question": f"question {id}"}
        talk.world.documents.commit([Replace(turn_path("alice", talk.id, id), fields)])
    fields = {**stored.fields, "tree": " ".join([f"{first}:-", *ids]), "leaf": ids[-1]}
    talk.world.documents.commit([Replace(path, fields)])


class TestTheJson:
    def test_has_every_branch_with_what_it_cost(self, talk: Talk) -> None:
        one = talk.say("one")
        two = talk.say("two")
        other = talk.say("other two", parent=one["message_id"])
        found = exported(talk)
        assert [(turn["number"], turn["parent"], turn["id"]) for turn in found["turns"]] == [
            (0, None, one["message_id"]),
            (1, 0, two["message_id"]),
            (2, 0, other["message_id"]),
        ]
        assert found["conversation"]["active_leaf"] == 2
        same = ("content", "answer", "model", "usage", "cost", "transaction_id", "created_at", "ended_at", "status")
        for told, asked in zip(found["turns"], (one, two, other)):
            assert {name: told["turn"][name] for name in same} == {name: asked[name] for name in same}

    def test_of_an_empty_conversation_has_no_turns(self, talk: Talk) -> None:
        found = exported(talk)
        assert (found["turns"], found["conversation"]["active_leaf"]) == ([], None)

    def test_names_turns_that_cannot_be_read(self, world: World, talk: Talk) -> None:
        one, two, three = (talk.say(text)["message_id"] for text in ("one", "two", "three"))
        world.documents.commit([Replace(turn_path("alice", talk.id, one), {"attempt": "x"})])
        world.documents.commit([Delete(turn_path("alice", talk.id, two))])
        found = exported(talk)["turns"]
        assert [(turn["id"], turn["unavailable"], turn["turn"] is None) for turn in found] == [
            (one, "unreadable", True),
            (two, "missing", True),
            (three, None, False),
        ]
        assert world.documents.get("jobs/turns_list") is not None

    def test_has_the_turns_of_before_trees(self, world: World, talk: Talk) -> None:
        ids = [talk.say(text)["message_id"] for text in ("one", "two", "three")]
        aged(world)
        world.documents.commit([Merge(turn_path("alice", talk.id, ids[1]), {"question": 1, "state": None})])
        found = exported(talk)
        assert [(turn["id"], turn["parent"]) for turn in found["turns"]] == [*zip(ids, (None, 0, 1))]
        assert found["conversation"]["active_leaf"] == 2

    def test_has_the_turn_that_is_running(self, world: World, talk: Talk) -> None:
        first, second = (talk.say(text)["message_id"] for text in ("one", "two"))
        turn = turn_path("alice", talk.id, second)
        world.documents.commit([Merge(turn, {"state": "running", "loose": True})])
        world.documents.commit([Merge(conversation_path("alice", talk.id), {"tree": f"{first}:-", "leaf": first})])
        found = exported(talk)["turns"]
        assert [(turn["parent"], turn["turn"]["status"]) for turn in found] == [(None, "done"), (0, "running")]

    def test_is_read_in_pages(self, talk: Talk, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        talk.say("one")
        copied(talk, 2 * PAGE)
        calls = calls_of(world.documents, monkeypatch)
        assert len(exported(talk)["turns"]) == 2 * PAGE + 1
        assert calls == ["query", "get", *["get_all"] * 3]

    def test_takes_no_leaf(self, talk: Talk) -> None:
        id = talk.say("one")["message_id"]
        assert talk.client.get(f"{talk.path}/export?leaf={id}").status_code == 422


class TestTheMarkdown:
    def test_is_of_one_branch(self, talk: Talk) -> None:
        one = talk.say("first words")["message_id"]
        two = talk.say("second words")["message_id"]
        talk.say("other words", parent=one)
        found = markdown(talk)
        assert [word for word in ("first", "second", "other") if f"> {word} words" in found] == ["first", "other"]
        assert "> other words" not in markdown(talk, f"&leaf={two}")
        assert "> second words" in markdown(talk, f"&leaf={two}")
        assert markdown(talk).endswith("\nEnd of the conversation, 2 turns.\n")

    def test_no_text_passes_for_a_line_of_ours(self, talk: Talk) -> None:
        talk.client.patch(talk.path, json={"title": "a\n# b", "system_prompt": HOSTILE})
        talk.say(HOSTILE)
        ours = [line for line in markdown(talk).splitlines() if line.startswith(("#", "-", "End"))]
        assert ours == [
            "# a \\# b",
            "## System prompt",
            "## 1. Question",
            "## 1. Answer",
            "---",
            "End of the conversation, 1 turns.",
        ]

    def test_names_turns_that_cannot_be_read(self, world: World, talk: Talk) -> None:
        one = talk.say("one")["message_id"]
        world.documents.commit([Delete(turn_path("alice", talk.id, one))])
        assert "## 1. This turn is missing" in markdown(talk)

    def test_of_a_leaf_elsewhere_is_not_found(self, talk: Talk) -> None:
        talk.say("one")
        markdown(talk, "&leaf=msg_nowhere", status=404)


def test_another_users_conversation_is_not_found(world: World, talk: Talk) -> None:
    talk.say("one")
    for query in ("", "?format=markdown"):
        assert world.client("bob").get(f"{talk.path}/export{query}").status_code == 404
    talk.client.delete(talk.path)
    assert talk.client.get(f"{talk.path}/export").status_code == 404
