"""The edge on the running suite: real tokens, both ways in, callables and triggers."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from app.api.idempotency import Idempotency, Kept, KeyedAttempt, fingerprint
from app.kit.clock import SystemClock
from app.kit.errors import KeyReused, Rejection
from app.kit.stores import firestore
from emulators.suite.places import HOST, PROJECT
from emulators.suite.seed import set_claims
from support.clients import OWNER, Sdk, rest_as
from support.suite import RunningSuite, User, eventually
from support.world import frames


def callable_error(answer: requests.Response) -> dict[str, object]:
    error: dict[str, object] = answer.json()["error"]
    return error


def disable(suite: RunningSuite, user: User) -> None:
    root = f"http://{HOST}:{suite.ports.auth}/identitytoolkit.googleapis.com/v1/projects/{PROJECT}"
    answer = requests.post(
        f"{root}/accounts:update", json={"localId": user.uid, "disableUser": True}, headers=OWNER, timeout=60
    )
    assert answer.ok, answer.text


def call(suite: RunningSuite, name: str, data: object, user: User | None) -> requests.Response:
    headers = user.headers if user else {}
    return requests.post(suite.function(name), json={"data": data}, headers=headers, timeout=60)


class TestHealth:
    def test_sees_every_dependency(self, suite: RunningSuite) -> None:
        answer = requests.get(f"{suite.api}/v1/monitoring/health", timeout=60)
        assert answer.status_code == 200
        states = {name: state["status"] for name, state in answer.json()["dependencies"].items()}
        assert states == {"firestore": "up", "realtime_database": "up", "model_vendor": "up"}


class TestTokens:
    def test_of_the_auth_emulator_sign_a_user_in(self, suite: RunningSuite, user: User) -> None:
        answer = requests.get(f"{suite.api}/v1/credits/balance", headers=user.headers, timeout=60)
        assert (answer.status_code, answer.json()["balance"]) == (200, "1000")

    def test_that_are_none_are_refused(self, suite: RunningSuite) -> None:
        for token in ("x", "x.y.z", "eyJhbGciOiJub25lIn0.e30."):
            answer = requests.get(
                f"{suite.api}/v1/credits/balance", headers={"Authorization": f"Bearer {token}"}, timeout=60
            )
            assert answer.status_code == 401
            assert answer.json()["code"] == "token_invalid"
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    def test_carry_the_role(self, suite: RunningSuite, user: User) -> None:
        admin = suite.create_user(claims={"role": "admin"})
        metrics = f"{suite.api}/v1/monitoring/metrics"
        assert requests.get(metrics, headers=user.headers, timeout=60).status_code == 403
        told = requests.get(metrics, headers=admin.headers, timeout=60)
        assert told.status_code == 200
        assert "credits_figures_missing 0.0" in told.text.splitlines(), "every store was asked and answered"

    def test_of_an_admin_count_no_longer_than_the_role(self, suite: RunningSuite) -> None:
        """T-95: the token claims the role for an hour; admin routes look the user up."""
        admin = suite.create_user(claims={"role": "admin"})
        metrics = f"{suite.api}/v1/monitoring/metrics"
        set_claims(suite.ports, admin.uid, {})
        assert requests.get(metrics, headers=admin.headers, timeout=60).status_code == 403
        set_claims(suite.ports, admin.uid, {"role": "admin"})
        assert requests.get(metrics, headers=admin.headers, timeout=60).status_code == 200
        disable(suite, admin)
        refused = requests.get(metrics, headers=admin.headers, timeout=60)
        assert (refused.status_code, refused.json()["code"]) == (401, "token_invalid")

    def test_of_a_disabled_user_read_but_spend_nothing(self, suite: RunningSuite, user: User) -> None:
        """T-95"""
        reserve = {"amount": "1", "purpose": "test"}
        balance = f"{suite.api}/v1/credits/balance"
        assert requests.get(balance, headers=user.headers, timeout=60).status_code == 200
        disable(suite, user)
        refused = requests.post(f"{suite.api}/v1/credits/reserve", json=reserve, headers=user.headers, timeout=60)
        assert (refused.status_code, refused.json()["code"]) == (401, "token_invalid")
        assert call(suite, "claim_welcome_bonus", {}, user).status_code == 401
        assert requests.get(balance, headers=user.headers, timeout=60).json()["reserved"] == "0"


class TestBothWaysIn:
    def test_give_the_same_answer(self, suite: RunningSuite, user: User) -> None:
        headers = {**user.headers, "X-Request-Id": "trace-1"}
        direct = requests.get(f"{suite.api}/v1/credits/history", headers=headers, timeout=60)
        hosted = requests.get(f"{suite.hosting}/api/v1/credits/history", headers=headers, timeout=60)
        assert direct.status_code == hosted.status_code == 200
        assert direct.json() == hosted.json()
        assert direct.headers["X-Request-Id"] == hosted.headers["X-Request-Id"] == "trace-1"

    def test_take_a_repeated_post_once(self, suite: RunningSuite, user: User) -> None:
        headers = {**user.headers, "Idempotency-Key": "k-1"}
        body = {"amount": "10", "purpose": "test"}
        first = requests.post(f"{suite.api}/v1/credits/reserve", json=body, headers=headers, timeout=60)
        again = requests.post(f"{suite.hosting}/api/v1/credits/reserve", json=body, headers=headers, timeout=60)
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json() == again.json()
        assert again.headers["Idempotent-Replayed"] == "true"
        balance = requests.get(f"{suite.api}/v1/credits/balance", headers=user.headers, timeout=60).json()
        assert balance["reserved"] == "10"


class TestIdempotencyOnFirestore:
    def test_of_many_at_once_one_works(self, suite: RunningSuite, user: User) -> None:
        records = Idempotency(firestore.connect(PROJECT), SystemClock())
        asked = fingerprint("POST", "/v1/x", {})
        barrier = threading.Barrier(8)

        def race(_: int) -> str:
            barrier.wait(30)
            try:
                return type(records.begin(user.uid, "k", asked)).__name__
            except Rejection as refusal:
                return refusal.code

        with ThreadPoolExecutor(8) as pool:
            outcomes = sorted(pool.map(race, range(8)))
        assert outcomes == ["KeyedAttempt"] + ["idempotency_in_progress"] * 7

    def test_the_first_answer_comes_back_from_the_store(self, suite: RunningSuite, user: User) -> None:
        records = Idempotency(firestore.connect(PROJECT), SystemClock())
        begun = records.begin(user.uid, "k", fingerprint("POST", "/v1/x", {}))
        assert isinstance(begun, KeyedAttempt)
        kept = Kept(201, '{"text": "żółć 🫖"}', "application/json")
        records.finish(begun, kept)
        assert records.begin(user.uid, "k", fingerprint("POST", "/v1/x", {})) == kept
        with pytest.raises(KeyReused):
            records.begin(user.uid, "k", fingerprint("POST", "/v1/x", {"other": 1}))


class TestCallables:
    def test_answer_as_the_route_does(self, suite: RunningSuite, user: User) -> None:
        called = call(suite, "get_balance", {}, user)
        assert called.status_code == 200
        route = requests.get(f"{suite.api}/v1/credits/balance", headers=user.headers, timeout=60)
        assert called.json()["result"] == route.json()

    def test_refuse_nobody_in_particular(self, suite: RunningSuite) -> None:
        refused = call(suite, "get_balance", {}, None)
        error = callable_error(refused)
        assert (refused.status_code, error["status"]) == (401, "UNAUTHENTICATED")
        assert isinstance(error["details"], dict)
        assert error["details"]["code"] == "unauthenticated"

    def test_validate_with_the_models_of_the_routes(self, suite: RunningSuite, user: User) -> None:
        refused = call(suite, "send_message", {"content": 7, "colour": "red"}, user)
        error = callable_error(refused)
        assert (refused.status_code, error["status"]) == (400, "INVALID_ARGUMENT")
        assert isinstance(error["details"], dict)
        assert error["details"]["code"] == "validation_failed"
        assert {tuple(each["loc"]) for each in error["details"]["errors"]} >= {("content",), ("colour",)}

    def test_tell_a_missing_conversation_from_an_error(self, suite: RunningSuite, user: User) -> None:
        refused = call(suite, "send_message", {"conversation_id": "cnv_none", "content": "hi"}, user)
        assert (refused.status_code, callable_error(refused)["status"]) == (404, "NOT_FOUND")


class TestMessages:
    """T-90: through the function and through Hosting, the first event is out before the last one is made."""

    def conversation(self, suite: RunningSuite, user: User) -> str:
        begun = requests.post(f"{suite.api}/v1/chat/conversations", json={}, headers=user.headers, timeout=60)
        assert begun.status_code == 201, begun.text
        return str(begun.json()["id"])

    @pytest.mark.parametrize("way", ["function", "hosting"])
    def test_stream(self, suite: RunningSuite, user: User, way: str) -> None:
        base = suite.api if way == "function" else f"{suite.hosting}/api"
        url = f"{base}/v1/chat/conversations/{self.conversation(suite, user)}/messages"
        headers = {**user.headers, "Accept": "text/event-stream", "X-Request-Id": "trace-7"}
        question = {"content": "Why is the sky blue? Answer at length."}
        with requests.post(url, json=question, headers=headers, stream=True, timeout=60) as answer:
            assert answer.status_code == 200, answer.text
            assert answer.headers["X-Request-Id"] == "trace-7"
            pieces = list(answer.iter_content(None))
        assert len(pieces) > 3
        names = [name for name, _ in frames(pieces)]
        assert names[0] == "start"
        assert names[-2:] == ["usage", "done"]
        assert names.count("delta") > 3

    def test_by_callable_are_answered_whole(self, suite: RunningSuite, user: User) -> None:
        data = {"conversation_id": self.conversation(suite, user), "content": "What is 17 + 25?"}
        called = call(suite, "send_message", data, user)
        assert called.status_code == 200, called.text
        result = called.json()["result"]
        assert "42" in result["answer"]
        entry = requests.get(
            f"{suite.api}/v1/credits/verify/{result['transaction_id']}", headers=user.headers, timeout=60
        )
        assert entry.json()["valid"] is True


class TestTriggers:
    def test_coming_online_opens_the_account_and_shows_its_balance(self, suite: RunningSuite, user: User) -> None:
        """T-36: a first touch through a trigger gives what the API gives."""
        seen = Sdk(suite, user).take([("set", f"users/{user.uid}/presence", {"state": "online", "at": "<now>"})])
        assert seen[0].refused is None
        client = rest_as(suite, user)
        mirrored = eventually(
            lambda: client.database("GET", f"users/{user.uid}/balance").json(), what="the mirror of the balance"
        )
        route = requests.get(f"{suite.api}/v1/credits/balance", headers=user.headers, timeout=60)
        assert mirrored == route.json()
        assert mirrored["balance"] == "1000"

    def test_the_sweep_runs(self, suite: RunningSuite) -> None:
        assert suite.fire("sweep").status_code == 200
