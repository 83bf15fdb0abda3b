"""What an estimate says, check-insufficient says, and the message does: one quote."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.assistant.classify.classification import TASKS
from app.assistant.classify.classifier import classify
from app.kit.money import from_decimal
from support.world import Caller, World

WORLD = World(variables={"WELCOME_BONUS_AMOUNT": "1000000"})
"""Its vendor answers nobody: a message that is not refused ends as a 503, and shows what might have been reserved."""

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=300)


def priced(client: Caller, **body: object) -> dict[str, Any]:
    answer = client.post("/v1/models/estimate-cost", json=body)
    assert answer.status_code == 200, answer.text
    return {**(answer.json or {})}


def ceiling(client: Caller, model: str, content: str) -> int:
    """The most that a message may reserve."""
    made = client.post("/v1/chat/conversations", json={"model": model}).json or {}
    path = f"/v1/chat/conversations/{made['id']}/messages"
    assert client.post(path, json={"content": content}).status_code == 503
    [turn] = (client.get(path).json or {})["items"]
    assert from_decimal(turn["reserved"]) <= from_decimal(turn["ceiling"])
    return from_decimal(turn["ceiling"])


@given(content=TEXT, model=st.sampled_from(["small", "large", "vision", "reasoning"]), task=st.sampled_from(TASKS))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_message_may_reserve_what_the_estimate_and_the_check_say(content: str, model: str, task: str) -> None:
    client = WORLD.client(WORLD.ids.new("usr"))
    [told] = priced(client, content=content, model=model, task=task)["estimates"]
    operation = {"content": content, "model": model}
    checked = client.post("/v1/credits/check-insufficient", json={"operation": operation}).json or {}
    assert (told["required"], told["high"]) == (checked["required"], checked["ceiling"])
    assert ceiling(client, model, content) == from_decimal(told["high"])


def test_bounded_output_bounds_both_alike() -> None:
    client = WORLD.client("alice")
    operation = {"content": "Hi", "model": "small", "max_output_tokens": 100}
    [told] = priced(client, **operation)["estimates"]
    checked = client.post("/v1/credits/check-insufficient", json={"operation": operation}).json or {}
    assert (told["required"], told["high"]) == (checked["required"], checked["ceiling"])
    assert told["output_tokens"]["most"] == 100


def test_a_picture_is_priced_as_in_a_message() -> None:
    client = WORLD.client("alice")
    operation = {"content": "Hi", "model": "large"}
    [told] = priced(client, **operation, image=True)["estimates"]
    checked = client.post("/v1/credits/check-insufficient", json={"operation": {**operation, "images": 1}}).json or {}
    assert (told["required"], told["high"]) == (checked["required"], checked["ceiling"])
    [plain] = priced(client, **operation, image=False)["estimates"]
    assert from_decimal(plain["expected"]) < from_decimal(told["expected"])


def test_without_a_model_every_model_is_priced_or_named_as_unable() -> None:
    client = WORLD.client("alice")
    found = priced(client, content="What is in this picture?", image=True)
    assert found["task"] == "vision"
    assert [one["model"] for one in found["estimates"]] == ["large", "vision"]
    assert {one["model"]: one["code"] for one in found["left_out"]} == dict.fromkeys(
        ["small", "reasoning", "embed", "image"], "model_unsuitable"
    )


def test_a_prompt_that_does_not_fit_a_model_leaves_it_out() -> None:
    found = priced(WORLD.client("alice"), input_tokens=150_000, task="research")
    assert [one["model"] for one in found["estimates"]] == ["large", "reasoning"]
    assert {"model": "small", "code": "prompt_too_long"} in found["left_out"]


def test_the_length_is_the_classifiers() -> None:
    content = "Write an essay about rivers, 2000 words."
    [told] = priced(WORLD.client("alice"), content=content, model="small")["estimates"]
    found = classify(content, has_image=False)
    lengths = told["output_tokens"]
    assert (lengths["p10"], lengths["p50"], lengths["p90"]) == (
        found.output_tokens_p10,
        found.output_tokens_p50,
        found.output_tokens_p90,
    )


def test_counted_tokens_are_priced_as_so_many() -> None:
    client = WORLD.client("alice")
    [small, large] = (
        priced(client, input_tokens=tokens, task="writing", model="small")["estimates"][0] for tokens in (1000, 2000)
    )
    # One credit is a million micro-credits, and a million tokens of input cost 6.25 credits.
    assert from_decimal(large["expected"]) - from_decimal(small["expected"]) == pytest.approx(6250, abs=1)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"model": "nobody", "content": "Hi"}, "model_unknown"),
        ({"model": "embed", "content": "Hi"}, "model_unsuitable"),
        ({"model": "small", "content": "Hi", "image": True}, "model_unsuitable"),
        ({"content": "Hi", "input_tokens": 5}, "validation_failed"),
        ({"task": "chat"}, "validation_failed"),
        ({"input_tokens": 5}, "validation_failed"),
        ({"content": "Hi", "task": "cooking"}, "validation_failed"),
        ({"content": "Hi", "max_output_tokens": 0}, "validation_failed"),
    ],
)
def test_what_cannot_be_priced_is_refused(body: dict[str, object], code: str) -> None:
    answer = WORLD.client("alice").post("/v1/models/estimate-cost", json=body)
    assert (answer.status_code, (answer.json or {})["code"]) == (422, code)
