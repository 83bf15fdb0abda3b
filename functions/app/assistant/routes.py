"""`POST /models/estimate-cost`: what a message would cost before it is sent."""

from typing import Final

from flask_openapi import APIBlueprint, Tag

from app.api.schemas import Problem
from app.assistant.estimating import Planned, estimate_cost
from app.assistant.schemas import CostAnswer, CostBody, EstimateAnswer, LeftOutAnswer, OutputTokensAnswer
from app.kit.money import to_decimal
from app.metering.estimate import Estimate
from app.models.pricing import PriceBook

_TAG: Final = Tag(name="models", description="What can be asked, and what it costs")


def routes(book: PriceBook) -> APIBlueprint:
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
            estimates=[estimate_answer(one) for one in found.estimates],
            left_out=[LeftOutAnswer(model=one.model.id, code=one.code) for one in found.left_out],
        )

    return blueprint


def estimate_answer(found: Estimate) -> EstimateAnswer:
    """An estimate as clients see it."""
    lengths = found.lengths
    return EstimateAnswer(
        model=found.quote.model.id,
        low=to_decimal(found.low),
        expected=to_decimal(found.expected),
        p90=to_decimal(found.p90),
        high=to_decimal(found.high),
        required=to_decimal(found.quote.needed),
        output_tokens=OutputTokensAnswer(
            p10=lengths.p10, p50=lengths.p50, p90=lengths.p90, most=found.quote.demand.output_tokens
        ),
    )
