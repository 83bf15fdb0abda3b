"""`/credits/corrections...` and `/credits/repair`: for administrators alone."""

from typing import Final

from flask_openapi import APIBlueprint, Tag

from app.api.auth import caller, only
from app.api.idempotency import Idempotency, idempotency_key, idempotent
from app.api.schemas import Problem
from app.credits.corrections.corrections import Corrections, Proposal
from app.credits.corrections.repair import Repairs
from app.credits.routes.schemas import CorrectionAnswer, CorrectionBody, CorrectionPath, RepairAnswer, RepairBody
from app.kit.ids import derived
from app.kit.money import from_decimal, to_decimal
from app.kit.stores.documents import Fields, int_field

_TAG: Final = Tag(name="credits admin", description="Corrections need two administrators; entries are never changed")


def admin_routes(corrections: Corrections, repairs: Repairs, records: Idempotency) -> APIBlueprint:
    """The blueprint; see the module."""
    blueprint = APIBlueprint("credits_admin", __name__, abp_tags=[_TAG])

    @blueprint.post(
        "/credits/corrections",
        summary="Propose an adjustment or a reversal",
        responses={201: CorrectionAnswer, 404: Problem, 409: Problem, 422: Problem},
    )
    @only("admin")
    @idempotent(records)
    def propose(body: CorrectionBody) -> tuple[CorrectionAnswer, int]:
        amount = 0 if body.amount is None else from_decimal(body.amount)
        proposal = Proposal(body.uid, body.reason, amount, body.reverses)
        by, key = caller().uid, idempotency_key()
        return _answer(corrections.propose(proposal, by, None if key is None else derived("cor", by, key))), 201

    @blueprint.get("/credits/corrections/<correction_id>", summary="One proposal", responses={200: CorrectionAnswer})
    @only("admin")
    def read(path: CorrectionPath) -> CorrectionAnswer:
        return _answer(corrections.read(path.correction_id))

    @blueprint.post(
        "/credits/corrections/<correction_id>/approve",
        summary="Post what another administrator proposed",
        responses={200: CorrectionAnswer, 403: Problem, 409: Problem},
    )
    @only("admin")
    @idempotent(records)
    def approve(path: CorrectionPath) -> CorrectionAnswer:
        corrections.approve(path.correction_id, caller().uid)
        return _answer(corrections.read(path.correction_id))

    @blueprint.post(
        "/credits/corrections/<correction_id>/reject",
        summary="Close a proposal",
        responses={200: CorrectionAnswer, 409: Problem},
    )
    @only("admin")
    @idempotent(records)
    def reject(path: CorrectionPath) -> CorrectionAnswer:
        return _answer(corrections.reject(path.correction_id, caller().uid))

    @blueprint.post(
        "/credits/repair",
        summary="Rebuild an account's derived state from its entries",
        responses={200: RepairAnswer, 404: Problem, 409: Problem},
    )
    @only("admin")
    @idempotent(records)
    def repair(body: RepairBody) -> RepairAnswer:
        done = repairs.account(body.uid, write=body.write, status=body.status)
        return RepairAnswer(
            repaired=done.repaired,
            balance_was=None if done.was is None else to_decimal(done.was.balance),
            balance=to_decimal(done.now.balance),
            sequence=done.now.sequence,
            status=done.now.status,
            lost=list(done.lost),
        )

    return blueprint


def _answer(fields: Fields) -> CorrectionAnswer:
    known = {name: value for name, value in fields.items() if name in CorrectionAnswer.model_fields}
    return CorrectionAnswer.model_validate({**known, "amount": to_decimal(int_field(fields, "amount"))})
