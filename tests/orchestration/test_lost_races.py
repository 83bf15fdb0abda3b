"""Every write of the queue that loses a race is decided again, after a pause, within a bound (T-43)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from app.kit.errors import AlreadyExists, Conflict
from app.kit.optimistic import TRIES, Contended
from app.kit.stores.documents import Create, Increment, Merge, Replace, Write
from app.orchestration.queue.handler import Done, Handler, Run, RunOutcome
from app.orchestration.queue.inbox import Inbox
from app.orchestration.queue.operation import OperationState
from app.orchestration.queue.operation_document import COLLECTION
from app.orchestration.sagas.saga import SagaStatus
from app.orchestration.sagas.saga_definition import SagaDefinition, SagaStep
from app.orchestration.sagas.sagas import SagaStart
from orchestration.shop import Shop, order


def renews(run: Run) -> RunOutcome:
    run.renew()
    return Done(None, lambda: [Merge("counts/all", {"n": Increment(1)})])


WAITING = SagaDefinition("waiting", 1, (SagaStep("wait", waits_for="fact"),))


@dataclass
class Races:
    """Refuses commits as if another had been faster: the next `losses` of those that `chosen` picks."""

    losses: int
    chosen: Callable[[Sequence[Write]], bool] = lambda _: True
    lost: int = 0

    def __call__(self, writes: Sequence[Write]) -> None:
        if self.lost < self.losses and self.chosen(writes):
            self.lost += 1
            raise Conflict("another was faster")


def leaves(state: OperationState) -> Callable[[Sequence[Write]], bool]:
    """Picks the commits that write an operation in this state."""

    def chosen(writes: Sequence[Write]) -> bool:
        rows = [one for one in writes if isinstance(one, Replace) and one.path.startswith(f"{COLLECTION}/")]
        return any(one.fields["state"] == state for one in rows)

    return chosen


@pytest.fixture
def shop() -> Shop:
    return Shop([Handler("work", renews)], sagas=[WAITING])


def test_a_change_of_an_operation(shop: Shop) -> None:
    id = shop.queue.enqueue(order())
    shop.documents.before_commit.append(Races(2))
    assert shop.queue.cancel(id, "no more").state is OperationState.CANCELLED
    assert shop.pauses == [1, 2]


def test_a_change_of_an_operation_that_loses_every_time_is_told(shop: Shop) -> None:
    id = shop.queue.enqueue(order())
    shop.documents.before_commit.append(Races(TRIES))
    with pytest.raises(Contended):
        shop.queue.cancel(id, "no more")
    assert shop.queue.get(id).state is OperationState.QUEUED
    assert shop.queue.cancel(id, "no more").state is OperationState.CANCELLED


def test_a_move_of_a_saga(shop: Shop) -> None:
    shop.sagas.start(SagaStart("saga_1", "waiting"))
    shop.documents.before_commit.append(Races(2))
    assert shop.sagas.tell("saga_1", "fact", {"n": 1}).status is SagaStatus.SUCCEEDED
    assert shop.pauses == [1, 2]


def test_a_move_of_a_saga_that_loses_every_time_is_told(shop: Shop) -> None:
    shop.sagas.start(SagaStart("saga_1", "waiting"))
    shop.documents.before_commit.append(Races(TRIES))
    with pytest.raises(Contended):
        shop.sagas.tell("saga_1", "fact", {"n": 1})


def test_a_delivery_to_the_inbox(shop: Shop) -> None:
    inbox = Inbox(shop.outbox, shop.clock, shop.pauses.append)
    shop.documents.before_commit.append(Races(2))
    assert inbox.once("mirror", "event-1", lambda: [Merge("counts/all", {"n": Increment(1)})])
    assert shop.pauses == [1, 2]


def test_a_delivery_that_another_took_in_meanwhile(shop: Shop) -> None:
    inbox = Inbox(shop.outbox, shop.clock, shop.pauses.append)
    raced: list[bool] = []

    def race(_: Sequence[Write]) -> None:
        if not raced:
            raced.append(True)
            inbox.once("mirror", "event-1", lambda: [Merge("counts/all", {"n": Increment(1)})])

    shop.documents.before_commit.append(race)
    assert not inbox.once("mirror", "event-1", lambda: [Merge("counts/all", {"n": Increment(1)})])
    assert count(shop) == 1


def test_an_effect_that_would_meet_its_document_again_is_told_at_once(shop: Shop) -> None:
    inbox = Inbox(shop.outbox, shop.clock, shop.pauses.append)
    shop.documents.commit([Create("counts/all", {"n": 0})])
    with pytest.raises(AlreadyExists):
        inbox.once("mirror", "event-1", lambda: [Create("counts/all", {"n": 1})])
    assert shop.pauses == []


def test_a_claim(shop: Shop) -> None:
    id = shop.queue.enqueue(order())
    shop.documents.before_commit.append(Races(2, leaves(OperationState.RUNNING)))
    assert shop.runner().run(id) is OperationState.SUCCEEDED
    assert shop.pauses == [1, 2]


def test_a_claim_that_loses_three_times_leaves_the_ticket_to_others(shop: Shop) -> None:
    id = shop.queue.enqueue(order())
    shop.documents.before_commit.append(Races(3, leaves(OperationState.RUNNING)))
    shop.runner().serve("default")
    assert shop.queue.get(id).state is OperationState.QUEUED
    shop.runner().serve("default")
    assert shop.queue.get(id).state is OperationState.SUCCEEDED


def test_a_lease_that_is_renewed(shop: Shop) -> None:
    id = shop.queue.enqueue(order())
    claimed: list[bool] = []

    def after_the_claim(writes: Sequence[Write]) -> bool:
        running = leaves(OperationState.RUNNING)(writes)
        claimed.append(running)
        return running and len(claimed) > 1

    shop.documents.before_commit.append(Races(2, after_the_claim))
    assert shop.runner().run(id) is OperationState.SUCCEEDED
    assert (shop.pauses, count(shop)) == ([1, 2], 1)


def test_an_end_with_its_effects(shop: Shop) -> None:
    id = shop.queue.enqueue(order())
    shop.documents.before_commit.append(Races(TRIES - 1, leaves(OperationState.SUCCEEDED)))
    assert shop.runner().run(id) is OperationState.SUCCEEDED
    assert (shop.pauses, count(shop)) == ([*range(1, TRIES)], 1)


def test_an_end_that_loses_every_time_is_tried_again_as_a_whole(shop: Shop) -> None:
    id = shop.queue.enqueue(order())
    shop.documents.before_commit.append(Races(TRIES, leaves(OperationState.SUCCEEDED)))
    assert shop.runner().run(id) is OperationState.QUEUED
    assert "other writers were faster" in shop.queue.get(id).history[-1].detail
    shop.pass_time(minutes=3)
    assert (shop.queue.get(id).state, count(shop)) == (OperationState.SUCCEEDED, 1)


def count(shop: Shop) -> object:
    stored = shop.documents.get("counts/all")
    return stored.fields["n"] if stored else 0
