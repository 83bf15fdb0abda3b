"""The models, plugged in: catalogue, prices, health, and the gateway to their vendors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.feature import Feature, late
from app.kit.once import once
from app.models.settings import ModelsSettings
from app.ports import Ports

if TYPE_CHECKING:
    from flask_openapi import APIBlueprint

    from app.models.catalogue import Catalogue
    from app.models.circuits.shared import SharedBreakers
    from app.models.gateway import Gateway
    from app.models.health import ModelHealth
    from app.models.pricing import PriceBook
    from app.models.settings import Patience
    from app.orchestration.sweeper import Chore


class ModelsFeature(Feature):
    """Nothing is connected before the first question."""

    def __init__(self, ports: Ports, settings: ModelsSettings) -> None:
        super().__init__()
        self._ports, self._settings = ports, settings

    @once
    def catalogue(self) -> "Catalogue":
        """The catalogue of models."""
        from app.models import catalogue
        from app.models.vendors.reading import offered

        return self._settings.catalogue or offered(catalogue.load(), self._settings.vendors)

    @property
    def patience(self) -> "Patience":
        """How long a vendor is waited for."""
        return self._settings.patience

    @once
    def book(self) -> "PriceBook":
        """The price book of the catalogue."""
        from app.models.pricing import PriceBook

        return PriceBook(self.catalogue)

    @once
    def health(self) -> "ModelHealth":
        """How the models have been doing, as this instance saw it."""
        from app.models.health import ModelHealth

        return ModelHealth(self._ports.clock.now_us)

    @once
    def breakers(self) -> "SharedBreakers":
        """The circuits of the models, shared with the other instances."""
        from app.models.circuits.shared import SharedBreakers

        ports, most = self._ports, self._settings.circuit_failures
        return SharedBreakers(ports.clock.now_us, lambda: ports.realtime, ports.concurrency, ports.ids, most=most)

    @once
    def gateway(self) -> "Gateway":
        """The gateway to the model vendors."""
        from app.models.gateway import Gateway
        from app.models.vendors.lines import VendorLines

        ports = self._ports
        lines = VendorLines(self._settings.vendors, network=ports.network, concurrency=ports.concurrency)
        return Gateway(self.catalogue, lines=lines, health=self.health, breakers=self.breakers)

    def chores(self) -> "Sequence[Chore]":
        from app.orchestration.sweeper import Chore

        return [Chore("model status", lambda _: self._show_status(), realtime=True)]

    def _show_status(self) -> int:
        from app.models.circuits.shared import show_status

        offered = [model.id for model in self.catalogue if model.id not in self.catalogue.closed]
        return show_status(self._ports.realtime, offered, self._ports.clock.now_us())

    def routes(self) -> "Sequence[APIBlueprint]":
        from app.models import routes

        return [routes.routes(late(lambda: self.catalogue), late(lambda: self.health), late(lambda: self.breakers))]
