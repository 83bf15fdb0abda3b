"""`GET /billing/policy`: the billing table as everybody may read it, made of the table that charges."""

from collections.abc import Mapping
from typing import Final

from flask_openapi import APIBlueprint, Tag

from app.api.auth import public
from app.metering.billing import Basis, Ending, Policy, Rule
from app.metering.schemas import PolicyAnswer, RuleAnswer

_TAG: Final = Tag(name="billing", description="Who pays for which ending of an answer")

_MOST: Final = "A charge is never more than what was reserved for the call, whatever its basis."

_ENDINGS: Final[Mapping[Ending, str]] = {
    Ending.COMPLETED: "The model ended its answer, and the vendor reported what it used",
    Ending.LENGTH: "The answer reached the most that one answer may have",
    Ending.BUDGET: "The answer reached what the reserved credits pay for",
    Ending.MODEL_LENGTH: "The model's own context was full before its answer was whole",
    Ending.FILTERED: "The vendor's safety rules cut the answer off after some of it had come",
    Ending.UNKNOWN_FINISH: "The vendor ended the answer for a reason that is not known here",
    Ending.EMPTY: "The vendor ended the answer without one visible character",
    Ending.CANCELLED_BEFORE: "You stopped the answer before anything visible had come",
    Ending.CANCELLED_AFTER: "You stopped the answer after some of it had come",
    Ending.CLIENT_GONE_BEFORE: "The connection to you was lost before anything visible had come",
    Ending.CLIENT_GONE_AFTER: "The connection to you was lost after some of the answer had come",
    Ending.VENDOR_FAILED_BEFORE: "The vendor failed before anything visible had come",
    Ending.VENDOR_FAILED_AFTER: "The vendor failed after some of the answer had come",
    Ending.USAGE_MISSING: "The model ended its answer, and the vendor reported no usage that can be charged",
    Ending.CRASHED: "Our function died while it answered",
    Ending.SETTLEMENT_FAILED: "Our store refused the charge at every try",
    Ending.RESERVATION_LOST: "The reservation was given back before the answer ended",
    Ending.MODERATION: "The vendor's safety rules refused the prompt",
    Ending.CACHE_HIT: "The answer was kept from an equal question before",
}
_BASES: Final[Mapping[Basis, str]] = {
    Basis.NOTHING: "Nothing is charged, and what was reserved can be spent again",
    Basis.DELIVERED: "The prompt and what reached you are charged, by the vendor's count where that costs less",
    Basis.USAGE: "The tokens that the vendor counted are charged at the prices of the price book",
}


def routes(policy: Policy) -> APIBlueprint:
    """The blueprint. `policy` is the table that settlements use."""
    blueprint = APIBlueprint("billing", __name__, abp_tags=[_TAG], url_prefix="/billing")

    @blueprint.get(
        "/policy",
        summary="Who pays for which ending",
        description="Generated from the table by which every call is charged.",
        responses={200: PolicyAnswer},
    )
    @public
    def read_policy() -> PolicyAnswer:
        return PolicyAnswer(
            most=_MOST,
            endings={**_ENDINGS},
            bases={**_BASES},
            rules=[
                RuleAnswer(
                    ending=ending,
                    mode=mode,
                    payer=rule.payer,
                    basis=rule.basis,
                    reason=rule.reason,
                    words=_words(ending, rule),
                )
                for (ending, mode), rule in policy.items()
            ],
        )

    return blueprint


def _words(ending: Ending, rule: Rule) -> str:
    return f"{_ENDINGS[ending]}. {_BASES[rule.basis]}."
