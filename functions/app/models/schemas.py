"""What the models routes return."""

from typing import Literal

from pydantic import Field

from app.api.schemas import CreditAmount, ResponseBody


class PricesAnswer(ResponseBody):
    """Credits per million tokens; null where the model has no such tokens."""

    input: CreditAmount | None
    cached_input: CreditAmount | None
    cache_write: CreditAmount | None = Field(description="Null where it costs as much as input")
    output: CreditAmount | None
    reasoning: CreditAmount | None
    image: CreditAmount | None


class TierAnswer(ResponseBody):
    """Prices of whole requests with more input than `above_input_tokens`."""

    above_input_tokens: int
    prices: PricesAnswer


class ModelAnswer(ResponseBody):
    """One model."""

    id: str
    name: str
    provider: str
    capabilities: list[str]
    context_tokens: int
    max_output_tokens: int
    prices: PricesAnswer
    tiers: list[TierAnswer]
    fallbacks: list[str]
    health: Literal["up", "degraded", "down"] = Field(description="As this instance saw it in the last ten minutes")
    usable: bool = Field(description="Whether a conversation may use it")


class ModelsAnswer(ResponseBody):
    """The catalogue of one price-book version."""

    price_book: str
    unit: Literal["credits per 1,000,000 tokens"] = "credits per 1,000,000 tokens"
    items: list[ModelAnswer]
