"""A served backend per test over one vendor process, and OpenAI's own SDK as its client."""

from collections.abc import Iterator

import openai
import pytest

from chat.door.served import Served, served
from support.vendor import Vendor, vendor, vendor_process

__all__ = ["vendor", "vendor_process"]


@pytest.fixture
def door(vendor: Vendor) -> Iterator[Served]:
    with served(vendor) as found:
        yield found


@pytest.fixture
def client(door: Served) -> Iterator[openai.OpenAI]:
    """The SDK with a key of Alice's, and without retries of its own."""
    with openai.OpenAI(base_url=door.base_url, api_key=door.key(), max_retries=0, timeout=20) as sdk:
        yield sdk
