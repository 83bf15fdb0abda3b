"""Reads: who is let in by which rule."""

import pytest

from rtdb.rules.tables import Line, Requests, check_request, decide, request_cases
from rtdb.rules.world import Given, read
from rtdb_emulator.rules import Json, QuerySpec, Ruleset

PROFILES: Json = {"users": {"alice": {"name": "A", "public": True}, "bob": {"name": "B"}}, "open": True}

TABLES = [
    Requests(
        "Walk from the root to the location; allowed as soon as one .read on the way is true",
        '{"a": {".read": true, "b": {".read": false, "c": {}}}, "x": {"y": {".read": true}}}',
        """
        nobody reads /a -> allowed: .read at /a was true
        nobody reads /a/b -> allowed: .read at /a was true
        nobody reads /a/b/c -> allowed
        nobody reads /a/b/c/d/e/f -> allowed
        nobody reads / -> denied: no .read rule on the way to /
        nobody reads /x -> denied: no .read rule on the way to /x
        nobody reads /x/y -> allowed
        nobody reads /x/y/z -> allowed
        nobody reads /x/z -> denied
        nobody reads /other -> denied
        """,
    ),
    Requests(
        "A deeper true cannot help a shallower read; rules below the location are irrelevant",
        '{".read": false, "users": {"$uid": {".read": "$uid == auth.uid", "secret": {".read": false}}}}',
        """
        alice reads / -> denied: .read at / was false
        alice reads /users -> denied: .read at / was false
        alice reads /users/alice -> allowed: .read at /users/$uid was true
        alice reads /users/alice/secret -> allowed
        alice reads /users/alice/secret/deep -> allowed
        alice reads /users/bob -> denied: .read at /users/$uid was false
        alice reads /users/bob/secret -> denied: .read at /users/$uid/secret was false
        bob reads /users/bob -> allowed
        nobody reads /users/alice -> denied: .read at /users/$uid was false
        """,
        PROFILES,
    ),
    Requests(
        "data is the snapshot at the rule's node, root the whole database",
        """{"users": {"$uid": {".read": "data.child('public').val() == true", "name": {".read": "data.val() == 'B'"}}},
            "gate": {".read": "root.child('open').val() == true"},
            "shut": {".read": "root.child('closed').val() == true"}}""",
        """
        nobody reads /users/alice -> allowed
        nobody reads /users/alice/name -> allowed
        nobody reads /users/bob -> denied
        nobody reads /users/bob/name -> allowed: .read at /users/$uid/name was true
        nobody reads /users/carol -> denied
        nobody reads /gate -> allowed
        nobody reads /shut -> denied
        """,
        PROFILES,
    ),
    Requests(
        "An error while evaluating makes that rule false, not the request",
        """{".read": "auth.token.level > 3", "a": {".read": "auth.uid == 'alice'"},
            "b": {".read": "root.parent().exists() || true"}}""",
        """
        alice reads /a -> allowed: .read at /a was true
        bob reads /a -> denied: .read at / failed: null is not a number; .read at /a was false
        alice reads /b -> denied: .read at /b failed: the root has no parent()
        """,
    ),
    Requests(
        "Matching a segment: literal child first, else the $ child, else no rules below",
        """{"$any": {".read": "$any == 'x'", "deep": {".read": true}}, "fixed": {".read": "auth != null"},
            "fixed2": {"inner": {".read": true}}}""",
        """
        nobody reads /x -> allowed: .read at /$any was true
        nobody reads /y -> denied: .read at /$any was false
        nobody reads /y/deep -> allowed
        nobody reads /fixed -> denied: .read at /fixed was false
        alice reads /fixed -> allowed
        nobody reads /fixed/deep -> denied
        nobody reads /fixed2/inner -> allowed
        nobody reads /fixed2/deep -> denied: no .read rule
        nobody reads /y/other -> denied
        """,
    ),
    Requests(
        "The $ child binds the variable to the key, for all rules below it",
        """{"rooms": {"$room": {"members": {"$uid": {".read": "$uid == auth.uid && $room != 'closed'"}},
            "log": {".read": "root.child('rooms/' + $room + '/members/' + auth.uid).exists()"}}}}""",
        """
        alice reads /rooms/one/members/alice -> allowed
        alice reads /rooms/closed/members/alice -> denied
        alice reads /rooms/one/members/bob -> denied
        alice reads /rooms/one/log -> allowed
        bob reads /rooms/one/log -> denied
        nobody reads /rooms/one/log -> denied: failed: null is not a number
        """,
        {"rooms": {"one": {"members": {"alice": True}}}},
    ),
    Requests(
        "now is the time of the request in milliseconds",
        """{"past": {".read": "now > 1699999999999"}, "exact": {".read": "now == 1700000000000"},
            "future": {".read": "now > 1700000000000"}, "since": {".read": "data.val() < now"}}""",
        """
        nobody reads /past -> allowed
        nobody reads /exact -> allowed
        nobody reads /future -> denied
        nobody reads /since -> allowed
        """,
        {"since": 1_600_000_000_000},
    ),
    Requests(
        "query holds the constraints of the request",
        """{"mine": {".read": "query.orderByChild == 'owner' && query.equalTo == auth.uid && query.limitToFirst <= 10"},
            "all": {".read": "query.limitToFirst <= 5"}, "keys": {".read": "query.orderByKey"}}""",
        """
        alice reads /mine -> allowed
        bob reads /mine -> denied
        alice reads /all -> denied: .read at /all was false
        alice reads /keys -> denied
        """,
        given=Given(query=QuerySpec("owner", equal_to="alice", limit_to_first=10)),
    ),
]


@request_cases(TABLES)
def test_read(case: Line, table: Requests) -> None:
    check_request(case, table)


LISTENS = Requests(
    "",
    """{"fixed": {".read": true}, "own": {".read": "auth.uid == 'alice'"}, "data": {".read": "data.exists()"},
        "root": {".read": "root.child('open').val() == true"}, "time": {".read": "now > 0"},
        "query": {".read": "query.orderByKey"}, "lazy": {".read": "auth.uid == 'alice' || data.exists()"},
        "both": {".read": "data.exists()", "free": {".read": true}}, "none": {}}""",
    "",
    {"open": True, "data": 1},
)


@pytest.mark.parametrize(
    ("asked", "rechecked"),
    [
        ("alice reads /fixed", False),
        ("alice reads /own", False),
        ("bob reads /own", False),
        ("alice reads /data", True),
        ("alice reads /root", True),
        ("alice reads /time", True),
        ("alice reads /query", True),
        ("alice reads /lazy", False),
        ("bob reads /lazy", True),
        ("alice reads /both", True),
        ("alice reads /both/free", False),
        ("alice reads /none", False),
    ],
)
def test_a_listen_is_checked_again_only_if_data_decided(asked: str, rechecked: bool) -> None:
    assert decide(asked, LISTENS).reads_data is rechecked


def test_the_rules_of_a_new_database_allow_everything() -> None:
    assert read(Ruleset.open(), "/any/where").allowed
