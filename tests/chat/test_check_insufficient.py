"""`check-insufficient` of a message and the message itself are priced by one quote, so that they never disagree."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.credits.core.account import AccountStatus
from app.kit.money import credits, from_decimal, to_decimal
from support.world import Caller, World

RICH = credits(1000)
WORLD = World()
"""One for all, because an application takes a second to build. Its vendor answers nobody: what is not refused ends as a
503."""


def begin(client: Caller, **fields: object) -> str:
    made = client.post("/v1/chat/conversations", json=fields).json
    assert made is not None
    return str(made["id"])


def checked(client: Caller, **operation: object) -> dict[str, Any]:
    answer = client.post("/v1/credits/check-insufficient", json={"operation": operation})
    assert answer.status_code == 200, answer.text
    return {**(answer.json or {})}


def send(client: Caller, conversation: str, body: Mapping[str, object]) -> tuple[int, dict[str, Any]]:
    answer = client.post(f"/v1/chat/conversations/{conversation}/messages", json=body)
    return answer.status_code, {**(answer.json or {})}


def leave(client: Caller, available: int) -> None:
    """Holds all credits but so many."""
    held = client.post("/v1/credits/reserve", json={"amount": to_decimal(RICH - available), "purpose": "kept aside"})
    assert held.status_code == 201, held.text


@given(
    model=st.sampled_from(["small", "large", "reasoning", None]),
    content=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=200),
    system_prompt=st.sampled_from(["", "Be kind.", "Be brief. " * 300]),
    spare=st.sampled_from([-1, 0, 1, 50_000]),
    named=st.booleans(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_says_sufficient_exactly_when_the_message_is_not_refused(
    model: str | None, content: str, system_prompt: str, spare: int, named: bool
) -> None:
    """T-32: at one micro-credit below what is needed, at it and above; as sent, with the model named or not."""
    sent = {"content": content, **({"model": model} if named and model else {})}
    client = WORLD.client(WORLD.ids.new("usr"))
    conversation = begin(client, model=model, system_prompt=system_prompt)
    needed = from_decimal(checked(client, conversation_id=conversation, **sent)["required"])
    leave(client, needed + spare)
    told = checked(client, conversation_id=conversation, **sent)
    status, problem = send(client, conversation, sent)
    assert told["sufficient"] == (spare >= 0)
    assert status == (503 if told["sufficient"] else 402)
    if status == 402:
        names = ("required", "available", "shortfall")
        assert {name: problem[name] for name in names} == {name: told[name] for name in names}
        return
    turns = client.get(f"/v1/chat/conversations/{conversation}/messages").json
    assert turns is not None
    [turn] = turns["items"]
    assert from_decimal(turn["ceiling"]) == min(from_decimal(told["ceiling"]), from_decimal(told["available"]))


def test_of_no_conversation_is_the_first_message_of_a_new_one() -> None:
    client = WORLD.client("alice")
    new = begin(client, model="small")
    told = checked(client, content="Hi", model="small")
    assert told == checked(client, content="Hi", conversation_id=new)
    assert checked(client, content="Hi") == told, "the first model of the catalogue"


def test_with_a_longer_conversation_needs_more() -> None:
    client = WORLD.client("alice")
    plain, prompted = begin(client, model="small"), begin(client, model="small", system_prompt="word " * 1000)
    prices = [from_decimal(checked(client, content="Hi", conversation_id=one)["required"]) for one in (plain, prompted)]
    assert prices[0] < prices[1]


def test_bounded_in_its_output_has_a_lower_ceiling_and_needs_the_same() -> None:
    client = WORLD.client("alice")
    free = checked(client, content="Hi", model="small")
    for most in (1, 16, 100):
        bounded = checked(client, content="Hi", model="small", max_output_tokens=most)
        assert bounded["required"] == free["required"]
        assert from_decimal(free["required"]) <= from_decimal(bounded["ceiling"]) < from_decimal(free["ceiling"])
    assert checked(client, content="Hi", model="small", max_output_tokens=10**9) == free


def test_counts_what_a_reservation_would_give_back_first() -> None:
    """T-38: the sweep is not there yet, and a message would find the overdue reservation and end it."""
    world = World(variables={"WELCOME_BONUS_AMOUNT": "1"})
    client = world.client("alice")
    client.post("/v1/credits/reserve", json={"amount": "1", "purpose": "forgotten", "expires_in": 60})
    assert not checked(client, content="Hi", model="small")["sufficient"]
    world.clock.advance(minutes=2)
    assert checked(client, content="Hi", model="small")["sufficient"]
    assert send(client, begin(client, model="small"), {"content": "Hi"})[0] == 503


@pytest.mark.parametrize(
    ("operation", "status", "code"),
    [
        ({"model": "nobody"}, 422, "model_unknown"),
        ({"model": "embed"}, 422, "model_unsuitable"),
        ({"model": "small", "images": 1}, 422, "model_unsuitable"),
        ({"conversation_id": "cnv_none"}, 404, "not_found"),
    ],
)
def test_of_what_a_message_would_be_refused_for_is_refused_likewise(
    operation: dict[str, object], status: int, code: str
) -> None:
    answer = WORLD.client("alice").post("/v1/credits/check-insufficient", json={"operation": operation})
    assert answer.json is not None
    assert (answer.status_code, answer.json["code"]) == (status, code)


def test_of_anothers_conversation_finds_none() -> None:
    private = begin(WORLD.client("bob"), system_prompt="secret " * 100)
    body = {"operation": {"content": "Hi", "conversation_id": private}}
    assert WORLD.client("alice").post("/v1/credits/check-insufficient", json=body).status_code == 404


def test_says_no_where_the_accounts_status_allows_no_reservation() -> None:
    world = World()
    client = world.client("alice")
    world.system.credits.service.account("alice")
    world.system.credits.service.set_status("alice", AccountStatus.FROZEN, "a look at it")
    assert not checked(client, content="Hi", model="small")["sufficient"]


def test_refuses_what_no_reservation_may_hold() -> None:
    client = World(variables={"MAX_RESERVATION_AMOUNT": "0.000001"}).client("alice")
    answer = client.post("/v1/credits/check-insufficient", json={"operation": {"content": "Hi", "model": "small"}})
    assert (answer.status_code, (answer.json or {})["code"]) == (422, "reservation_too_large")
