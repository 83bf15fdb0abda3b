"""A running simulator and two clients of it: the vendor's own SDK, and bare HTTP."""

from collections.abc import Iterator

import httpx2
import openai
import pytest

from support.vendor import Vendor, vendor, vendor_process

__all__ = ["vendor", "vendor_process"]


@pytest.fixture
def client(vendor: Vendor) -> Iterator[openai.OpenAI]:
    """The SDK, without its own retries."""
    with openai.OpenAI(base_url=vendor.base_url, api_key="any-key", max_retries=0, timeout=20) as sdk:
        yield sdk


@pytest.fixture
def http(vendor: Vendor) -> Iterator[httpx2.Client]:
    """Bare HTTP with a key."""
    headers = {"Authorization": "Bearer any-key"}
    with httpx2.Client(base_url=vendor.base_url, headers=headers, timeout=20) as bare:
        yield bare
