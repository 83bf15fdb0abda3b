"""A world with the test shop's routes, and a client that is signed in as Alice."""

import pytest

from app.api.idempotency import Idempotency
from support.shop import Shop
from support.world import Caller, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def shop(world: World) -> Shop:
    return Shop(Idempotency(world.documents, world.clock))


@pytest.fixture
def client(world: World, shop: Shop) -> Caller:
    """A client of the shop's routes, signed in as Alice."""
    return world.mounted(shop.routes())
