"""The part of the bonus that waits for a purchase: a deposit's event grants it, through the whole backend."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from app.bonus.rules import BonusPolicy, Evidence
from app.bonus.subscriptions import no_cards, subscriptions
from app.bonus.welcome import BonusRules, Welcome
from app.credits.core.account import AccountStatus
from app.kit.clock import minutes
from app.kit.documents import Replace, Write
from app.kit.errors import Unavailable
from app.kit.money import credits
from app.orchestration.event_bus import Replay
from app.orchestration.queue.operation import Operation, OperationState
from app.orchestration.queue.operation_document import COLLECTION, from_document
from support.clock import no_pause
from support.credits_world import deposit
from support.world import SETTINGS, MemoryOutside, World

HELD_BACK = replace(
    SETTINGS,
    welcome_bonus_checks=True,
    welcome_bonus=credits(1000),
    welcome_bonus_on_purchase=credits(400),
)
BOUGHT = credits(10)


class Killed(BaseException):
    """The process is gone."""


class Shop:
    """The wired backend, its customers as Auth knows them, and the cards that paid."""

    def __init__(self) -> None:
        self.people: dict[str, Evidence] = {}
        self.cards: dict[str, str] = {}
        self.outages = 0
        self.world = World(outside=MemoryOutside(settings=HELD_BACK, identities=self._known))
        self.services = self.world.services
        self.services.__dict__["cards"] = self.cards.get

    def _known(self, uid: str) -> Evidence:
        if self.outages:
            self.outages -= 1
            raise Unavailable("Auth did not answer")
        return self.people.get(uid, Evidence(uid))

    def customer(self, uid: str, *, verified: bool = True) -> str:
        self.people[uid] = Evidence(uid, "password", f"{uid}-of", f"{uid}@example.org", verified, created_at_us=1)
        self.services.credits.account(uid)
        return uid

    def deploys(self, policy: BonusPolicy) -> None:
        """The same backend with another policy."""
        rules = replace(self.services.bonus, policy=policy)
        self.services.__dict__["welcome"] = Welcome(rules, self.services.credits, no_pause)
        self.services.__dict__.pop("orchestration", None)

    def buys(self, uid: str, payment: str, *, card: str | None = None) -> None:
        """Pays, and nothing has reacted yet."""
        if card is not None:
            self.cards[payment] = card
        self.services.credits.post(uid, deposit(payment, BOUGHT))

    def drain(self) -> None:
        """What the triggers do."""
        self.services.run_lane("events")

    def pass_time(self, minutes: int) -> None:
        for _ in range(minutes):
            self.world.clock.advance(minutes=1)
            self.services.sweep()
            self.drain()

    def balance(self, uid: str) -> int:
        return self.services.credits.account(uid).balance

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
        assert shop.services.credits.entry(alice, str(granted)).amount == credits(400)
        assert shop.services.credits.validate_chain(alice).valid

    def test_releases_it_once_however_often_one_buys(self, shop: Shop) -> None:
        alice = shop.customer("alice")
        for number in range(3):
            shop.buys(alice, f"pay_{number}", card=f"card-{number}")
            shop.drain()
        assert shop.balance(alice) == credits(1000) + 3 * BOUGHT

    def test_without_a_known_card_releases_nothing(self, shop: Shop) -> None:
        """T-97: what nobody can count is not given."""
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
        orchestration = shop.services.orchestration
        [delivery] = shop.deliveries()
        assert orchestration.runner.run(delivery.id) is OperationState.SUCCEEDED
        question = Replay("welcome", "CreditsDeposited", start, start + minutes(1))
        assert orchestration.bus.replay(question, orchestration.outbox).sent == 0
        again = replace(question, again="to be sure")
        assert orchestration.bus.replay(again, orchestration.outbox).sent == 1
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
        shop.deploys(replace(shop.services.bonus.policy, purchase=credits(300)))
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
        shop.services.credits.set_status(bob, status, "a look at it")
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
        shop.deploys(replace(shop.services.bonus.policy, min_age_us=minutes(120)))
        shop.buys(alice, "pay_1", card="card-1")
        shop.drain()
        assert [(one.state, one.attempts) for one in shop.deliveries()] == [(OperationState.QUEUED, 0)]
        shop.pass_time(minutes=125)
        assert shop.balance(alice) == credits(1000) + BOUGHT


class TestNobodyListens:
    def test_where_nothing_is_held_back_or_nothing_is_checked(self) -> None:
        for settings in (
            replace(HELD_BACK, welcome_bonus_on_purchase=credits(0)),
            replace(HELD_BACK, welcome_bonus_checks=False),
        ):
            world = World(settings=settings)
            world.services.credits.post("alice", deposit("pay_1", BOUGHT))
            assert not world.services.orchestration.bus.listened_to("CreditsDeposited")
            assert not [path for path in world.documents.all() if path.startswith(f"{COLLECTION}/")]

    def test_of_a_desk_that_holds_nothing_back(self, shop: Shop) -> None:
        rules = BonusRules(BonusPolicy(), Evidence, shop.world.clock, 0)
        assert subscriptions(Welcome(rules, shop.services.credits, no_pause), no_cards) == ()
        assert subscriptions(None, no_cards) == ()
