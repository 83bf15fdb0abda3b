"""API keys over HTTP: made, used within their scopes, changed, rotated, deleted."""

from dataclasses import replace
from typing import Any

import pytest

from app.api.auth import scope_of
from app.keys.api_key import path_of
from app.kit.clock import from_rfc3339
from app.kit.errors import Unavailable
from app.kit.stores.documents import Merge
from app.ports import Identity
from support.world import Caller, World

PATH = "/v1/keys"


@pytest.fixture
def world() -> World:
    return World()


def made(client: Caller, **body: Any) -> dict[str, Any]:
    answer = client.post(PATH, json={"name": "ci", **body})
    assert answer.status_code == 201, answer.text
    return {**(answer.json or {})}


def using(world: World, key: str) -> Caller:
    return Caller(world.system.edge, key)


def outcome(world: World, key: str, path: str = "/v1/models", method: str = "GET", **more: Any) -> tuple[int, str]:
    answer = using(world, key).open(path, method=method, **more)
    return answer.status_code, str((answer.json or {}).get("code", ""))


def test_a_key_acts_for_its_user(world: World) -> None:
    key = made(world.client("alice"))["key"]
    answer = using(world, key).post("/v1/chat/conversations", json={"title": "by key"})
    assert answer.status_code == 201
    assert (answer.json or {})["id"] in (world.client("alice").get("/v1/chat/conversations").text)
    assert (world.client("bob").get("/v1/chat/conversations").json or {})["items"] == []


def test_its_text_is_shown_once_and_stored_nowhere(world: World) -> None:
    alice = world.client("alice")
    key = made(alice)
    assert len(key["key"]) == len("sk-") + 26 + 1 + 43
    secret = key["key"][-43:]
    assert secret not in repr(world.documents.all())
    assert (alice.get(PATH).json or {})["items"] == [{name: key[name] for name in key if name != "key"}]


@pytest.mark.parametrize(
    ("method", "rule", "scope"),
    [
        ("POST", "/v1/chat/conversations", "chat"),
        ("POST", "/v1/chat/quotes", "chat"),
        ("GET", "/v1/models", "models"),
        ("POST", "/v1/models/estimate-cost", "models"),
        ("GET", "/v1/modelsx", None),
        ("GET", "/v1/credits/balance", "credits:read"),
        ("POST", "/v1/credits/reserve", None),
        ("GET", "/v1/keys", None),
        ("GET", "/v1/orchestration/lanes", None),
    ],
)
def test_the_scope_of_an_address(method: str, rule: str, scope: str | None) -> None:
    assert scope_of(method, rule) == scope


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/v1/keys", "GET"),
        ("/v1/keys", "POST"),
        ("/v1/keys/key_00000000000000000000000000", "DELETE"),
        ("/v1/credits/reserve", "POST"),
        ("/v1/orchestration/lanes", "GET"),
        ("/v1/credits/audit?uid=bob", "GET"),
        ("/v1/credits/breaches", "GET"),
    ],
)
def test_no_key_reaches_keys_roles_or_what_moves_credits(world: World, path: str, method: str) -> None:
    """Not even an administrator's."""
    admin = world.client(world.user("root", role="admin"))
    found = outcome(world, made(admin)["key"], path, method, **({"json": {}} if method == "POST" else {}))
    assert found == (403, "api_key_out_of_scope")


def test_a_key_reaches_only_its_scopes(world: World) -> None:
    key = made(world.client("alice"), scopes=["credits:read"])["key"]
    assert outcome(world, key, "/v1/credits/balance")[0] == 200
    assert outcome(world, key) == (403, "api_key_out_of_scope")


