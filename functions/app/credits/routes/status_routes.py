"""`POST /credits/status`: an administrator freezes, suspends, closes or activates an account."""

from typing import Final

from flask_openapi import APIBlueprint, Tag
from pydantic import Field

from app.api.auth import caller, only
from app.api.idempotency import Idempotency, idempotency_key, idempotent
from app.api.schemas import Problem, RequestBody, ResponseBody, Timestamp, UserId
from app.credits.core.account import AccountStatus
from app.credits.corrections.statuses import StatusChange, Statuses
from app.kit.ids import derived

_TAG: Final = Tag(name="credits status", description="Who may spend; each change is kept with its reason")


class StatusBody(RequestBody):
    """A status from which the account may go there; a closed account stays closed."""

    uid: UserId
    status: AccountStatus = Field(strict=False)
    reason: str = Field(min_length=3, max_length=200)


class StatusAnswer(ResponseBody):
    """What was recorded of the change."""

    account: str
    was: AccountStatus
    status: AccountStatus
    reason: str
    by: str
    at: Timestamp


def status_routes(statuses: Statuses, records: Idempotency) -> APIBlueprint:
    """The blueprint; see the module."""
    blueprint = APIBlueprint("credits_status", __name__, abp_tags=[_TAG])

    @blueprint.post(
        "/credits/status",
        summary="Change an account's status",
        responses={200: StatusAnswer, 404: Problem, 409: Problem},
    )
    @only("admin")
    @idempotent(records)
    def change_status(body: StatusBody) -> StatusAnswer:
        by, key = caller().uid, idempotency_key()
        change = StatusChange(body.uid, body.status, body.reason, by)
        return StatusAnswer.model_validate(statuses.change(change, None if key is None else derived("sta", by, key)))

    return blueprint
