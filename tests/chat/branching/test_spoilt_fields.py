"""One spoilt field of a conversation or of a turn: nothing else is lost, nothing guessed, and it is reported once."""

from collections.abc import Generator, Iterator
from typing import Any, Final

import pytest

from app.chat.store import conversation_path, turn_path
from app.kit.stores.documents import Delete, Merge, Opaque, Replace, as_map, list_field
from app.models.chunks import AnsweredBy, Delta, Finished
from app.models.gateway import ModelEvent, Question, VendorCall
from chat.branching.test_branches import Talk
from support.world import World

ABSENT: Final = object()
WRONG: Final[dict[str, Any]] = {
    "number": 7,
    "text": "x",
    "list": ["x", 1],
    "map": {"x": 1},
    "geo point": Opaque("geo_point_value", b"\x12\x00"),
    "null": None,
    "absent": ABSENT,
    "negative": -1.5,
}
CONVERSATION: Final = (
    *("state", "title", "model", "system_prompt", "memory", "created_at", "updated_at", "archived", "pinned", "words"),
    *("window", "tree", "trunk", "leaf", "branch", "spent", "share"),
)
TURN: Final = (
    *("id", "account", "conversation_id", "attempt", "request_hash", "question", "images", "model", "route"),
    *("reservation_id", "reserved", "max_output_tokens", "clamped", "instance", "created_at", "lease_until", "choice"),
    *("parent", "before", "loose", "words", "state", "answer", "answered_by", "finish_reason", "reason", "cost"),
    *("available", "transaction_id", "usage", "estimated", "problem", "route_reason", "ended_at"),
)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World()

    def stream(question: Question, call: VendorCall) -> Generator[ModelEvent, None, None]:
        yield AnsweredBy(question.model)
        yield Delta(f"Answer to {question.messages[-1].text}", 1)
        yield Finished("stop")

    monkeypatch.setattr(world.system.models.gateway, "stream", stream)
    yield world


