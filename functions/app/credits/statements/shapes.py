"""The shapes of a statement, as docs/verification.md writes them. Entries have their own, in `verification.py`.

A shape is a test of one JSON value; types are exact, because in Python `True` is an int. What fits can be read without
another check, so that no hostile file ends in a traceback.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, cast

from app.credits.core.account import GENESIS_HASH
from app.credits.proofs.sealing import TYPE
from app.kit.money import MAX_MICRO

Shape = Callable[[object], bool]

FORMAT: Final = 2
"""Version of the report's shape. Format 1 had neither states nor parts."""

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


def fits(value: object, shape: Shape) -> bool:
    """Whether `value` has that shape."""
    return shape(value)


def state_holds(state: object) -> bool:
    """Whether a state that fits is one that a chain can have."""
    told = cast(Mapping[str, object], state)
    lots = cast(list[Mapping[str, object]], told["lots"])
    sequence, debt = cast(int, told["sequence"]), cast(int, told["debt"])
    if sequence == 0:
        return told["hash"] == GENESIS_HASH and told["created_at"] is None and debt == 0 and not lots
    if sequence < 0 or debt < 0 or told["created_at"] is None:
        return False
    return all(cast(int, lot["remaining"]) > 0 for lot in lots) and len({lot["id"] for lot in lots}) == len(lots)


def _integer(value: object) -> bool:
    return type(value) is int and -MAX_MICRO <= value <= MAX_MICRO


def _text(value: object) -> bool:
    if type(value) is not str:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bool(value: object) -> bool:
    return type(value) is bool


def _anything(_: object) -> bool:
    return True


def _matching(pattern: re.Pattern[str]) -> Shape:
    return lambda value: type(value) is str and pattern.fullmatch(value) is not None


def _exactly(known: int | str) -> Shape:
    return lambda value: type(value) is type(known) and value == known


def _or_null(shape: Shape) -> Shape:
    return lambda value: value is None or shape(value)


def _list(member: Shape) -> Shape:
    return lambda value: type(value) is list and all(member(one) for one in value)


def _map(members: Mapping[str, Shape]) -> Shape:
    def shape(value: object) -> bool:
        if type(value) is not dict or value.keys() != members.keys():
            return False
        return all(fits(value[name], member) for name, member in members.items())

    return shape


def _map_of(member: Shape) -> Shape:
    def shape(value: object) -> bool:
        return type(value) is dict and all(name.isascii() and member(one) for name, one in value.items())

    return shape


_time: Final = _matching(_TIME)
_hash: Final = _matching(_HASH)
_LOT: Final = _map(
    {
        "id": _text,
        "remaining": _integer,
        "source": _text,
        "expires_at": _or_null(_time),
        "payment_id": _or_null(_text),
    }
)
_STATE: Final = _map(
    {"sequence": _integer, "hash": _hash, "created_at": _or_null(_time), "debt": _integer, "lots": _list(_LOT)}
)
_SEAL: Final = _map(
    {
        "checkpoint": _integer,
        "account": _text,
        "sequence": _integer,
        "head_hash": _hash,
        "salt": _text,
        "index": _integer,
        "proof": _list(_hash),
    }
)
_CHECKPOINT: Final = _map(
    {
        "type": _exactly(TYPE),
        "number": _integer,
        "size": _integer,
        "root": _hash,
        "sealed_at": _time,
        "through": _time,
        "prev_hash": _hash,
        "key_id": _text,
        "hash": _hash,
        "signature": _text,
    }
)
_REPORT: Final = _map(
    {
        "format": _exactly(FORMAT),
        "account": _text,
        "from": _or_null(_time),
        "to": _or_null(_time),
        "made_at": _time,
        "part": _map({"number": _integer, "last": _bool}),
        "opening_balance": _integer,
        "opening": _STATE,
        "entries": _list(_anything),
        "totals": _map_of(_integer),
        "closing_balance": _integer,
        "closing": _STATE,
        "verification": _map(
            {
                "valid": _bool,
                "entries": _integer,
                "first_bad_sequence": _or_null(_integer),
                "check": _or_null(_text),
            }
        ),
        "head": _map({"sequence": _integer, "hash": _hash}),
        "coverage": _or_null(_map({"seal": _SEAL, "checkpoint": _CHECKPOINT})),
    }
)
STATEMENT: Final = _map({"report": _REPORT, "hash": _text, "key_id": _text, "signature": _text})
