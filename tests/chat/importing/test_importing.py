"""The import of our own exports through the whole application: round trips, bounds, crashes, what it never costs."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from app.chat.branching.tree import MOST_TURNS
from app.chat.importing import leftover
from app.chat.importing.importing import MOST_WRITES
from app.chat.store import turn_path
from app.kit.errors import Unavailable
from app.kit.stores.documents import Delete, Merge, Replace, Version, Write
from chat.branching.test_branches import Talk, calls_of, prompts
from support.vendor import Vendor
from support.world import Caller, World

__all__ = ["prompts"]
IMPORT = "/v1/chat/conversations/import"
OUT_OF_RANGE = {"code": "x", "title": "x", "detail": "x", "status": 2**70}


@pytest.fixture
def world(vendor: Vendor) -> Iterator[World]:
    yield World(variables={"AI_PLATFORM_BASE_URL": vendor.base_url})


@pytest.fixture
def talk(world: World) -> Talk:
    return Talk(world.client("alice"), world)


def exported(client: Caller, id: str) -> str:
    answer = client.get(f"/v1/chat/conversations/{id}/export")
    assert answer.status_code == 200, answer.text
    return answer.text


def imported(client: Caller, *texts: str) -> list[dict[str, Any]]:
    answer = client.post(IMPORT, json={"conversations": [json.loads(text) for text in texts]})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = json.loads(answer.text)["items"]
    return found


def taken(client: Caller, text: str) -> str:
    [one] = imported(client, text)
    assert (one["outcome"], one["reason"]) == ("imported", None), one
    return str(one["conversation_id"])


def file(turns: Sequence[int | None], **settings: Any) -> dict[str, Any]:
    """An export with turns that answer those with these numbers."""
    at = "2026-10-01T00:00:00.000001Z"
    told = {
        **{"images": [], "status": "done", "model": "small", "route": "default", "route_reason": None},
        **{"finish_reason": "stop", "reason": "completed", "estimated": False, "cost": "0.25"},
        **{"usage": {"input_tokens": 1, "output_tokens": 2, "cached_tokens": 0}, "transaction_id": "txn_1"},
        **{"created_at": at, "ended_at": at, "error": None, "unreadable": []},
    }
    return {
        "format": "credits.conversation",
        "version": 1,
        "conversation": {
            **{"id": "cnv_1", "title": "A title", "model": None, "system_prompt": "", "memory": "buffer"},
            **{"archived": False, "pinned": False, "active_leaf": len(turns) - 1 if turns else None},
            **{"created_at": at, "updated_at": at},
            **settings,
        },
        "turns": [
            {
                **{"number": number, "parent": parent, "id": f"msg_{number}", "unavailable": None},
                "turn": {"content": f"question {number}", "answer": f"answer {number}", **told},
            }
            for number, parent in enumerate(turns)
        ],
    }


class TestARoundTrip:
    def test_of_a_conversation_with_branches_is_the_same_text(self, world: World, talk: Talk, vendor: Vendor) -> None:
        one = talk.say("one")["message_id"]
        talk.say("two")
        talk.say("other two", parent=one)
        vendor.arrange("status=500", times=None, contains="fail")
        talk.client.post(f"{talk.path}/messages", json={"content": "fail", "images": ["https://example.org/a.png"]})
        talk.client.patch(
            talk.path, json={"title": "T\u2028", "pinned": True, "archived": True, "system_prompt": "Be."}
        )
        text = exported(talk.client, talk.id)
        for user in ("bob", "alice"):
            client = world.client(user)
            assert exported(client, taken(client, text)) == text

    def test_of_spoilt_and_running_turns_is_the_same_text(self, world: World, talk: Talk) -> None:
        ids = [talk.say(text)["message_id"] for text in ("one", "two", "three", "four")]
        path = [turn_path("alice", talk.id, id) for id in ids]
        world.documents.commit(
            [
                Replace(path[0], {"attempt": "x"}),
                Delete(path[1]),
                Merge(path[2], {"cost": "x", "answer": 5}),
                Merge(path[3], {"state": "running", "loose": True}),
            ]
        )
        text = exported(talk.client, talk.id)
        bob = world.client("bob")
        id = taken(bob, text)
        assert exported(bob, id) == text
        world.clock.advance(minutes=60)
        world.system.orchestration.sweep()
        assert exported(bob, id) == text
        statuses = [one["status"] for one in Talk._json(bob.get(f"/v1/chat/conversations/{id}/messages"), 200)["items"]]
        assert statuses == ["error", "done", "error", "error"]

    def test_of_what_was_imported_and_continued_is_the_same_text(self, world: World) -> None:
        bob, carol = world.client("bob"), world.client("carol")
        id = taken(bob, json.dumps(file([None, 0, 0, 2], model="nobodys-model")))
        bob.post(f"/v1/chat/conversations/{id}/messages", json={"content": "and now?"})
        text = exported(bob, id)
        assert json.loads(text)["conversation"]["model"] == "nobodys-model"
        assert exported(carol, taken(carol, text)) == text

    def test_of_1000_turns_in_50_branches_is_the_same_value(self, world: World) -> None:
        parents = [None, *(number // 20 if number % 20 == 0 else number - 1 for number in range(1, 1000))]
        sent, bob = file(parents), world.client("bob")
        id = taken(bob, json.dumps(sent))
        assert json.loads(exported(bob, id)) == sent

    def test_of_an_empty_conversation(self, world: World, talk: Talk) -> None:
        text = exported(talk.client, talk.id)
        assert exported(talk.client, taken(talk.client, text)) == text


class TestAnImportedConversation:
    def test_is_continued_with_its_turns_as_context(self, talk: Talk, prompts: list[list[str]]) -> None:
        id = taken(talk.client, json.dumps(file([None, 0, 0])))
        path = f"/v1/chat/conversations/{id}"
        answer = Talk._json(talk.client.post(f"{path}/messages", json={"content": "next"}), 200)
        assert prompts[-1] == ["question 0", "answer 0", "question 2", "answer 2", "next"]
        assert (
            answer["branch"] == {**answer["usage"], "cost": answer["cost"]} | {}
            or answer["branch"]["cost"] == answer["cost"]
        )
        second = Talk._json(talk.client.get(f"{path}/messages?limit=100"), 200)["items"][1]["message_id"]
        Talk._json(talk.client.post(f"{path}/messages", json={"content": "edit", "parent_id": second}), 200)
        assert prompts[-1] == ["question 0", "answer 0", "question 2", "answer 2", "edit"]

    def test_costs_nothing_and_says_that_it_is_imported(self, world: World, talk: Talk) -> None:
        balance = talk.client.get("/v1/credits/balance").json
        id = taken(talk.client, json.dumps(file([None, 0])))
        assert talk.client.get("/v1/credits/balance").json == balance
        found = Talk._json(talk.client.get(f"/v1/chat/conversations/{id}"), 200)
        assert found["spent"] == {"cost": "0", "input_tokens": 0, "output_tokens": 0}
        for turn in Talk._json(talk.client.get(f"/v1/chat/conversations/{id}/messages"), 200)["items"]:
            assert (turn["route"], turn["reason"], turn["cost"]) == ("imported", "imported", "0")
            assert (turn["transaction_id"], turn["reserved"]) == (None, "0")
        world.clock.advance(minutes=60)
        world.system.orchestration.sweep()
        assert talk.client.get("/v1/credits/history?type=usage").status_code < 500

    def test_is_found_by_its_words(self, talk: Talk) -> None:
        id = taken(talk.client, json.dumps(file([None, 0])))
        hits = Talk._json(talk.client.get("/v1/chat/search?q=question"), 200)["items"]
        assert {hit["conversation_id"] for hit in hits} == {id}
        assert len(hits) == 2

    def test_is_asked_again_where_there_was_a_question(self, talk: Talk, prompts: list[list[str]]) -> None:
        sent = file([None, 0])
        sent["turns"][1]["turn"]["content"] = ""
        path = f"/v1/chat/conversations/{taken(talk.client, json.dumps(sent))}/messages"
        blank, first = (one["message_id"] for one in Talk._json(talk.client.get(path), 200)["items"])
        talk.again(blank, status=409)
        assert prompts == []
        assert talk.again(first)["content"] == "question 0"

    def test_takes_no_id_from_its_file(self, world: World, talk: Talk) -> None:
        """A message is found by its id alone, so copies of another user's would hide it."""
        mine = talk.say("one")
        text = exported(talk.client, talk.id)
        eve = world.client("eve")
        for number in range(60):
            sent = json.loads(text)
            sent["conversation"]["title"] = str(number)
            taken(eve, json.dumps(sent))
        again = talk.client.post(f"/v1/chat/messages/{mine['message_id']}/cancel")
        assert again.status_code == 200

    def test_obeys_the_bound_of_turns(self, world: World, talk: Talk) -> None:
        sent = file([None, *range(MOST_TURNS)])
        [one] = imported(talk.client, json.dumps(sent))
        assert one["outcome"] == "refused"


