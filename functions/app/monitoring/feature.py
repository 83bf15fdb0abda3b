"""Monitoring, plugged in: liveness for anybody, and the figures and invariants of all features for administrators."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from app.feature import Feature, Figure, Invariant, late
from app.kit.once import once
from app.ports import Ports

if TYPE_CHECKING:
    from flask_openapi import APIBlueprint

    from app.monitoring.service import Monitoring

Features = Callable[[], Sequence[Feature]]


class MonitoringFeature(Feature):
    """`identity` gives the name, the version and the project of this deployment; `features` those whose figures and
    invariants are shown.
    """

    def __init__(self, ports: Ports, identity: Callable[[], tuple[str, str, str]], features: Features) -> None:
        super().__init__()
        self._ports, self._identity, self._features = ports, identity, features

    @once
    def service(self) -> "Monitoring":
        """Asks the dependencies."""
        from app.monitoring.service import Monitoring

        return Monitoring(self._ports.dependencies, self._ports.clock)

    def routes(self) -> "Sequence[APIBlueprint]":
        from app.monitoring import routes

        identity = late(lambda: routes.DeploymentIdentity(*self._identity()))
        return [routes.routes(late(lambda: self.service), identity, self.all_figures)]

    def all_figures(self) -> Iterable[Figure]:
        """Of every feature, with one that counts what breaks each invariant."""
        from app.monitoring.metrics import broken_invariants

        invariants: list[Invariant] = []
        for feature in self._features():
            yield from feature.figures()
            invariants += feature.invariants()
        yield from broken_invariants(invariants)
