"""The welcome bonus, plugged in: who gets it, how much of it when, and what opens an account."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from app.feature import Feature, late
from app.kit.once import once
from app.ports import Ports

if TYPE_CHECKING:
    from flask_openapi import APIBlueprint

    from app.api.callables import CallableHandler
    from app.bonus.settings import BonusSettings
    from app.bonus.subscriptions import Cards
    from app.bonus.welcome import BonusRules, Welcome
    from app.credits.public import AccountOpening, Credits
    from app.kit.stores.documents import Fields
    from app.orchestration.event_bus import Subscription


class BonusFeature(Feature):
    """`low_threshold` is that of new accounts; `credits` is asked for late, because it opens accounts by `opening`."""

    def __init__(
        self, ports: Ports, settings: "BonusSettings", *, low_threshold: int, credits: "Callable[[], Credits]"
    ) -> None:
        super().__init__()
        self._ports, self._settings, self._low_threshold, self._credits = ports, settings, low_threshold, credits
        self._cards: Cards = lambda _payment_id: None

    @once
    def rules(self) -> "BonusRules":
        """What the bonus is decided by."""
        from app.api.context import client
        from app.bonus.rules import BonusPolicy
        from app.bonus.welcome import BonusRules

        settings = self._settings
        policy = BonusPolicy(
            settings.at_opening,
            settings.on_verified,
            settings.on_purchase,
            min_age_us=settings.min_age_us,
            per_crowd_daily=settings.per_crowd_daily,
        )
        return BonusRules(policy, self._ports.identities, self._ports.clock, self._low_threshold, client)

    @once
    def welcome(self) -> "Welcome":
        """Claims of the bonus, and its later parts."""
        from app.bonus.welcome import Welcome
        from app.kit.optimistic import full_jitter

        return Welcome(self.rules, self._credits(), full_jitter(self._ports.concurrency, self._ports.draw))

    def ask_cards(self, cards: "Cards") -> None:
        """Sets the function that names the card of a payment; payment features, which stand above, call this."""
        self._cards = cards

    def opening(self, uid: str) -> "AccountOpening":
        """What belongs to the first touch of an account."""
        from app.bonus.welcome import opening_for_everyone

        if self._settings.checks:
            return self.rules.opening(uid)
        return opening_for_everyone(uid, self._settings.amount, self._low_threshold)

    def routes(self) -> "Sequence[APIBlueprint]":
        from app.api.idempotency import Idempotency
        from app.bonus import routes

        records = late(lambda: Idempotency(self._ports.documents, self._ports.clock))
        return [routes.routes(self.claim, records)]

    def callables(self) -> "Mapping[str, CallableHandler]":
        from app.api.auth import spends
        from app.bonus import routes

        return {"claim_welcome_bonus": spends(lambda call: routes.claimed(self.claim, call))}

    def claim(self, uid: str, device: str | None) -> "Fields":
        """Grants the next part that is due, and gives the entry's fields.

        Raises:
            BonusAlreadyGranted, BonusNotEligible: see `Welcome.claim`.
        """
        from app.bonus.welcome import BonusAlreadyGranted

        if not self._settings.checks:
            self._credits().account(uid)
            raise BonusAlreadyGranted("The welcome bonus was granted to this account")
        return self.welcome.claim(uid, device).entry.fields()

    def subscriptions(self) -> "Sequence[Subscription]":
        from app.bonus.subscriptions import on_deposit

        if not self._settings.checks or not self._settings.on_purchase:
            # No part of the bonus waits for a purchase: a deposit need not write a row that nobody reads.
            return ()
        return [on_deposit(late(lambda: self.welcome), lambda payment_id: self._cards(payment_id))]
