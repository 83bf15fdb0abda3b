"""The REST API: reads, writes, parameters, conditional requests, errors over plain HTTP."""

import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from rtdb.harness import OWNER, TIMEOUT, Namespace
from rtdb.tokens import token
from rtdb_emulator.json_text import Json, loads

ETAG: Final = {"X-Firebase-ETag": "true"}
ROWS: Final[Json] = {"a": {"v": 3}, "b": {"v": 1}, "c": {"v": 2}, "d": {"v": "x"}, "e": {"w": 1}}


def error_of(response: Any) -> str:
    body = response.json()
    assert list(body) == ["error"]
    return str(body["error"])


class TestMethods:
    """What each method does."""

    def test_put_answers_with_the_data_resolved(self, ns: Namespace) -> None:
        response = ns.request("PUT", "a", {"b": [1, 2], "t": {".sv": {"increment": 3}}, "n": None})
        assert (response.status_code, response.json()) == (200, {"b": [1, 2], "t": 3})
        assert response.headers["Content-Type"] == "application/json; charset=utf-8"

    def test_get_of_nothing_is_null_and_200(self, ns: Namespace) -> None:
        response = ns.request("GET", "none")
        assert (response.status_code, response.text) == (200, "null")

    def test_patch_answers_with_the_given_object(self, ns: Namespace) -> None:
        ns.put("a", {"keep": 1, "gone": 2})
        response = ns.request("PATCH", "a", {"gone": None, "x/y": {"z": 1}})
        assert response.json() == {"gone": None, "x/y": {"z": 1}}
        assert ns.get("a") == {"keep": 1, "x": {"y": {"z": 1}}}

    def test_patch_with_null_deletes(self, ns: Namespace) -> None:
        ns.put("a", 1)
        assert ns.request("PATCH", "a", b"null").status_code == 200
        assert ns.get() is None

    def test_post_stores_under_a_new_name(self, ns: Namespace) -> None:
        names = [ns.request("POST", "list", number).json()["name"] for number in range(5)]
        assert names == sorted(set(names)) and {len(name) for name in names} == {20}
        assert ns.get("list") == dict(zip(names, range(5)))

    def test_delete(self, ns: Namespace) -> None:
        ns.put("a/b", 1)
        response = ns.request("DELETE", "a")
        assert (response.status_code, response.text) == (200, "null")
        assert ns.get() is None

    def test_the_method_may_come_in_a_header(self, ns: Namespace) -> None:
        ns.put("a", {"x": 1})
        assert ns.request("POST", "a", {"y": 2}, headers={"X-HTTP-Method-Override": "PATCH"}).json() == {"y": 2}
        assert ns.get("a") == {"x": 1, "y": 2}

    @pytest.mark.parametrize("name", ["x-http-method-override", "X-HTTP-Method-Override"])
    def test_the_method_may_come_as_a_parameter(self, ns: Namespace, name: str) -> None:
        """The SDK sends it so with `sendBeacon`, which takes no headers."""

        def ask(method: str, body: Json, meant: str) -> Any:
            return ns.request(method, "a", body, **{name: meant})  # type: ignore[arg-type]  # a parameter, whatever its name

        ns.put("a", {"x": 1})
        assert ask("POST", {"y": 2}, "patch").json() == {"y": 2}
        assert ask("POST", {"z": 3}, "PUT").json() == {"z": 3}
        assert ask("POST", 1, "BREW").status_code == 405
        assert ask("GET", None, "DELETE").json() == {"z": 3}, "only a POST stands for another"
        assert ns.get("a") == {"z": 3}

    def test_other_methods_are_not_allowed(self, ns: Namespace) -> None:
        assert ns.request("TRACE", "a").status_code == 405

    def test_a_priority_can_be_set_alone(self, ns: Namespace) -> None:
        ns.put("a", "x")
        assert ns.request("PUT", "a/.priority", 5).json() == 5
        assert ns.get("a", format="export") == {".value": "x", ".priority": 5}

    def test_chunked_bodies_are_accepted(self, ns: Namespace) -> None:
        def pieces() -> Iterator[bytes]:
            yield b'{"a":'
            yield b"[1,2,"
            yield b"3]}"

        url = f"{ns.emulator.url}/.json"
        response = ns.emulator.http.put(url, params={"ns": ns.name}, data=pieces(), timeout=TIMEOUT)
        assert response.status_code == 200
        assert ns.get() == {"a": [1, 2, 3]}

    def test_the_content_type_of_a_request_does_not_matter(self, ns: Namespace) -> None:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert ns.request("PUT", "a", b'"x=1&y=2"', headers=form).json() == "x=1&y=2"

    def test_browsers_of_any_origin_may_ask(self, ns: Namespace) -> None:
        response = ns.request("OPTIONS", "a", headers={"Origin": "http://x", "Access-Control-Request-Method": "PUT"})
        assert response.status_code == 200
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "PATCH" in response.headers["Access-Control-Allow-Methods"]


