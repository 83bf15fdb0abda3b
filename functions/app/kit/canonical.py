"""Canonical bytes of JSON values (RFC 8785) and their SHA-256.

The library refuses what two languages could read differently (integers beyond 2^53, NaN, lone surrogates); this
module refuses fractions as well, because nothing that we hash may be a binary fraction (T-41, T-54).
"""

import hashlib
from collections.abc import Mapping, Sequence

import rfc8785

from app.kit.errors import InvariantViolation, ensure


def canonical(value: object) -> bytes:
    """The canonical bytes of a JSON value.

    Raises:
        InvariantViolation: the value holds something with no canonical form.
    """
    _refuse_fractions(value)
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]  # any JSON value; what is not one is refused at run time
    except (rfc8785.CanonicalizationError, UnicodeError) as error:
        raise InvariantViolation(f"no canonical form: {error}") from error


def digest(value: object) -> str:
    """SHA-256 over the canonical bytes, as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _refuse_fractions(value: object) -> None:
    ensure(type(value) is not float, "a hashed value may hold integers and text, no fractions")
    if isinstance(value, str | int | None):
        return
    if isinstance(value, Mapping):
        for member in value.values():
            _refuse_fractions(member)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for member in value:
            _refuse_fractions(member)
