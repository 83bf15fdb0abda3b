"""Lines to model vendors, and circuits that stay closed, for tests of the gateway."""

from app.kit.concurrency import Concurrency
from app.kit.network.sockets import Network
from app.models.circuits.breakers import Breakers
from app.models.vendors.lines import VendorLines
from app.models.vendors.vendor import PLATFORM, Vendor


def one_vendor(
    base_url: str, *, key: str = "k", network: Network | None = None, concurrency: Concurrency | None = None
) -> VendorLines:
    """The line to the one vendor of the catalogue that comes with the project."""
    return VendorLines({PLATFORM: Vendor(PLATFORM, "", base_url, key=key)}, network=network, concurrency=concurrency)


def no_breakers() -> Breakers:
    """Circuits that no test opens."""
    return Breakers(lambda: 0, most=1000)