def test_what_is_no_key_is_refused_alike_whether_its_id_exists(world: World) -> None:
    key = made(world.client("alice"))["key"]
    other = key[:-43] + "x" * 43
    unknown = "sk-" + "0" * 26 + "-" + "x" * 43
    answers = [using(world, text).get("/v1/models") for text in (other, unknown, "sk-", "sk-" + "/" * 500)]
    assert {answer.status_code for answer in answers} == {401}
    assert len({(answer.json or {})["detail"] for answer in answers}) == 1
    assert {(answer.json or {})["code"] for answer in answers} == {"api_key_invalid"}


def test_a_key_ends_when_it_says(world: World) -> None:
    end = "2100-01-01T00:00:00Z"
    alice = world.client("alice")
    key = made(alice, expires_at=end)["key"]
    assert outcome(world, key)[0] == 200
    world.clock.advance(minutes=100 * 365 * 24 * 60)
    assert outcome(world, key) == (401, "api_key_expired")
    assert alice.post(PATH, json={"name": "late", "expires_at": end}).status_code == 422


def test_a_deleted_key_counts_a_minute_longer_at_most(world: World) -> None:
    alice = world.client("alice")
    key = made(alice)
    assert outcome(world, key["key"])[0] == 200
    assert alice.delete(f"{PATH}/{key['id']}").status_code == 204
    assert alice.delete(f"{PATH}/{key['id']}").status_code == 404
    world.clock.advance(seconds=60)
    assert outcome(world, key["key"]) == (401, "api_key_invalid")


def test_narrowed_scopes_hold_within_a_minute(world: World) -> None:
    alice = world.client("alice")
    key = made(alice)
    assert outcome(world, key["key"])[0] == 200
    changed = alice.patch(f"{PATH}/{key['id']}", json={"scopes": ["chat"], "name": "new"})
    assert changed.status_code == 200, changed.text
    assert (changed.json or {})["name"] == "new"
    world.clock.advance(seconds=60)
    assert outcome(world, key["key"]) == (403, "api_key_out_of_scope")


def test_a_disabled_users_key_stops_within_a_minute_and_an_outage_of_auth_stops_none(world: World) -> None:
    key = made(world.client("alice"))["key"]
    told = [True]

    def identities(uid: str) -> Identity:
        if not told:
            raise Unavailable("Auth did not answer")
        return replace(Identity(uid), active=told[0])

    world.ports.identities = identities
    assert outcome(world, key)[0] == 200
    told[0] = False
    world.clock.advance(seconds=60)
    assert outcome(world, key) == (401, "api_key_invalid")
    told.clear()
    assert outcome(world, key)[0] == 200


def test_a_rotated_key_counts_under_both_texts_for_the_overlap(world: World) -> None:
    alice = world.client("alice")
    key = made(alice)
    first = key["key"]
    second = (alice.post(f"{PATH}/{key['id']}/rotate", json={"overlap_seconds": 600}).json or {})["key"]
    # As after a lost answer: the text in use must not end with a second rotation.
    third = (alice.post(f"{PATH}/{key['id']}/rotate", json={"overlap_seconds": 600}).json or {})["key"]
    assert [outcome(world, text)[0] for text in (first, second, third)] == [200, 200, 200]
    world.clock.advance(seconds=599)
    assert outcome(world, first)[0] == 200
    world.clock.advance(seconds=1)
    assert [outcome(world, text)[0] for text in (first, second, third)] == [401, 401, 200]
    fourth = (alice.post(f"{PATH}/{key['id']}/rotate", json={"overlap_seconds": 0}).json or {})["key"]
    world.clock.advance(seconds=60)
    assert [outcome(world, text)[0] for text in (third, fourth)] == [401, 200]


def test_another_users_key_cannot_be_touched(world: World) -> None:
    key = made(world.client("alice"))
    bob, path = world.client("bob"), f"{PATH}/{key['id']}"
    assert bob.patch(path, json={"name": "mine"}).status_code == 404
    assert bob.post(f"{path}/rotate", json={}).status_code == 404
    assert bob.delete(path).status_code == 404
    assert (bob.get(PATH).json or {})["items"] == []