class TestPaths:
    """How a path is read."""

    def test_segments_are_percent_decoded(self, ns: Namespace) -> None:
        ns.request("PUT", "a%20b/%C3%A9%F0%9F%90%B5", 1)
        assert ns.get() == {"a b": {"é🐵": 1}}

    @pytest.mark.parametrize("path", ["a.b", "a%2Eb", "a%24", "a%23", "a%5B", "x%2Fy", "%00", "%C3"])
    def test_forbidden_characters(self, ns: Namespace, path: str) -> None:
        response = ns.request("GET", path)
        assert (response.status_code, error_of(response)) == (400, "Invalid path: Invalid token in path")

    def test_without_json_at_the_end_it_is_not_the_api(self, ns: Namespace) -> None:
        response = ns.emulator.http.get(f"{ns.emulator.url}/a", timeout=TIMEOUT)
        assert response.status_code == 404
        assert error_of(response) == "append .json to your request URI to use the REST API."

    def test_the_namespace_defaults(self, ns: Namespace) -> None:
        response = ns.emulator.http.put(f"{ns.emulator.url}/rest.json", data=b"1", timeout=TIMEOUT)
        assert response.status_code == 200
        assert Namespace(ns.emulator, "fake-server").get("rest") == 1


class TestBodies:
    """Bodies that are refused, and with which status."""

    @pytest.mark.parametrize(
        ("method", "body", "message"),
        [
            ("PUT", b"", "Error: No data supplied."),
            ("POST", b"  ", "Error: No data supplied."),
            ("PUT", b"{", "Invalid data; couldn't parse JSON object, array, or value."),
            ("PUT", b"NaN", "Invalid data; couldn't parse JSON object, array, or value."),
            ("PUT", b"[1,Infinity]", "Invalid data; couldn't parse JSON object, array, or value."),
            ("PUT", b"\xff", "Invalid data; couldn't parse JSON object, array, or value."),
            ("PUT", b"[" * 5000, "Invalid data; couldn't parse JSON object, array, or value."),
            (
                "PUT",
                b'{"a.b":1}',
                "Invalid data; couldn't parse key beginning at 1:2. Key value can't be empty or contain $ # [ ] / or .",
            ),
            (
                "PUT",
                b'{"a": {\n  "ok": 1,\n  "": 2}}',
                "Invalid data; couldn't parse key beginning at 3:3. Key value can't be empty or contain $ # [ ] / or .",
            ),
            (
                "PATCH",
                b"[1]",
                "Invalid data; couldn't parse JSON object. Are you sending a JSON object with valid key names?",
            ),
        ],
    )
    def test_what_is_wrong_is_said_and_nothing_changes(
        self, ns: Namespace, method: str, body: bytes, message: str
    ) -> None:
        response = ns.request(method, "a", body)
        assert (response.status_code, error_of(response)) == (400, message)
        assert ns.get() is None

    def test_errors_are_pretty(self, ns: Namespace) -> None:
        assert ns.request("PUT", "a", b"").text == '{\n  "error" : "Error: No data supplied."\n}\n'


