"""Amounts of credits: integers of micro-credits inside, a decimal text for clients.

1 credit = 1,000,000 micro-credits. Binary fractions never appear here (T-41): text becomes an integer digit by digit.
"""

import re
from typing import Final, NewType

from app.kit.errors import Invalid

Micro = NewType("Micro", int)
"""An amount of micro-credits (10^-6 credit); negative for what leaves an account."""

MICRO_PER_CREDIT: Final = 1_000_000
MAX_MICRO: Final = 2**53 - 1
"""The largest amount anywhere: what every JSON reader, and RFC 8785, can represent exactly (9 billion credits)."""

_DECIMAL = re.compile(r"(?P<sign>-?)(?P<whole>0|[1-9][0-9]{0,9})(?:\.(?P<part>[0-9]{1,6}))?", re.ASCII)


def credits(whole: int) -> Micro:
    """`whole` credits."""
    return Micro(whole * MICRO_PER_CREDIT)


def to_decimal(amount: int) -> str:
    """The text for clients: at most six places, no exponent, no trailing zeros. `-125` is `"-0.000125"`."""
    whole, part = divmod(abs(amount), MICRO_PER_CREDIT)
    text = f"{whole}.{part:06d}".rstrip("0").rstrip(".")
    return f"-{text}" if amount < 0 else text


def from_decimal(text: str) -> Micro:
    """The amount in a client's text.

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
