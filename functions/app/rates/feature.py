"""Rate limits, plugged in."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from app.feature import Feature
from app.kit.once import once
from app.ports import Ports
from app.rates.settings import RatesSettings

if TYPE_CHECKING:
    from app.api.rates.limits import RateName
    from app.orchestration.sweeper import Chore
    from app.rates.limiter import SharedLimiter


class RatesFeature(Feature):
    """The edge asks its `limiter` before it serves."""

    def __init__(self, ports: Ports, settings: RatesSettings) -> None:
        super().__init__()
        self._ports, self._settings = ports, settings

    @once
    def limiter(self) -> "SharedLimiter":
        """Counts the requests of all instances."""
        from app.rates.limiter import SharedLimiter

        limits = cast("Mapping[RateName, int]", dict(self._settings.limits))
        return SharedLimiter(self._ports.realtime, self._ports.clock, limits)

    def chores(self) -> "Sequence[Chore]":
        from app.orchestration.sweeper import Chore

        return [Chore("rates", self.limiter.clear, realtime=True)] if self._settings.limits else []
