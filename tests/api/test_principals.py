"""Which claims make a principal."""

import re
from typing import Final

import flask
import pytest
from firebase_functions.https_fn import AuthData, CallableRequest, HttpsError

from app.api.auth import Principal, TokenInvalid, UserIdUnusable, looks_up, roles_of
from app.api.firebase_tokens import principal
from app.api.idempotency import takes_a_key
from app.api.reference import openapi
from support.chat_world import ChatWorld
from support.vendor import Vendor, vendor, vendor_process
from support.world import MemoryPorts, TestTokens, World

__all__ = ["vendor", "vendor_process"]


@pytest.mark.parametrize(
    "uid", ["x", "N3bTQ0dWf0Zl2oU5tE7m1r9aPq62", "auth0|5f7c8ec7", "a@b", "z" * 128, "ł" * 128, "_a"]
)
def test_a_user_id_is_opaque(uid: str) -> None:
    assert principal({"uid": uid}).uid == uid


UNUSABLE = [
    "a/b",
    "bob/entries/000000000001",
    ".",
    "..",
    "a.b",
    "__x__",
    "a#b",
    "a$b",
    "a[0]",
    "a\n",
    "a\x7f",
    "z" * 129,
]


@pytest.mark.parametrize("uid", [None, "", 5])
def test_a_token_of_nobody_is_none(uid: object) -> None:
    with pytest.raises(TokenInvalid):
        principal({"uid": uid})


@pytest.mark.parametrize("uid", [*UNUSABLE, "a\ud800"])
def test_a_user_id_that_cannot_be_a_path_is_refused(uid: object) -> None:
    """The paths of accounts, conversations and mirrors contain the user's id: it must not name another path."""
    with pytest.raises(UserIdUnusable):
        principal({"uid": uid})


class TokensNaming(TestTokens):
    """Tokens that verify and name this user."""

    def __init__(self, uid: str) -> None:
        super().__init__()
        self._uid = uid

    def __call__(self, token: str, /, **_: object) -> Principal:
        return principal({"uid": self._uid})


class TestAUserWithSuchAnId:
    """Custom tokens and imports allow any text. Whoever has such an id is told so at every door, from the first on."""

    @pytest.mark.parametrize("uid", UNUSABLE)
    def test_is_told_why_at_the_api(self, uid: str) -> None:
        """T-103"""
        world = World(ports=MemoryPorts(verify_token=TokensNaming(uid)))
        client = world.client("anybody")
        for method, path in (("GET", "/v1/credits/balance"), ("POST", "/v1/credits/welcome-bonus")):
            answer = client.open(path, method=method, json=None if method == "GET" else {})
            assert (answer.status_code, (answer.json or {})["code"]) == (403, "user_id_unusable")
        assert (world.documents.all(), world.realtime.get("")) == ({}, None)

    @pytest.mark.parametrize("name", ["get_balance", "claim_welcome_bonus", "send_message"])
    def test_is_told_why_at_the_callables(self, name: str) -> None:
        world = World()
        with flask.Flask("test").test_request_context():
            raw = flask.request._get_current_object()  # type: ignore[attr-defined]  # the request behind the proxy
        call: CallableRequest[object] = CallableRequest(
            data={}, raw_request=raw, auth=AuthData(uid="a.b", token={"uid": "a.b"})
        )
        with pytest.raises(HttpsError) as refused:
            world.system.call(name, call)
        assert refused.value.details is not None
        assert refused.value.details["code"] == "user_id_unusable"
        assert (world.documents.all(), world.realtime.get("")) == ({}, None)

    @pytest.mark.parametrize("uid", ["__x__", "a\n", "a.b"])
    def test_opens_nothing_by_coming_online(self, uid: str) -> None:
        """`__x__` is a key for the Realtime Database, but not for Firestore: its event would be repeated for a day."""
        world = World()
        world.system.credits.open_account(uid)
        assert world.documents.all() == {}
        world.system.credits.open_account("alice")
        assert "accounts/alice" in world.documents.all()


@pytest.mark.parametrize("uid", ["auth0|5f7c8ec7", "a@b", "łódź", "_a", "a%2Eb", "z" * 128])
def test_any_other_id_works_through_all_mirrors(vendor: Vendor, uid: str) -> None:
    """T-103: the account, a conversation, the live text, the balance and what removes them, under one odd id."""
    chat, live = ChatWorld(vendor), list[str]()
    chat.realtime.before_write.append(live.extend)
    conversation = chat.conversation(uid)
    chat.ask(conversation, uid=uid).over()
    assert chat.charges(uid)
    chat.mirror.step()
    chat.system.credits.account_written(chat.documents.all()[f"accounts/{uid}"].fields)
    mine = [path for path in live if path.startswith("users/")]
    assert {path.split("/")[1] for path in mine} == {uid}
    assert {path.split("/")[2] for path in mine} == {"streams", "balance"}
    chat.chat.delete(uid, conversation.id)
    chat.drain()
    assert chat.left() == []


KEEPS: Final = {"/v1/credits/release-reservation": "gives back what is held and spends nothing"}


class TestWhoMayNoLonger:
    """T-95: a token lives for an hour; what it said of its user may be over."""

    def test_administer_finds_every_door_shut(self) -> None:
        world = World()
        world.client("bob").get("/v1/credits/balance")
        admin = world.client(world.user("root", role="admin"))
        audit = "/v1/credits/audit?uid=bob"
        assert admin.get(audit).status_code == 200
        assert admin.get("/v1/monitoring/metrics").status_code == 200
        world.tokens.demote("root")
        doors = [(path, method) for path, method, view in openapi.routes_of(world.app) if roles_of(view)]
        assert len(doors) > 10
        for path, method in [*doors, (audit, "get")]:
            answer = admin.open(re.sub(r"\{\w+\}", "x", path), method=method.upper(), json={})
            assert answer.status_code == 403, (path, method)

    def test_spend_is_refused_at_every_door_and_nothing_is_written(self) -> None:
        world = World()
        alice = world.client("alice")
        alice.get("/v1/credits/balance")
        world.tokens.disable("alice")
        before = world.documents.all()
        for path in ("/v1/credits/reserve", "/v1/credits/welcome-bonus", "/v1/chat/conversations/x/messages"):
            assert alice.post(path, json={"amount": "1", "purpose": "p"}).status_code == 401, path
        for name in ("send_message", "claim_welcome_bonus"):
            with pytest.raises(HttpsError) as refused:
                world.system.call(name, called(alice.token or ""))
            assert refused.value.code.value == "unauthenticated"
        assert world.documents.all() == before
        assert alice.get("/v1/credits/balance").status_code == 200, "their own data is theirs to read"

    def test_spend_is_looked_up_by_every_route_that_moves_credits(self) -> None:
        """A route of users that takes an Idempotency-Key moves credits or starts work that does."""
        for path, _, view in openapi.routes_of(World().app):
            if takes_a_key(view) and not roles_of(view):
                assert looks_up(view) or path in KEEPS, path


def called(token: str) -> CallableRequest[object]:
    with flask.Flask("test").test_request_context(headers={"Authorization": f"Bearer {token}"}):
        raw = flask.request._get_current_object()  # type: ignore[attr-defined]  # the request behind the proxy
    return CallableRequest(data={}, raw_request=raw, auth=AuthData(uid="alice", token={"uid": "alice"}))
