"""How much a reservation takes, and how it grows. Pure; `decide.py` says when it may.

A reservation may take less than it could, so that others which are made at the same time find room: a part of what is
available, and more when it is needed.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple

from app.credits.core import keyed, lots
from app.credits.core.account import MAX_OPEN, SET_ASIDE, Account, Hold, Reservation
from app.credits.core.commands import Extend, Reserve
from app.credits.core.rejections import InsufficientCredits, ReservationTooLarge, TooManyReservations, lacking

AT_ONCE: Final = 2
"""An answer that begins beside others may grow to so many times its part of what is available."""


class Held(NamedTuple):
    """The account with a reservation that was made or grew. `most` is what it could have taken, in micro-credits."""

    account: Account
    reservation: Reservation
    most: int


def reserve(account: Account, command: Reserve, at_us: int, limit: int) -> Held:
    """Takes what the command says, at most `limit`.

    Raises:
        TooManyReservations, InsufficientCredits, CreditsHeldByAnswers, BudgetExceeded
    """
    if len(account.reservations) >= MAX_OPEN:
        raise TooManyReservations("Resolve some of the open reservations first", limit=MAX_OPEN)
    available = account.available(at_us)
    if available < command.at_least:
        raise lacking(required=command.at_least, available=available, held=account.held_by_answers(at_us))
    api_key = ""
    if command.spender is not None:
        account, within = keyed.reserving(account, command.spender, command.at_least, at_us)
        api_key, available = command.spender.api_key, min(available, within)
    most = min(command.ceiling, available, limit)
    if command.expected is not None:
        most = max(command.at_least, min(most, AT_ONCE * available // (_answers(account) + 1)))
    wanted = most if command.expected is None else min(command.expected, available // command.share)
    amount = min(most, max(command.at_least, wanted))
    reservation = Reservation(
        id=command.id,
        amount=amount,
        holds=lots.pick(account.lots, amount, at_us),
        purpose=command.purpose,
        reference_type=command.reference.type,
        reference_id=command.reference.id,
        created_at_us=at_us,
        expires_at_us=at_us + command.expires_in_us,
        input=command.input,
        api_key=api_key,
    )
    return Held(_holding(account, (*account.reservations, reservation), reservation.holds), reservation, most)


def _answers(account: Account) -> int:
    """How many answers run. They divide among them what each may grow to, because a vendor may have written and billed
    as much as it was allowed before the first piece of it comes.
    """
    return sum(open.reference_type != SET_ASIDE for open in account.reservations)


def extend(account: Account, open: Reservation, command: Extend, at_us: int, limit: int) -> Held:
    """Lets an open reservation grow to `to_amount`, or to what there is, if that is `at_least` so much.

    One that holds `at_least` so much already does not grow: the command was heard before.

    Raises:
        ReservationTooLarge, InsufficientCredits, BudgetExceeded
    """
    if command.to_amount > limit:
        raise ReservationTooLarge(required=command.to_amount, limit=limit)
    least = command.to_amount if command.at_least is None else command.at_least
    more = max(0, least - open.amount)
    if more:
        available = account.available(at_us)
        if more > available:
            raise InsufficientCredits(required=more, available=available)
        available = min(available, keyed.extending(account, open, more, at_us))
        more = min(command.to_amount - open.amount, max(more, available // command.share))
    added = lots.pick(account.lots, more, at_us)
    until = max(open.expires_at_us, at_us + command.expires_in_us)
    longer = replace(open, amount=open.amount + more, holds=_joined(open.holds, added), expires_at_us=until)
    others = tuple(longer if other.id == open.id else other for other in account.reservations)
    return Held(_holding(account, others, added), longer, longer.amount)


def _joined(holds: Iterable[Hold], added: Iterable[Hold]) -> tuple[Hold, ...]:
    parts = {part.lot_id: part for part in holds}
    for part in added:
        held = parts.get(part.lot_id)
        parts[part.lot_id] = replace(held, amount=held.amount + part.amount) if held else part
    return tuple(parts.values())


def _holding(account: Account, reservations: tuple[Reservation, ...], added: tuple[Hold, ...]) -> Account:
    """The account with these reservations, of which `added` is new."""
    return replace(
        account,
        lots=lots.hold(account.lots, added),
        reserved=sum(one.amount for one in reservations),
        reservations=reservations,
    )
