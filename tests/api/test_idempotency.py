"""The same POST sent twice is done once."""

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from werkzeug.test import TestResponse

from app.api.idempotency import LEASE_US, MAX_ANSWER, Idempotency, Kept, KeyedAttempt, fingerprint
from app.kit.errors import InvariantViolation, KeyReused, Unavailable
from app.kit.stores.documents import Create, Write
from support.shop import Shop, TooExpensive
from support.world import Caller, World

TEA = {"item": "tea", "price": "1.5"}
ASKED = fingerprint("POST", "/v1/shop/orders", TEA)


def buy(client: Caller, body: Mapping[str, object] | None = None, key: str = "k-1") -> TestResponse:
    return client.post("/v1/shop/orders", json=dict(body or TEA), headers={"Idempotency-Key": key})


class TestARepeat:
    def test_gets_the_first_answer_and_does_nothing(self, client: Caller, shop: Shop) -> None:
        first, second = buy(client), buy(client)
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.data == second.data
        assert "Idempotent-Replayed" not in first.headers
        assert second.headers["Idempotent-Replayed"] == "true"
        assert len(shop.orders) == 1

    def test_is_recognised_whatever_the_order_of_names(self, client: Caller, shop: Shop) -> None:
        buy(client, {"item": "tea", "price": "1"})
        again = buy(client, {"price": "1", "item": "tea"})
        assert again.headers["Idempotent-Replayed"] == "true"
        assert len(shop.orders) == 1

    def test_is_recognised_under_both_prefixes(self, client: Caller, shop: Shop) -> None:
        buy(client)
        again = client.post("/api/v1/shop/orders", json=TEA, headers={"Idempotency-Key": "k-1"})
        assert again.headers["Idempotent-Replayed"] == "true"
        assert len(shop.orders) == 1

    def test_with_another_body_is_refused(self, client: Caller, shop: Shop) -> None:
        """T-64"""
        buy(client)
        other = buy(client, {"item": "gold", "price": "1.5"})
        assert other.status_code == 422
        assert other.json is not None
        assert other.json["code"] == "idempotency_key_reused"
        assert len(shop.orders) == 1

    def test_of_another_user_is_another_request(self, world: World, shop: Shop, client: Caller) -> None:
        buy(client)
        assert "Idempotent-Replayed" not in buy(world.mounted(shop.routes(), user="bob")).headers
        assert [order.owner for order in shop.orders] == ["alice", "bob"]

    def test_of_a_refusal_gets_the_same_refusal(self, client: Caller) -> None:
        moon = {"item": "moon", "price": "5000"}
        first, second = buy(client, moon), buy(client, moon)
        assert (first.status_code, second.status_code) == (402, 402)
        assert second.mimetype == "application/problem+json"
        assert second.headers["Idempotent-Replayed"] == "true"
        assert second.json is not None
        assert second.json["required"] == "5000"
        assert second.data == first.data

    def test_may_correct_what_did_not_fit_the_model(self, client: Caller) -> None:
        assert buy(client, {"item": "tea"}).status_code == 422
        assert buy(client, TEA).status_code == 201

    def test_a_day_later_is_a_new_request(self, world: World, client: Caller, shop: Shop) -> None:
        buy(client)
        world.clock.advance(minutes=24 * 60)
        assert "Idempotent-Replayed" not in buy(client).headers
        assert len(shop.orders) == 2

    @pytest.mark.parametrize("error", [Unavailable("x"), InvariantViolation("x"), RuntimeError("x")])
    def test_after_a_failure_tries_again(self, client: Caller, shop: Shop, error: Exception) -> None:
        shop.fail_next = error
        assert buy(client).status_code >= 500
        assert buy(client).status_code == 201
        assert len(shop.orders) == 1

    def test_without_a_key_is_done_again(self, client: Caller, shop: Shop) -> None:
        client.post("/v1/shop/orders", json=TEA)
        client.post("/v1/shop/orders", json=TEA)
        assert len(shop.orders) == 2


class TestTheKey:
    @pytest.mark.parametrize("key", ["a", "~!#$ %&'()*+", "x" * 255])
    def test_takes_printable_ascii(self, client: Caller, key: str) -> None:
        assert buy(client, key=key).status_code == 201

    @pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "ł".encode().decode("latin-1")])
    def test_and_nothing_else(self, client: Caller, key: str) -> None:
        answer = buy(client, key=key)
        assert answer.status_code == 400
        assert answer.json is not None
        assert answer.json["code"] == "idempotency_key_malformed"


