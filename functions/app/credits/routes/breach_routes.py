"""`/credits/breaches...`: chains that do not extend what was sealed, and how one is closed. For administrators."""

from typing import Final

from flask_openapi import APIBlueprint, Tag

from app.api.auth import caller, only
from app.api.schemas import Problem
from app.credits.proofs.breaches import Resolution
from app.credits.routes.schemas import BreachAnswer, BreachesAnswer, BreachPath, ResolutionBody
from app.credits.service import Credits
from app.kit.stores.documents import Fields

_TAG: Final = Tag(name="credits breaches", description="Chains that do not extend what was sealed")
_MOST: Final = 100


def breach_routes(credits: Credits) -> APIBlueprint:
    """The blueprint; see the module."""
    blueprint = APIBlueprint("credits_breaches", __name__, abp_tags=[_TAG])

    @blueprint.get("/credits/breaches", summary="Open breaches, at most 100", responses={200: BreachesAnswer})
    @only("admin")
    def breaches() -> BreachesAnswer:
        found = credits.checkpoints.breaches.open().shown(lambda one: _answer(one.fields))
        return BreachesAnswer(items=found.first(_MOST))

    @blueprint.post(
        "/credits/breaches/<subject>/resolve",
        summary="Close a breach: its chain was restored, or counts as it stands",
        responses={202: BreachAnswer, 403: Problem, 404: Problem, 409: Problem},
    )
    @only("admin")
    def resolve(path: BreachPath, body: ResolutionBody) -> tuple[BreachAnswer, int]:
        resolution = Resolution(caller().uid, body.reason, body.accept)
        return _answer(credits.checkpoints.resolve(path.subject, resolution)), 202

    return blueprint


def _answer(fields: Fields) -> BreachAnswer:
    names = ("subject", "account", "state", "sequence", "check", "found_at")
    return BreachAnswer.model_validate({name: fields.get(name) for name in names})
