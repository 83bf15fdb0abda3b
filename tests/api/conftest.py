"""The shop, and Alice in front of it."""

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
    """Alice, in front of the shop."""
    return world.mounted(shop.routes())
