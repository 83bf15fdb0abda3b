"""Credits as integers of micro-credits, and their one spelling towards clients.

1 credit = 1,000,000 micro-credits. Binary fractions never appear here (T-41): text becomes an integer digit by digit.
"""

import re
from typing import Final, NewType

from app.kit.errors import Invalid

Micro = NewType("Micro", int)
"""An amount of micro-credits (10^-6 credit); negative for what leaves an account."""

MICRO_PER_CREDIT: Final = 1_000_000
MAX_MICRO: Final = 2**53 - 1
"""Largest amount anywhere: what RFC 8785 numbers and every JSON reader can hold exactly (9 billion credits)."""

_DECIMAL = re.compile(r"(?P<sign>-?)(?P<whole>0|[1-9][0-9]{0,9})(?:\.(?P<part>[0-9]{1,6}))?", re.ASCII)


def credits(whole: int) -> Micro:
    """`whole` credits."""
    return Micro(whole * MICRO_PER_CREDIT)


def to_decimal(amount: int) -> str:
    """The client's spelling: at most six places, no exponent, trailing zeros cut. `-125` is `"-0.000125"`."""
    whole, part = divmod(abs(amount), MICRO_PER_CREDIT)
    text = f"{whole}.{part:06d}".rstrip("0").rstrip(".")
    return f"-{text}" if amount < 0 else text


def from_decimal(text: str) -> Micro:
    """Reads a client's amount.

    Raises:
        Invalid: not a plain decimal of at most ten whole and six decimal digits, or beyond `MAX_MICRO`.
    """
    found = _DECIMAL.fullmatch(text)
    if found is None:
        raise Invalid("An amount of credits is a decimal with at most six places, such as 12.5", amount=text[:40])
    micro = int(found["whole"]) * MICRO_PER_CREDIT + int((found["part"] or "").ljust(6, "0"))
    if micro > MAX_MICRO:
        raise Invalid("This amount of credits is too large", amount=text[:40])
    return Micro(-micro if found["sign"] else micro)


def ceil_div(numerator: int, denominator: int) -> int:
    """Division rounded up, for prices: a fraction of a micro-credit is charged as one (bound: one per charge, T-42)."""
    return -(-numerator // denominator)
