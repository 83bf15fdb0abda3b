"""`POST /credits/welcome-bonus`, and the callable of the same use case."""

from collections.abc import Callable, Mapping
from typing import Final

from flask_openapi import APIBlueprint, Tag
from pydantic import Field

from app.api.auth import caller, spends
from app.api.callables import Invocation
from app.api.idempotency import Idempotency, idempotent
from app.api.schemas import Problem, RequestBody
from app.credits.routes.schemas import EntryAnswer, entry_answer
from app.kit.stores.documents import Fields

_TAG: Final = Tag(name="credits", description="Balance, reservations and a ledger that proves itself")

Claim = Callable[[str, str | None], Fields]
"""Claims for a user, with the device's fingerprint, and gives the fields of the entry."""


class WelcomeBody(RequestBody):
    """A fingerprint can only speak against a claim, never for it."""

    device_fingerprint: str | None = Field(default=None, min_length=8, max_length=200)


def routes(claim: Claim, records: Idempotency) -> APIBlueprint:
    """The blueprint; see the module."""
    blueprint = APIBlueprint("bonus", __name__, abp_tags=[_TAG])

    @blueprint.post(
        "/credits/welcome-bonus",
        summary="Claim the welcome bonus",
        responses={201: EntryAnswer, 403: Problem, 409: Problem},
    )
    @idempotent(records)
    @spends
    def welcome_bonus(body: WelcomeBody) -> tuple[EntryAnswer, int]:
        return entry_answer(claim(caller().uid, body.device_fingerprint)), 201

    return blueprint


def claimed(claim: Claim, call: Invocation) -> Mapping[str, object]:
    """For the callable."""
    body = call.fit(WelcomeBody)
    return entry_answer(claim(call.who.uid, body.device_fingerprint)).model_dump(mode="json")
