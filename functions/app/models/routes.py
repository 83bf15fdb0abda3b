"""`GET /models`: the models with their prices and their recent health."""

from collections.abc import Mapping
from typing import Final

from flask_openapi import APIBlueprint, Tag

from app.kit.money import to_decimal
from app.models.catalogue import BUCKETS, Bucket, Catalogue, Model
from app.models.circuits.breakers import Breakers
from app.models.health import HealthState, ModelHealth
from app.models.schemas import ModelAnswer, ModelsAnswer, PricesAnswer, TierAnswer, Unusable

_TAG: Final = Tag(name="models", description="What can be asked, and what it costs")


def routes(catalogue: Catalogue, health: ModelHealth, breakers: Breakers) -> APIBlueprint:
    blueprint = APIBlueprint("models", __name__, abp_tags=[_TAG])

    @blueprint.get("/models", summary="The catalogue", responses={200: ModelsAnswer})
    def list_models() -> ModelsAnswer:
        items = [_model(model, catalogue, health, breakers) for model in catalogue]
        return ModelsAnswer(price_book=catalogue.version, items=items)

    return blueprint


def _model(model: Model, catalogue: Catalogue, health: ModelHealth, breakers: Breakers) -> ModelAnswer:
    resting = breakers.state(model.id) == "open"
    state: HealthState = "down" if resting else health.of(model.id)
    recent = health.recent(model.id)
    unusable = _unusable(model, closed=model.id in catalogue.closed, resting=resting)
    return ModelAnswer(
        id=model.id,
        name=model.name,
        provider=model.provider,
        vendor=model.vendor,
        capabilities=sorted(model.capabilities),
        context_tokens=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
        prices=_prices(model.prices),
        tiers=[TierAnswer(above_input_tokens=t.above_input_tokens, prices=_prices(t.prices)) for t in model.tiers],
        fallbacks=[*model.fallbacks],
        health=state,
        success=round(recent.answered / recent.requests, 2) if recent.requests else None,
        first_text_ms=None if recent.first_text_us is None else recent.first_text_us // 1000,
        usable=unusable is None,
        unusable_because=unusable,
    )


def _unusable(model: Model, *, closed: bool, resting: bool) -> Unusable | None:
    """Why a conversation may not use the model."""
    if closed:
        return "vendor_not_configured"
    if not model.can("text"):
        return "no_text"
    return "down" if resting else None


def _prices(prices: Mapping[Bucket, int]) -> PricesAnswer:
    return PricesAnswer(**{name: to_decimal(prices[name]) if name in prices else None for name in BUCKETS})
