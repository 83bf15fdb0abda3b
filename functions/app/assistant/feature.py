"""The assistant, plugged in: what a message asks for, what it would cost, and which model is chosen for it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.assistant.settings import AssistantSettings
from app.feature import Feature, late
from app.kit.clock import seconds
from app.kit.once import once
from app.ports import Ports

if TYPE_CHECKING:
    from flask_openapi import APIBlueprint

    from app.assistant.choosing import Choosing
    from app.assistant.preferences import PreferencesStore
    from app.assistant.routing import RouteRule
    from app.models.feature import ModelsFeature


class AssistantFeature(Feature):
    """It stands below chat, which asks it."""

    def __init__(self, ports: Ports, settings: AssistantSettings, models: "ModelsFeature") -> None:
        super().__init__()
        self._ports, self._settings, self._models = ports, settings, models

    @property
    def rules(self) -> "Sequence[RouteRule]":
        """The operator's rules for the path of messages."""
        return self._settings.rules

    @property
    def usual_output(self) -> int:
        """Output tokens that are reserved for before an answer of unknown length begins."""
        return self._settings.usual_output

    @property
    def quote_us(self) -> int:
        """How long the price of a message binds, in microseconds."""
        return seconds(self._settings.quote_s)

    @once
    def choosing(self) -> "Choosing":
        """Chooses the models of messages."""
        from app.assistant.choosing import Choosing

        models = self._models
        return Choosing(
            book=models.book, breakers=models.breakers, health=models.health, preferences=self.preferences.of
        )

    @once
    def preferences(self) -> "PreferencesStore":
        """What users want of models that are chosen for them."""
        from app.assistant.preferences import PreferencesStore
        from app.kit.optimistic import full_jitter

        ports = self._ports
        return PreferencesStore(ports.documents, ports.clock, full_jitter(ports.concurrency, ports.draw))

    def routes(self) -> "Sequence[APIBlueprint]":
        from app.assistant import routes

        return [routes.routes(late(lambda: self._models.book), late(lambda: self.preferences))]
