"""T-35: a caller without credits can spend none, on any route that spends.

The routes come from the OpenAPI document: all that may answer 402. One that is new and not tried here fails the test.
"""

from collections.abc import Callable
from typing import Any

import pytest

from app.api.reference import openapi
from support.world import Caller, World


def reserve(client: Caller) -> dict[str, Any]:
    return {"path": "/v1/credits/reserve", "json": {"amount": "1", "purpose": "test"}}


def message(client: Caller) -> dict[str, Any]:
    begun = client.post("/v1/chat/conversations", json={}).json
    assert begun is not None
    return {"path": f"/v1/chat/conversations/{begun['id']}/messages", "json": {"content": "hi"}}


SPENDING: dict[str, Callable[[Caller], dict[str, Any]]] = {
    "/v1/credits/reserve": reserve,
    "/v1/chat/conversations/{conversation_id}/messages": message,
}


@pytest.fixture
def world() -> World:
    """No bonus, and a vendor that cannot be reached: a call to it would be a 503."""
    return World(variables={"WELCOME_BONUS_AMOUNT": "0"})


def test_every_address_that_spends_is_tried(world: World) -> None:
    document = openapi.document(world.app)
    spending = {path for path, item in document["paths"].items() if "402" in item.get("post", {}).get("responses", {})}
    # A regeneration needs an answer, which nobody has without credits; it is reserved for by the code of a message.
    # The door for OpenAI's clients refuses in their shape: tests/chat/door.
    elsewhere = {"/v1/chat/messages/{message_id}/regenerate", "/v1/openai/chat/completions"}
    assert spending == {*SPENDING, *elsewhere}


@pytest.mark.parametrize("path", SPENDING)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_without_credits_it_refuses(world: World, path: str, accept: str) -> None:
    client = world.client("alice")
    answer = client.post(**SPENDING[path](client), headers={"Accept": accept})
    assert (answer.status_code, answer.mimetype) == (402, "application/problem+json")
    assert answer.json is not None
    assert answer.json["code"] == "insufficient_credits"
    assert {"required", "available", "shortfall", "payment_options"} <= answer.json.keys()
    assert not [found for found in world.documents.all() if "/entries/" in found]
