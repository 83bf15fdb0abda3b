"""What usage costs by the public price list, counted apart from the app: exact, rounded up once per message."""

from decimal import ROUND_CEILING, Decimal

import requests

from e2e.person import Json
from support.suite import RunningSuite
from support.vendor import Vendor

MICRO = Decimal("0.000001")


def cost_of(suite: RunningSuite, model: str, usage: Json) -> Decimal:
    """Credits for the usage of an answer of `model` (no test comes near a tier)."""
    user = suite.create_user()
    catalogue = requests.get(f"{suite.api}/v1/models", headers=user.headers, timeout=60).json()
    assert catalogue["unit"] == "credits per 1,000,000 tokens"
    prices = next(item["prices"] for item in catalogue["items"] if item["id"] == model)
    tokens = {name: int(str(count)) for name, count in usage.items()}
    fresh = tokens["input_tokens"] - tokens["cached_tokens"]
    exact = (
        fresh * Decimal(prices["input"])
        + tokens["cached_tokens"] * Decimal(prices["cached_input"])
        + tokens["output_tokens"] * Decimal(prices["output"])
    ) / 1_000_000
    return exact.quantize(MICRO, rounding=ROUND_CEILING)


def most(suite: RunningSuite, vendor: Vendor) -> Decimal:
    """What the prompt and all that the vendor made for the last request would cost, in its own count."""
    record = vendor.requests(wait_ms=10_000)[-1]
    made: Json = {
        "input_tokens": record["prompt_tokens"],
        "output_tokens": record["tokens_generated"],
        "cached_tokens": 0,
    }
    return cost_of(suite, "small", made)
