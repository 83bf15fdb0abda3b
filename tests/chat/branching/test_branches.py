"""Branches through the whole application: edit, regenerate, switch, pages, old conversations, and what they cost."""

from collections.abc import Callable, Generator, Iterator
from typing import Any, Final

import pytest

from app.chat import turn as turns
from app.chat.branching.tree import FIRST, Spent, tree_of
from app.chat.store import conversation_path, turn_path
from app.chat.turn import End, Turn
from app.kit.clock import to_rfc3339
from app.kit.money import from_decimal
from app.kit.stores.documents import Create, Merge, Replace, Value
from app.models.gateway import ModelEvent, Question, VendorCall
from support.memory import MemoryDocuments
from support.vendor import Vendor
from support.world import Caller, World

NEW_FIELDS: Final = ("tree", "trunk", "leaf", "branch", "spent", "parent", "before", "loose")


@pytest.fixture
def world(vendor: Vendor) -> Iterator[World]:
    yield World(variables={"AI_PLATFORM_BASE_URL": vendor.base_url})


@pytest.fixture
def alice(world: World) -> Caller:
    return world.client("alice")


class Talk:
    """A conversation of Alice's."""

    def __init__(self, client: Caller, world: World) -> None:
        self.client, self.world = client, world
        self.id = client.post("/v1/chat/conversations", json={"model": "small"}).json["id"]  # type: ignore[index]
        self.path = f"/v1/chat/conversations/{self.id}"

    def say(self, content: str, parent: str | None = None, status: int = 200, key: str | None = None) -> dict[str, Any]:
        self.world.clock.advance(seconds=1)
        body = {"content": content} if parent is None else {"content": content, "parent_id": parent}
        return self._json(self.client.post(f"{self.path}/messages", json=body, headers=_keyed(key)), status)

    def again(self, message: str, status: int = 200, key: str | None = None) -> dict[str, Any]:
        answer = self.client.post(f"/v1/chat/messages/{message}/regenerate", json={}, headers=_keyed(key))
        return self._json(answer, status)

    def read(self) -> dict[str, Any]:
        return self._json(self.client.get(self.path), 200)

    def branch(self, leaf: str | None = None, limit: int = 20) -> list[dict[str, Any]]:
        """All pages."""
        found: list[dict[str, Any]] = []
        query = f"limit={limit}" + ("" if leaf is None else f"&leaf={leaf}")
        cursor = ""
        while True:
            page = self._json(self.client.get(f"{self.path}/messages?{query}{cursor}"), 200)
            found += page["items"]
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    def questions(self, leaf: str | None = None, limit: int = 20) -> list[str]:
        return [one["content"] for one in reversed(self.branch(leaf, limit))]

    @staticmethod
    def _json(answer: Any, status: int) -> dict[str, Any]:
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json
        return found


