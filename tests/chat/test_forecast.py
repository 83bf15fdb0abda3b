"""What is said of a message before it is sent is what happens when it is."""

from pathlib import Path
from typing import Any

import pytest

from app.kit.environment import BadSetting
from app.kit.money import from_decimal
from app.models.catalogue import BUNDLED
from support.world import Caller, World

RESEARCH = "Research the European market for electric bicycles and write a report with sources."
CODE = "Write a Python function that sorts a list of numbers."


def told(client: Caller, content: str = CODE, **body: object) -> dict[str, Any]:
    answer = client.post("/v1/chat/estimate", json={"content": content, **body})
    assert answer.status_code == 200, answer.text
    return {**(answer.json or {})}


def send(client: Caller, model: str, content: str) -> dict[str, Any]:
    """The turn of a message; nobody answers it, so that it shows only what was reserved."""
    made = client.post("/v1/chat/conversations", json={"model": model}).json or {}
    path = f"/v1/chat/conversations/{made['id']}/messages"
    assert client.post(path, json={"content": content}).status_code == 503
    [turn] = (client.get(path).json or {})["items"]
    return {**turn}


@pytest.mark.parametrize("model", ["small", "large", "auto"])
def test_the_message_is_reserved_and_chosen_as_it_was_estimated(model: str) -> None:
    """T-32."""
    client = World().client("alice")
    found, turn = told(client, model=model), send(client, model, CODE)
    checked = client.post("/v1/credits/check-insufficient", json={"operation": {"content": CODE, "model": model}})
    assert found["estimate"]["high"] == turn["ceiling"] == (checked.json or {})["ceiling"]
    assert (found["estimate"]["model"], found["choice"]) == (turn["model"], turn["choice"])
    amounts = [from_decimal(found["estimate"][name]) for name in ("low", "expected", "p90", "high")]
    assert amounts == sorted(amounts)


def test_agent_work_is_told_and_the_quick_path_answers() -> None:
    found = told(World().client("alice"), RESEARCH)
    assert (found["task"], found["route"], found["route_because"]) == ("research", "agent", "classified")
    assert (found["complexity"], found["answered_by"]) == ("high", "quick")


def test_who_is_not_sure_says_so_and_takes_the_quick_path() -> None:
    found = told(World().client("alice"), "...")
    assert (found["unsure"], found["route"], found["route_because"]) == (True, "quick", "unsure")


def test_rules_of_user_and_operator_decide_by_priority() -> None:
    world = World(variables={"ROUTING_RULES": "research=quick@5, code=agent"})
    client = world.client("alice")
    assert (told(client, RESEARCH)["route"], told(client)["route"]) == ("quick", "agent")
    rules = [{"task": "research", "route": "agent", "priority": 6}, {"task": "code", "route": "quick", "priority": 0}]
    assert client.put("/v1/models/preferences", json={"rules": rules}).status_code == 200
    assert [told(client, text)["route_because"] for text in (RESEARCH, CODE)] == ["user_rule", "admin_rule"]


@pytest.mark.parametrize(
    "rules", ["cooking=quick", "code=slow", "code", "code=quick@", "code=quick@-1", "code=quick@1001"]
)
def test_a_rule_that_means_nothing_stops_the_start(rules: str) -> None:
    with pytest.raises(BadSetting, match="ROUTING_RULES"):
        _ = World(variables={"ROUTING_RULES": rules}).system.settings


def test_the_duration_is_that_of_a_measured_speed_or_unknown(tmp_path: Path) -> None:
    assert told(World().client("alice"), model="small")["duration"] is None
    book = tmp_path / "catalogue.toml"
    figures = '[models.small]\nfigures = [{ tokens_per_second = 100, source = "a page" }]'
    book.write_text(BUNDLED.read_text().replace("[models.small]", figures, 1))
    client = World(variables={"MODEL_CATALOGUE": str(book)}).client("alice")
    found = told(client, model="small")
    lengths = found["estimate"]["output_tokens"]
    assert found["duration"] == {"p50_ms": lengths["p50"] * 10, "p90_ms": lengths["p90"] * 10}
    short = told(client, model="small", max_output_tokens=20)
    assert short["duration"] == {"p50_ms": 200, "p90_ms": 200}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "nobody"}, 422, "model_unknown"),
        ({"model": "small", "images": 1}, 422, "model_unsuitable"),
        ({"conversation_id": "cnv_none"}, 404, "not_found"),
        ({"content": ""}, 422, "validation_failed"),
    ],
)
def test_what_would_be_refused_is_refused_likewise(body: dict[str, object], status: int, code: str) -> None:
    answer = World().client("alice").post("/v1/chat/estimate", json={"content": "Hi", **body})
    assert (answer.status_code, (answer.json or {})["code"]) == (status, code)


def test_it_writes_nothing() -> None:
    world = World()
    client = world.client("alice")
    told(client, model="auto")
    assert world.documents.writes == 0
