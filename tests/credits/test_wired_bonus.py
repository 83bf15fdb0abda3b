"""The bonus with its checks on, through the whole backend: evidence decides at every entry point."""

import itertools
from collections.abc import Callable, Sequence

import flask
import pytest
from firebase_functions.https_fn import AuthData, CallableRequest, HttpsError

from app.bonus.rules import BonusPolicy
from app.kit.money import credits
from app.ports import Identity
from support.credits_world import deposit
from support.vendor import Vendor, vendor, vendor_process
from support.world import MemoryPorts, World

__all__ = ["vendor", "vendor_process"]

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
    name = "checkpoints/000000000001.json"
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


def by_callable(world: World, uid: str, name: str, data: object, address: str) -> None:
    """As `functions-framework` hands a call over; whatever it is answered."""
    token = world.client(uid).token
    headers = {"X-Forwarded-For": f"198.51.100.9, {address}", "Authorization": f"Bearer {token}"}
    with flask.Flask("test").test_request_context(headers=headers):
        raw = flask.request._get_current_object()  # type: ignore[attr-defined]  # the request behind the proxy
    call: CallableRequest[object] = CallableRequest(
        data=data, raw_request=raw, auth=AuthData(uid=uid, token={"uid": uid})
    )
    try:
        world.system.call(name, call)
    except HttpsError as error:
        assert isinstance(error.details, dict)
        assert error.details["status"] in (403, 409)


def by_route(world: World, uid: str, method: str, path: str, body: object, address: str) -> None:
    headers = {"X-Forwarded-For": f"198.51.100.9, {address}"}
    assert world.client(uid).open(path, method=method, json=body, headers=headers).status_code < 500


Door = Callable[[World, str, str], None]
DOORS: dict[str, Door] = {
    "balance": lambda world, uid, at: by_route(world, uid, "GET", "/v1/credits/balance", None, at),
    "reserve": lambda world, uid, at: by_route(
        world, uid, "POST", "/v1/credits/reserve", {"amount": "1", "purpose": "x"}, at
    ),
    "claim": lambda world, uid, at: by_route(world, uid, "POST", "/v1/credits/welcome-bonus", {}, at),
    "callable claim": lambda world, uid, at: by_callable(world, uid, "claim_welcome_bonus", {}, at),
    "callable": lambda world, uid, at: by_callable(world, uid, "get_balance", None, at),
}


class TestEveryDoor:
    """T-104: the guard stands where the grant is committed."""

    @pytest.mark.parametrize("order", list(itertools.permutations(DOORS, 3)), ids=" then ".join)
    def test_in_every_order_gives_one_network_its_bound(self, order: Sequence[str]) -> None:
        farm = {f"u{n}": person(f"u{n}", f"mailbox{n}@gmail.com") for n in range(9)}
        world = world_of(**farm)
        for number, uid in enumerate(farm):
            for door in order:
                DOORS[door](world, uid, f"203.0.113.{number}")
        total = sum(world.system.credits.service.account(uid).balance for uid in farm)
        assert total == BonusPolicy().per_network_daily * credits(1000)

    def test_that_is_a_paid_message_counts_as_well(self, vendor: Vendor) -> None:
        farm = {f"u{n}": person(f"u{n}", f"mailbox{n}@gmail.com") for n in range(9)}
        world = world_of(**farm)
        world.ports.variables["AI_PLATFORM_BASE_URL"] = vendor.base_url
        answers = []
        for number, uid in enumerate(farm):
            client, headers = world.client(uid), {"X-Forwarded-For": f"203.0.113.{number}"}
            begun = client.post("/v1/chat/conversations", json={}, headers=headers).json or {}
            path = f"/v1/chat/conversations/{begun['id']}/messages"
            answers.append(client.post(path, json={"content": "hi", "model": "small"}, headers=headers).status_code)
        assert answers == [200] * 5 + [402] * 4

    def test_that_knows_no_address_is_bounded_for_all_together(self) -> None:
        farm = {f"u{n}": person(f"u{n}", f"mailbox{n}@gmail.com") for n in range(40)}
        world = world_of(**farm)
        service = world.system.credits.service
        for uid in farm:
            service.post(uid, deposit("pay", credits(1)))
        total = sum(service.account(uid).balance for uid in farm)
        assert total == credits(40) + BonusPolicy().per_crowd_daily * credits(1000)

    def test_of_coming_online_leaves_the_opening_to_the_first_request(self) -> None:
        world = world_of(alice=person("alice", "alice@example.org"))
        world.system.credits.open_account("alice")
        assert world.documents.all() == {}
        assert balance(world, "alice") == "1000"


DIRECT = {"X-Forwarded-For": "203.0.113.7", "Forwarded": 'for="203.0.113.7";proto=https'}
"""A call of the function's own address."""


def hosted(client: str, relay: str = "104.198.56.253") -> dict[str, str]:
    """A call through Firebase Hosting, as one was published; what the client itself wrote stands in front."""
    return {
        "CDN-Loop": "Fastly, Fastly",
        "Fastly-Client": "1",
        "Fastly-Client-IP": client,
        "Fastly-FF": "s48hDkrIORDrAz3sjuyh5gIWcInqIjSROZ47KAY+w/I=!EZE!cache-eze19326-EZE",
        "Fastly-SSL": "1",
        "Fastly-Temp-XFF": f"{client}, {client}",
        "Forwarded": f'for="{relay}";proto=https',
        "X-Forwarded-For": f"{client},{relay}",
        "X-Forwarded-Host": "demo-credits.web.app",
    }


class TestTheAddressOfAClient:
    """T-121: which header is believed depends on the way in."""

    def given(self, headers: Sequence[dict[str, str]], **variables: str) -> int:
        """How many of as many new people, each of whom calls with one of these, are given the bonus."""
        people = {f"u{n}": person(f"u{n}", f"mailbox{n}@gmail.com") for n in range(len(headers))}
        world = world_of(**people)
        world.ports.variables.update(variables)
        told = [world.client(uid).get("/v1/credits/balance", headers=each).json for uid, each in zip(people, headers)]
        return [answer and answer["balance"] for answer in told].count("1000")

    def test_that_calls_directly_is_what_googles_front_end_appended(self) -> None:
        assert self.given([DIRECT] * 8) == 5
        made_up = [{**DIRECT, "X-Forwarded-For": f"192.0.{n}.1, 203.0.113.7"} for n in range(8)]
        assert self.given(made_up) == 5, "what the client wrote in front counts for nothing"

    def test_that_comes_through_hosting_is_what_hosting_tells(self) -> None:
        honest = [hosted(f"192.0.{n}.1") for n in range(15)]
        assert self.given(honest) == 15
        neighbours = [hosted(f"192.0.2.{n}") for n in range(15)]
        assert self.given(neighbours) == 5

    def test_that_pretends_to_come_through_hosting_is_held_by_its_own_network(self) -> None:
        forged = [{**DIRECT, "Fastly-Client-IP": f"192.0.{n}.1"} for n in range(40)]
        assert self.given(forged) == BonusPolicy().per_crowd_daily
        assert self.given(forged, RELAY_ADDRESS_HEADER="none") == 5, "where nothing comes through Hosting"

    def test_that_comes_through_hosting_in_numbers_takes_a_setting(self) -> None:
        crowd = [hosted(f"192.0.{n}.1") for n in range(40)]
        assert self.given(crowd) == 20
        assert self.given(crowd, WELCOME_BONUS_PER_CROWD_DAILY="100") == 40
