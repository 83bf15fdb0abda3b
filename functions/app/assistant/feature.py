"""The assistant, plugged in: what a message asks for, and what it would cost."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.feature import Feature, late

if TYPE_CHECKING:
    from flask_openapi import APIBlueprint

    from app.models.feature import ModelsFeature


class AssistantFeature(Feature):
    """It stands below chat, which asks it."""

    def __init__(self, models: "ModelsFeature") -> None:
        super().__init__()
        self._models = models

    def routes(self) -> "Sequence[APIBlueprint]":
        from app.assistant import routes

        return [routes.routes(late(lambda: self._models.book))]
