"""A share through the whole application: what it shows, what it hides, and that it ends when it is taken back."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.chat.sharing.share import share_path
from app.chat.store import conversation_path, turn_path
from app.kit.stores.documents import Delete, Merge, Replace
from chat.branching.test_branches import Talk, calls_of
from support.vendor import Vendor
from support.world import World


@pytest.fixture
def world(vendor: Vendor) -> Iterator[World]:
    yield World(variables={"AI_PLATFORM_BASE_URL": vendor.base_url})


@pytest.fixture
def talk(world: World) -> Talk:
    return Talk(world.client("alice"), world)


def share(talk: Talk) -> dict[str, Any]:
    answer = talk.client.post(f"{talk.path}/share")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json or {}
    return told


def read(talk: Talk, path: str, status: int = 200) -> dict[str, Any]:
    """What somebody sees who is not signed in."""
    answer = talk.world.client(None).get(path)
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json or {}
    return told


def said(told: dict[str, Any]) -> list[str]:
    return [turn["content"] for turn in told["items"]]


class TestWhatIsShared:
    def test_is_read_by_everybody_who_has_the_link_the_first_turn_first(self, talk: Talk) -> None:
        answers = [talk.say(text)["answer"] for text in ("one", "two", "three")]
        told = read(talk, share(talk)["path"])
        assert said(told) == ["one", "two", "three"]
        assert [turn["answer"] for turn in told["items"]] == answers
        assert (told["title"], told["count"], told["next_cursor"]) == ("one", 3, None)

    def test_tells_nothing_of_its_owner_of_costs_and_of_the_system_prompt(self, talk: Talk) -> None:
        talk.client.patch(talk.path, json={"system_prompt": "the secret instructions"})
        turn = talk.say("one")
        path = share(talk)["path"]
        answer = talk.world.client(None).get(path)
        told = answer.json or {}
        assert {*told["items"][0]} == {"content", "images", "answer", "model", "created_at"}
        assert {*told} == {"items", "next_cursor", "title", "shared_at", "count"}
        for hidden in ("alice", "secret", turn["transaction_id"], turn["message_id"], turn["cost"], talk.id):
            assert hidden not in answer.text

    def test_is_told_to_no_search_engine_cache_or_page_that_it_leads_to(self, talk: Talk) -> None:
        talk.say("one")
        headers = talk.world.client(None).get(share(talk)["path"]).headers
        assert headers["X-Robots-Tag"] == "noindex, nofollow"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"

    def test_is_the_branch_that_was_active_and_not_what_came_after(self, talk: Talk) -> None:
        first = talk.say("one")
        talk.say("two")
        path = share(talk)["path"]
        talk.say("three")
        talk.say("other two", parent=first["message_id"])
        assert said(read(talk, path)) == ["one", "two"]

    def test_shows_what_came_since_once_it_is_shared_again(self, talk: Talk) -> None:
        talk.say("one")
        first = share(talk)
        talk.say("two")
        assert share(talk)["token"] == first["token"]
        assert said(read(talk, first["path"])) == ["one", "two"]

    def test_keeps_the_title_that_it_had(self, talk: Talk) -> None:
        talk.say("one")
        path = share(talk)["path"]
        talk.client.patch(talk.path, json={"title": "Private"})
        assert read(talk, path)["title"] == "one"

    def test_has_no_answer_that_came_after_it_was_shared(self, talk: Talk, vendor: Vendor) -> None:
        vendor.arrange("status=500", times=4, contains="fail")
        talk.say("one")
        again = {"Idempotency-Key": "again"}
        first = talk.client.post(f"{talk.path}/messages", json={"content": "fail"}, headers=again)
        path = share(talk)["path"]
        vendor.reset()
        talk.world.clock.advance(minutes=5)
        second = talk.client.post(f"{talk.path}/messages", json={"content": "fail"}, headers=again)
        assert (first.status_code, second.status_code) == (503, 200)
        assert [turn["answer"] is None for turn in read(talk, path)["items"]] == [False, True]
        share(talk)
        assert [turn["answer"] is None for turn in read(talk, path)["items"]] == [False, False]

    def test_comes_in_pages(self, talk: Talk) -> None:
        for number in range(5):
            talk.say(f"question {number}")
        path = share(talk)["path"]
        found: list[str] = []
        cursor = ""
        for _ in range(3):
            told = read(talk, f"{path}?limit=2{cursor}")
            found += said(told)
            cursor = f"&cursor={told['next_cursor']}"
        assert found == [f"question {number}" for number in range(5)]
        assert told["next_cursor"] is None

    def test_names_no_page_behind_a_last_one_that_is_full(self, talk: Talk) -> None:
        for number in range(2):
            talk.say(f"question {number}")
        told = read(talk, f"{share(talk)['path']}?limit=2")
        assert (len(told["items"]), told["next_cursor"]) == (2, None)

    def test_costs_four_calls_of_the_store(self, talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(3):
            talk.say(f"question {number}")
        path = share(talk)["path"]
        calls = calls_of(talk.world.documents, monkeypatch)
        read(talk, path)
        assert calls == ["get", "query", "get", "get_all"]

    def test_passes_over_turns_that_are_gone_or_spoilt(self, talk: Talk) -> None:
        turns = [talk.say(f"question {number}") for number in range(4)]
        path = share(talk)["path"]
        paths = [turn_path("alice", talk.id, turn["message_id"]) for turn in turns]
        talk.world.documents.commit([Delete(paths[1]), Merge(paths[2], {"created_at": 7})])
        assert said(read(talk, path)) == ["question 0", "question 3"]

    def test_tells_that_a_turn_failed_by_an_answer_that_is_null(self, talk: Talk, vendor: Vendor) -> None:
        vendor.arrange("status=500", times=None, contains="fail")
        talk.say("one")
        talk.client.post(f"{talk.path}/messages", json={"content": "fail"})
        assert [turn["answer"] is None for turn in read(talk, share(talk)["path"])["items"]] == [False, True]


class TestTakingItBack:
    def test_ends_the_link_at_once(self, talk: Talk) -> None:
        talk.say("one")
        path = share(talk)["path"]
        assert talk.client.delete(f"{talk.path}/share").status_code == 204
        read(talk, path, 404)
        assert talk.client.get(f"{talk.path}/share").status_code == 404

    def test_twice_is_as_once(self, talk: Talk) -> None:
        talk.say("one")
        share(talk)
        assert [talk.client.delete(f"{talk.path}/share").status_code for _ in range(2)] == [204, 204]

    def test_makes_another_link_the_next_time(self, talk: Talk) -> None:
        talk.say("one")
        first = share(talk)["path"]
        talk.client.delete(f"{talk.path}/share")
        second = share(talk)["path"]
        assert first != second
        read(talk, first, 404)
        assert said(read(talk, second)) == ["one"]

    def test_happens_with_the_conversation(self, talk: Talk) -> None:
        talk.say("one")
        shared = share(talk)
        assert talk.client.delete(talk.path).status_code == 204
        assert talk.world.documents.get(share_path(shared["token"])) is None
        read(talk, shared["path"], 404)

    def test_of_a_share_that_was_left_behind_shows_nothing(self, talk: Talk) -> None:
        talk.say("one")
        shared = share(talk)
        talk.world.documents.commit([Merge(conversation_path("alice", talk.id), {"share": None})])
        read(talk, shared["path"], 404)

    def test_lasts_when_the_conversation_comes_back_from_a_backup(self, talk: Talk) -> None:
        talk.say("one")
        path = share(talk)["path"]
        place = conversation_path("alice", talk.id)
        kept = talk.world.documents.get(place)
        assert kept is not None
        talk.client.delete(f"{talk.path}/share")
        talk.world.documents.commit([Replace(place, kept.fields)])
        share(talk)
        read(talk, path, 404)

    def test_is_not_undone_by_a_spoilt_document(self, talk: Talk) -> None:
        talk.say("one")
        shared = share(talk)
        talk.world.documents.commit([Merge(share_path(shared["token"]), {"leaf": 7})])
        read(talk, shared["path"], 404)

    def test_survives_a_message(self, talk: Talk) -> None:
        talk.say("one")
        shared = share(talk)
        talk.say("two")
        assert talk.client.get(f"{talk.path}/share").json == shared


class TestRefusals:
    def test_nothing_is_shared_before_the_first_answer(self, talk: Talk) -> None:
        answer = talk.client.post(f"{talk.path}/share")
        assert answer.json is not None
        assert (answer.status_code, answer.json["code"]) == (409, "nothing_to_share")

    @pytest.mark.parametrize("method", ["post", "get", "delete"])
    def test_nobody_shares_or_takes_back_what_is_anothers(self, talk: Talk, method: str) -> None:
        talk.say("one")
        path = share(talk)["path"]
        bob = talk.world.client("bob")
        assert getattr(bob, method)(f"{talk.path}/share").status_code == 404
        assert said(read(talk, path)) == ["one"]

    def test_an_unknown_link_is_not_found(self, talk: Talk) -> None:
        read(talk, f"/v1/shared/shr_{'0' * 26}", 404)

    def test_a_cursor_of_another_share_is_refused(self, talk: Talk) -> None:
        other = Talk(talk.client, talk.world)
        for number in range(2):
            talk.say(f"question {number}")
            other.say(f"other {number}")
        cursor = read(talk, f"{share(talk)['path']}?limit=1")["next_cursor"]
        read(talk, f"{share(other)['path']}?cursor={cursor}", 422)
