"""A message to `auto`: a model is chosen, the answer says why, and what it costs keeps to what was said."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.kit.money import from_decimal
from app.models.catalogue import BUNDLED
from support.vendor import Vendor
from support.world import Caller, World, frames

CODE = "Write a Python function that sorts a list of numbers."


@pytest.fixture
def world(vendor: Vendor) -> Iterator[World]:
    yield World(variables={"AI_PLATFORM_BASE_URL": vendor.base_url})


@pytest.fixture
def alice(world: World) -> Caller:
    return world.client("alice")


def prefer(client: Caller, **preferences: object) -> None:
    assert client.put("/v1/models/preferences", json=preferences).status_code == 200


def begin(client: Caller, **body: object) -> str:
    made = client.post("/v1/chat/conversations", json=body)
    assert made.status_code == 201, made.text
    return f"/v1/chat/conversations/{(made.json or {})['id']}/messages"


def ask(client: Caller, path: str, status: int = 200, **body: object) -> dict[str, Any]:
    answer = client.post(path, json={"content": CODE, **body})
    assert answer.status_code == status, answer.text
    return {**(answer.json or {})}


def test_of_a_conversation_and_of_a_message_are_the_same(alice: Caller) -> None:
    prefer(alice, optimize="cost")
    by_message = ask(alice, begin(alice, model="large"), model="auto")
    by_conversation = ask(alice, begin(alice, model="auto"))
    assert by_message["choice"] == by_conversation["choice"]
    assert (by_message["model"], by_message["route"]) == ("small", "auto")


def test_says_why_and_what_the_others_would_have_cost(alice: Caller) -> None:
    prefer(alice, optimize="cost")
    choice = ask(alice, begin(alice, model="auto"))["choice"]
    assert (choice["because"], choice["task"], choice["unsure"]) == ("cheapest", "code", False)
    assert [one["model"] for one in choice["alternatives"]] == ["large", "vision", "reasoning"]
    priced = alice.post("/v1/models/estimate-cost", json={"content": CODE}).json or {}
    told = {one["model"]: one for one in priced["estimates"]}
    for one in (choice, *choice["alternatives"]):
        assert {name: one[name] for name in ("expected", "p90", "high")} == {
            name: told[one["model"]][name] for name in ("expected", "p90", "high")
        }


def test_without_figures_says_that_nothing_is_known(alice: Caller) -> None:
    prefer(alice, optimize="quality")
    message = ask(alice, begin(alice, model="auto"))
    assert (message["model"], message["choice"]["because"]) == ("small", "quality_unknown")


def test_is_told_at_the_start_in_the_mirror_and_in_the_list(world: World, alice: Caller) -> None:
    prefer(alice, optimize="cost")
    path = begin(alice, model="auto")
    answer = alice.post(path, json={"content": CODE}, headers={"Accept": "text/event-stream"})
    told = frames(one if isinstance(one, bytes) else one.encode() for one in answer.response)
    start = json.loads(told[0][1])
    assert (told[0][0], start["model"], start["choice"]["because"]) == ("start", "small", "cheapest")
    [turn] = (alice.get(path).json or {})["items"]
    assert turn["choice"] == start["choice"]
    mirrored = world.realtime.get(f"users/alice/streams/{start['message_id']}")
    assert isinstance(mirrored, dict)
    assert (mirrored["model"], mirrored["because"]) == ("small", "cheapest")


def test_reserves_and_charges_no_more_than_it_said(alice: Caller) -> None:
    """T-2, T-32: also where the user's own bound is lower than the ceiling."""
    path = begin(alice, model="auto")
    free = ask(alice, path)
    assert from_decimal(free["cost"]) <= from_decimal(free["reserved"]) < from_decimal(free["ceiling"])
    assert from_decimal(free["ceiling"]) == from_decimal(free["choice"]["high"])
    prefer(alice, most_per_message="0.02")
    bounded = ask(alice, begin(alice, model="auto"))
    assert bounded["ceiling"] == bounded["choice"]["high"] == "0.02"
    tighter = ask(alice, begin(alice, model="auto"), max_cost="0.015")
    assert tighter["reserved"] == tighter["ceiling"] == "0.015"


def test_check_insufficient_asks_the_same_question(alice: Caller) -> None:
    """T-32."""
    prefer(alice, optimize="cost", most_per_message="0.02")
    operation = {"content": CODE, "model": "auto"}
    told = alice.post("/v1/credits/check-insufficient", json={"operation": operation}).json or {}
    assert told["ceiling"] == ask(alice, begin(alice, model="auto"))["ceiling"]


def test_a_picture_is_seen_by_a_model_that_can_see(vendor: Vendor, alice: Caller) -> None:
    prefer(alice, optimize="cost")
    message = ask(alice, begin(alice, model="auto"), content="What is this?", images=[vendor.picture()])
    assert (message["model"], message["choice"]["task"]) == ("large", "vision")


