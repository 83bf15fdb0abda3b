"""A chat world per test over one vendor process."""

import pytest

from support.chat_world import ChatWorld
from support.vendor import Vendor, vendor, vendor_process

__all__ = ["vendor", "vendor_process"]


@pytest.fixture
def world(vendor: Vendor) -> ChatWorld:
    return ChatWorld(vendor)
