"""Preferences over HTTP: the usual ones, replaced whole, bounded, and one's own."""

from typing import Any

import pytest

from app.assistant.preferences import path_of
from app.kit.stores.documents import Merge
from support.world import Caller, World

PATH = "/v1/models/preferences"
USUAL: dict[str, object] = {
    "optimize": "balanced",
    "defaults": {},
    "most_per_message": None,
    "excluded_providers": [],
    "rules": [],
    "updated_at": None,
}


@pytest.fixture
def world() -> World:
    return World()


def got(client: Caller) -> dict[str, Any]:
    answer = client.get(PATH)
    assert answer.status_code == 200, answer.text
    return {**(answer.json or {})}


def test_are_the_usual_ones_until_somebody_decides(world: World) -> None:
    assert got(world.client("alice")) == USUAL


def test_are_replaced_as_a_whole_and_are_ones_own(world: World) -> None:
    alice = world.client("alice")
    wanted = {
        "optimize": "cost",
        "defaults": {"code": "reasoning", "vision": "large"},
        "most_per_message": "0.5",
        "excluded_providers": ["simulator"],
        "rules": [{"task": "code", "route": "quick", "priority": 3}],
    }
    put = alice.put(PATH, json=wanted)
    assert put.status_code == 200, put.text
    assert got(alice) == put.json == wanted | {"updated_at": (put.json or {})["updated_at"]}
    assert got(world.client("bob")) == USUAL
    assert alice.put(PATH, json={}).status_code == 200
    assert got(alice) | {"updated_at": None} == USUAL


def test_keep_what_a_later_version_of_the_code_wrote(world: World) -> None:
    alice = world.client("alice")
    alice.put(PATH, json={})
    world.documents.commit([Merge(path_of("alice"), {"tone": "dry"})])
    alice.put(PATH, json={"optimize": "speed"})
    stored = world.documents.get(path_of("alice"))
    assert stored is not None
    assert (stored.fields["tone"], stored.fields["optimize"]) == ("dry", "speed")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"optimize": "fun"}, "validation_failed"),
        ({"defaults": {"cooking": "small"}}, "validation_failed"),
        ({"defaults": {"code": "nobody"}}, "model_unknown"),
        ({"defaults": {"code": "auto"}}, "model_unknown"),
        ({"defaults": {"code": "embed"}}, "model_unsuitable"),
        ({"defaults": {"vision": "small"}}, "model_unsuitable"),
        ({"most_per_message": "0"}, "validation_failed"),
        ({"most_per_message": "-1"}, "validation_failed"),
        ({"excluded_providers": ["nobody"]}, "provider_unknown"),
        ({"excluded_providers": ["simulator"] * 51}, "validation_failed"),
        ({"rules": [{"task": "code", "route": "quick"}] * 21}, "validation_failed"),
        ({"rules": [{"task": "code", "route": "slow"}]}, "validation_failed"),
        ({"tone": "dry"}, "validation_failed"),
    ],
)
def test_that_cannot_hold_are_refused(world: World, body: dict[str, object], code: str) -> None:
    alice = world.client("alice")
    answer = alice.put(PATH, json=body)
    assert (answer.status_code, (answer.json or {})["code"]) == (422, code)
    assert got(alice) == USUAL
