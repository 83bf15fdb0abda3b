"""`POST /chat/estimate` and `POST /chat/quotes`."""

from typing import Final

from flask_openapi import APIBlueprint, Tag

from app.api.auth import caller
from app.api.schemas import Problem
from app.assistant import serializers
from app.chat.forecast.forecaster import Forecaster
from app.chat.forecast.schemas import DurationAnswer, EstimateBody, MessageEstimate, QuoteAnswer, QuoteBody
from app.chat.opening import Ask
from app.kit.money import to_decimal

_TAG: Final = Tag(name="chat", description="Conversations, and answers that are paid while they stream")


def routes(forecaster: Forecaster) -> APIBlueprint:
    """The blueprint; see the module."""
    blueprint = APIBlueprint("forecast", __name__, abp_tags=[_TAG], url_prefix="/chat")

    @blueprint.post(
        "/estimate",
        summary="What a message would be, and cost",
        description="Task, complexity, route, model, cost and duration. Nothing is reserved or written.",
        responses={200: MessageEstimate, 404: Problem, 422: Problem},
    )
    def estimate(body: EstimateBody) -> MessageEstimate:
        # What a picture shows does not change its price, so their number is enough.
        ask = Ask(caller().uid, body.conversation_id or "", body.content, ("",) * body.images, body.model)
        found = forecaster.forecast(ask, body.max_output_tokens)
        return MessageEstimate(
            task=found.found.task,
            confidence=found.found.confidence,
            unsure=found.found.unsure,
            complexity=found.found.complexity,
            route=found.routed.route,
            route_because=found.routed.because,
            answered_by="quick",
            estimate=serializers.estimate(found.estimate),
            duration=None
            if found.duration is None
            else DurationAnswer(p50_ms=found.duration.p50, p90_ms=found.duration.p90),
            choice=None if found.chosen is None else serializers.choice(found.chosen),
        )

    @blueprint.post(
        "/quotes",
        summary="A price that binds",
        description="What a message costs at most, by a model and prices that stay the same until it expires. Send the "
        "message with `quote_id` then. Nothing is reserved; it is for one message.",
        responses={201: QuoteAnswer, 404: Problem, 422: Problem},
    )
    def bind(body: QuoteBody) -> tuple[QuoteAnswer, int]:
        ask = Ask(
            caller().uid,
            body.conversation_id or "",
            body.content,
            tuple(body.images),
            body.model,
            body.max_cost,
            parent=body.parent,
        )
        made = forecaster.bind(ask)
        return QuoteAnswer(
            quote_id=made.id,
            model=made.model,
            reason=made.because,
            p50=to_decimal(made.p50),
            p90=to_decimal(made.p90),
            ceiling=to_decimal(made.ceiling),
            price_book=made.price_book,
            expires_at=made.expires_at,
            choice=None if made.choice is None else serializers.choice(made.choice),
        ), 201

    return blueprint
