"""API keys, plugged in."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.feature import Feature, late
from app.kit.once import once
from app.ports import Ports

if TYPE_CHECKING:
    from flask_openapi import APIBlueprint

    from app.credits.feature import CreditsFeature
    from app.keys.api_key import ApiKey
    from app.keys.schemas import BudgetAnswer
    from app.keys.store import KeyStore
    from app.keys.verifying import KeysInUse


class KeysFeature(Feature):
    """The edge asks its `verifier` about keys that requests carry."""

    def __init__(self, ports: Ports, credits: "CreditsFeature") -> None:
        super().__init__()
        self._ports, self._credits = ports, credits

    @once
    def store(self) -> "KeyStore":
        """The keys as they are stored."""
        from app.keys.store import KeyStore
        from app.kit.optimistic import full_jitter

        return KeyStore(self._ports.documents, full_jitter(self._ports.concurrency, self._ports.draw))

    @once
    def verifier(self) -> "KeysInUse":
        """Whose a key is, and what it allows."""
        from app.keys.verifying import KeysInUse

        return KeysInUse(self.store, self._ports.identities, self._ports.clock)

    def _spent(self, uid: str, keys: "Sequence[ApiKey]") -> "list[list[BudgetAnswer]]":
        from app.keys.spending import spent

        if not any(key.budgets for key in keys):
            return [[] for _ in keys]
        account, now_us = self._credits.service.account(uid), self._ports.clock.now_us()
        return [spent(key, account, now_us) for key in keys]

    def routes(self) -> "Sequence[APIBlueprint]":
        import secrets
        from functools import partial

        from app.keys import routes

        new_secret = partial(secrets.token_urlsafe, 32)
        return [routes.routes(late(lambda: self.store), self._spent, self._ports.clock, self._ports.ids, new_secret)]
