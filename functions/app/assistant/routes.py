"""`/models/estimate-cost`: what a message would cost; `/models/preferences`: how models are chosen."""

from typing import Final

from flask_openapi import APIBlueprint, Tag

from app.api.auth import caller
from app.api.schemas import Problem
from app.assistant import serializers
from app.assistant.estimating import Planned, estimate_cost
from app.assistant.preferences import Preferences, PreferencesStore, check
from app.assistant.routing import RouteRule
from app.assistant.schemas import CostAnswer, CostBody, LeftOutAnswer, PreferencesAnswer, PreferencesBody
from app.models.pricing import PriceBook

_TAG: Final = Tag(name="models", description="What can be asked, and what it costs")


def routes(book: PriceBook, store: PreferencesStore) -> APIBlueprint:
    """The blueprint; see the module."""
    blueprint = APIBlueprint("assistant", __name__, abp_tags=[_TAG], url_prefix="/models")

    @blueprint.post(
        "/estimate-cost",
        summary="What a message would cost",
        description="Priced by the quote that a message begins with. Nothing is reserved.",
        responses={200: CostAnswer, 422: Problem},
    )
    def price(body: CostBody) -> CostAnswer:
        planned = Planned(body.content, body.input_tokens or 0, body.task, body.image, body.max_output_tokens)
        found = estimate_cost(book, planned, body.model)
        return CostAnswer(
            price_book=book.version,
            task=found.task,
            estimates=[serializers.estimate(one) for one in found.estimates],
            left_out=[LeftOutAnswer(model=one.model.id, code=one.code) for one in found.left_out],
        )

    @blueprint.get("/preferences", summary="How models are chosen for you", responses={200: PreferencesAnswer})
    def read_preferences() -> PreferencesAnswer:
        return serializers.preferences(store.of(caller().uid))

    @blueprint.put(
        "/preferences",
        summary="Decide how models are chosen for you",
        description="Replaces all of them. They hold for messages and conversations whose `model` is `auto`.",
        responses={200: PreferencesAnswer, 422: Problem},
    )
    def put_preferences(body: PreferencesBody) -> PreferencesAnswer:
        wanted = Preferences(
            optimize=body.optimize,
            defaults=body.defaults,
            most_per_message=body.most_per_message,
            excluded_providers=tuple(dict.fromkeys(body.excluded_providers)),
            rules=tuple(RouteRule(rule.task, rule.route, rule.priority) for rule in body.rules),
        )
        check(wanted, book.catalogue)
        return serializers.preferences(store.put(caller().uid, wanted))

    return blueprint