class TestWhileTheFirstStillRuns:
    def test_the_second_is_told_to_wait(self, client: Caller, shop: Shop) -> None:
        shop.before_order = threading.Event()
        answers: list[TestResponse] = []
        first = threading.Thread(target=lambda: answers.append(buy(client)))
        first.start()
        assert shop.entered.wait(5)
        second = buy(client)
        assert second.status_code == 409
        assert second.json is not None
        assert second.json["code"] == "idempotency_in_progress"
        assert int(second.headers["Retry-After"]) >= 1
        shop.before_order.set()
        first.join(5)
        assert answers[0].status_code == 201
        assert buy(client).data == answers[0].data
        assert len(shop.orders) == 1

    def test_of_many_at_once_one_works(self, world: World) -> None:
        records = Idempotency(world.documents, world.clock)
        barrier, outcomes = threading.Barrier(16), list[str]()

        def race() -> None:
            barrier.wait(5)
            try:
                outcomes.append(type(records.begin("alice", "k", ASKED)).__name__)
            except Exception as error:  # noqa: BLE001 - the outcome is what is looked at
                outcomes.append(type(error).__name__)

        threads = [threading.Thread(target=race) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert sorted(outcomes) == ["IdempotencyInProgress"] * 15 + ["KeyedAttempt"]


class TestACrash:
    def begin(self, records: Idempotency) -> KeyedAttempt:
        begun = records.begin("alice", "k", ASKED)
        assert isinstance(begun, KeyedAttempt)
        return begun

    def test_leaves_a_key_that_may_be_tried_again_after_the_lease(self, world: World) -> None:
        records = Idempotency(world.documents, world.clock)
        self.begin(records)
        world.clock.advance(us=LEASE_US)
        assert isinstance(records.begin("alice", "k", ASKED), KeyedAttempt)

    def test_does_not_let_another_body_in_meanwhile(self, world: World) -> None:
        records = Idempotency(world.documents, world.clock)
        self.begin(records)
        world.clock.advance(us=LEASE_US)
        with pytest.raises(KeyReused):
            records.begin("alice", "k", fingerprint("POST", "/v1/shop/orders", {}))

    def test_that_was_only_slow_does_not_overwrite_who_took_over(self, world: World) -> None:
        records = Idempotency(world.documents, world.clock)
        slow = self.begin(records)
        world.clock.advance(us=LEASE_US)
        second = self.begin(records)
        records.finish(slow, Kept(201, '"slow"', "application/json"))
        records.finish(second, Kept(201, '"second"', "application/json"))
        records.forget(slow)
        assert records.begin("alice", "k", ASKED) == Kept(201, '"second"', "application/json")


class TestAStoreThatIsAway:
    @pytest.mark.parametrize(("error", "status"), [(None, 201), (TooExpensive("No."), 402), (RuntimeError("x"), 500)])
    def test_at_the_end_does_not_hide_what_was_done(
        self, world: World, client: Caller, shop: Shop, error: Exception | None, status: int
    ) -> None:
        def away_once_begun(writes: Sequence[Write]) -> None:
            if not isinstance(writes[0], Create):
                raise Unavailable("the store is away")

        world.documents.before_commit.append(away_once_begun)
        shop.fail_next = error
        assert buy(client).status_code == status
        assert buy(client).status_code == 409
        world.documents.before_commit.clear()
        world.clock.advance(us=LEASE_US)
        assert buy(client).status_code == 201

    def test_at_the_beginning_lets_nothing_be_done(self, world: World, client: Caller, shop: Shop) -> None:
        def away(_: Sequence[Write]) -> None:
            raise Unavailable("the store is away")

        world.documents.before_commit.append(away)
        assert buy(client).status_code == 503
        assert shop.orders == []


class TestTheRecord:
    def test_carries_the_time_for_firestores_ttl_policy(self, world: World, client: Caller) -> None:
        buy(client)
        record = next(found for path, found in world.documents.all().items() if path.startswith("idempotency/"))
        now = datetime.fromtimestamp(world.clock.now_us() / 1e6, UTC)
        assert record.fields["expire_at"] == now + timedelta(hours=24)

    def test_does_not_keep_what_is_too_large(self, world: World) -> None:
        records = Idempotency(world.documents, world.clock)
        begun = records.begin("alice", "k", ASKED)
        assert isinstance(begun, KeyedAttempt)
        records.finish(begun, Kept(201, "x" * (MAX_ANSWER + 1), "application/json"))
        assert records.begin("alice", "k", ASKED) == Kept(201, None, "application/json")
