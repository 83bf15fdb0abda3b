"""What each posting command does to lots and debt, as one draft. Pure; called by `decide.py` only.

Credits that come in pay debt first; credits that are taken back but spent already become debt.
"""

from dataclasses import dataclass
from typing import assert_never

from app.credits.core import lots
from app.credits.core.account import Account, Lot, LotSource
from app.credits.core.commands import Adjust, Clawback, Deposit, Grant, Posting, Refund, Reverse
from app.credits.core.entry import EntryDraft, Kind, LotLine
from app.credits.core.rejections import NothingToReverse
from app.kit.errors import ensure


@dataclass(frozen=True, slots=True)
class _Effect:
    """What a posting does to the account, before it becomes an entry."""

    amount: int
    lots: lots.Lots
    lines: tuple[LotLine, ...]
    debt: int


def posting(account: Account, command: Posting, at_us: int) -> tuple[EntryDraft, lots.Lots]:
    """The entry that `command` makes and the lots after it."""
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
    moved = sum(line.amount for line in effect.lines)
    ensure(effect.amount == moved - effect.debt, "an entry's amount is what its lots and debt changed by")
    return draft, effect.lots


def _effect(account: Account, command: Posting, at_us: int) -> tuple[Kind, str, _Effect]:
    match command:
        case Grant():
            new = LotLine(_lot_id(account), command.amount, command.source.value, command.expires_at_us)
            return Kind.GRANT, "platform:promotions", _receive(account, (new,))
        case Deposit():
            new = LotLine(_lot_id(account), command.amount, LotSource.PAID.value, None, command.payment_id)
            return Kind.DEPOSIT, f"rail:{command.rail}", _receive(account, (new,))
        case Refund():
            back = lots.give_back(command.charge.draft.lots, command.refunded, command.amount)
            return Kind.REFUND, "platform:revenue", _receive(account, back)
        case Clawback():
            return Kind.CLAWBACK, f"rail:{command.rail}", _claw(account, command)
        case Adjust():
            return Kind.ADJUST, "platform:adjustments", _adjust(account, command, at_us)
        case Reverse():
            return Kind.REVERSAL, command.entry.draft.counterpart, _reverse(account, command)
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


def _claw(account: Account, command: Clawback) -> _Effect:
    made = [lot for lot in account.lots if lot.payment_id == command.payment_id]
    effect = _take(account, command.amount, made)
    if not command.unfreeze:
        return effect
    thawed = lots.thaw(effect.lots, command.payment_id)
    return _Effect(effect.amount, thawed, effect.lines, effect.debt)


def _adjust(account: Account, command: Adjust, at_us: int) -> _Effect:
    if command.amount > 0:
        return _receive(account, (LotLine(_lot_id(account), command.amount, LotSource.REFUND.value),))
    spendable = [lot for lot in account.lots if lot.spendable(at_us) > 0]
    return _take(account, -command.amount, sorted(spendable, key=lots.burn_order))


def _reverse(account: Account, command: Reverse) -> _Effect:
    entry = command.entry
    if entry.kind is Kind.REVERSAL:
        raise NothingToReverse("A reversal is not reversed; adjust instead", transaction_id=entry.id)
    if entry.amount < 0:
        # What was spent returns to its lots. What had become debt comes in as a new lot, which pays debt first.
        debt = LotLine(_lot_id(account), entry.draft.debt, LotSource.REFUND.value)
        back = tuple(LotLine(x.lot_id, -x.amount, x.source, x.expires_at_us, x.payment_id) for x in entry.draft.lots)
        return _receive(account, (debt, *back) if debt.amount > 0 else back)
    named = {line.lot_id for line in entry.draft.lots}
    return _take(account, entry.amount, [lot for lot in account.lots if lot.id in named])


def _lot_id(account: Account) -> str:
    """Lots are named after the entry that makes them."""
    return f"lot_{account.sequence + 1}"


def _reason(command: Posting) -> str:
    return "purchase" if isinstance(command, Deposit) else command.reason


def _signed_off(command: Posting) -> tuple[str | None, str | None]:
    if isinstance(command, Adjust | Reverse):
        return command.by, command.approved_by
    return (command.by or None, None) if isinstance(command, Refund) else (None, None)