class TestTheSameFileAgain:
    def test_makes_no_second_conversation(self, talk: Talk) -> None:
        text = json.dumps(file([None, 0]))
        id = taken(talk.client, text)
        assert [(one["outcome"], one["conversation_id"]) for one in imported(talk.client, text, text)] == [
            ("existing", id),
            ("existing", id),
        ]

    def test_is_imported_again_after_the_first_was_deleted(self, world: World, talk: Talk) -> None:
        text = json.dumps(file([None, 0]))
        for _ in range(3):
            id = taken(talk.client, text)
            talk.client.delete(f"/v1/chat/conversations/{id}")
            world.system.orchestration.run_lane("default")
        assert [path for path in world.documents.all() if "/imports/" in path or "/messages/" in path] == []

    def test_of_another_user_is_another_conversation(self, world: World, talk: Talk) -> None:
        text = json.dumps(file([None]))
        assert taken(talk.client, text) != taken(world.client("bob"), text)


class TestWhatOtherProgramsExport:
    def test_becomes_conversations_that_go_on(self, world: World, talk: Talk, prompts: list[list[str]]) -> None:
        chatgpt = {
            **{"title": "From there", "create_time": 1765670401.5, "current_node": "a"},
            "mapping": {
                "u": {
                    "message": {"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["Why?"]}},
                    **{"parent": "gone", "children": ["a"]},
                },
                "a": {
                    "message": {
                        "author": {"role": "assistant"},
                        "content": {"content_type": "multimodal_text", "parts": ["So.", {"content_type": "x"}]},
                    },
                    **{"parent": "u", "children": []},
                },
            },
        }
        webui = {"title": "Web", "chat": {"messages": [{"role": "user", "content": "A"}, {"role": "tool"}]}}
        sent = [json.dumps(chatgpt), json.dumps({"mapping": 5, "title": "spoilt"}), json.dumps(webui)]
        items = imported(talk.client, *sent)
        assert [(one["outcome"], one["title"], one["turns"]) for one in items] == [
            ("imported", "From there", 1),
            ("refused", "spoilt", 0),
            ("imported", "Web", 1),
        ]
        assert items[0]["left_out"] == [{"kind": "unknown_content", "count": 1}]
        assert items[2]["left_out"] == [{"kind": "tool_message", "count": 1}]
        assert [one["outcome"] for one in imported(talk.client, *sent)] == ["existing", "refused", "existing"]
        path = f"/v1/chat/conversations/{items[0]['conversation_id']}"
        Talk._json(talk.client.post(f"{path}/messages", json={"content": "And?"}), 200)
        assert prompts[-1] == ["Why?", "So.", "And?"]
        text = exported(talk.client, items[0]["conversation_id"])
        bob = world.client("bob")
        assert exported(bob, taken(bob, text)) == text


LONG = json.dumps(file([None, *range(2 * MOST_WRITES)]))


def dying(world: World, monkeypatch: pytest.MonkeyPatch, commits: int) -> None:
    """The store stops answering after so many commits."""
    real, left = world.documents.commit, [commits]

    def commit(writes: Sequence[Write]) -> list[Version]:
        if left[0] == 0:
            raise Unavailable("gone")
        left[0] -= 1
        return real(writes)

    monkeypatch.setattr(world.documents, "commit", commit)


class TestACrash:
    @pytest.mark.parametrize("commits", range(5))
    def test_shows_nothing_and_the_same_request_goes_on(
        self, world: World, talk: Talk, monkeypatch: pytest.MonkeyPatch, commits: int
    ) -> None:
        before = world.client("alice").get("/v1/chat/conversations").json
        with monkeypatch.context() as patched:
            dying(world, patched, commits)
            answer = talk.client.post(IMPORT, json={"conversations": [json.loads(LONG)]})
            assert answer.status_code == 503
        assert world.client("alice").get("/v1/chat/conversations").json == before
        assert Talk._json(talk.client.get("/v1/chat/search?q=question"), 200)["items"] == []
        id = taken(talk.client, LONG)
        assert json.loads(exported(talk.client, id)) == json.loads(LONG)
        messages = [path for path in world.documents.all() if "/messages/" in path]
        assert len(messages) == 2 * MOST_WRITES + 1
        world.clock.advance(minutes=70)
        world.system.orchestration.sweep()
        world.system.orchestration.run_lane("default")
        assert json.loads(exported(talk.client, id)) == json.loads(LONG)

    def test_that_nobody_continues_leaves_nothing_after_an_hour(
        self, world: World, talk: Talk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patched:
            dying(world, patched, 3)
            talk.client.post(IMPORT, json={"conversations": [json.loads(LONG)]})
        assert [path for path in world.documents.all() if "/messages/" in path]
        world.clock.advance(us=leftover.KEPT_US)
        world.clock.advance(minutes=10)  # Nobody rings an alarm here: the sweep finds what is overdue.
        world.system.orchestration.sweep()
        world.system.orchestration.run_lane("default")
        assert [path for path in world.documents.all() if "/messages/" in path or "/imports/" in path] == []
        taken(talk.client, LONG)

    def test_that_is_continued_while_it_is_removed_writes_nothing_behind_that(
        self, world: World, talk: Talk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, count = world.documents.commit, [0]

        def commit(writes: Sequence[Write]) -> list[Version]:
            count[0] += 1
            if count[0] == 3:
                [record] = [path for path in world.documents.all() if "/imports/" in path]
                real([Delete(record)])
            return real(writes)

        with monkeypatch.context() as patched:
            patched.setattr(world.documents, "commit", commit)
            id = taken(talk.client, LONG)
        assert json.loads(exported(talk.client, id)) == json.loads(LONG)
        left = [path for path in world.documents.all() if "/messages/" in path and id not in path]
        assert len(left) == MOST_WRITES

    def test_two_requests_at_once_make_one_conversation(
        self, world: World, talk: Talk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, count, other = world.documents.commit, [0], []

        def commit(writes: Sequence[Write]) -> list[Version]:
            count[0] += 1
            if count[0] == 3:
                other.append(taken(world.client("alice"), LONG))
            return real(writes)

        with monkeypatch.context() as patched:
            patched.setattr(world.documents, "commit", commit)
            [one] = imported(talk.client, LONG)
        assert (one["outcome"], one["conversation_id"]) == ("existing", other[0])


class TestARefusal:
    def test_of_one_stops_no_other(self, talk: Talk) -> None:
        spoilt = file([None])
        spoilt["turns"][0]["turn"]["content"] = 5
        items = imported(talk.client, json.dumps(spoilt), '{"title": "x", "a": 1}', json.dumps(file([None])))
        assert [one["outcome"] for one in items] == ["refused", "refused", "imported"]
        assert items[0]["reason"].startswith("turns.0.turn.content: ")
        assert items[1]["title"] == "x"

    @pytest.mark.parametrize(
        "change",
        [
            lambda one: one["conversation"].update(title="x" * 201),
            lambda one: one["conversation"].update(system_prompt="x" * 16_001),
            lambda one: one["conversation"].update(memory="none"),
            lambda one: one["conversation"].update(active_leaf=2),
            lambda one: one["conversation"].update(active_leaf=-1),
            lambda one: one["conversation"].update(id="__x__"),
            lambda one: one["conversation"].update(updated_at="2026-10-01"),
            lambda one: one["conversation"].update(updated_at="9999-10-01T00:00:00.000000Z"),
            lambda one: one["turns"][1].update(parent=1),
            lambda one: one["turns"][1].update(parent=-1),
            lambda one: one["turns"][1].update(number=0),
            lambda one: one["turns"][1].update(id="a/b"),
            lambda one: one["turns"][1].update(turn=None),
            lambda one: one["turns"][1].update(unavailable="missing"),
            lambda one: one["turns"][1]["turn"].update(content="x" * 100_001),
            lambda one: one["turns"][1]["turn"].update(answer="ü" * (256 * 1024 + 1)),
            lambda one: one["turns"][1]["turn"].update(images=["ftp://example.org"]),
            lambda one: one["turns"][1]["turn"].update(status="paid"),
            lambda one: one["turns"][1]["turn"].update(cost="a lot"),
            lambda one: one["turns"][1]["turn"].update(error=OUT_OF_RANGE),
            lambda one: one["turns"][1]["turn"].update(reason="x" * 20_000),
            lambda one: one["turns"][1]["turn"].update(ended_at="9999-10-01T00:00:00.000000Z"),
            lambda one: one.update(version=2),
            lambda one: one.update(more=1),
        ],
    )
    def test_of_what_could_not_be_here(self, world: World, talk: Talk, change: Any) -> None:
        sent = file([None, 0])
        change(sent)
        before = world.documents.all()
        [one] = imported(talk.client, json.dumps(sent))
        assert (one["outcome"], bool(one["reason"])) == ("refused", True)
        assert world.documents.all() == before

    def test_of_too_many_at_once(self, talk: Talk) -> None:
        body = {"conversations": [file([])] * 51}
        assert talk.client.post(IMPORT, json=body).status_code == 422
        half = MOST_TURNS // 2
        first, second, third = (json.dumps(file([None] * count, title=str(count))) for count in (half, half + 1, 1))
        items = imported(talk.client, first, second, third)
        assert [one["outcome"] for one in items] == ["imported", "refused", "imported"]


def test_one_conversation_costs_one_read_and_one_commit(
    world: World, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk.client.get("/v1/credits/balance")
    calls = calls_of(world.documents, monkeypatch)
    taken(talk.client, json.dumps(file([None, 0, 1])))
    assert calls == ["get", "commit"]
