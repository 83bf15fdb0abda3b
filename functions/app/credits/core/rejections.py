"""The rejections of the credit system; the name of each class says what happened."""

from typing import Final

from app.kit.errors import Forbidden, NotFound, Rejection
from app.kit.money import MAX_MICRO, to_decimal

HELD_FOR_S: Final = 5
"""Seconds after which a request is tried again whose credits running answers hold: most answers are shorter."""


class InsufficientCredits(Rejection):
    """There is less available than the caller needs."""

    status = 402
    code = "insufficient_credits"
    title = "Not enough credits"

    def __init__(self, *, required: int, available: int) -> None:
        shortfall = max(0, required - available)
        super().__init__(
            f"This needs {to_decimal(required)} credits; {to_decimal(available)} are available",
            required=to_decimal(required),
            available=to_decimal(available),
            shortfall=to_decimal(shortfall),
            payment_options={"href": "/v1/payments/options", "credits_at_least": to_decimal(shortfall)},
        )
        self.required = required
        self.available = available


class CreditsHeldByAnswers(InsufficientCredits):
    """There is enough, but running answers hold it. What they do not use comes back when they end, so it is told as a
    wait and not as a lack of credits.
    """

    status = 429
    code = "credits_held_by_running_answers"
    title = "Running answers hold these credits"

    def __init__(self, *, required: int, available: int, held: int) -> None:
        super().__init__(required=required, available=available)
        self.detail = (
            f"This needs {to_decimal(required)} credits; {to_decimal(available)} are available, and your running "
            f"answers hold {to_decimal(held)}. What they do not use comes back when they end"
        )
        self.fields = {**self.fields, "held": to_decimal(held), "retry_after_s": HELD_FOR_S}


def lacking(*, required: int, available: int, held: int) -> InsufficientCredits:
    """The refusal of what needs more than is available, where running answers hold so much of the rest."""
    if available + held >= required:
        return CreditsHeldByAnswers(required=required, available=available, held=held)
    return InsufficientCredits(required=required, available=available)


class BudgetExceeded(Rejection):
    """A budget of the API key leaves less than the call needs. `held` is what running calls of the key hold of it."""

    status = 402
    code = "budget_exceeded"
    title = "The budget is spent"

    def __init__(
        self, *, api_key: str, window: str, limit: int, spent: int, held: int, required: int, resets_at: str | None
    ) -> None:
        super().__init__(
            f"This needs {to_decimal(required)} credits; the API key's budget of {to_decimal(limit)} ({window}) has "
            f"spent {to_decimal(spent)}, and running answers hold {to_decimal(held)}",
            budget="api_key",
            api_key=api_key,
            window=window,
            limit=to_decimal(limit),
            spent=to_decimal(spent),
            held=to_decimal(held),
            required=to_decimal(required),
            resets_at=resets_at,
        )


class ReservationTooLarge(Rejection):
    """One reservation may not take that much."""

    status = 422
    code = "reservation_too_large"
    title = "Reservation too large"

    def __init__(self, *, required: int, limit: int) -> None:
        super().__init__(
            f"One reservation may hold {to_decimal(limit)} credits at most",
            required=to_decimal(required),
            limit=to_decimal(limit),
        )


class TooManyReservations(Rejection):
    """The account has as many open reservations as it may."""

    status = 429
    code = "too_many_reservations"
    title = "Too many open reservations"


class ReservationClosed(Rejection):
    """The reservation was resolved before in another way, which the subclasses name."""

    status = 409
    code = "reservation_closed"
    title = "Reservation closed"
    state = ""

    def __init__(self, reservation_id: str) -> None:
        super().__init__(f"This reservation is {self.state} already", reservation_id=reservation_id, state=self.state)


class ReservationSettled(ReservationClosed):
    state = "settled"


class ReservationReleased(ReservationClosed):
    state = "released"


class ReservationExpired(ReservationClosed):
    """The reservation was not resolved in time."""

    state = "expired"


class ReservationUnknown(NotFound):
    """No such reservation on this account."""

    def __init__(self, reservation_id: str) -> None:
        super().__init__("There is no such reservation", reservation_id=reservation_id)


class AccountNotActive(Forbidden):
    """The account's status does not allow this."""

    code = "account_not_active"
    title = "Account not active"

    def __init__(self, status: str) -> None:
        super().__init__(f"This account is {status}", account_status=status)
        self.account_status = status


class BalanceTooLarge(Rejection):
    """The balance or the debt would be larger than numbers in JSON are exact."""

    status = 409
    code = "balance_too_large"
    title = "Balance too large"

    def __init__(self) -> None:
        super().__init__(
            f"A balance or a debt holds {to_decimal(MAX_MICRO)} credits at most", limit=to_decimal(MAX_MICRO)
        )


class LedgerCheckFailed(Rejection):
    """What should be signed, or should decide about credits, does not verify: it is not signed, and decides nothing."""

    status = 409
    code = "ledger_check_failed"
    title = "This part of the ledger does not verify"


class TooManyLots(Rejection):
    """The account holds credits of too many origins. Gifts and purchases are for when some of them are spent."""

    status = 409
    code = "too_many_lots"
    title = "Credits of too many origins"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"This account holds credits from {limit} gifts and payments, which is the most; spend some first",
            limit=limit,
        )


class PaymentNotDeposited(Rejection):
    """A payment is taken back that brought no credits, or has not yet."""

    status = 409
    code = "payment_not_deposited"
    title = "Payment not deposited"


class ReturnedAlready(Rejection):
    """More of a charge, or of a payment, would be returned than there was: all or a part of it was returned before."""

    status = 409
    code = "returned_already"
    title = "Returned already"

    def __init__(self, transaction_id: str, *, asked: int, left: int) -> None:
        super().__init__(
            f"Of this transaction {to_decimal(left)} credits are left to return; {to_decimal(asked)} were asked for",
            transaction_id=transaction_id,
            left=to_decimal(left),
        )


class CreditsHeld(Rejection):
    """What a reversal takes back is held by running answers, and would expire when they let go of it."""

    status = 409
    code = "credits_held"
    title = "Credits held"

    def __init__(self, transaction_id: str) -> None:
        super().__init__(
            "Running answers hold credits of this entry; reverse it when they have ended", transaction_id=transaction_id
        )


class NothingToReverse(Rejection):
    """The entry named cannot be reversed, or nothing of it is left to reverse."""

    status = 409
    code = "not_reversible"
    title = "Not reversible"
