"""database.rules.json: a client reads its own subtree, writes its own presence, and nothing else."""

import pytest

from support.clients import Rest, Sdk, Step, rest_as
from support.suite import RunningSuite, User

DENIED = "permission-denied"
OWN = ["balance", "streams/msg_1", "streams/msg_1/chunks", "tasks", "payments/pay_1", "notifications", "unread", ""]
ELSEWHERE = ["", "users", "orchestration", "orchestration/queue", "system", "anything"]
HERE = {"state": "online", "at": "<now>"}


def paths(uid: str) -> list[str]:
    return [f"users/{uid}/{path}".rstrip("/") for path in OWN]


class TestReading:
    def test_the_owner_reads_all_of_the_own_subtree(self, suite: RunningSuite, alice: User) -> None:
        seen = Sdk(suite, alice).take([("get", path) for path in paths(alice.uid)])
        assert [outcome.refused for outcome in seen] == [None] * len(OWN)
        assert all(outcome.value is not None for outcome in seen)
        for path in paths(alice.uid):
            assert rest_as(suite, alice).database("GET", path).json() is not None

    def test_a_second_user_reads_none_of_it(self, suite: RunningSuite, alice: User, mallory: User) -> None:
        seen = Sdk(suite, mallory).take([("get", path) for path in paths(alice.uid)])
        assert [outcome.refused for outcome in seen] == [DENIED] * len(OWN)
        for path in paths(alice.uid):
            assert rest_as(suite, mallory).database("GET", path).status_code == 401

    def test_nobody_reads_it_without_signing_in(self, suite: RunningSuite, alice: User) -> None:
        seen = Sdk(suite, None).take([("get", path) for path in paths(alice.uid)])
        assert [outcome.refused for outcome in seen] == [DENIED] * len(OWN)
        for path in paths(alice.uid):
            assert rest_as(suite, None).database("GET", path).status_code == 401

    def test_no_user_reads_what_is_above_or_beside_it(self, suite: RunningSuite, alice: User) -> None:
        seen = Sdk(suite, alice).take([("get", path) for path in ELSEWHERE if path])
        assert {outcome.refused for outcome in seen} == {DENIED}
        for path in ELSEWHERE:
            assert rest_as(suite, alice).database("GET", path).status_code == 401

    def test_everybody_reads_the_public_status_and_nobody_writes_it(self, suite: RunningSuite, alice: User) -> None:
        read, written = Sdk(suite, None).take([("get", "system/status"), ("set", "system/status/status", "down")])
        assert (read.value, written.refused) == ({"status": "ok"}, DENIED)
        assert rest_as(suite, alice).database("PUT", "system/status", {}).status_code == 401


class TestWriting:
    def test_the_owner_writes_nothing_but_presence(self, suite: RunningSuite, alice: User, owner: Rest) -> None:
        before = owner.database("GET", f"users/{alice.uid}").json()
        me = f"users/{alice.uid}"
        steps: list[Step] = [
            ("set", f"{me}/balance/balance", "9999"),
            ("update", f"{me}/balance", {"balance": "9999"}),
            ("transaction", f"{me}/balance", {"balance": "9999"}),
            ("remove", f"{me}/balance"),
            ("remove", me),
            ("push", f"{me}/notifications", {"title": "Pay here"}),
            ("set", f"{me}/streams/msg_1/chunks/0000", "other"),
            ("set", f"{me}/unread", 0),
            ("set", f"{me}/role", "admin"),
            ("update", me, {"presence": {"state": "online", "at": 1}, "unread": 0}),
            ("update", "/", {f"{me}/presence/state": "online", f"{me}/balance/balance": "1"}),
            ("onDisconnect", f"{me}/balance", None),
            ("set", "users/new", {"presence": {"state": "online", "at": 1}}),
            ("set", "orchestration/queue/test/mine", {"state": "ready"}),
            ("set", "anything", 1),
        ]
        assert [outcome.refused for outcome in Sdk(suite, alice).take(steps)] == [DENIED] * len(steps)
        for path in (*paths(alice.uid), "orchestration/x", "anything"):
            for method in ("PUT", "PATCH", "POST", "DELETE"):
                assert rest_as(suite, alice).database(method, path, {"x": 1}).status_code == 401, (method, path)
        assert owner.database("GET", f"users/{alice.uid}").json() == before

    def test_a_second_user_writes_no_presence_but_the_own(
        self, suite: RunningSuite, alice: User, mallory: User, owner: Rest
    ) -> None:
        hers = f"users/{alice.uid}/presence"
        steps: list[Step] = [
            ("set", hers, HERE),
            ("remove", hers),
            ("onDisconnect", hers, HERE),
            ("set", f"users/{mallory.uid}/presence", HERE),
        ]
        seen = Sdk(suite, mallory).take(steps)
        assert [outcome.refused for outcome in seen] == [DENIED, DENIED, DENIED, None]
        assert rest_as(suite, mallory).database("PUT", hers, {"state": "online", "at": 1}).status_code == 401
        assert rest_as(suite, None).database("PUT", hers, {"state": "online", "at": 1}).status_code == 401
        assert owner.database("GET", hers).json() is None


class TestPresence:
    def test_takes_its_shape(self, suite: RunningSuite, mallory: User, owner: Rest) -> None:
        mine = f"users/{mallory.uid}/presence"
        steps: list[Step] = [
            ("set", mine, HERE),
            ("set", mine, {"state": "away", "at": "<now>", "device": "phone"}),
            ("update", mine, {"state": "online", "at": "<now>"}),
            ("onDisconnect", mine, {"state": "offline", "at": "<now>"}),
        ]
        assert [outcome.refused for outcome in Sdk(suite, mallory).take(steps)] == [None] * 4

    @pytest.mark.parametrize("method", ["sdk", "rest"])
    def test_and_no_other(self, suite: RunningSuite, mallory: User, owner: Rest, method: str) -> None:
        mine = f"users/{mallory.uid}/presence"
        wrong: list[object] = [
            "online",
            True,
            {"state": "online"},
            {"at": 1},
            {"state": "busy", "at": 1},
            {"state": 1, "at": 1},
            {"state": "online", "at": "1"},
            {"state": "online", "at": -1},
            {"state": "online", "at": 99_999_999_999_999},
            {"state": "online", "at": 1, "device": ""},
            {"state": "online", "at": 1, "device": "x" * 65},
            {"state": "online", "at": 1, "device": {"name": "phone"}},
            {"state": "online", "at": 1, "balance": "9999"},
            {"state": {"online": True}, "at": 1},
        ]
        if method == "sdk":
            seen = Sdk(suite, mallory).take([("set", mine, value) for value in wrong])
            assert [outcome.refused for outcome in seen] == [DENIED] * len(wrong)
        else:
            for value in wrong:
                assert rest_as(suite, mallory).database("PUT", mine, value).status_code == 401, value
        assert owner.database("GET", mine).json() is None

    def test_may_be_taken_back(self, suite: RunningSuite, mallory: User, owner: Rest) -> None:
        mine = f"users/{mallory.uid}/presence"
        seen = Sdk(suite, mallory).take([("set", mine, HERE), ("remove", mine)])
        assert [outcome.refused for outcome in seen] == [None, None]
        assert owner.database("GET", mine).json() is None
