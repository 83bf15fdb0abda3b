"""How every ending of a model call is billed: `billing_policy.toml`, loaded strictly and applied purely.

It computes no prices: the caller passes what the call would cost on each basis.
"""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from app.kit.errors import InvariantViolation, ensure


class Ending(StrEnum):
    """How a call ended. The first visible character, or piece of a tool call, that reaches the caller divides
    `_before` from `_after`.
    """

    COMPLETED = "completed"
    LENGTH = "length"
    BUDGET = "budget"
    MODEL_LENGTH = "model_length"
    FILTERED = "filtered"
    UNKNOWN_FINISH = "unknown_finish"
    EMPTY = "empty"
    CANCELLED_BEFORE = "cancelled_before"
    CANCELLED_AFTER = "cancelled_after"
    CLIENT_GONE_BEFORE = "client_gone_before"
    CLIENT_GONE_AFTER = "client_gone_after"
    VENDOR_FAILED_BEFORE = "vendor_failed_before"
    VENDOR_FAILED_AFTER = "vendor_failed_after"
    USAGE_MISSING = "usage_missing"
    CRASHED = "crashed"
    SETTLEMENT_FAILED = "settlement_failed"
    RESERVATION_LOST = "reservation_lost"
    MODERATION = "moderation"
    CACHE_HIT = "cache_hit"


class Mode(StrEnum):
    """How the answer was asked for."""

    STREAM = "stream"
    JSON = "json"
    AGENT = "agent"
    IMAGE = "image"


class Payer(StrEnum):
    """Who bears the cost."""

    USER = "user"
    HOUSE = "house"


class Basis(StrEnum):
    """What is charged for."""

    NOTHING = "nothing"
    DELIVERED = "delivered"
    USAGE = "usage"


@dataclass(frozen=True, slots=True)
class Rule:
    """One cell of the table."""

    payer: Payer
    basis: Basis
    reason: str


@dataclass(frozen=True, slots=True)
class Priced:
    """What the call would cost, in micro-credits. `usage` is None when the vendor told none; 0 is a price (T-5)."""

    usage: int | None
    delivered: int
    reserved: int


@dataclass(frozen=True, slots=True)
class Charge:
    """What to settle, and the reason code that stands on the entry."""

    amount: int
    reason: str


Policy = Mapping[tuple[Ending, Mode], Rule]

PATH: Final = Path(__file__).with_name("billing_policy.toml")
_ANY: Final = "any"


def charge(policy: Policy, ending: Ending, mode: Mode, priced: Priced) -> Charge:
    """What the user pays for a call that ended so. Never more than the reservation holds (T-2)."""
    rule = policy[ending, mode]
    match rule.basis:
        case Basis.NOTHING:
            amount = 0
        case Basis.DELIVERED:
            amount = priced.delivered if priced.usage is None else min(priced.usage, priced.delivered)
        case Basis.USAGE:
            amount = priced.delivered if priced.usage is None else priced.usage
    ensure(amount >= 0, "a charge never gives credits (T-23)")
    return Charge(min(amount, priced.reserved), rule.reason)


@functools.cache
def default_policy() -> Policy:
    """The policy that ships with the code."""
    return load(PATH.read_text())


def load(text: str) -> Policy:
    """Reads a policy.

    Raises:
        InvariantViolation: a cell is missing, unknown, contradicts itself or promises what nobody can keep. The
            message names it.
    """
    table = tomllib.loads(text)
    ensure(table.pop("version", None) == 1, "billing policy: version is 1")
    unknown = set(table) - set(Ending)
    ensure(not unknown, f"billing policy: unknown endings {sorted(unknown)}")
    policy = {(ending, mode): _cell(table, ending, mode) for ending in Ending for mode in Mode}
    _check_unsettled(policy)
    return policy


def _check_unsettled(policy: Policy) -> None:
    """Refuses a line that cannot be kept for a call that nobody settled: only its owner's document is left of it."""
    for mode in Mode:
        ensure(
            policy[Ending.SETTLEMENT_FAILED, mode] == policy[Ending.CRASHED, mode],
            f"billing policy: settlement_failed.{mode} looks like crashed.{mode} and must say the same",
        )
        ensure(
            policy[Ending.RESERVATION_LOST, mode].basis is Basis.NOTHING,
            f"billing policy: reservation_lost.{mode} has nothing to charge: its reservation is gone",
        )
    ensure(
        policy[Ending.CRASHED, Mode.JSON] == policy[Ending.CRASHED, Mode.STREAM],
        "billing policy: crashed.json must say the same as crashed.stream: a turn does not hold how it was asked for",
    )


def _cell(table: Mapping[str, object], ending: Ending, mode: Mode) -> Rule:
    rows = table.get(ending)
    if not isinstance(rows, Mapping):
        raise InvariantViolation(f"billing policy: {ending} is missing")
    unknown = set(rows) - {_ANY, *Mode}
    ensure(not unknown, f"billing policy: {ending} has unknown modes {sorted(unknown)}")
    row = rows.get(mode, rows.get(_ANY))
    if not isinstance(row, Mapping) or set(row) != {"payer", "basis", "reason"}:
        raise InvariantViolation(f"billing policy: {ending}.{mode} needs exactly payer, basis and reason")
    try:
        rule = Rule(Payer(row["payer"]), Basis(row["basis"]), str(row["reason"]))
    except ValueError as error:
        raise InvariantViolation(f"billing policy: {ending}.{mode}: {error}") from error
    free = rule.basis is Basis.NOTHING
    ensure(free == (rule.payer is Payer.HOUSE), f"billing policy: {ending}.{mode}: the house pays all or nothing")
    ensure(rule.reason.isidentifier(), f"billing policy: {ending}.{mode}: a reason is a snake_case word")
    return rule
