"""The bonus with its checks on, through the whole backend: evidence decides at every entry point."""

from app.ports import Identity
from support.world import MemoryPorts, World

CHECKED = {"WELCOME_BONUS_CHECKS": "on"}


def world_of(**people: Identity) -> World:
    """A backend that knows these users from Auth."""
    return World(variables=CHECKED, ports=MemoryPorts(identities=lambda uid: people.get(uid, Identity(uid))))


def person(uid: str, email: str, *, verified: bool = True) -> Identity:
    return Identity(uid, "password", email, email, verified, created_at_us=1)


def balance(world: World, uid: str) -> object:
    told = world.client(uid).get("/v1/credits/balance").json
    assert told is not None
    return told["balance"]


def test_a_verified_address_is_given_the_bonus_at_first_touch() -> None:
    world = world_of(alice=person("alice", "alice@example.org"))
    assert balance(world, "alice") == "1000"
    again = world.client("alice").post("/v1/credits/welcome-bonus", json={"device_fingerprint": "abcdefgh"})
    assert (again.status_code, (again.json or {})["code"]) == (409, "bonus_already_granted")


def test_who_verifies_later_claims_later() -> None:
    people = {"bob": person("bob", "bob@example.org", verified=False)}
    world = world_of()
    world.ports.identities = lambda uid: people.get(uid, Identity(uid))
    assert balance(world, "bob") == "0"
    claim = {"device_fingerprint": "abcdefgh"}
    refused = world.client("bob").post("/v1/credits/welcome-bonus", json=claim)
    assert (refused.status_code, (refused.json or {})["reason"]) == (403, "verify_email")
    people["bob"] = person("bob", "bob@example.org")
    assert world.client("bob").post("/v1/credits/welcome-bonus", json=claim).status_code == 201
    assert balance(world, "bob") == "1000"


def test_one_mailbox_in_many_spellings_is_one_person() -> None:
    """T-96: a farm of one mailbox is given one bonus."""
    farm = {f"u{n}": person(f"u{n}", f"m.e+{n}@googlemail.com") for n in range(20)}
    world = world_of(**farm)
    assert sorted(str(balance(world, uid)) for uid in farm) == ["0"] * 19 + ["1000"]


def test_checkpoints_are_archived_under_names_that_stay() -> None:
    world = world_of(alice=person("alice", "alice@example.org"))
    balance(world, "alice")
    world.system.orchestration.sweep()
    (name,) = world.ports.archive
    assert name.startswith("checkpoints/000000000001-")
    kept = world.ports.archive[name]
    world.system.orchestration.sweep()
    assert world.ports.archive[name] == kept


def test_an_operation_is_priced_as_a_message_would_reserve() -> None:
    client = World().client("alice")
    answer = client.post("/v1/credits/check-insufficient", json={"operation": {"model": "small", "content": "hi"}}).json
    assert answer is not None
    assert answer["sufficient"]
    assert answer["required"] != "0"
    for body in ({}, {"amount": "1", "operation": {"model": "small"}}, {"operation": {"model": "nobody"}}):
        assert 400 <= client.post("/v1/credits/check-insufficient", json=body).status_code < 500