def test_nobody_has_more_than_twenty(world: World) -> None:
    alice = world.client("alice")
    keys = [made(alice) for _ in range(20)]
    refused = alice.post(PATH, json={"name": "one more"})
    assert (refused.status_code, (refused.json or {})["code"]) == (409, "too_many_api_keys")
    alice.delete(f"{PATH}/{keys[3]['id']}")
    made(alice)
    listed = [item["id"] for item in (alice.get(PATH).json or {})["items"]]
    assert len(listed) == 20
    assert listed == sorted(listed, reverse=True)


def test_a_key_that_cannot_be_read_is_passed_over_and_can_be_deleted(world: World) -> None:
    alice = world.client("alice")
    broken, whole = made(alice), made(alice)
    world.documents.commit([Merge(path_of(broken["id"]), {"scopes": 7})])
    assert [item["id"] for item in (alice.get(PATH).json or {})["items"]] == [whole["id"]]
    assert alice.delete(f"{PATH}/{broken['id']}").status_code == 204
    assert world.documents.get(path_of(broken["id"])) is None


def test_a_scope_of_a_later_version_takes_no_other_scope_away(world: World) -> None:
    key = made(world.client("alice"))
    world.documents.commit([Merge(path_of(key["id"]), {"scopes": ["models", "files"]})])
    assert Caller(world.instance().edge, key["key"]).get("/v1/models").status_code == 200


def test_a_clock_that_goes_back_keeps_no_deleted_key_alive(world: World) -> None:
    alice = world.client("alice")
    key = made(alice)
    program = Caller(world.system.edge, key["key"])
    assert program.get("/v1/models").status_code == 200
    alice.delete(f"{PATH}/{key['id']}")
    world.clock.set(world.clock.now_us() - 7_200_000_000)
    world.clock.advance(minutes=30)
    assert program.get("/v1/models").status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/models/preferences"),
        ("POST", "/v1/chat/conversations/cnv_1/share"),
        ("DELETE", "/v1/chat/conversations/cnv_1/share"),
    ],
)
def test_no_key_changes_what_messages_may_cost_or_publishes_anything(world: World, method: str, path: str) -> None:
    program = Caller(world.system.edge, made(world.client("alice"))["key"])
    answer = program.open(path, method=method, json={"optimize": "cost"} if method == "PUT" else None)
    assert (answer.status_code, (answer.json or {})["code"]) == (403, "api_key_out_of_scope")


def test_a_key_that_was_used_just_before_its_end_ends_with_it(world: World) -> None:
    """What is remembered for a minute does not outlive the key."""
    end = "2100-01-01T00:00:00Z"
    program = Caller(world.system.edge, made(world.client("alice"), expires_at=end)["key"])
    world.clock.advance(us=from_rfc3339(end) - world.clock.now_us() - 1_000_000)
    assert program.get("/v1/models").status_code == 200
    world.clock.advance(seconds=1)
    answer = program.get("/v1/models")
    assert (answer.status_code, (answer.json or {})["code"]) == (401, "api_key_expired")


def test_keep_what_a_later_version_of_the_code_wrote(world: World) -> None:
    alice = world.client("alice")
    key = made(alice)
    world.documents.commit([Merge(path_of(key["id"]), {"later": ["later"]})])
    alice.patch(f"{PATH}/{key['id']}", json={"name": "new"})
    stored = world.documents.get(path_of(key["id"]))
    assert stored is not None
    assert (stored.fields["later"], stored.fields["name"]) == (["later"], "new")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "x" * 101},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["admin"]},
        {"name": "x", "expires_at": "2001-01-01T00:00:00Z"},
        {"name": "x", "account": "bob"},
    ],
)
def test_bad_bodies_are_refused(world: World, body: dict[str, Any]) -> None:
    assert world.client("alice").post(PATH, json=body).status_code == 422
    assert not [path for path in world.documents.all() if path.startswith("api_key")]
