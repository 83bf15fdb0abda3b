"""Whether an entry, and a chain of entries, is what was once signed. Needs nothing but the JSON and the public keys.

The checks of a chain are made in this order, and the first that fails names the fault: shape, hash, signature, key (its
lifetime), account, sequence, link, time, postings, kind, lots, balance. A chain is verified entry by entry and can stop
and resume anywhere. Entries arrive as plain JSON values that anybody may have altered, so not even their shape is
trusted.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypedDict, cast

from app.credits.core.account import GENESIS_HASH
from app.credits.core.entry import FORMAT, UNHASHED, Kind, hashed_bytes
from app.credits.proofs.signing import KeyRing
from app.kit.canonical import canonical
from app.kit.errors import InvariantViolation
from app.kit.money import MAX_MICRO


class LotBody(TypedDict):
    """A lot line in an entry."""

    id: str
    amount: int
    source: str
    expires_at: str | None
    payment_id: str | None


class PostingBody(TypedDict):
    """A posting in an entry."""

    account: str
    amount: int


class EntryBody(TypedDict):
    """An entry whose shape holds; the fields that verification reads."""

    format: int
    id: str
    account: str
    sequence: int
    kind: str
    amount: int
    postings: list[PostingBody]
    lots: list[LotBody]
    debt: int
    balance_after: int
    key: str
    created_at: str
    prev_hash: str
    key_id: str
    hash: str
    signature: str


_TEXT: Final = (str,)
_OPTIONAL_TEXT: Final = (str, type(None))
_SHAPE: Final[Mapping[str, tuple[type, ...]]] = {
    "format": (int,),
    "id": _TEXT,
    "account": _TEXT,
    "sequence": (int,),
    "kind": _TEXT,
    "amount": (int,),
    "postings": (list,),
    "lots": (list,),
    "debt": (int,),
    "balance_after": (int,),
    "key": _TEXT,
    "input": _TEXT,
    "reference": (dict,),
    "request_id": _TEXT,
    "reason": _TEXT,
    "description": _TEXT,
    "price_book": _OPTIONAL_TEXT,
    "usage": (dict, type(None)),
    "by": _OPTIONAL_TEXT,
    "approved_by": _OPTIONAL_TEXT,
    "created_at": _TEXT,
    "prev_hash": _TEXT,
    "key_id": _TEXT,
    "hash": _TEXT,
    "signature": _TEXT,
}
_POSTING: Final[Mapping[str, tuple[type, ...]]] = {"account": _TEXT, "amount": (int,)}
_REFERENCE: Final[Mapping[str, tuple[type, ...]]] = {"type": _TEXT, "id": _TEXT}
_LOT: Final[Mapping[str, tuple[type, ...]]] = {
    "id": _TEXT,
    "amount": (int,),
    "source": _TEXT,
    "expires_at": _OPTIONAL_TEXT,
    "payment_id": _OPTIONAL_TEXT,
}
_KINDS: Final = frozenset(Kind)
_COMES_IN: Final = frozenset({Kind.GRANT, Kind.DEPOSIT, Kind.REFUND})
_GOES_OUT: Final = frozenset({Kind.SETTLE, Kind.EXPIRY, Kind.CLAWBACK})
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DEPTH: Final = 5
_CHECKS: Final = ("shape", "hash", "signature", "key", "postings", "kind", "lots")


@dataclass(frozen=True, slots=True)
class Link:
    """The state of a chain that is verified up to `sequence`; the next entry must fit to it."""

    account: str
    sequence: int = 0
    head_hash: str = GENESIS_HASH
    balance: int = 0
    debt: int = 0
    created_at: str = ""


@dataclass(frozen=True, slots=True)
class ChainFault:
    """The first entry that does not hold, and why."""

    sequence: int
    check: str


@dataclass(frozen=True, slots=True)
class Verified:
    """The result for a chain, or a part of one."""

    link: Link
    entries: int
    fault: ChainFault | None = None

    @property
    def valid(self) -> bool:
        """Whether every entry holds."""
        return self.fault is None


def verify_chain(entries: Iterable[object], keys: KeyRing, start: Link) -> Verified:
    """Verifies entries in the order of their sequence behind `start`; stops at the first that does not hold."""
    link, count = start, 0
    for entry in entries:
        checked = follow(entry, keys, link)
        if isinstance(checked, ChainFault):
            return Verified(link, count, checked)
        link = checked
        count += 1
    return Verified(link, count)


def follow(entry: object, keys: KeyRing, link: Link) -> Link | ChainFault:
    """The link behind `entry`, or the first check that fails."""
    body = _shaped(entry)
    if body is None:
        return ChainFault(link.sequence + 1, "shape")
    fault = _authentic(body, keys) or _placed(body, link) or _sums(body, link)
    if fault is not None:
        return ChainFault(link.sequence + 1, fault)
    return replace(
        link,
        sequence=link.sequence + 1,
        head_hash=body["hash"],
        balance=body["balance_after"],
        debt=link.debt + body["debt"],
        created_at=body["created_at"],
    )


def signed_here(entry: dict[str, object], keys: KeyRing, link: Link) -> bool:
    """Whether we signed this entry for its place behind `link`, whatever else it holds: fields, a kind or a format of a
    later version. Nobody without the key can write one.
    """
    place = (entry.get("account"), entry.get("sequence"), entry.get("prev_hash"))
    kid, signature, at = (str(entry.get(name)) for name in ("key_id", "signature", "created_at"))
    try:
        hashed = hashlib.sha256(canonical({name: entry[name] for name in entry.keys() - UNHASHED})).digest()
    except InvariantViolation:
        return False
    if place != (link.account, link.sequence + 1, link.head_hash) or entry.get("hash") != hashed.hex():
        return False
    return keys.verifies(kid, signature, hashed) and keys.lived(kid, at)


def verify_entry(entry: object, keys: KeyRing) -> dict[str, bool]:
    """The checks of one entry that need no other entry, by name."""
    body = _shaped(entry)
    if body is None:
        return dict.fromkeys(_CHECKS, False)
    try:
        hashed = hashlib.sha256(hashed_bytes(body)).digest()
    except InvariantViolation:
        return dict.fromkeys(_CHECKS, False)
    return {
        "shape": True,
        "hash": hashed.hex() == body["hash"],
        "signature": keys.verifies(body["key_id"], body["signature"], hashed),
        "key": keys.lived(body["key_id"], body["created_at"]),
        "postings": _postings_hold(body),
        "kind": _direction_holds(body),
        "lots": _lots_hold(body),
    }


def _shaped(entry: object) -> EntryBody | None:
    """The entry, when it has exactly the fields of its format, each of its type."""
    if type(entry) is not dict or not _has(entry, _SHAPE):
        return None
    if entry["format"] != FORMAT or entry["kind"] not in _KINDS or len(entry["postings"]) != 2:
        return None
    if not all(_has(posting, _POSTING) for posting in entry["postings"]) or not _has(entry["reference"], _REFERENCE):
        return None
    if not all(_has(line, _LOT) for line in entry["lots"]):
        return None
    if not _exact(entry) or not _plain(entry["usage"], _DEPTH - 1) or not _encodes(entry["signature"]):
        return None
    if not _TIME.fullmatch(entry["created_at"]) or not _HASH.fullmatch(entry["hash"]):
        return None
    return cast(EntryBody, entry)


def _has(value: object, shape: Mapping[str, tuple[type, ...]]) -> bool:
    """Whether `value` is a map of exactly these members; types are exact: in Python `True` is an int."""
    if type(value) is not dict or value.keys() != shape.keys():
        return False
    return all(type(value[name]) in types for name, types in shape.items())


def _exact(entry: dict[str, object]) -> bool:
    """Whether every reader of JSON can represent all integers exactly."""
    numbers = [entry["sequence"], entry["amount"], entry["debt"], entry["balance_after"]]
    numbers += [member["amount"] for name in ("postings", "lots") for member in cast(list[PostingBody], entry[name])]
    return all(-MAX_MICRO <= cast(int, number) <= MAX_MICRO for number in numbers)


def _plain(value: object, depth: int) -> bool:
    """Whether there is only one way to write `value` down: no fraction, no huge integer, no lone surrogate."""
    kind = type(value)
    if kind is str:
        return _encodes(cast(str, value))
    if kind is int:
        return -MAX_MICRO <= cast(int, value) <= MAX_MICRO
    if value is None or kind is bool:
        return True
    if depth == 0:
        return False
    if kind is dict:
        members = cast(dict[object, object], value)
        return all(type(k) is str and k.isascii() and _plain(v, depth - 1) for k, v in members.items())
    return kind is list and all(_plain(member, depth - 1) for member in cast(list[object], value))


def _encodes(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _authentic(body: EntryBody, keys: KeyRing) -> str | None:
    try:
        hashed = hashlib.sha256(hashed_bytes(body)).digest()
    except InvariantViolation:
        return "shape"
    if hashed.hex() != body["hash"]:
        return "hash"
    if not keys.verifies(body["key_id"], body["signature"], hashed):
        return "signature"
    return None if keys.lived(body["key_id"], body["created_at"]) else "key"


def _placed(body: EntryBody, link: Link) -> str | None:
    if body["account"] != link.account:
        return "account"
    if body["sequence"] != link.sequence + 1:
        return "sequence"
    if body["prev_hash"] != link.head_hash:
        return "link"
    return "time" if body["created_at"] < link.created_at else None


def _sums(body: EntryBody, link: Link) -> str | None:
    if not _postings_hold(body):
        return "postings"
    if not _direction_holds(body):
        return "kind"
    if not _lots_hold(body) or link.debt + body["debt"] < 0:
        return "lots"
    return None if body["balance_after"] == link.balance + body["amount"] else "balance"


def _postings_hold(body: EntryBody) -> bool:
    """Two sides that sum to zero, one of them this user's."""
    mine, theirs = body["postings"]
    return (
        mine["account"] == f"user:{body['account']}"
        and mine["amount"] == body["amount"] == -theirs["amount"]
        and not theirs["account"].startswith("user:")
    )


def _direction_holds(body: EntryBody) -> bool:
    """What comes in is not negative, what goes out not positive; a correction may be either."""
    if body["kind"] in _COMES_IN:
        return body["amount"] >= 0
    return body["kind"] not in _GOES_OUT or body["amount"] <= 0


def _lots_hold(body: EntryBody) -> bool:
    """What lots and debt changed by is the amount."""
    return sum(line["amount"] for line in body["lots"]) - body["debt"] == body["amount"]
