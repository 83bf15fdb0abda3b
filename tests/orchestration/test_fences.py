"""A fence is a precondition: it lets an effect through while its attempt holds the lease, and changes nothing."""

import pytest

from app.kit.clock import minutes
from app.kit.errors import Conflict, InvariantViolation
from app.kit.stores.documents import Create, Document
from app.orchestration.queue import operation as operations
from app.orchestration.queue.handler import Done, Handler, LeaseOver, Run, RunOutcome
from app.orchestration.queue.operation import Operation
from app.orchestration.queue.operation_document import from_document
from orchestration.shop import Shop, order
from support.memory import Change


def seen_by(shop: Shop, run: Run) -> Document:
    stored = shop.documents.get(run.fence_path)
    assert stored is not None
    return stored


@pytest.mark.parametrize("key", [None, "alice"])
class TestAFence:
    def test_changes_nothing_and_fires_no_trigger(self, key: str | None) -> None:
        heard: list[Change] = []

        def work(run: Run) -> RunOutcome:
            shop.documents.after_commit.append(heard.extend)
            before = seen_by(shop, run)
            shop.outbox.commit([run.fence(before), Create("effects/one", {})])
            assert seen_by(shop, run) == before
            shop.documents.after_commit.clear()
            return Done()

        shop = Shop([Handler("work", work)])
        shop.queue.enqueue(order(key=key))
        shop.drain()
        assert shop.states() == ["succeeded"]
        assert [path for path, _, _ in heard] == ["effects/one"]

    def test_refuses_an_effect_that_is_committed_after_the_lease_was_lost(self, key: str | None) -> None:
        """T-85: the attempt looked while it held the lease, and commits when another one has taken over."""
        runs: list[int] = []

        def work(run: Run) -> RunOutcome:
            runs.append(run.operation.attempts)
            if len(runs) == 1:
                fence = run.fence(seen_by(shop, run))
                shop.clock.advance(minutes=5)
                shop.sweeper.tick()
                shop.drain()
                with pytest.raises(Conflict):
                    shop.outbox.commit([fence, Create("effects/late", {})])
                with pytest.raises(LeaseOver):
                    run.fence(shop.documents.get(run.fence_path))
            return Done()

        shop = Shop([Handler("work", work)])
        shop.queue.enqueue(order(key=key))
        shop.drain()
        assert runs == [1, 2]
        assert shop.documents.get("effects/late") is None


def test_a_claim_holds_nothing_once_a_newer_one_was_made() -> None:
    """T-85: the operation runs again, and its old runner may neither renew nor end it."""
    shop = Shop([Handler("work", lambda run: Done())])
    stored = shop.documents.get(f"operations/{shop.queue.enqueue(order())}")
    assert stored is not None
    first = _claimed(from_document(stored), shop.clock.now_us())
    second = _claimed(first, shop.clock.now_us() + minutes(5))
    assert [operations.holds(second, one.token) for one in (first, second)] == [False, True]
    with pytest.raises(InvariantViolation):
        operations.succeed(second, token=first.token, now_us=0, result=None)
    with pytest.raises(InvariantViolation):
        operations.renew(second, token=first.token, now_us=0, lease_us=1)


def _claimed(operation: Operation, now_us: int) -> Operation:
    claimed = operations.claim(operation, owner="somebody", now_us=now_us, lease_us=minutes(1), tries=5)
    assert isinstance(claimed, Operation)
    return claimed