class Told:
    """A conversation of four turns in two branches: one - two - three, and beside two another."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.talk = Talk(world.client("alice"), world)
        one = self.talk.say("one")
        other = self.talk.say("other", parent=one["message_id"])
        two = self.talk.say("two", parent=one["message_id"])
        three = self.talk.say("three")
        self.turns = [one, other, two, three]
        self.ids = [turn["message_id"] for turn in self.turns]
        self.path = conversation_path("alice", self.talk.id)
        self.stored = {
            path: found.fields for path, found in world.documents.all().items() if path.startswith(self.path)
        }

    def turn_path(self, number: int) -> str:
        return turn_path("alice", self.talk.id, self.ids[number])

    def spoil(self, path: str, name: str, value: Any) -> None:
        """Puts the conversation back as it was, but for one field."""
        for other in self.world.documents.all():
            if other.startswith(self.path) and other not in self.stored:
                self.world.documents.commit([Delete(other)])
        for other, fields in self.stored.items():
            self.world.documents.commit([Replace(other, fields)])
        fields = {**self.stored[path], name: value}
        if value is ABSENT:
            del fields[name]
        self.world.documents.commit([Replace(path, fields)])

    def get(self, path: str) -> dict[str, Any]:
        answer = self.talk.client.get(path)
        assert answer.status_code == 200, (path, answer.text)
        found: Any = answer.json
        assert isinstance(found, dict)
        return found

    def reported(self) -> list[str]:
        stored = [self.world.documents.get(f"jobs/{job}") for job in ("conversations_list", "turns_list")]
        rows = [as_map(row) for one in stored if one for row in list_field(one.fields, "broken")]
        return [f"{row['path']} {row['reason']}" for row in rows]

    def read(self) -> dict[str, Any]:
        """Everything that its owner can read of it."""
        return {
            "read": self.get(self.talk.path),
            "list": self.get("/v1/chat/conversations")["items"],
            "branch": self.talk.branch(limit=2),
            "other": self.talk.branch(leaf=self.ids[1]),
            "export": self.get(f"{self.talk.path}/export")["turns"],
            "markdown": self.talk.client.get(f"{self.talk.path}/export?format=markdown").text,
            "search": self.get("/v1/chat/search?q=answer%20three")["items"],
        }

    def write(self) -> None:
        """Everything that its owner can do with it; each is answered, or refused for a reason that is told."""
        client = self.talk.client
        assert self.talk.say("Four?")["answer"] == "Answer to Four?"
        assert self.talk.say("Five?", parent=self.ids[0])["parent_id"] == self.ids[0]
        again = client.post(f"/v1/chat/messages/{self.ids[3]}/regenerate", json={})
        assert again.status_code in (200, 404, 409), again.text
        switched = client.patch(self.talk.path, json={"active_leaf": self.ids[3], "title": "New"})
        assert switched.status_code == 200, switched.text
        assert client.post(f"/v1/chat/messages/{self.ids[3]}/cancel").status_code in (200, 404, 409)

    def delete(self) -> None:
        client = self.talk.client
        assert client.delete(self.talk.path).status_code == 204
        assert client.get(self.talk.path).status_code == 404


@pytest.fixture
def told(world: World) -> Told:
    return Told(world)


def money(turns: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(turn["cost"], turn["usage"], turn["branch"]) for turn in turns]


@pytest.mark.parametrize("name", CONVERSATION)
def test_of_a_conversation_takes_nothing_else_with_it(told: Told, name: str) -> None:
    whole = told.read()
    assert [one["content"] for one in whole["branch"]] == ["three", "two", "one"]
    for kind, value in WRONG.items():
        told.spoil(told.path, name, value)
        found = told.read()
        context = (name, kind)
        assert [one["message_id"] for one in found["branch"]] == told.ids[:0:-1][:2] + told.ids[:1], context
        assert money(found["branch"]) == money(whole["branch"]), context
        assert [one["message_id"] for one in found["other"]] == [told.ids[1], told.ids[0]], context
        assert sorted(one["id"] for one in found["export"]) == sorted(told.ids), context
        assert found["search"] == whole["search"] or name in ("title", "words", "state"), context
        assert found["read"]["spent"] in (whole["read"]["spent"], None), context
        assert found["read"]["spent"] == whole["read"]["spent"] or name == "spent", context
        assert found["list"] or name == "updated_at", context
        if kind in ("text", "geo point", "absent") and (name, kind) != ("model", "text"):
            told.write()
    told.delete()


@pytest.mark.parametrize("name", TURN)
def test_of_a_turn_takes_nothing_else_with_it(told: Told, name: str) -> None:
    whole = told.read()
    for kind, value in WRONG.items():
        told.spoil(told.turn_path(3), name, value)
        found = told.read()
        context = (name, kind)
        assert [one["message_id"] for one in found["branch"]] == [one["message_id"] for one in whole["branch"]], context
        assert money(found["branch"][1:]) == money(whole["branch"][1:]), context
        for was, now in zip(money(whole["branch"][:1])[0], money(found["branch"][:1])[0]):
            assert now in (was, None) or (name, kind) in (("cost", "number"), ("usage", "map")), context
        if name == "cost" and kind != "number":
            assert (found["branch"][0]["cost"], found["branch"][0]["branch"]) == (None, None), context
            assert name in found["branch"][0]["unreadable"], context
            assert "a cost that cannot be read" in found["markdown"], context
        assert [one["id"] for one in found["export"]] == [one["id"] for one in whole["export"]], context
        assert found["read"]["spent"] == whole["read"]["spent"], context
        if kind in ("geo point", "absent"):
            told.write()
    told.delete()


def sent(world: World, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The texts of each prompt from now on."""
    prompts: list[list[str]] = []
    real = world.system.models.gateway.stream

    def stream(question: Question, call: VendorCall) -> Generator[ModelEvent, None, None]:
        prompts.append([message.text for message in question.messages])
        return real(question, call)

    monkeypatch.setattr(world.system.models.gateway, "stream", stream)
    return prompts


