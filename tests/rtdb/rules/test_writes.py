"""Writes: .write grants on the way down, .validate demands everywhere."""

from rtdb.rules.tables import Line, Requests, check_request, request_cases

TABLES = [
    Requests(
        "Need one true .write on the way from the root to the written location; nothing below it counts",
        """{"a": {".write": true, "b": {".write": false}}, "x": {"y": {".write": true}},
            "users": {"$uid": {".write": "$uid == auth.uid"}}}""",
        """
        nobody writes {"/a": 1} -> allowed: .write at /a was true
        nobody writes {"/a/b": 1} -> allowed
        nobody writes {"/a/b/c/d": 1} -> allowed
        nobody writes {"/x": {"y": 1}} -> denied: no .write rule on the way to /x
        nobody writes {"/x/y": 1} -> allowed
        nobody writes {"/x/y/z": 1} -> allowed
        nobody writes {"/": {"a": 1}} -> denied: no .write rule on the way to /
        alice writes {"/users/alice": {"name": "A"}} -> allowed: .write at /users/$uid was true
        alice writes {"/users/alice/name": "A"} -> allowed
        alice writes {"/users/bob/name": "A"} -> denied: .write at /users/$uid was false
        alice writes {"/users": {"alice": {"name": "A"}}} -> denied
        nobody writes {"/users/alice": 1} -> denied
        nobody writes {"/elsewhere": 1} -> denied
        """,
    ),
    Requests(
        "newData is the tree after the write, data and root the one before, all at the rule's node",
        """{"once": {".write": "!data.exists()"}, "keep": {".write": "newData.exists()"},
            "log": {"$id": {".write": "!data.exists() && newData.exists()"}},
            "owned": {".write": "newData.child('owner').val() == auth.uid
                && (!data.exists() || data.child('owner').val() == auth.uid)"},
            "count": {".write": "newData.val() == data.val() + 1"},
            "stamp": {".write": "newData.val() == now"},
            "other": {".write": true},
            "linked": {".write": "!root.child('other').exists() && newData.parent().child('other').exists()"}}""",
        """
        nobody writes {"/once": 1} -> allowed
        nobody writes {"/keep": null} -> denied
        nobody writes {"/keep": 2} -> allowed
        nobody writes {"/log/first": "x"} -> denied
        nobody writes {"/log/second": "x"} -> allowed
        nobody writes {"/log/first": null} -> denied
        alice writes {"/owned": {"owner": "alice"}} -> allowed
        bob writes {"/owned": {"owner": "bob"}} -> denied
        alice writes {"/owned/text": "t"} -> allowed
        bob writes {"/owned/text": "t"} -> denied
        alice writes {"/owned/owner": "bob"} -> denied
        alice writes {"/owned": null} -> denied
        nobody writes {"/count": 8} -> allowed
        nobody writes {"/count": 9} -> denied
        nobody writes {"/count": "8"} -> denied
        nobody writes {"/stamp": 1700000000000} -> allowed
        nobody writes {"/stamp": 1700000000001} -> denied
        nobody writes {"/linked": 1} -> denied
        nobody writes {"/linked": 1, "/other": 1} -> allowed
        """,
        {"keep": 1, "log": {"first": "y"}, "owned": {"owner": "alice", "text": "s"}, "count": 7},
    ),
    Requests(
        "An error while evaluating makes that rule false, not the request",
        """{".write": "auth.token.level > 3", "a": {".write": "auth != null"}, "b": {".write": true,
            ".validate": "newData.val().length > 2"}}""",
        """
        alice writes {"/a": 1} -> allowed: .write at /a was true
        nobody writes {"/a": 1} -> denied: .write at / failed: null is not a number; .write at /a was false
        nobody writes {"/b": "abc"} -> allowed
        nobody writes {"/b": "ab"} -> denied: .validate at /b was false
        nobody writes {"/b": 5} -> denied: .validate at /b failed: null is not a number
        """,
    ),
    Requests(
        ".validate never grants",
        """{"a": {".validate": true}, "b": {".write": false, ".validate": true}}""",
        """
        alice writes {"/a": 1} -> denied: no .write rule
        alice writes {"/b": 1} -> denied: .write at /b was false
        """,
    ),
    Requests(
        "Every .validate must be true at every node on the path and in the written subtree",
        """{".write": true, "users": {".validate": "newData.hasChildren()", "$uid": {
            ".validate": "newData.hasChildren(['name'])", "name": {".validate": "newData.isString()"},
            "age": {".validate": "newData.isNumber() && newData.val() >= 0"}, "$other": {".validate": false},
            "tags": {"$tag": {".validate": "newData.isBoolean() && $tag.length < 5"}}}}}""",
        """
        nobody writes {"/users/u": {"name": "N"}} -> allowed
        nobody writes {"/users/u": {"name": "N", "age": 3, "tags": {"a": true}}} -> allowed
        nobody writes {"/users/u": {"age": 3}} -> denied: .validate at /users/$uid was false
        nobody writes {"/users/u": {"name": 5}} -> denied: .validate at /users/$uid/name was false
        nobody writes {"/users/u": {"name": "N", "age": -1}} -> denied: .validate at /users/$uid/age was false
        nobody writes {"/users/u": {"name": "N", "more": 1}} -> denied: .validate at /users/$uid/$other was false
        nobody writes {"/users/u": {"name": "N", "tags": {"a": 1}}} -> denied: .validate at /users/$uid/tags/$tag
        nobody writes {"/users/u": {"name": "N", "tags": {"toolong": true}}} -> denied
        nobody writes {"/users/u/name": "N"} -> allowed
        nobody writes {"/users/u/age": 3} -> denied: .validate at /users/$uid was false
        nobody writes {"/users/old/age": 3} -> allowed
        nobody writes {"/users/old/age": "3"} -> denied
        nobody writes {"/users/old/tags/a": true} -> allowed
        nobody writes {"/users/old/tags/a/b": true} -> denied: .validate at /users/$uid/tags/$tag was false
        nobody writes {"/users": {"u": {"name": "N"}, "v": {"name": "M"}}} -> allowed
        nobody writes {"/users": {"u": {"name": "N"}, "v": {"name": 1}}} -> denied
        nobody writes {"/users": "text"} -> denied: .validate at /users was false
        nobody writes {"/": {"users": {"u": {"name": 1}}}} -> denied
        nobody writes {"/elsewhere": {"name": 1}} -> allowed
        """,
        {"users": {"old": {"name": "O", "age": 1}}},
    ),
    Requests(
        "Only where the post-write value is non-null: a delete skips what it removes, not ancestors that stay",
        """{".write": true, "users": {"$uid": {".validate": "newData.hasChildren(['name', 'mail'])",
            "name": {".validate": false}, "mail": {".validate": "newData.isString()"}, "note": {".validate": true}}},
            "never": {".validate": false, "child": {}}}""",
        """
        nobody writes {"/users/u": null} -> allowed
        nobody writes {"/users/u/note": null} -> allowed
        nobody writes {"/users/u/mail": null} -> denied: .validate at /users/$uid was false
        nobody writes {"/users/u/name": null} -> denied: .validate at /users/$uid was false
        nobody writes {"/users": null} -> allowed
        nobody writes {"/": null} -> allowed
        nobody writes {"/users/u/name": null, "/users/u/mail": null, "/users/u/note": null} -> allowed
        nobody writes {"/users/u/name": null, "/users/u/mail": null} -> denied
        nobody writes {"/users/u/name": "new"} -> denied: .validate at /users/$uid/name was false
        nobody writes {"/never": 1} -> denied
        nobody writes {"/never/child": 1} -> denied: .validate at /never was false
        nobody writes {"/never": null} -> allowed
        nobody writes {"/never/child": null} -> allowed
        """,
        {"users": {"u": {"name": "N", "mail": "M", "note": "x"}}},
    ),
    Requests(
        "Ancestors are validated against the merged post-write value",
        """{".write": true, "order": {".validate": "newData.child('total').val()
                == newData.child('a').val() + newData.child('b').val()"},
            "deep": {".validate": "newData.hasChildren(['x'])", "sub": {"$k": {}}}}""",
        """
        nobody writes {"/order/a": 2} -> denied: .validate at /order was false
        nobody writes {"/order": {"a": 2, "b": 2, "total": 4}} -> allowed
        nobody writes {"/order/a": 2, "/order/total": 4} -> allowed
        nobody writes {"/order/a": 1} -> allowed
        nobody writes {"/deep/sub/k": 1} -> denied: .validate at /deep was false
        nobody writes {"/deep/sub/k": 1, "/deep/x": 1} -> allowed
        """,
        {"order": {"a": 1, "b": 2, "total": 3}},
    ),
    Requests(
        "A multi-path update: every path for itself with the same newData, all must pass",
        """{"a": {".write": true, ".validate": "newData.val() != 'bad'"}, "b": {".write": "auth != null"},
            "c": {".write": "newData.parent().child('a').val() == 'ok'"}, "shut": {".write": false},
            "pair": {"$k": {".write": true, ".validate": "newData.parent().hasChildren(['x', 'y'])"}}}""",
        """
        alice writes {"/a": 1, "/b": 2} -> allowed
        nobody writes {"/a": 1, "/b": 2} -> denied: .write at /b was false
        alice writes {"/a": 1, "/shut": 2} -> denied: .write at /shut was false
        alice writes {"/shut": 1, "/a": 2} -> denied: .write at /shut was false
        alice writes {"/a": "bad", "/b": 2} -> denied: .validate at /a was false
        alice writes {"/b": 2, "/a": "bad"} -> denied: .validate at /a was false
        nobody writes {"/a": "ok", "/c": 1} -> allowed
        nobody writes {"/c": 1} -> denied
        nobody writes {"/a": "no", "/c": 1} -> denied
        nobody writes {"/pair/x": 1} -> denied: .validate at /pair/$k was false
        nobody writes {"/pair/x": 1, "/pair/y": 2} -> allowed
        nobody writes {} -> allowed
        """,
    ),
    Requests(
        "A literal child replaces the wildcard beside it, also for .validate",
        """{".write": true, "m": {"$k": {".validate": "newData.isNumber()"},
            "name": {".validate": "newData.isString()"}, "free": {}}}""",
        """
        nobody writes {"/m": {"x": 1, "name": "n", "free": true}} -> allowed
        nobody writes {"/m": {"x": "1"}} -> denied: .validate at /m/$k was false
        nobody writes {"/m": {"name": 1}} -> denied: .validate at /m/name was false
        nobody writes {"/m/free/deep": {"er": "x"}} -> allowed
        nobody writes {"/m/y": 2} -> allowed
        """,
    ),
    Requests(
        "Priorities are part of the new data",
        """{".write": true, "ranked": {"$k": {".validate": "newData.getPriority() > 0"}}}""",
        """
        nobody writes {"/ranked/a": {".value": "x", ".priority": 1}} -> allowed
        nobody writes {"/ranked/a": {".value": "x", ".priority": 0}} -> denied
        nobody writes {"/ranked/a": "x"} -> denied: failed: null is not a number
        nobody writes {"/ranked/a": {".priority": 2, "b": 1}} -> allowed
        """,
    ),
]


@request_cases(TABLES)
def test_write(case: Line, table: Requests) -> None:
    check_request(case, table)