class TestRendering:
    """The parameters that say how the answer looks."""

    def test_silent(self, ns: Namespace) -> None:
        for method, body in [("PUT", b"1"), ("GET", None), ("PATCH", b'{"x":1}'), ("POST", b"1"), ("DELETE", None)]:
            response = ns.request(method, "a", body, print="silent")
            assert (response.status_code, response.text) == (204, "")
        assert ns.request("PUT", "a", b"{", print="silent").status_code == 400

    def test_pretty(self, ns: Namespace) -> None:
        ns.put("a", {"b": 1})
        assert ns.request("GET", "a", print="pretty").text == '{\n  "b" : 1\n}\n'

    def test_export(self, ns: Namespace) -> None:
        ns.put("a", {"0": {".value": 1, ".priority": "p"}, "1": 2})
        assert ns.get("a") == [1, 2]
        assert ns.get("a", format="export") == {"0": {".value": 1, ".priority": "p"}, "1": 2}

    def test_shallow(self, ns: Namespace) -> None:
        ns.put("a", {"x": {"y": 1}, "z": 1, "0": 2})
        assert ns.get("a", shallow="true") == {"x": True, "z": True, "0": True}
        assert ns.get("a/z", shallow="true") == 1
        assert ns.get("none", shallow="true") is None

    def test_shallow_pages_without_an_order(self, ns: Namespace) -> None:
        """As firebase-tools walks a large node."""
        ns.put("a", dict.fromkeys("abcde", 1))
        assert ns.get("a", shallow="true", limitToFirst="2") == {"a": True, "b": True}
        assert ns.get("a", shallow="true", limitToFirst="2", startAfter="b", timeout="5s") == {"c": True, "d": True}

    def test_jsonp_and_download(self, ns: Namespace) -> None:
        ns.put("a", 1)
        response = ns.request("GET", "a", callback="go")
        assert response.text == "go(1);"
        assert response.headers["Content-Type"].startswith("application/javascript")
        assert ns.request("GET", "a", callback="alert(1)//").text == "1"
        response = ns.request("GET", "a", download='x".json')
        assert response.headers["Content-Disposition"] == 'attachment; filename="x_.json"'


class TestQueries:
    """The parameters that choose among children."""

    @pytest.fixture
    def rows(self, ns: Namespace) -> Namespace:
        ns.rules({".read": True, ".write": True, "rows": {".indexOn": ["v", ".value"]}})
        ns.put("rows", ROWS)
        return ns

    @pytest.mark.parametrize(
        ("params", "shown"),
        [
            ({"orderBy": '"$key"', "startAt": '"b"', "endAt": '"c"'}, "bc"),
            ({"orderBy": '"$key"', "startAfter": '"b"', "endBefore": '"e"'}, "cd"),
            ({"orderBy": '"$key"', "equalTo": '"b"'}, "b"),
            ({"orderBy": '"$key"', "limitToLast": "2"}, "de"),
            ({"orderBy": '"v"', "limitToFirst": "2"}, "be"),
            ({"orderBy": '"v"', "startAt": "2"}, "acd"),
            ({"orderBy": '"v"', "startAfter": "2"}, "ad"),
            ({"orderBy": '"v"', "startAt": '3,"b"'}, "d"),
            ({"orderBy": '"v"', "endAt": "null"}, "e"),
            ({"orderBy": '"v"', "equalTo": '"x"'}, "d"),
            ({"orderBy": '"v"', "equalTo": '3,"a"'}, "a"),
            ({"orderBy": '"$priority"', "limitToFirst": "1"}, "a"),
            ({"orderBy": '"$value"', "limitToFirst": "1"}, "a"),
        ],
        ids=repr,
    )
    def test_what_they_keep(self, rows: Namespace, params: dict[str, str], shown: str) -> None:
        kept = rows.get("rows", **params)
        assert isinstance(kept, dict) and isinstance(ROWS, dict)
        assert kept == {key: ROWS[key] for key in shown}

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"startAt": "1"}, "orderBy must be defined when other query parameters are defined"),
            ({"limitToFirst": "1"}, "orderBy must be defined when other query parameters are defined"),
            ({"orderBy": "v"}, "orderBy must be a valid JSON encoded path"),
            ({"orderBy": "5"}, "orderBy must be a valid JSON encoded path"),
            ({"orderBy": '"v"', "startAt": "[1]"}, "Constraint index field must be a JSON primitive"),
            ({"orderBy": '"v"', "startAt": "x"}, "Constraint index field must be a JSON primitive"),
            (
                {"orderBy": '"v"', "equalTo": "1", "startAt": "1"},
                "equalTo cannot be specified in addition to startAt or endAt",
            ),
            (
                {"orderBy": '"v"', "limitToFirst": "1", "limitToLast": "1"},
                "Only one of limitToFirst and limitToLast may be specified",
            ),
            ({"orderBy": '"v"', "limitToFirst": "0"}, "A limit must be a positive integer"),
            ({"orderBy": '"v"', "limitToFirst": "x"}, "A limit must be a positive integer"),
            (
                {"orderBy": '"other/x"'},
                'Index not defined, add ".indexOn": "other/x", for path "/rows", to the rules',
            ),
        ],
        ids=repr,
    )
    def test_what_is_wrong_is_said(self, rows: Namespace, params: dict[str, str], message: str) -> None:
        response = rows.request("GET", "rows", headers=OWNER, **params)
        assert (response.status_code, error_of(response)) == (400, message)

    def test_ordering_by_value_needs_its_index(self, ns: Namespace) -> None:
        response = ns.request("GET", "x", orderBy='"$value"')
        assert error_of(response) == 'Index not defined, add ".indexOn": ".value", for path "/x", to the rules'


