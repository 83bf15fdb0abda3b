"""What each posting does to lots and debt, as one draft. Pure; called by `decide.py` only.

Credits that come in, or expire, pay debt first; credits that are taken back but spent already become debt.
"""

from dataclasses import dataclass
from typing import assert_never

from app.credits.core import lots
from app.credits.core.account import MAX_LOTS, MOST_LOTS, Account, Lot, LotSource
from app.credits.core.commands import Adjust, Clawback, Deposit, Grant, Posting, Refund, Reverse
from app.credits.core.entry import EntryDraft, Kind, LotLine
from app.credits.core.rejections import BalanceTooLarge, CreditsHeld, PaymentNotDeposited, ReturnedAlready, TooManyLots
from app.credits.core.returns import left_to_reverse, lots_of
from app.kit.errors import ensure
from app.kit.money import MAX_MICRO


@dataclass(frozen=True, slots=True)
class _Effect:
    """What a posting does to the account, before it becomes an entry."""

    amount: int
    lots: lots.Lots
    lines: tuple[LotLine, ...]
    debt: int


def posting(account: Account, command: Posting, at_us: int) -> tuple[EntryDraft, lots.Lots]:
    """The entry that `command` makes and the lots after it; raises a `Rejection` where it may not be made."""
    kind, counterpart, effect = _effect(account, command, at_us)
    by, approved_by = _signed_off(command)
    draft = EntryDraft(
        account=account.uid,
        sequence=account.sequence + 1,
        kind=kind,
        amount=effect.amount,
        counterpart=counterpart,
        lots=effect.lines,
        debt=effect.debt,
        balance_after=account.balance + effect.amount,
        key=command.key,
        input=command.input,
        reference=command.reference,
        at_us=at_us,
        reason=_reason(command),
        description=command.description if isinstance(command, Grant | Deposit) else "",
        by=by,
        approved_by=approved_by,
    )
    if max(abs(draft.balance_after), account.debt + draft.debt) > MAX_MICRO:
        raise BalanceTooLarge
    most = MAX_LOTS if isinstance(command, Grant) else MOST_LOTS
    if len(effect.lots) > max(most, len(account.lots)):
        raise TooManyLots(most)
    moved = sum(line.amount for line in effect.lines)
    ensure(effect.amount == moved - effect.debt, "an entry's amount is what its lots and debt changed by")
    return draft, effect.lots


def expiry(account: Account, lot: Lot, at_us: int) -> tuple[EntryDraft, lots.Lots]:
    """The entry that ends what is free in an expired lot, and the lots after it; a debt is paid out of it first."""
    kept, lines, _ = lots.take_free(account.lots, lot.free, [lot])
    paid = min(account.debt, lot.free)
    sequence, amount = account.sequence + 1, paid - lot.free
    draft = EntryDraft(
        account=account.uid,
        sequence=sequence,
        kind=Kind.EXPIRY,
        amount=amount,
        counterpart="platform:promotions",
        lots=lines,
        debt=-paid,
        balance_after=account.balance + amount,
        # A lot may expire in several parts: what a reservation held becomes free later.
        key=f"expiry:{lot.id}:{sequence}",
        input="",
        reference=lots.expiry_reference(lot.id),
        at_us=at_us,
        reason="lot_expired",
    )
    return draft, kept


def _effect(account: Account, command: Posting, at_us: int) -> tuple[Kind, str, _Effect]:
    match command:
        case Grant():
            new = LotLine(_lot_id(account), command.amount, command.source.value, command.expires_at_us)
            return Kind.GRANT, "platform:promotions", _receive(account, (new,))
        case Deposit():
            new = LotLine(_lot_id(account), command.amount, LotSource.PAID.value, None, command.payment_id)
            return Kind.DEPOSIT, f"rail:{command.rail}", _receive(account, (new,))
        case Refund():
            return Kind.REFUND, "platform:revenue", _refund(account, command, at_us)
        case Clawback():
            return Kind.CLAWBACK, f"rail:{command.rail}", _claw_back(account, command)
        case Adjust():
            return Kind.ADJUST, "platform:adjustments", _adjust(account, command, at_us)
        case Reverse():
            return Kind.REVERSAL, command.entry.draft.counterpart, _reverse(account, command, at_us)
        case _:
            assert_never(command)


