"""`/credits/...`: balance, reservations and the mirror. The ledger's own routes stand in `ledger_routes`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from flask_openapi import APIBlueprint, Tag

from app.api.auth import caller, spends
from app.api.context import request_id
from app.api.idempotency import Idempotency, idempotency_key, idempotent
from app.api.schemas import Problem
from app.credits.balance_mirror import BalanceMirror
from app.credits.core.account import SET_ASIDE, Closed, Reservation
from app.credits.core.commands import Reserve
from app.credits.core.entry import Reference
from app.credits.core.rejections import ReservationTooLarge
from app.credits.corrections.traces import remembered
from app.credits.offers import DEFAULT, Offers, Package
from app.credits.proofs.explaining import balance_at
from app.credits.routes.analytics_routes import add_analytics_routes
from app.credits.routes.ledger_routes import add_ledger_routes
from app.credits.routes.schemas import (
    BalanceAnswer,
    BalanceEither,
    BalanceParameters,
    CheckAnswer,
    CheckBody,
    LowBalanceAnswer,
    OperationPrice,
    PackageAnswer,
    PastBalanceAnswer,
    PricedOperation,
    ReleaseBody,
    ReservationAnswer,
    ReservationsAnswer,
    ReserveBody,
    SyncAnswer,
    ThresholdBody,
)
from app.credits.service import Credits
from app.kit.clock import from_rfc3339, seconds, to_rfc3339
from app.kit.errors import InvariantViolation
from app.kit.ids import Ids, derived
from app.kit.money import to_decimal
from app.kit.stores.documents import optional_text

_TAG: Final = Tag(name="credits", description="Balance, reservations and a ledger that proves itself")


@dataclass(frozen=True, slots=True)
class CreditsRoutes:
    """Dependencies of the credits routes."""

    credits: Credits
    mirror: BalanceMirror
    ids: Ids
    records: Idempotency
    offers: Offers = field(default=DEFAULT)
    price: Callable[[str, PricedOperation], OperationPrice] | None = None
    """What an operation of a user costs, asked of the features above, which know models."""


def account_routes(parts: CreditsRoutes) -> APIBlueprint:
    """The blueprint; see the module."""
    blueprint = APIBlueprint("credits", __name__, abp_tags=[_TAG])
    _add_balance(blueprint, parts)
    _add_reservations(blueprint, parts)
    add_ledger_routes(blueprint, parts.credits)
    add_analytics_routes(blueprint, parts.credits)
    return blueprint


def _add_balance(blueprint: APIBlueprint, parts: CreditsRoutes) -> None:
    credits, offers = parts.credits, parts.offers

    @blueprint.get("/credits/balance", summary="Own balance, now or at a time", responses={200: BalanceEither})
    def balance(query: BalanceParameters) -> BalanceEither:
        uid = caller().uid
        if query.at is None:
            return BalanceEither(BalanceAnswer.model_validate(credits.balance(uid)))
        past = balance_at(credits.ledger, uid, from_rfc3339(query.at))
        entry = past.entry or {}
        return BalanceEither(
            PastBalanceAnswer(
                at=to_rfc3339(from_rfc3339(query.at)),
                balance=to_decimal(past.balance),
                sequence=past.sequence,
                transaction_id=optional_text(entry, "id"),
                hash=optional_text(entry, "hash"),
            )
        )

    @blueprint.get("/credits/low-balance-check", summary="Whether to buy more", responses={200: LowBalanceAnswer})
    def low_balance_check() -> LowBalanceAnswer:
        account = credits.account(caller().uid)
        available = credits.available(account)
        low = available < account.low_threshold
        return LowBalanceAnswer(
            low=low,
            threshold=to_decimal(account.low_threshold),
            available=to_decimal(available),
            recommended_packages=_packages(offers.covering(account.low_threshold - available)) if low else [],
        )

    @blueprint.put("/credits/low-balance-threshold", summary="When to be warned", responses={200: BalanceAnswer})
    def low_balance_threshold(body: ThresholdBody) -> BalanceAnswer:
        credits.set_threshold(caller().uid, body.threshold)
        return BalanceAnswer.model_validate(credits.balance(caller().uid))

    @blueprint.post(
        "/credits/check-insufficient",
        summary="Whether an amount, or what a message needs, is there",
        responses={200: CheckAnswer, 404: Problem},
    )
    def check_insufficient(body: CheckBody) -> CheckAnswer:
        uid = caller().uid
        price = _price(parts, uid, body)
        if body.operation is not None and price.needed > credits.settings.max_reservation:
            raise ReservationTooLarge(required=price.needed, limit=credits.settings.max_reservation)
        available = credits.reservable(credits.account(uid))
        shortfall = max(0, price.needed - available)
        return CheckAnswer(
            sufficient=shortfall == 0,
            required=to_decimal(price.needed),
            available=to_decimal(available),
            shortfall=to_decimal(shortfall),
            ceiling=None if body.operation is None else to_decimal(price.ceiling),
            packages=_packages(offers.covering(shortfall)) if shortfall else [],
            methods=list(offers.methods),
        )

    @blueprint.post("/credits/sync-balance", summary="Rebuild the live mirror", responses={200: SyncAnswer})
    def sync_balance() -> SyncAnswer:
        account = credits.account(caller().uid)
        done = parts.mirror.repair(account.uid)
        shown: dict[str, object] | None = {**done.was} if isinstance(done.was, dict) else None
        authoritative = BalanceAnswer.model_validate(done.wanted)
        return SyncAnswer(mirror_was=shown, authoritative=authoritative, repaired=done.repaired)


def _price(parts: CreditsRoutes, uid: str, body: CheckBody) -> OperationPrice:
    if body.amount is not None:
        return OperationPrice(body.amount, body.amount)
    if body.operation is None or parts.price is None:
        raise InvariantViolation("whoever mounts these routes brings prices")
    return parts.price(uid, body.operation)


def _add_reservations(blueprint: APIBlueprint, parts: CreditsRoutes) -> None:
    credits = parts.credits

    @blueprint.post(
        "/credits/reserve",
        summary="Set credits aside",
        responses={201: ReservationAnswer, 402: Problem, 403: Problem, 422: Problem, 429: Problem},
    )
    @idempotent(parts.records)
    @spends
    def reserve(body: ReserveBody) -> tuple[ReservationAnswer, int]:
        uid, key = caller().uid, idempotency_key()
        id = parts.ids.new("rsv") if key is None else derived("rsv", uid, key)
        expires_in = credits.settings.reservation_expiry_us if body.expires_in is None else seconds(body.expires_in)
        reference = Reference(SET_ASIDE, id, request_id())
        made = credits.reserve(uid, Reserve(id, body.amount, body.amount, body.purpose, reference, expires_in))
        return _open_answer(made), 201

    @blueprint.post(
        "/credits/release-reservation",
        summary="Give a reservation back",
        responses={200: ReservationAnswer, 404: Problem, 409: Problem},
    )
    @idempotent(parts.records)
    def release_reservation(body: ReleaseBody) -> ReservationAnswer:
        released = credits.release(caller().uid, body.reservation_id, "released_by_user")
        return _open_answer(released).model_copy(update={"expires_at": None})

    @blueprint.get("/credits/reservations", summary="Open and recent reservations", responses={200: ReservationsAnswer})
    def reservations() -> ReservationsAnswer:
        account = credits.account(caller().uid)
        closed = [_closed_answer(one) for one in reversed([*remembered(account)])]
        return ReservationsAnswer(items=[*map(_open_answer, reversed(account.reservations)), *closed])


def _open_answer(reservation: Reservation) -> ReservationAnswer:
    return ReservationAnswer(
        id=reservation.id,
        amount=to_decimal(reservation.amount),
        captured=to_decimal(reservation.captured),
        state=reservation.state.value,
        expires_at=to_rfc3339(reservation.expires_at_us),
    )


def _closed_answer(closed: Closed) -> ReservationAnswer:
    return ReservationAnswer(
        id=closed.id,
        amount=to_decimal(closed.amount),
        captured=to_decimal(closed.captured),
        state=closed.state.value,
        expires_at=None,
    )


def _packages(packages: Sequence[Package]) -> list[PackageAnswer]:
    return [
        PackageAnswer(id=offer.id, credits=to_decimal(offer.credits), price=offer.price, currency=offer.currency)
        for offer in packages
    ]