class TestETags:
    """Conditional requests."""

    def test_they_come_when_asked_for(self, ns: Namespace) -> None:
        assert "ETag" not in ns.request("GET", "a").headers
        assert ns.request("GET", "a", headers=ETAG).headers["ETag"] == "null_etag"
        put = ns.request("PUT", "a", {"x": 1}, headers=ETAG).headers["ETag"]
        assert ns.request("GET", "a", headers=ETAG).headers["ETag"] == put != "null_etag"
        assert "ETag" in ns.request("POST", "list", 1, headers=ETAG).headers
        assert ns.request("DELETE", "a", headers=ETAG).headers["ETag"] == "null_etag"

    def test_if_none_match(self, ns: Namespace) -> None:
        tag = ns.request("PUT", "a", 1, headers=ETAG).headers["ETag"]
        for known in (tag, f'"{tag}"'):
            response = ns.request("GET", "a", headers={"If-None-Match": known})
            assert (response.status_code, response.text, response.headers["ETag"]) == (304, "", tag)
        response = ns.request("GET", "a", headers={"If-None-Match": "other"})
        assert (response.status_code, response.json(), response.headers["ETag"]) == (200, 1, tag)

    def test_if_match(self, ns: Namespace) -> None:
        first = ns.request("PUT", "a", 1, headers={"If-Match": "null_etag"})
        assert first.status_code == 200
        refused = ns.request("PUT", "a", 2, headers={"If-Match": "null_etag"})
        assert (refused.status_code, refused.json()) == (412, 1)
        assert refused.headers["ETag"] == first.headers["ETag"]
        assert ns.request("DELETE", "a", headers={"If-Match": "nonsense"}).status_code == 412
        assert ns.get("a") == 1
        assert ns.request("DELETE", "a", headers={"If-Match": first.headers["ETag"]}).status_code == 200

    def test_who_may_not_write_or_read_learns_nothing(self, ns: Namespace) -> None:
        ns.rules({"a": {".read": True}, "b": {".write": True}})
        for path in "ab":
            assert ns.request("PUT", path, 1, headers={"If-Match": "wrong"}).status_code == 401


