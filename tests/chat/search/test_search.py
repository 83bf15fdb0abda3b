"""Search, pin and archive through the whole application."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.kit.stores.documents import Replace
from support.vendor import Vendor
from support.world import Caller, World


@pytest.fixture
def world(vendor: Vendor) -> Iterator[World]:
    yield World(variables={"AI_PLATFORM_BASE_URL": vendor.base_url})


@pytest.fixture
def alice(world: World) -> Caller:
    return world.client("alice")


def begin(client: Caller, title: str = "") -> str:
    made = client.post("/v1/chat/conversations", json={"model": "small", "title": title})
    assert made.json is not None
    return str(made.json["id"])


def say(client: Caller, conversation: str, content: str) -> dict[str, Any]:
    told = client.post(f"/v1/chat/conversations/{conversation}/messages", json={"content": content}).json
    assert told is not None
    return dict(told)


def search(client: Caller, q: str, more: str = "") -> dict[str, Any]:
    answer = client.get(f"/v1/chat/search?q={q}{more}")
    assert answer.status_code == 200, answer.text
    found: Any = answer.json
    assert isinstance(found, dict)
    return found


def listed(client: Caller, query: str) -> list[str]:
    found = client.get(f"/v1/chat/conversations?{query}").json
    assert found is not None
    return [one["id"] for one in found["items"]]


class TestSearch:
    def test_finds_questions_answers_and_titles(self, alice: Caller) -> None:
        one, two = begin(alice, "Bookkeeping for zebras"), begin(alice, "Other")
        turn = say(alice, two, "Does a zebra keep books?")
        [title] = search(alice, "zebr book")["items"]
        assert (title["conversation_id"], title["message_id"]) == (one, None)
        [hit] = search(alice, "ZEBRA")["items"][1:]
        assert (hit["conversation_id"], hit["message_id"]) == (two, turn["message_id"])
        assert "zebra" in hit["excerpt"]
        word = max(turn["answer"].replace(".", " ").split(), key=len)
        assert turn["message_id"] in [one["message_id"] for one in search(alice, word)["items"]]

    def test_needs_all_words(self, alice: Caller) -> None:
        conversation = begin(alice, "x")
        say(alice, conversation, "A quagga is extinct.")
        assert search(alice, "quagga extinct")["items"]
        assert search(alice, "quagga alive")["items"] == []
        assert search(alice, "%3F")["items"] == []

    def test_finds_nothing_of_others_and_nothing_deleted(self, alice: Caller, world: World) -> None:
        conversation = begin(alice, "Okapi")
        say(alice, conversation, "An okapi?")
        assert search(world.client("bob"), "okapi")["items"] == []
        alice.delete(f"/v1/chat/conversations/{conversation}")
        assert search(alice, "okapi")["items"] == []

    def test_follows_a_new_title(self, alice: Caller) -> None:
        conversation = begin(alice, "Tapir")
        alice.patch(f"/v1/chat/conversations/{conversation}", json={"title": "Gnu"})
        assert search(alice, "tapir")["items"] == []
        assert [one["conversation_id"] for one in search(alice, "gnu")["items"]] == [conversation]

    def test_is_paged(self, alice: Caller, world: World) -> None:
        conversation = begin(alice, "x")
        said = []
        for number in range(5):
            world.clock.advance(seconds=1)
            said.append(say(alice, conversation, f"Kudu {number}")["message_id"])
        seen, cursor = list[str](), ""
        while True:
            page = search(alice, "kudu", f"&limit=2{cursor}")
            seen += [one["message_id"] for one in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert seen == said[::-1]
        assert world.client("bob").get(f"/v1/chat/search?q=kudu{cursor}").status_code == 422

    def test_passes_over_what_was_written_before_it(self, alice: Caller, world: World) -> None:
        conversation = begin(alice, "Bongo")
        say(alice, conversation, "Bongo?")
        for path, stored in world.documents.all().items():
            if path.startswith("users/"):
                old = {name: value for name, value in stored.fields.items() if name not in ("words", "pinned")}
                world.documents.commit([Replace(path, old)])
        assert search(alice, "bongo")["items"] == []
        assert listed(alice, "pinned=false") == [conversation]
        say(alice, conversation, "Bongo again?")
        assert len(search(alice, "bongo")["items"]) == 2


class TestLists:
    def test_are_filtered(self, alice: Caller) -> None:
        plain, pinned, archived, both = (begin(alice, name) for name in ("a", "b", "c", "d"))
        for id, body in (
            (pinned, {"pinned": True}),
            (archived, {"archived": True}),
            (both, {"pinned": True, "archived": True}),
        ):
            told = alice.patch(f"/v1/chat/conversations/{id}", json=body).json
            assert told is not None
            assert {name: told[name] for name in body} == body
        assert {*listed(alice, "")} == {plain, pinned, archived, both}
        assert {*listed(alice, "pinned=true")} == {pinned, both}
        assert {*listed(alice, "archived=true")} == {archived, both}
        assert {*listed(alice, "archived=false&pinned=false")} == {plain}
        assert listed(alice, "archived=true&pinned=true") == [both]
        assert alice.get("/v1/chat/conversations?pinned=maybe").status_code == 422
