"""Calls of API keys on an account: bounded by the key's budgets when they reserve, counted there when charged. Pure."""

from dataclasses import replace

from app.credits.core import budgets
from app.credits.core.account import Account, Reservation
from app.credits.core.budgets import Spender
from app.kit.money import MAX_MICRO


def reserving(account: Account, spender: Spender, at_least: int, at_us: int) -> tuple[Account, int]:
    """The account that counts the key's budgets as they are now, and the most that its call may reserve.

    Raises:
        BudgetExceeded: that is less than the call needs.
    """
    held = account.held_by(spender.api_key)
    within = budgets.left(account.budgets, spender, held=held, at_least=at_least, at_us=at_us)
    running = {open.api_key for open in account.reservations}
    counting = replace(account, budgets=budgets.used(account.budgets, spender, at_us, running))
    return counting, MAX_MICRO if within is None else within


def extending(account: Account, open: Reservation, more: int, at_us: int) -> int:
    """The most by which a reservation may grow under the budgets of its key.

    Raises:
        BudgetExceeded: that is less than `more`.
    """
    if not open.api_key:
        return MAX_MICRO
    spender, held = budgets.last_spender(account.budgets, open.api_key), account.held_by(open.api_key)
    within = budgets.left(account.budgets, spender, held=held, at_least=more, at_us=at_us)
    return MAX_MICRO if within is None else within


def charged(account: Account, open: Reservation, charge: int, at_us: int) -> Account:
    """The account after a reservation was charged."""
    if not open.api_key:
        return account
    return replace(account, budgets=budgets.charged(account.budgets, open.api_key, charge, at_us))
