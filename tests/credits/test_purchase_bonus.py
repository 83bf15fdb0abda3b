"""The part of the bonus that waits for a purchase: a deposit's event grants it, through the whole backend."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from app.credits.core.account import AccountStatus
from app.kit.clock import minutes
from app.kit.errors import Unavailable
from app.kit.money import credits
from app.kit.stores.documents import Replace, Write
from app.orchestration.event_bus import Replay
from app.orchestration.queue.operation import Operation, OperationState
from app.orchestration.queue.operation_document import COLLECTION, from_document
from app.ports import Identity
from support.credits_world import deposit
from support.world import MemoryPorts, World

HELD_BACK = {"WELCOME_BONUS_CHECKS": "on", "WELCOME_BONUS_AMOUNT": "1000", "WELCOME_BONUS_ON_PURCHASE": "400"}
BOUGHT = credits(10)


class Killed(BaseException):
    """The process is gone."""


class Shop:
    """The wired backend, its customers as Auth knows them, and the cards that paid."""

    def __init__(self) -> None:
        self.people: dict[str, Identity] = {}
        self.cards: dict[str, str] = {}
        self.outages = 0
        self.world = World(variables=HELD_BACK, ports=MemoryPorts(identities=self._known))
        self.deploys()

    def _known(self, uid: str) -> Identity:
        if self.outages:
            self.outages -= 1
            raise Unavailable("Auth did not answer")
        return self.people.get(uid, Identity(uid))

    def customer(self, uid: str, *, verified: bool = True) -> str:
        self.people[uid] = Identity(uid, "password", f"{uid}-of", f"{uid}@example.org", verified, created_at_us=1)
        self.system.credits.service.account(uid)
        return uid

    def deploys(self, **variables: str) -> None:
        """The same backend with other settings."""
        self.world.ports.variables.update(variables)
        self.system = self.world.instance()
        self.system.bonus.ask_cards(self.cards.get)

    def buys(self, uid: str, payment: str, *, card: str | None = None) -> None:
        """Deposits a purchase; its event is not handled yet."""
        if card is not None:
            self.cards[payment] = card
        self.system.credits.service.post(uid, deposit(payment, BOUGHT))

    def drain(self) -> None:
        """Handles the waiting events, as the triggers do."""
        self.system.orchestration.run_lane("events")

    def pass_time(self, minutes: int) -> None:
        for _ in range(minutes):
            self.world.clock.advance(minutes=1)
            self.system.orchestration.sweep()
            self.drain()

    def balance(self, uid: str) -> int:
        return self.system.credits.service.account(uid).balance

    def deliveries(self) -> list[Operation]:
        documents = self.world.documents.all().items()
        return [from_document(document) for path, document in documents if path.startswith(f"{COLLECTION}/")]


@pytest.fixture
def shop() -> Shop:
    return Shop()


class TestAPurchase:
    def test_releases_what_was_held_back(self, shop: Shop) -> None:
        alice = shop.customer("alice")
        assert shop.balance(alice) == credits(600)
        shop.buys(alice, "pay_1", card="card-1")
        shop.drain()
        assert shop.balance(alice) == credits(1000) + BOUGHT
        [delivery] = shop.deliveries()
        assert (delivery.state, delivery.account) == (OperationState.SUCCEEDED, alice)
        granted = delivery.result and delivery.result["transaction_id"]
        assert shop.system.credits.service.entry(alice, str(granted)).amount == credits(400)
        assert shop.system.credits.service.validate_chain(alice).valid

    def test_releases_it_once_however_often_one_buys(self, shop: Shop) -> None:
        alice = shop.customer("alice")
        for number in range(3):
            shop.buys(alice, f"pay_{number}", card=f"card-{number}")
            shop.drain()
        assert shop.balance(alice) == credits(1000) + 3 * BOUGHT

    def test_without_a_known_card_releases_nothing(self, shop: Shop) -> None:
        """T-97: without a card the bonuses per card cannot be counted, so none is given."""
        alice = shop.customer("alice")
        shop.buys(alice, "pay_1")
        shop.drain()
        assert shop.balance(alice) == credits(600) + BOUGHT
        shop.buys(alice, "pay_2", card="card-1")
        shop.drain()
        assert shop.balance(alice) == credits(1000) + 2 * BOUGHT, "a later one with a card does"

    def test_with_one_card_for_many_accounts_is_one_bonus(self, shop: Shop) -> None:
        """T-97"""
        crowd = [shop.customer(f"u{number}") for number in range(20)]
        before = sum(shop.balance(uid) for uid in crowd)
        for uid in crowd:
            shop.buys(uid, f"pay_{uid}", card="the same")
        shop.drain()
        assert sum(shop.balance(uid) for uid in crowd) == before + 20 * BOUGHT + credits(400)


class TestItHappensOnce:
    def test_when_the_event_is_delivered_twice_and_replayed_as_new(self, shop: Shop) -> None:
        alice, start = shop.customer("alice"), shop.world.clock.now_us()
        shop.buys(alice, "pay_1", card="card-1")
        shop.drain()
        orchestration = shop.system.orchestration
        [delivery] = shop.deliveries()
        assert orchestration.runner.run(delivery.id) is OperationState.SUCCEEDED
        question = Replay("welcome", "CreditsDeposited", start, start + minutes(1))
        assert orchestration.bus.replay(question, orchestration.outbox, orchestration.clock).sent == 0
        again = replace(question, again="to be sure")
        assert orchestration.bus.replay(again, orchestration.outbox, orchestration.clock).sent == 1
        shop.drain()
        assert [one.state for one in shop.deliveries()] == [OperationState.SUCCEEDED] * 2
        assert len({str(one.result) for one in shop.deliveries()}) == 1, "both were told of the same entry"
        assert shop.balance(alice) == credits(1000) + BOUGHT

    def test_when_the_process_dies_between_the_grant_and_the_end(self, shop: Shop) -> None:
        alice = shop.customer("alice")
        shop.buys(alice, "pay_1", card="card-1")

        def kill(writes: Sequence[Write]) -> None:
            ends = (w for w in writes if isinstance(w, Replace) and w.path.startswith(f"{COLLECTION}/"))
            if any(write.fields["state"] == OperationState.SUCCEEDED for write in ends):
                shop.world.documents.before_commit.remove(kill)
                raise Killed

        shop.world.documents.before_commit.append(kill)
        with pytest.raises(Killed):
            shop.drain()
        assert shop.balance(alice) == credits(1000) + BOUGHT
        assert [one.state for one in shop.deliveries()] == [OperationState.RUNNING]
        shop.pass_time(minutes=4)
        assert [(one.state, one.attempts) for one in shop.deliveries()] == [(OperationState.SUCCEEDED, 2)]
        assert shop.balance(alice) == credits(1000) + BOUGHT

    def test_when_the_amount_was_changed_between_two_purchases(self, shop: Shop) -> None:
        alice = shop.customer("alice")
        shop.buys(alice, "pay_1", card="card-1")
        shop.drain()
        shop.deploys(WELCOME_BONUS_ON_PURCHASE="300")
        shop.buys(alice, "pay_2", card="card-1")
        shop.drain()
        assert {str((one.result or {}).get("refused")) for one in shop.deliveries()} == {
            "None",
            "idempotency_key_reused",
        }
        assert shop.balance(alice) == credits(1000) + 2 * BOUGHT


class TestWhatDoesNotWork:
    @pytest.mark.parametrize("status", [AccountStatus.SUSPENDED, AccountStatus.ACTIVE])
    def test_a_refusal_is_an_answer_and_no_dead_letter(self, shop: Shop, status: AccountStatus) -> None:
        bob = shop.customer("bob", verified=status is not AccountStatus.ACTIVE)
        before = shop.balance(bob)
        shop.system.credits.service.set_status(bob, status, "a look at it")
        shop.buys(bob, "pay_1", card="card-1")
        shop.drain()
        [delivery] = shop.deliveries()
        refused = "verify_email" if status is AccountStatus.ACTIVE else "account_not_active"
        assert (delivery.state, delivery.result) == (OperationState.SUCCEEDED, {"refused": refused})
        assert shop.balance(bob) == before + BOUGHT

    def test_an_outage_is_waited_for(self, shop: Shop) -> None:
        alice = shop.customer("alice")
        shop.buys(alice, "pay_1", card="card-1")
        shop.outages = 3
        shop.drain()
        assert [one.state for one in shop.deliveries()] == [OperationState.QUEUED]
        shop.pass_time(minutes=3)
        assert shop.balance(alice) == credits(1000) + BOUGHT

    def test_who_is_too_new_is_looked_at_again(self, shop: Shop) -> None:
        alice = shop.customer("alice")
        now_us = shop.world.clock.now_us()
        shop.people[alice] = replace(shop.people[alice], created_at_us=now_us)
        shop.deploys(WELCOME_BONUS_MIN_AGE_MINUTES="120")
        shop.buys(alice, "pay_1", card="card-1")
        shop.drain()
        assert [(one.state, one.attempts) for one in shop.deliveries()] == [(OperationState.QUEUED, 0)]
        shop.pass_time(minutes=125)
        assert shop.balance(alice) == credits(1000) + BOUGHT


class TestNobodyListens:
    def test_where_nothing_is_held_back_or_nothing_is_checked(self) -> None:
        for variables in ({"WELCOME_BONUS_ON_PURCHASE": "0"}, {"WELCOME_BONUS_CHECKS": "off"}):
            world = World(variables={**HELD_BACK, **variables})
            world.system.credits.service.post("alice", deposit("pay_1", BOUGHT))
            subscriptions = world.system.orchestration.bus.subscriptions()
            assert "CreditsDeposited" not in {one.event for one in subscriptions}
            assert not [path for path in world.documents.all() if path.startswith(f"{COLLECTION}/")]

    def test_without_checks_all_of_it_is_there_from_the_start(self) -> None:
        world = World(variables={**HELD_BACK, "WELCOME_BONUS_CHECKS": "off"})
        assert world.system.credits.service.account("alice").balance == credits(1000)