def _keyed(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Idempotency-Key": key}


@pytest.fixture
def talk(world: World, alice: Caller) -> Talk:
    return Talk(alice, world)


@pytest.fixture
def prompts(world: World, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The texts of each prompt that is sent to a model."""
    sent: list[list[str]] = []
    real = world.system.models.gateway.stream

    def stream(question: Question, call: VendorCall) -> Generator[ModelEvent, None, None]:
        sent.append([message.text for message in question.messages])
        return real(question, call)

    monkeypatch.setattr(world.system.models.gateway, "stream", stream)
    return sent


def aged(world: World) -> None:
    """Makes all documents of chat what they were before conversations were trees."""
    for path, stored in world.documents.all().items():
        if not path.startswith("users/"):
            continue
        fields = {name: value for name, value in stored.fields.items() if name not in NEW_FIELDS}
        if isinstance(window := fields.get("window"), list):
            fields["window"] = [{name: one[name] for name in one if name != "spent"} for one in window]
        world.documents.commit([Replace(path, fields)])


def calls_of(documents: MemoryDocuments, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the store's methods, as they are called from now on."""
    calls: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            calls.append(name)
            return real(*given)

        return call

    for name in ("get", "get_all", "query", "commit"):
        monkeypatch.setattr(documents, name, counted(name, getattr(documents, name)))
    return calls


class TestAnEdit:
    def test_is_another_branch_and_loses_nothing(self, talk: Talk) -> None:
        first, second, third = talk.say("One?"), talk.say("Two?"), talk.say("Three?")
        edit = talk.say("Two, please?", parent=first["message_id"])
        assert edit["parent_id"] == first["message_id"] == second["parent_id"]
        assert talk.questions() == ["One?", "Two, please?"]
        assert talk.questions(leaf=second["message_id"]) == ["One?", "Two?", "Three?"]
        assert talk.questions(leaf=third["message_id"]) == ["One?", "Two?", "Three?"]
        [last, root] = talk.branch()
        assert (last["siblings"], last["position"]) == ([second["message_id"], edit["message_id"]], 2)
        assert (root["siblings"], root["position"], root["parent_id"]) == ([first["message_id"]], 1, None)
        assert talk.read()["active_leaf"] == edit["message_id"]

    def test_of_the_first_message_has_no_parent(self, talk: Talk) -> None:
        first = talk.say("One?")
        edit = talk.say("Uno?", parent="root")
        assert edit["parent_id"] is None
        assert talk.questions() == ["Uno?"]
        assert talk.branch()[0]["siblings"] == [first["message_id"], edit["message_id"]]

    def test_is_answered_from_its_own_branch(self, talk: Talk, prompts: list[list[str]]) -> None:
        first = talk.say("One?")
        talk.say("Two?")
        talk.say("Other?", parent=first["message_id"])
        assert prompts[-1] == ["One?", first["answer"], "Other?"]
        talk.say("Next?")
        assert [text for text in prompts[-1] if text.endswith("?")] == ["One?", "Other?", "Next?"]

    def test_far_from_the_active_branch_reads_its_turns(self, talk: Talk, prompts: list[list[str]]) -> None:
        one, two = talk.say("One?"), talk.say("Two?")
        talk.say("Uno?", parent="root")
        talk.say("Three?", parent=two["message_id"])
        assert prompts[-1] == ["One?", one["answer"], "Two?", two["answer"], "Three?"]

    @pytest.mark.parametrize("parent", ["msg_none", "cnv_x"])
    def test_of_what_is_not_there_is_refused_and_costs_nothing(self, talk: Talk, parent: str) -> None:
        talk.say("One?")
        before = talk.client.get("/v1/credits/balance").json
        assert talk.say("Two?", parent=parent, status=404)["code"] == "not_found"
        assert talk.client.get("/v1/credits/balance").json == before

    def test_under_its_key_is_answered_once(self, talk: Talk) -> None:
        first = talk.say("One?")
        edits = [talk.say("Two?", parent=first["message_id"], key="once") for _ in range(2)]
        assert edits[0] == edits[1]
        assert talk.say("Two?", status=422, key="once")["code"] == "idempotency_key_reused"
        assert len(talk.branch()) == 2


class TestASecondAttempt:
    """The first one failed, and is the end of the branch by now."""

    def test_stands_where_the_first_one_stood(self, talk: Talk, vendor: Vendor, prompts: list[list[str]]) -> None:
        first = talk.say("One?")
        vendor.arrange("status=500", times=None)
        talk.say("Two?", key="again", status=503)
        vendor.reset()
        again = talk.say("Two?", key="again")
        assert again["parent_id"] == first["message_id"]
        assert prompts[-1] == ["One?", first["answer"], "Two?"]
        assert talk.questions() == ["One?", "Two?"]

    def test_stands_there_also_after_the_branch_went_on(self, talk: Talk, vendor: Vendor) -> None:
        first = talk.say("One?")
        vendor.arrange("status=500", times=None)
        talk.say("Two?", key="again", status=503)
        vendor.reset()
        third = talk.say("Three?", parent=first["message_id"])
        again = talk.say("Two?", key="again")
        assert again["parent_id"] == third["parent_id"] == first["message_id"]
        assert (again["branch"]["cost"], third["branch"]["cost"]) != (None, None)
        assert len(talk.branch(leaf=again["message_id"])[0]["siblings"]) == 2


class TestRegenerating:
    def test_asks_the_same_beside_it(self, talk: Talk, prompts: list[list[str]]) -> None:
        first, second = talk.say("One?"), talk.say("Two?")
        again = talk.again(second["message_id"])
        assert (again["content"], again["parent_id"]) == ("Two?", first["message_id"])
        assert prompts[-1] == prompts[-2]
        assert talk.branch()[0]["siblings"] == [second["message_id"], again["message_id"]]

    def test_under_its_key_is_answered_once(self, talk: Talk) -> None:
        first = talk.say("One?")
        found = [talk.again(first["message_id"], key="again") for _ in range(2)]
        assert found[0] == found[1]
        assert len(talk.branch()[0]["siblings"]) == 2

    def test_that_fails_does_not_hide_the_answer(self, talk: Talk, vendor: Vendor) -> None:
        first = talk.say("One?")
        vendor.arrange("status=500", times=None)
        talk.again(first["message_id"], status=503)
        [shown] = talk.branch()
        assert (shown["message_id"], len(shown["siblings"])) == (first["message_id"], 2)

    def test_of_another_users_finds_nothing(self, talk: Talk, world: World) -> None:
        first = talk.say("One?")
        stranger = world.client("bob").post(f"/v1/chat/messages/{first['message_id']}/regenerate", json={})
        assert stranger.status_code == 404


class TestSwitching:
    def test_goes_on_where_the_branch_ends(self, talk: Talk, prompts: list[list[str]]) -> None:
        one, two = talk.say("One?"), talk.say("Two?")
        talk.say("Uno?", parent="root")
        told = talk.client.patch(talk.path, json={"active_leaf": one["message_id"]}).json
        assert told is not None
        assert told["active_leaf"] == two["message_id"]
        talk.say("Three?")
        assert talk.questions() == ["One?", "Two?", "Three?"]
        assert prompts[-1] == ["One?", one["answer"], "Two?", two["answer"], "Three?"]

    def test_to_nothing_is_refused(self, talk: Talk) -> None:
        talk.say("One?")
        assert talk.client.patch(talk.path, json={"active_leaf": "msg_none"}).status_code == 404


class TestTotals:
    def test_are_told_of_each_branch_and_of_all(self, talk: Talk) -> None:
        one = talk.say("One?")
        two, other = talk.say("Two?"), talk.say("Other?", parent=one["message_id"])
        final = talk.say("And then?")
        costs = [from_decimal(turn["cost"]) for turn in (one, two, other, final)]
        last = talk.branch()[0]
        assert last["branch"] == final["branch"]
        assert from_decimal(last["branch"]["cost"]) == sum(costs) - costs[1]
        assert from_decimal(talk.read()["spent"]["cost"]) == sum(costs)
        tokens = [turn["usage"]["output_tokens"] for turn in (one, two, other, final)]
        assert last["branch"]["output_tokens"] == sum(tokens) - tokens[1]
        assert talk.read()["spent"]["output_tokens"] == sum(tokens)

    def test_go_on_from_a_branch_that_was_read_again(self, talk: Talk) -> None:
        one, two = talk.say("One?"), talk.say("Two?")
        talk.say("Uno?", parent="root")
        three = talk.say("Three?", parent=two["message_id"])
        expected = sum(from_decimal(turn["cost"]) for turn in (one, two, three))
        assert from_decimal(three["branch"]["cost"]) == expected


class TestATurnThatIsNotInTheTree:
    def test_is_shown_while_it_runs_and_cannot_be_answered(self, talk: Talk) -> None:
        first = talk.say("One?")
        running = talk.client.post(
            f"{talk.path}/messages", json={"content": "Two?"}, headers={"Accept": "text/event-stream"}
        )
        [last, _] = talk.branch()
        assert (last["status"], last["parent_id"]) == ("running", first["message_id"])
        assert talk.say("Three?", parent=last["message_id"], status=409)["code"] == "parent_not_ended"
        running.close()


class TestAConversationOfOld:
    def test_is_read_as_a_chain_by_time(self, talk: Talk, world: World) -> None:
        said = [talk.say(f"{number}?") for number in range(5)]
        aged(world)
        for limit in (2, 20):
            found = talk.branch(limit=limit)
            assert [one["message_id"] for one in reversed(found)] == [one["message_id"] for one in said]
            assert [one["siblings"] for one in found] == [[one["message_id"]] for one in found]
        assert found[0]["parent_id"] == said[-2]["message_id"]
        assert (found[0]["branch"], talk.read()["spent"]) == (None, None)

    def test_goes_on(self, talk: Talk, world: World, prompts: list[list[str]]) -> None:
        said = [talk.say(f"{number}?") for number in range(4)]
        aged(world)
        new = [talk.say("New?"), talk.say("Newer?")]
        assert new[0]["parent_id"] == said[-1]["message_id"]
        assert len(prompts[-1]) == 11
        for limit in (1, 2, 3, 20):
            assert talk.questions(limit=limit) == ["0?", "1?", "2?", "3?", "New?", "Newer?"]

    def test_branches_where_it_is_old(self, talk: Talk, world: World, prompts: list[list[str]]) -> None:
        said = [talk.say(f"{number}?") for number in range(4)]
        aged(world)
        talk.say("New?")
        edit = talk.say("Edit?", parent=said[1]["message_id"])
        assert [text for text in prompts[-1] if text.endswith("?")] == ["0?", "1?", "Edit?"]
        assert talk.questions() == ["0?", "1?", "Edit?"]
        assert talk.questions(leaf=said[3]["message_id"]) == ["0?", "1?", "2?", "3?", "New?"]
        assert talk.branch()[0]["siblings"] == [said[2]["message_id"], edit["message_id"]]

    def test_is_answered_again_where_it_is_old(self, talk: Talk, world: World) -> None:
        said = [talk.say(f"{number}?") for number in range(3)]
        aged(world)
        assert talk.questions(leaf=said[0]["message_id"]) == ["0?", "1?", "2?"]
        again = talk.again(said[1]["message_id"])
        assert again["parent_id"] == said[0]["message_id"]
        assert talk.questions() == ["0?", "1?"]
        assert talk.branch()[0]["siblings"] == [said[1]["message_id"], again["message_id"]]
        switched = talk.client.patch(talk.path, json={"active_leaf": said[2]["message_id"]})
        assert switched.status_code == 200
        assert talk.questions() == ["0?", "1?", "2?"]


class TestTheStore:
    def test_is_asked_no_more_for_a_message(self, talk: Talk, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two reads and six writes, on the active branch, for an edit of the last turn, and in an old conversation."""
        talk.say("Zero?")
        last = talk.say("One?")
        documents = world.documents

        def counted(content: str, parent: str | None = None) -> tuple[int, int]:
            before = documents.reads, documents.writes
            talk.say(content, parent)
            return documents.reads - before[0], documents.writes - before[1]

        plain = counted("Two?")
        assert counted("Two, please?", parent=last["message_id"]) == plain
        assert plain[1] == 6
        aged(world)
        assert counted("Three?") == plain

    def test_is_asked_three_times_for_a_page_of_a_large_tree(
        self, talk: Talk, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        behind = [30 if number % 20 == 0 and number > 20 else 1 for number in range(1000)]
        assert behind.count(30) == 48
        pairs = [(f"msg_{n}", f"msg_{n - step}" if n else FIRST) for n, step in enumerate(behind)]
        filled(world, talk.id, pairs)
        calls = calls_of(world.documents, monkeypatch)
        cursor, seen = "", list[str]()
        while True:
            del calls[:]
            page = talk.client.get(f"{talk.path}/messages?limit=100{cursor}").json
            assert page is not None
            assert len(calls) <= 3, calls
            seen += [one["message_id"] for one in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        parents = dict(pairs)
        assert [parents[id] for id in seen] == [*seen[1:], FIRST]


def filled(world: World, conversation: str, pairs: list[tuple[str, str]]) -> None:
    """Writes these turns into a conversation of Alice's."""
    made: list[Create] = []
    for number, (id, parent) in enumerate(pairs):
        at = to_rfc3339(world.clock.now_us() + number)
        end = End("done", "stop", "completed", "Yes.", "small", at)
        turn = Turn(
            id, "alice", conversation, 1, "", f"{id}?", (), "small", "default", "", 0, 1, False, "", at, at,
            end=end, parent=parent, before=Spent(),
        )  # fmt: skip
        made.append(Create(turn_path("alice", conversation, id), turns.write(turn)))
    for start in range(0, len(made), 400):
        world.documents.commit(made[start : start + 400])
    tree: dict[str | tuple[str, ...], Value] = {"tree": tree_of(pairs).text, "leaf": pairs[-1][0]}
    world.documents.commit([Merge(conversation_path("alice", conversation), {**tree})])
