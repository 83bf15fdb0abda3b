"""Credentials: who a connection is, and for how long."""

import time
from typing import Final

import pytest

from rtdb.conftest import Js
from rtdb.harness import Namespace
from rtdb.tokens import token
from rtdb_emulator.json_text import Json

DENIED: Final[Json] = {"s": "permission_denied", "d": "Permission denied"}


@pytest.fixture
def guarded(ns: Namespace) -> Namespace:
    """A namespace in which everybody reads and writes his own place only."""
    ns.rules({"users": {"$uid": {".read": "auth.uid == $uid", ".write": "auth.uid == $uid"}}})
    return ns


class TestCredentials:
    @pytest.mark.parametrize("credential", ["owner", "ya29.an-oauth-token", "ya29.with.dots"])
    def test_an_opaque_credential_is_the_owner(self, guarded: Namespace, credential: str) -> None:
        with guarded.connect() as wire:
            assert wire.ok("gauth", {"cred": credential}) == {"auth": None}
            wire.ok("p", {"p": "/anywhere", "d": 1})

    def test_a_token_is_its_user(self, guarded: Namespace) -> None:
        with guarded.connect() as wire:
            auth = wire.ok("auth", {"cred": token("alice", admin=True)})
            assert isinstance(auth, dict) and isinstance(auth["auth"], dict)
            assert auth["auth"]["uid"] == "alice" and auth["auth"]["provider"] == "custom"
            wire.ok("p", {"p": "/users/alice", "d": 1})
            assert wire.request("p", {"p": "/users/bob", "d": 1}) == DENIED

    def test_rules_see_the_claims(self, ns: Namespace) -> None:
        ns.rules({".read": "auth.token.role == 'reader' && auth.provider == 'custom'"})
        with ns.connect() as wire:
            wire.ok("auth", {"cred": token("alice", role="reader")})
            wire.ok("g", {"p": "/", "q": {}})

    def test_a_legacy_token_carries_its_auth_object(self, ns: Namespace) -> None:
        ns.rules({".read": "auth.color == 'red'"})
        with ns.connect() as wire:
            wire.ok("auth", {"cred": token("x", d={"color": "red"})})
            wire.ok("g", {"p": "/", "q": {}})

    def test_a_legacy_admin_token_is_the_owner(self, guarded: Namespace) -> None:
        with guarded.connect() as wire:
            wire.ok("auth", {"cred": token("x", d={}, admin=True)})
            wire.ok("p", {"p": "/anywhere", "d": 1})

    def test_the_owner_may_act_as_a_user_or_as_nobody(self, guarded: Namespace) -> None:
        with guarded.connect() as wire:
            wire.ok("gauth", {"cred": "owner", "authvar": {"uid": "bob"}})
            wire.ok("p", {"p": "/users/bob", "d": 1})
            assert wire.request("p", {"p": "/users/alice", "d": 1}) == DENIED
            wire.ok("gauth", {"cred": "owner", "noauth": True})
            assert wire.request("p", {"p": "/users/bob", "d": 1}) == DENIED

    def test_giving_the_credential_back(self, guarded: Namespace) -> None:
        with guarded.connect() as wire:
            wire.ok("auth", {"cred": token("alice")})
            wire.ok("unauth", {})
            assert wire.request("p", {"p": "/users/alice", "d": 1}) == DENIED

    @pytest.mark.parametrize("credential", ["a.b.c", "..", "e30.bm90IGpzb24.", "e30.W10.", "", 5, None])
    def test_what_cannot_be_read_is_refused(self, ns: Namespace, credential: Json) -> None:
        with ns.connect() as wire:
            answer = wire.request("auth", {"cred": credential})
            assert answer == {"s": "invalid_token", "d": "Could not parse auth token."}

    def test_the_times_of_mock_tokens_do_not_matter(self, guarded: Namespace) -> None:
        with guarded.connect() as wire:
            wire.ok("auth", {"cred": token("alice", iat=0, exp=3600)})
            wire.ok("g", {"p": "/users/alice", "q": {}})


class TestExpiry:
    def test_an_expired_token_is_refused(self, ns: Namespace) -> None:
        past = int(time.time()) - 10
        with ns.connect() as wire:
            answer = wire.request("auth", {"cred": token("alice", iat=past - 3600, exp=past)})
            assert answer == {"s": "expired_token", "d": "Auth token is expired"}

    def test_a_token_that_expires_is_revoked_until_a_fresh_one_comes(self, guarded: Namespace) -> None:
        now = time.time()
        with guarded.connect() as wire:
            wire.ok("auth", {"cred": token("alice", iat=int(now), exp=now + 1.5)})
            wire.ok("q", {"p": "/users/alice", "h": ""})
            assert wire.push() == {"a": "ac", "b": {"s": "expired_token", "d": "Auth token is expired"}}
            assert wire.request("g", {"p": "/users/alice", "q": {}})["s"] == "expired_token"
            wire.ok("auth", {"cred": token("alice")})
            wire.ok("p", {"p": "/users/alice", "d": 1})
            assert wire.take_pushes() == []


class TestWithTheSdk:
    def test_users_of_the_sdk(self, js: Js, guarded: Namespace) -> None:
        assert js("credentials", "mockUsers", guarded) == {
            "own": "mine",
            "foreign": "PERMISSION_DENIED: Permission denied",
            "owner": "by the owner",
        }
