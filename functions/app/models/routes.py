"""`GET /models`: the models with their prices and their recent health."""

from collections.abc import Mapping
from typing import Final

from flask_openapi import APIBlueprint, Tag

from app.kit.money import to_decimal
from app.models.catalogue import BUCKETS, Bucket, Catalogue, Model
from app.models.health import HealthState, ModelHealth
from app.models.schemas import ModelAnswer, ModelsAnswer, PricesAnswer, TierAnswer, Unusable

_TAG: Final = Tag(name="models", description="What can be asked, and what it costs")


def routes(catalogue: Catalogue, health: ModelHealth) -> APIBlueprint:
    blueprint = APIBlueprint("models", __name__, abp_tags=[_TAG])

    @blueprint.get("/models", summary="The catalogue", responses={200: ModelsAnswer})
    def list_models() -> ModelsAnswer:
        return ModelsAnswer(
            price_book=catalogue.version, items=[_model(model, catalogue, health) for model in catalogue]
        )

    return blueprint


def _model(model: Model, catalogue: Catalogue, health: ModelHealth) -> ModelAnswer:
    state = health.of(model.id)
    unusable = _unusable(model, state, closed=model.id in catalogue.closed)
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
        usable=unusable is None,
        unusable_because=unusable,
    )


def _unusable(model: Model, state: HealthState, *, closed: bool) -> Unusable | None:
    """Why a conversation may not use the model."""
    if closed:
        return "vendor_not_configured"
    if not model.can("text"):
        return "no_text"
    return "down" if state == "down" else None


def _prices(prices: Mapping[Bucket, int]) -> PricesAnswer:
    return PricesAnswer(**{name: to_decimal(prices[name]) if name in prices else None for name in BUCKETS})