def _receive(account: Account, lines: tuple[LotLine, ...]) -> _Effect:
    amount = sum(line.amount for line in lines)
    paid = min(account.debt, amount)
    kept = lots.trim(lines, paid)
    return _Effect(amount, lots.put(account.lots, kept, account.sequence + 1), kept, -paid)


def _take(account: Account, amount: int, chosen: list[Lot]) -> _Effect:
    kept, lines, missing = lots.take_free(account.lots, amount, chosen)
    return _Effect(-amount, kept, lines, missing)


def _take_back(account: Account, amount: int, chosen: list[Lot]) -> _Effect:
    """Takes from the chosen lots, then from others that expire, and makes a debt of the rest.

    Nobody owes what stands beside the debt and expires: another deposit would pay for it first.
    """
    others = [lot for lot in account.lots if lot.expires_at_us is not None and not lot.frozen and lot not in chosen]
    return _take(account, amount, [*chosen, *sorted(others, key=lots.burn_order)])


def _claw_back(account: Account, command: Clawback) -> _Effect:
    deposit = command.deposit
    if deposit is None:
        raise PaymentNotDeposited("Nothing was credited for this payment", payment_id=command.payment_id)
    left = deposit.amount - command.returned
    if command.amount > left:
        raise ReturnedAlready(deposit.id, asked=command.amount, left=left)
    return _take(account, command.amount, [lot for lot in account.lots if lot.payment_id == command.payment_id])


def _refund(account: Account, command: Refund, at_us: int) -> _Effect:
    charge, left = command.charge, -command.charge.amount - command.returned
    if command.amount > left:
        raise ReturnedAlready(charge.id, asked=command.amount, left=left)
    back = lots.give_back(charge.draft.lots, command.returned, command.amount)
    return _receive(account, lots.lasting(back, at_us, _return_lot_id(account)))


def _adjust(account: Account, command: Adjust, at_us: int) -> _Effect:
    if command.amount > 0:
        return _receive(account, (LotLine(_lot_id(account), command.amount, LotSource.REFUND.value),))
    spendable = [lot for lot in account.lots if lot.spendable(at_us) > 0]
    return _take(account, -command.amount, sorted(spendable, key=lots.burn_order))


def _reverse(account: Account, command: Reverse, at_us: int) -> _Effect:
    entry = command.entry
    left = left_to_reverse(entry, command.returned)
    if entry.amount > 0:
        named = lots_of(entry.draft, command.later)
        chosen = [lot for lot in account.lots if lot.id in named]
        if left > sum(lot.free for lot in chosen) and any(lot.held and lot.expires_at_us for lot in chosen):
            # As a debt it would be paid by a deposit, and what is held would expire when it is free again.
            raise CreditsHeld(entry.id)
        return _take_back(account, left, chosen)
    # What was taken returns to its lots. What had become debt comes in as a new lot, which pays debt first.
    debt = min(left, max(0, entry.draft.debt))
    new = LotLine(_lot_id(account), debt, LotSource.REFUND.value)
    spent = lots.give_back(entry.draft.lots, command.returned, left - debt)
    back = lots.lasting(spent, at_us, _return_lot_id(account))
    return _receive(account, (new, *back) if debt else back)


def _lot_id(account: Account) -> str:
    """Lots are named after the entry that makes them."""
    return lots.made_lots(account.sequence + 1)[0]


def _return_lot_id(account: Account) -> str:
    return lots.made_lots(account.sequence + 1)[1]


def _reason(command: Posting) -> str:
    return "purchase" if isinstance(command, Deposit) else command.reason


def _signed_off(command: Posting) -> tuple[str | None, str | None]:
    if isinstance(command, Adjust | Reverse):
        return command.by, command.approved_by
    return (command.by or None, None) if isinstance(command, Refund) else (None, None)
