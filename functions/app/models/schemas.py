"""What the models routes return."""

from typing import Literal

from pydantic import Field

from app.api.schemas import CreditAmount, ResponseBody

Unusable = Literal["vendor_not_configured", "no_text", "down"]


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
    provider: str = Field(description="Whose model it is, in words")
    vendor: str = Field(description="The id of who is asked; `platform` unless the catalogue names another one")
    capabilities: list[str]
    context_tokens: int
    max_output_tokens: int
    prices: PricesAnswer
    tiers: list[TierAnswer]
    fallbacks: list[str]
    health: Literal["up", "degraded", "down"] = Field(description="As this instance saw it in the last ten minutes")
    success: float | None = Field(
        description="The part that it answered of its last requests, 20 in ten minutes at most; null where none"
    )
    first_text_ms: int | None = Field(
        description="How long its answers among them took to their first text, the median; null when there was none"
    )
    usable: bool = Field(description="Whether a conversation may use it")
    unusable_because: Unusable | None = Field(
        description="Why it may not: its vendor's key is missing, it writes no text, or it fails for several users"
    )


class ModelsAnswer(ResponseBody):
    """The catalogue of one price-book version."""

    price_book: str
    unit: Literal["credits per 1,000,000 tokens"] = "credits per 1,000,000 tokens"
    items: list[ModelAnswer]