class TestTheEndOfABranch:
    @pytest.mark.parametrize("name", ["tree", "trunk", "leaf", "window", "branch"])
    def test_is_found_in_the_turns_again(
        self, told: Told, world: World, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """The next message is answered from the whole branch, costs of which are known again, and the other is kept."""
        told.spoil(told.path, name, 7)
        world.documents.commit([Merge(told.path, {"theirs": 1})])
        prompts = sent(world, monkeypatch)
        four = told.talk.say("four")
        answers = [text for one in ("one", "two", "three") for text in (one, f"Answer to {one}")]
        assert prompts == [[*answers, "four"]]
        assert four["parent_id"] == told.ids[3]
        before, own = told.turns[3]["branch"], four["usage"]
        assert four["branch"]["input_tokens"] == before["input_tokens"] + own["input_tokens"]
        assert told.talk.questions() == ["one", "two", "three", "four"]
        assert told.talk.questions(leaf=told.ids[1]) == ["one", "other"]
        stored = world.documents.get(told.path)
        assert stored is not None
        assert stored.fields["theirs"] == 1
        assert four["branch"] == told.talk.branch()[0]["branch"]
        assert told.talk.say("five")["branch"]["input_tokens"] > four["branch"]["input_tokens"]

    def test_that_is_lost_with_the_window_is_the_newest(self, told: Told, world: World) -> None:
        told.spoil(told.path, "leaf", 7)
        world.documents.commit([Merge(told.path, {"window": [7]})])
        assert told.talk.say("four")["parent_id"] == told.ids[3]


class TestATreeText:
    @pytest.mark.parametrize(
        "damage",
        [
            "{0}:- {1}:0 {2}:{3} {3}:{3}",
            "{0}:{3} {1}:0 {2}:0 {3}",
            "{0}:- {1} {2}:0 {3} {0}:2",
            "{0}:- {1} {2}:7 {3}:x",
        ],
    )
    def test_with_a_cycle_is_answered_and_reported_once(self, told: Told, world: World, damage: str) -> None:
        told.spoil(told.path, "tree", damage.format(*told.ids))
        for _ in range(2):
            assert told.talk.branch()[0]["message_id"] == told.ids[3]
            told.get(f"{told.talk.path}/export")
        assert [row.split(":")[0] for row in told.reported()] == [f"{told.path} places in the tree that cannot be read"]
        told.write()

    def test_loose_turns_that_answer_each_other_hang_nobody(self, told: Told, world: World) -> None:
        told.spoil(told.turn_path(2), "loose", True)
        one, other = (turn_path("alice", told.talk.id, f"msg_{name}") for name in ("one", "other"))
        loose = {**told.stored[told.turn_path(2)], "loose": True}
        world.documents.commit([Replace(one, {**loose, "id": "msg_one", "parent": "msg_other"})])
        world.documents.commit([Replace(other, {**loose, "id": "msg_other", "parent": "msg_one"})])
        assert {turn["message_id"] for turn in told.talk.branch(leaf="msg_one")} <= {"msg_one", "msg_other"}
        assert len(told.get(f"{told.talk.path}/export")["turns"]) == 6


def test_a_spoilt_turn_is_not_answered_again_under_its_key(told: Told, world: World) -> None:
    """Whether it was paid cannot be told, so nothing is charged."""
    four = told.talk.say("four", key="k")
    path = turn_path("alice", told.talk.id, four["message_id"])
    world.documents.commit([Merge(path, {"cost": "x"})])
    before = told.get("/v1/credits/balance")
    assert told.talk.say("four", key="k", status=409)["code"] == "message_unreadable"
    assert told.get("/v1/credits/balance") == before


@pytest.mark.parametrize("fields", [{}, {"theirs": 1}, {"tree": "x", "leaf": "x"}])
def test_what_is_no_conversation_is_in_no_list(told: Told, world: World, fields: dict[str, Any]) -> None:
    world.documents.commit([Replace(conversation_path("alice", "cnv_stray"), {**fields, "updated_at": 7})])
    assert [one["id"] for one in told.get("/v1/chat/conversations")["items"]] == [told.talk.id]
