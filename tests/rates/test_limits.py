"""Rate limits through the HTTP edge: who is refused, for how long, and what a refusal and an answer tell."""

import threading
from typing import Any

import flask
import pytest
from firebase_functions.https_fn import AuthData, CallableRequest, FunctionsErrorCode, HttpsError
from werkzeug.test import TestResponse

from app.api import auth, callables
from app.api.context import Client
from app.api.rates.limits import Standing, TooManyRequests, subjects_of
from app.kit.clock import seconds
from app.kit.environment import BadSetting, Environment
from app.kit.errors import Unavailable
from app.kit.stores.realtime import Json
from app.rates import limiter
from app.rates.counting import window_of
from app.rates.limiter import SharedLimiter
from app.rates.settings import DEFAULT, RatesSettings
from support.clock import ManualClock
from support.memory import MemoryRealtime
from support.world import Caller, MemoryPorts, World

BALANCE = "/v1/credits/balance"
FEW = {"RATE_LIMITS": "anonymous=4 refused=3 reads=5 writes=2 messages=1"}


def few() -> World:
    return World(variables=FEW)


def problem_of(answer: TestResponse) -> dict[str, Any]:
    problem: dict[str, Any] = answer.get_json()
    return problem


class TestAUser:
    def test_is_refused_behind_the_limit_until_the_minute_ends(self) -> None:
        world = few()
        alice = world.client()
        answers = [alice.get(BALANCE) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        problem, headers = problem_of(answers[5]), answers[5].headers
        assert (problem["code"], problem["limit"], problem["requests_per_minute"]) == ("rate_limited", "reads", 5)
        assert headers["RateLimit-Policy"] == '"reads";q=5;w=60'
        assert headers["RateLimit"] == f'"reads";r=0;t={headers["Retry-After"]}'
        world.clock.advance(seconds=int(headers["Retry-After"]))
        assert alice.get(BALANCE).status_code == 200

    def test_is_told_how_many_are_left(self) -> None:
        alice = few().client()
        assert [alice.get(BALANCE).headers["RateLimit"].split(";")[1] for _ in range(3)] == ["r=4", "r=3", "r=2"]

    def test_reads_writes_and_pays_apart(self) -> None:
        alice = few().client()
        new = {"model": "small"}
        statuses = [alice.post("/v1/chat/conversations", json=new).status_code for _ in range(3)]
        assert statuses == [201, 201, 429]
        assert alice.get(BALANCE).status_code == 200
        paid = [alice.post("/v1/chat/conversations/c/messages", json={"content": ""}) for _ in range(2)]
        assert [answer.status_code for answer in paid] == [422, 429]
        assert problem_of(paid[1])["limit"] == "messages"

    def test_does_not_use_up_what_another_has(self) -> None:
        world = few()
        for _ in range(6):
            world.client("alice").get(BALANCE)
        assert world.client("bob").get(BALANCE).status_code == 200

    def test_is_counted_by_all_instances(self) -> None:
        world = few()
        token = world.tokens.issue(world.user())
        clients = [Caller(world.instance().edge, token) for _ in range(3)]
        statuses = [clients[number % 3].get(BALANCE).status_code for number in range(9)]
        assert statuses.count(200) == 5


class TestACallable:
    def call(self, limits: SharedLimiter, handler: callables.CallableHandler) -> object:
        claims = {"uid": "alice", "email": "a@example.com", "email_verified": True}
        with flask.Flask("test").test_request_context():
            raw = flask.request._get_current_object()  # type: ignore[attr-defined]  # the request behind the proxy
        request: CallableRequest[object] = CallableRequest({}, raw, auth=AuthData(uid="alice", token=claims))
        return callables.handle(request, lambda: handler, lambda: "req_new", rates=lambda: limits)

    def test_that_pays_counts_with_the_messages(self) -> None:
        limits = SharedLimiter(MemoryRealtime(), ManualClock(), {"messages": 1, "reads": 2})
        pays, reads = auth.spends(lambda call: {"who": call.who.uid}), lambda call: {"who": call.who.uid}
        assert self.call(limits, pays) == {"who": "alice"}
        with pytest.raises(HttpsError) as caught:
            self.call(limits, pays)
        assert caught.value.code is FunctionsErrorCode.RESOURCE_EXHAUSTED
        assert self.call(limits, reads) == {"who": "alice"}
        with pytest.raises(TooManyRequests):
            limits.hit("messages", "alice")

    def test_of_the_system_is_limited_by_its_setting(self) -> None:
        standing = few().system.rates.limiter.hit("reads", "alice")
        assert standing is not None
        assert standing[:3] == ("reads", 5, 4)


class TestWhoDidNotSignIn:
    def test_is_counted_by_address(self) -> None:
        nobody = few().client(None)
        openapi = "/v1/docs/openapi.json"
        here = [nobody.get(openapi, environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code for _ in range(5)]
        assert here == [200] * 4 + [429]
        assert nobody.get(openapi, environ_base={"REMOTE_ADDR": "192.0.2.2"}).status_code == 200

    def test_has_no_more_keys_looked_up_after_too_many_wrong_ones(self) -> None:
        world = few()
        stranger, alice = world.client(None), world.client()
        secret = alice.post("/v1/keys", json={"name": "mine", "scopes": ["models"]}).get_json()["key"]

        def send(key: str, address: str = "192.0.2.1") -> int:
            headers, origin = {"Authorization": f"Bearer {key}"}, {"REMOTE_ADDR": address}
            return stranger.get("/v1/models", headers=headers, environ_base=origin).status_code

        assert [send(f"sk-{number}{'a' * 42}") for number in range(5)] == [401] * 3 + [429] * 2
        assert (send(secret), send(secret, "192.0.2.2")) == (429, 200)
        assert alice.get(BALANCE, environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 200
        world.clock.advance(minutes=1)
        assert send(secret) == 200

    @pytest.mark.parametrize(
        ("first", "second", "same"),
        [
            ("192.0.2.1", "192.0.2.2", False),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
            ("::ffff:192.0.2.1", "::ffff:198.51.100.7", False),
            ("::ffff:192.0.2.1", "192.0.2.1", True),
            ("fe80::1%eth0", "fe80::2%eth1", True),
            ("what", "ever", True),
        ],
    )
    def test_has_all_of_a_customers_network(self, first: str, second: str, same: bool) -> None:
        assert ([*subjects_of(Client(first))] == [*subjects_of(Client(second))]) is same

    def test_behind_a_relay_counts_for_that_as_well(self) -> None:
        told = [*subjects_of(Client("192.0.2.1", relay="198.51.100.7"))]
        made_up = [*subjects_of(Client("192.0.2.99", relay="198.51.100.7"))]
        assert [times for _, times in told] == [1, 50]
        assert told[1] == made_up[1]
        assert told[0] != made_up[0]

    def test_uses_up_nothing_of_whom_it_pretends_to_be(self) -> None:
        """Who calls the function's own address can write any address into the header, but is seen as another relay."""
        honest = {subject for subject, _ in subjects_of(Client("192.0.2.1", relay="198.51.100.7"))}
        assert honest.isdisjoint(subject for subject, _ in subjects_of(Client("192.0.2.1", relay="203.0.113.9")))

    def test_from_nowhere_is_not_counted(self) -> None:
        assert [*subjects_of(Client())] == []


class Deaf(MemoryRealtime):
    """A database that does not answer while it is `away`."""

    def __init__(self) -> None:
        super().__init__()
        self.away, self.calls = False, 0

    def transact(self, path: str, decide: Any) -> Json:
        self.calls += 1
        if self.away:
            raise Unavailable("no answer")
        return super().transact(path, decide)


class TestAStoreThatFails:
    def test_leaves_each_instance_its_own_count(self) -> None:
        realtime, clock = Deaf(), ManualClock()
        realtime.away = True
        limits = SharedLimiter(realtime, clock, {"reads": 10})
        standings = [limits.hit("reads", "alice") for _ in range(10)]
        assert [standing.left for standing in standings if standing] == [*range(9, -1, -1)]
        with pytest.raises(TooManyRequests):
            limits.hit("reads", "alice")
        assert realtime.calls == 1

    def test_is_asked_again_after_ten_seconds_and_told_what_passed(self) -> None:
        realtime, clock = Deaf(), ManualClock()
        limits = SharedLimiter(realtime, clock, {"reads": 10})
        realtime.away = True
        for _ in range(3):
            limits.hit("reads", "alice")
        realtime.away = False
        clock.advance(seconds=10)
        limits.hit("reads", "alice")
        window, _ = window_of("alice", clock.now_us())
        assert realtime.get(f"rates/m{window}/reads/alice") == 5

    def test_that_hangs_holds_up_a_few(self) -> None:
        realtime, clock = Deaf(), ManualClock()
        limits = SharedLimiter(realtime, clock, {"reads": 40})
        release, waiting = threading.Event(), threading.Semaphore(0)

        def hang(path: str, decide: Any) -> Json:
            waiting.release()
            assert release.wait(10)
            raise Unavailable("no answer")

        realtime.transact = hang  # type: ignore[method-assign]  # a database that hangs
        for number in range(limiter.MOST_ASKING + 1):
            limits.hit("reads", f"u{number}")
            limits.hit("reads", f"u{number}")
        asking = [threading.Thread(target=limits.hit, args=("reads", f"u{n}")) for n in range(limiter.MOST_ASKING)]
        for one in asking:
            one.start()
            assert waiting.acquire(timeout=10)
        last = limits.hit("reads", f"u{limiter.MOST_ASKING}")
        assert last is not None
        assert last.left == 37
        release.set()
        for one in asking:
            one.join(10)

    def test_does_not_hold_up_the_others_of_a_subject(self) -> None:
        realtime, clock = Deaf(), ManualClock()
        limits = SharedLimiter(realtime, clock, {"reads": 40})
        inside, release = threading.Event(), threading.Event()
        slow = realtime.transact

        def hang(path: str, decide: Any) -> Json:
            inside.set()
            assert release.wait(10)
            return slow(path, decide)

        realtime.transact = hang  # type: ignore[method-assign]  # a database that hangs once
        for _ in range(2):
            limits.hit("reads", "alice")
        asking = threading.Thread(target=limits.hit, args=("reads", "alice"))
        asking.start()
        assert inside.wait(10)
        assert limits.hit("reads", "alice") == Standing("reads", 40, 36, 60 - _into_the_minute(clock))
        release.set()
        asking.join(10)
        assert not asking.is_alive()


def _into_the_minute(clock: ManualClock) -> int:
    _, ends_us = window_of("alice", clock.now_us())
    return 60 - -(-(ends_us - clock.now_us()) // seconds(1))


class TestTheSweep:
    def test_removes_what_was_counted_in_past_minutes_alone(self) -> None:
        ports = MemoryPorts()
        world = World(ports=ports, variables={"RATE_LIMITS": "reads=5"})
        world.client().get(BALANCE)
        assert world.realtime.get("rates")
        world.system.orchestration.sweep()
        assert world.realtime.get("rates")
        world.clock.advance(minutes=12)
        world.system.orchestration.sweep()
        assert world.realtime.get("rates") is None


def test_an_instance_that_meets_too_many_forgets_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "MOST_SUBJECTS", 3)
    limits = SharedLimiter(MemoryRealtime(), ManualClock(), {"reads": 100})
    for number in range(3):
        limits.hit("reads", f"u{number}")
        limits.hit("reads", f"u{number}")
    limits.hit("reads", "u3")
    first = limits.hit("reads", "u0")
    assert first is not None
    assert first.left == 99


class TestTheSetting:
    def test_keeps_the_defaults_of_what_it_does_not_name(self) -> None:
        limits = dict(RatesSettings.read(Environment({"RATE_LIMITS": "reads=7, messages=0"})).limits)
        assert (limits["reads"], limits["messages"], limits["writes"]) == (7, 0, 240)
        assert RatesSettings.read(Environment({})) == RatesSettings.read(Environment({"RATE_LIMITS": DEFAULT}))

    def test_can_be_off(self) -> None:
        world = World(variables={"RATE_LIMITS": "off"})
        answer = world.client().get(BALANCE)
        assert "RateLimit" not in answer.headers
        assert not any(chore.name == "rates" for chore in world.system.rates.chores())

    @pytest.mark.parametrize(
        "text", ["reads", "reads=", "reads=-1", "reads=1e3", "likes=3", "reads=1000001", "reads=\u0663"]
    )
    def test_refuses_what_makes_no_sense(self, text: str) -> None:
        with pytest.raises(BadSetting, match="RATE_LIMITS"):
            RatesSettings.read(Environment({"RATE_LIMITS": text}))
