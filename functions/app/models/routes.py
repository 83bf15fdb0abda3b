"""`GET /models`: the models with their prices and their recent health."""

from collections.abc import Mapping
from typing import Final

from flask_openapi import APIBlueprint, Tag

from app.kit.money import to_decimal
from app.models.catalogue import BUCKETS, Bucket, Catalogue, Model
from app.models.health import ModelHealth
from app.models.schemas import ModelAnswer, ModelsAnswer, PricesAnswer, TierAnswer

_TAG: Final = Tag(name="models", description="What can be asked, and what it costs")


def routes(catalogue: Catalogue, health: ModelHealth) -> APIBlueprint:
    blueprint = APIBlueprint("models", __name__, abp_tags=[_TAG])

    @blueprint.get("/models", summary="The catalogue", responses={200: ModelsAnswer})
    def list_models() -> ModelsAnswer:
        return ModelsAnswer(price_book=catalogue.version, items=[_model(model, health) for model in catalogue])

    return blueprint


def _model(model: Model, health: ModelHealth) -> ModelAnswer:
    state = health.of(model.id)
    return ModelAnswer(
        id=model.id,
        name=model.name,
        provider=model.provider,
        capabilities=sorted(model.capabilities),
        context_tokens=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
        prices=_prices(model.prices),
        tiers=[TierAnswer(above_input_tokens=t.above_input_tokens, prices=_prices(t.prices)) for t in model.tiers],
        fallbacks=[*model.fallbacks],
        health=state,
        usable=model.can("text") and state != "down",
    )


def _prices(prices: Mapping[Bucket, int]) -> PricesAnswer:
    return PricesAnswer(**{name: to_decimal(prices[name]) if name in prices else None for name in BUCKETS})