class TestAuthentication:
    """Who asks: tokens in the header or in the address."""

    @pytest.fixture
    def guarded(self, ns: Namespace) -> Namespace:
        ns.rules({"users": {"$uid": {".read": "auth.uid == $uid", ".write": "auth.uid == $uid"}}})
        return ns

    def test_denied(self, guarded: Namespace) -> None:
        for method in ("GET", "PUT", "PATCH", "POST", "DELETE"):
            response = guarded.request(method, "a", {"x": 1})
            assert (response.status_code, error_of(response)) == (401, "Permission denied")

    def test_the_owner_in_every_way(self, guarded: Namespace) -> None:
        assert guarded.request("PUT", "a", 1, headers=OWNER).status_code == 200
        assert guarded.request("PUT", "a", 1, headers={"Authorization": "Bearer whatever"}).status_code == 200
        assert guarded.request("PUT", "a", 1, auth="owner").status_code == 200
        assert guarded.request("PUT", "a", 1, access_token="x").status_code == 200

    def test_a_user(self, guarded: Namespace) -> None:
        assert guarded.request("PUT", "users/alice", 1, auth=token("alice")).status_code == 200
        assert guarded.request("GET", "users/bob", auth=token("alice")).status_code == 401

    def test_the_owner_acting_as_somebody(self, guarded: Namespace) -> None:
        bob = '{"uid":"bob"}'
        assert guarded.request("PUT", "users/bob", 1, headers=OWNER, auth_variable_override=bob).status_code == 200
        response = guarded.request("PUT", "users/bob", 1, headers=OWNER, auth_variable_override="null")
        assert response.status_code == 401
        assert guarded.request("PUT", "users/bob", 1, auth_variable_override=bob).status_code == 401

    def test_bad_and_expired_tokens(self, guarded: Namespace) -> None:
        response = guarded.request("GET", "a", auth="nonsense")
        assert (response.status_code, error_of(response)) == (401, "Could not parse auth token.")
        past = int(time.time()) - 5
        response = guarded.request("GET", "a", auth=token("alice", iat=past - 60, exp=past))
        assert (response.status_code, error_of(response)) == (401, "Auth token is expired")

    def test_the_log_says_which_rule_denied(self, guarded: Namespace) -> None:
        guarded.request("GET", "users/carol")
        assert ".read" in guarded.emulator.logged("/users/carol", guarded.name, "denied")


class TestLargeValues:
    def test_ten_megabytes_in_and_out(self, ns: Namespace) -> None:
        rows: Json = {f"row{i}": {"text": "x" * 80, "n": i} for i in range(100_000)}
        assert ns.request("PUT", "big", rows, print="silent", writeSizeLimit="unlimited").status_code == 204
        assert loads(ns.request("GET", "big").content) == rows

    def test_a_string_that_is_too_long(self, ns: Namespace) -> None:
        response = ns.request("PUT", "a", b'"' + b"x" * (10 * 1024 * 1024 + 1) + b'"')
        assert response.status_code == 400


class TestBoundsThatDoNotFitTheIndex:
    @pytest.mark.parametrize("name", ["startAt", "startAfter", "endAt", "endBefore", "equalTo"])
    @pytest.mark.parametrize("bound", ["5", "true", '"a/b"', '"a.b"', '"#"', '"$key"', f'"{"k" * 769}"', r'"\u0007"'])
    def test_of_keys_are_refused(self, ns: Namespace, name: str, bound: str) -> None:
        ns.put("l", {"a": 1})
        response = ns.request("GET", "l", orderBy='"$key"', **{name: bound})  # type: ignore[arg-type]  # as above
        assert (response.status_code, "valid key" in error_of(response)) == (400, True)

    @pytest.mark.parametrize("order_by", ['"$priority"', '"$value"', '"v"'])
    @pytest.mark.parametrize("bound", ['1,"a/b"', '1,"a.b"', '1,"["'])
    def test_with_a_key_that_can_be_none_are_refused(self, ns: Namespace, order_by: str, bound: str) -> None:
        ns.rules({".read": True, ".write": True, "l": {".indexOn": ["v", ".value"]}})
        response = ns.request("GET", "l", orderBy=order_by, startAt=bound)
        assert (response.status_code, "valid key" in error_of(response)) == (400, True)

    @pytest.mark.parametrize(
        "spec", [{"i": ".key", "sp": 5}, {"i": ".key", "ep": "a/b"}, {"i": ".priority", "sp": 1, "sn": "a/b"}]
    )
    def test_of_a_socket_too(self, ns: Namespace, spec: dict[str, Json]) -> None:
        with ns.connect() as wire:
            assert wire.request("q", {"p": "/l", "q": spec, "t": 1})["s"] == "invalid_query"

    @pytest.mark.parametrize("bound", ['"a"', '"5"', '"-5"', '"[MIN_NAME]"', '"[MAX_NAME]"', '"é 🐵"'])
    def test_others_are_taken(self, ns: Namespace, bound: str) -> None:
        assert ns.request("GET", "l", orderBy='"$key"', startAt=bound).status_code == 200
