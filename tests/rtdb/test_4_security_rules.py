"""Security rules as clients see them: the same decisions over every transport. The language: `rules/`."""

from typing import Final

import pytest

from rtdb.harness import OWNER, Namespace
from rtdb.tokens import token
from rtdb_emulator.json_text import Json

RULES: Final[Json] = {
    "posts": {
        ".read": "query.limitToFirst <= 10",
        ".indexOn": "at",
        "$post": {
            ".write": "auth != null && (!data.exists() || data.child('author').val() == auth.uid)",
            ".validate": "newData.hasChildren(['author', 'at']) && newData.child('author').val() == auth.uid",
            "at": {".validate": "newData.val() == now"},
            "likes": {".validate": "data.exists() ? newData.val() - data.val() == 1 : newData.val() == 1"},
        },
    },
    "public": {".read": True, ".write": True, "closed": {".read": False, ".write": False}},
}
POST: Final[Json] = {"author": "alice", "at": {".sv": "timestamp"}}
STAMP: Final[Json] = {".sv": "timestamp"}


@pytest.fixture
def ruled(ns: Namespace) -> Namespace:
    ns.rules(RULES)
    return ns


def allowed(ns: Namespace, method: str, path: str, body: Json = None, uid: str | None = "alice") -> bool:
    """Whether REST and the WebSocket allow it; they must agree. Writes happen twice."""
    over_rest = ns.request(method, path, body, auth=token(uid) if uid else "").status_code == 200
    action, data = {"PUT": ("p", body), "PATCH": ("m", body), "DELETE": ("p", None), "GET": ("g", None)}[method]
    with ns.connect() as wire:
        if uid:
            wire.ok("auth", {"cred": token(uid)})
        over_wire = wire.request(action, {"p": path, "d": data, "q": {}})["s"] == "ok"
    assert over_rest == over_wire
    return over_rest


class TestWrites:
    def test_the_time_that_rules_know_is_the_time_that_is_stored(self, ruled: Namespace) -> None:
        assert allowed(ruled, "PUT", "posts/p", POST)
        assert not allowed(ruled, "PUT", "posts/p", {"author": "alice", "at": 5})

    def test_only_the_author_may_change_and_what_must_be_there_must_stay(self, ruled: Namespace) -> None:
        ruled.put("posts/p", POST)
        assert not allowed(ruled, "PUT", "posts/p", {"author": "bob", "at": STAMP}, uid="bob")
        assert not allowed(ruled, "PATCH", "posts/p", {"title": "x"}, uid=None)
        assert allowed(ruled, "PATCH", "posts/p", {"title": "x"})
        assert not allowed(ruled, "DELETE", "posts/p/at")
        assert allowed(ruled, "DELETE", "posts/p")

    def test_what_is_granted_above_cannot_be_taken_back_below(self, ruled: Namespace) -> None:
        assert allowed(ruled, "PUT", "public/closed", 1)
        assert allowed(ruled, "GET", "public/closed")

    def test_an_update_of_many_places_needs_all_of_them(self, ruled: Namespace) -> None:
        assert not allowed(ruled, "PATCH", "", {"public/x": 1, "elsewhere": 1})
        assert ruled.get("public") is None
        assert allowed(ruled, "PATCH", "", {"public/x": 1, "posts/p": POST})

    def test_an_increment_is_resolved_before_it_is_judged(self, ruled: Namespace) -> None:
        ruled.put("posts/p", POST)
        with ruled.connect() as wire:
            wire.ok("auth", {"cred": token("alice")})
            for _ in range(3):
                wire.ok("p", {"p": "/posts/p/likes", "d": {".sv": {"increment": 1}}})
            assert wire.request("p", {"p": "/posts/p/likes", "d": {".sv": {"increment": 2}}})["s"] != "ok"
        assert ruled.get("posts/p/likes") == 3

    def test_the_owner_is_bound_by_nothing(self, ruled: Namespace) -> None:
        ruled.put("posts/p", "nonsense")
        assert ruled.request("PATCH", "", {"elsewhere": 1}, headers=OWNER).status_code == 200


class TestReads:
    def test_rules_see_the_query(self, ruled: Namespace) -> None:
        assert not allowed(ruled, "GET", "posts")
        assert ruled.request("GET", "posts", orderBy='"at"', limitToFirst="10").status_code == 200
        assert ruled.request("GET", "posts", orderBy='"at"', limitToFirst="11").status_code == 401
        with ruled.connect() as wire:
            assert wire.request("q", {"p": "/posts", "q": {"i": "at", "l": 10, "vf": "l"}, "t": 1})["s"] == "ok"
            assert wire.request("q", {"p": "/posts", "q": {"i": "at", "l": 11, "vf": "l"}, "t": 2})["s"] != "ok"

    def test_a_denied_listen_is_not_registered(self, ruled: Namespace) -> None:
        with ruled.connect() as wire:
            assert wire.request("q", {"p": "/", "h": ""})["s"] == "permission_denied"
            ruled.put("public/x", 1)
            wire.ok("s", {})
            assert wire.take_pushes() == []
