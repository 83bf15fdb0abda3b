"""The paid call, plugged in: begins, ends and sweeps the calls of the features above."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.feature import Feature
from app.kit.once import once
from app.metering import billing
from app.ports import Ports

if TYPE_CHECKING:
    from flask_openapi import APIBlueprint

    from app.credits.feature import CreditsFeature
    from app.kit.stores.documents import Documents
    from app.metering.orphans import Orphans
    from app.metering.reserving import Reserving
    from app.metering.settling import Settling
    from app.models.feature import ModelsFeature


class MeteringFeature(Feature):
    """Contributes the billing table. Each feature that makes paid calls sweeps its own orphans."""

    def __init__(
        self, ports: Ports, documents: "Documents", credits: "CreditsFeature", models: "ModelsFeature"
    ) -> None:
        super().__init__()
        self._ports, self._documents, self._credits, self._models = ports, documents, credits, models

    @once
    def reserving(self) -> "Reserving":
        """Begins paid calls."""
        from app.metering.reserving import Reserving
        from app.metering.settling import patient

        pause = patient(self._ports.concurrency, self._ports.draw)
        return Reserving(credits=self._credits.service, pause=pause)

    @once
    def settling(self) -> "Settling":
        """Ends paid calls."""
        from app.kit.optimistic import full_jitter
        from app.metering.settling import Settling, patient

        return Settling(
            credits=self._credits.service,
            documents=self._documents,
            clock=self._ports.clock,
            policy=billing.default_policy(),
            pause=patient(self._ports.concurrency, self._ports.draw),
            between_writers=full_jitter(self._ports.concurrency, self._ports.draw),
        )

    @once
    def orphans(self) -> "Orphans":
        """Ends the paid calls of functions that died."""
        from app.metering.orphans import Orphans

        return Orphans(
            credits=self._credits.service,
            documents=self._documents,
            clock=self._ports.clock,
            policy=billing.default_policy(),
        )

    def routes(self) -> "Sequence[APIBlueprint]":
        from app.metering import routes

        return [routes.routes(billing.default_policy())]