def test_nobody_is_asked_whom_the_user_left_out_also_not_as_a_fallback(vendor: Vendor, tmp_path: Path) -> None:
    """The text goes to none of them, and nothing is reserved for them."""
    book = tmp_path / "catalogue.toml"
    other = 'vendor_id = "sim-large"\nprovider = "simulator"'
    assert other in BUNDLED.read_text()
    book.write_text(BUNDLED.read_text().replace(other, other.replace("simulator", "other")))
    world = World(variables={"AI_PLATFORM_BASE_URL": vendor.base_url, "MODEL_CATALOGUE": str(book)})
    alice = world.client("alice")
    with_all = ask(alice, begin(alice, model="auto"))
    prefer(alice, optimize="cost", excluded_providers=["other"])
    without = ask(alice, begin(alice, model="auto"))
    assert with_all["model"] == without["model"] == "small"
    assert from_decimal(without["ceiling"]) < from_decimal(with_all["ceiling"])
    vendor.reset()
    vendor.arrange("status=500", model="sim-small", times=9)
    assert ask(alice, begin(alice, model="auto"), status=503)["code"]
    assert {request["model"] for request in vendor.requests()} == {"sim-small"}


def test_nobody_at_all_is_a_clear_refusal(alice: Caller) -> None:
    prefer(alice, excluded_providers=["simulator"])
    problem = ask(alice, begin(alice, model="auto"), status=422)
    assert problem["code"] == "no_model_fits"
    assert {one["because"] for one in problem["left_out"]} == {"excluded_provider"}


class TestAModelThatFails:
    """Alice and bob leave the choice to us: the cheapest model, `small`, or another one."""

    @pytest.fixture
    def bob(self, world: World, alice: Caller) -> Caller:
        bob = world.client("bob")
        for client in (alice, bob):
            prefer(client, optimize="cost")
        return bob

    @staticmethod
    def fails(vendor: Vendor, clients: list[Caller], times: int, model: str = "small") -> None:
        """The model breaks for each of them in turn, and is whole again. They ask for it by name."""
        vendor.arrange("status=500", model=f"sim-{model}", times=None)
        vendor.arrange("status=500", model="sim-large", times=None)
        for number in range(times):
            client = clients[number % len(clients)]
            client.post(begin(client, model=model), json={"content": CODE})
        vendor.reset()

    def test_for_one_user_alone_is_chosen_for_all(
        self, world: World, vendor: Vendor, alice: Caller, bob: Caller
    ) -> None:
        """T-109: five failures in a row, and more."""
        self.fails(vendor, [alice], 6)
        listed = {one["id"]: one for one in (alice.get("/v1/models").json or {})["items"]}
        assert (listed["small"]["health"], listed["small"]["usable"]) == ("down", True), "it is told as it is"
        for client in (alice, bob):
            assert ask(client, begin(client, model="auto"))["model"] == "small"

    def test_for_several_users_is_not_chosen_until_its_pause_is_over(
        self, world: World, vendor: Vendor, alice: Caller, bob: Caller
    ) -> None:
        self.fails(vendor, [alice, bob], 3)
        told = ask(bob, begin(bob, model="auto"))
        assert told["model"] == "reasoning"
        assert {one["model"]: one["why_not"] for one in told["choice"]["alternatives"]}["small"] == "down"
        world.clock.advance(seconds=20)
        assert ask(bob, begin(bob, model="auto"))["model"] == "small", "it is tried again, or it would stay shut"

    def test_with_all_others_is_waited_for(self, world: World, vendor: Vendor, alice: Caller, bob: Caller) -> None:
        for model in ("small", "large", "vision", "reasoning"):
            self.fails(vendor, [alice, bob], 6, model)
        answer = bob.post(begin(bob, model="auto"), json={"content": CODE})
        problem = answer.json or {}
        assert (answer.status_code, problem["code"]) == (503, "model_unavailable")
        assert 1 <= int(answer.headers["Retry-After"]) <= 40
        assert (alice.get("/v1/credits/balance").json or {})["reserved"] == "0"
        assert (bob.get("/v1/credits/balance").json or {})["reserved"] == "0"


def test_preferences_cost_a_read_for_auto_alone(world: World, alice: Caller) -> None:
    plain, auto = begin(alice, model="small"), begin(alice, model="auto")
    ask(alice, plain), ask(alice, auto)
    counts = []
    for path in (plain, auto):
        reads, writes = world.documents.reads, world.documents.writes
        ask(alice, path)
        counts.append((world.documents.reads - reads, world.documents.writes - writes))
    assert counts == [(2, 6), (3, 6)]


def test_a_repeated_key_gives_the_choice_that_was_made(alice: Caller) -> None:
    path, key = begin(alice, model="auto"), {"Idempotency-Key": "once"}
    prefer(alice, optimize="cost")
    first = alice.post(path, json={"content": CODE}, headers=key).json
    prefer(alice, optimize="cost", defaults={"code": "large"})
    assert alice.post(path, json={"content": CODE}, headers=key).json == first
