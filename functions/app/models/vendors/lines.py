"""The connections to the vendors: one pool for each, made when the vendor is first asked."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from app.kit.concurrency import Concurrency, Threads
from app.kit.network.http import ConnectionPool
from app.kit.network.sockets import Network
from app.models.catalogue import Model
from app.models.transport import Transport
from app.models.vendors.vendor import Vendor


@dataclass(frozen=True, slots=True)
class Line:
    """What a request to one vendor needs. `headers` hold its key."""

    vendor: Vendor
    transport: Transport
    headers: tuple[tuple[str, str], ...]


class VendorLines:
    """A line to each vendor, by the id that models name. Thread-safe; opens nothing before the first question."""

    def __init__(
        self, vendors: Mapping[str, Vendor], *, network: Network | None = None, concurrency: Concurrency | None = None
    ) -> None:
        self.concurrency = concurrency or Threads()
        self._vendors = vendors
        self._network = network
        self._lock = threading.Lock()
        self._lines: dict[str, Line] = {}

    def to(self, model: Model) -> Line:
        """The line to the vendor of a model."""
        line = self._lines.get(model.vendor)
        if line is not None:
            return line
        with self._lock:
            if model.vendor not in self._lines:
                self._lines[model.vendor] = self._open(self._vendors[model.vendor])
            return self._lines[model.vendor]

    def _open(self, vendor: Vendor) -> Line:
        pool = ConnectionPool(vendor.base_url, network=self._network, concurrency=self.concurrency)
        key = (("Authorization", f"Bearer {vendor.key}"),) if vendor.key else ()
        headers = (
            *key,
            ("Content-Type", "application/json"),
            ("Accept", "text/event-stream"),
            ("Accept-Encoding", "identity"),
        )
        return Line(vendor, Transport(pool), headers)
