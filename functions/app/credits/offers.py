"""What a user short of credits may buy. Payments bring their own list; until then these at the list price.

Prices are minor units of a currency; the list price is USD 0.024 per credit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from app.kit.money import credits


@dataclass(frozen=True, slots=True)
class Package:
    """Credits for a price."""

    id: str
    credits: int
    price: int
    currency: str


@dataclass(frozen=True, slots=True)
class Offers:
    """Packages that cover a need, smallest first, and the ways to pay."""

    covering: Callable[[int], Sequence[Package]]
    methods: tuple[str, ...] = ()


LIST: Final = tuple(Package(f"credits-{n}", credits(n), n * 24 // 10, "usd") for n in (500, 1000, 5000, 20000))


def list_price(need: int) -> Sequence[Package]:
    """The packages of at least `need`, or the largest when none is."""
    return [package for package in LIST if package.credits >= need][:3] or [LIST[-1]]


DEFAULT: Final = Offers(list_price)
