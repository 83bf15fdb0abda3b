"""One line of the ledger: what is hashed, how it is hashed, how it is chained and signed.

`hash` is SHA-256 over the canonical JSON (RFC 8785) of every field but `hash` and `signature`; `signature` is Ed25519
(RFC 8032) over the 32 bytes of that hash. Each entry names its predecessor's hash, so an account's entries are a chain.
Nothing hashed names a person: the uid is opaque, references are ids.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from app.kit.clock import from_rfc3339, optional_rfc3339, to_rfc3339
from app.kit.errors import InvariantViolation, ensure
from app.kit.ids import sortable
from app.kit.stores.documents import Fields, Value, int_field, list_field, map_field, optional_text, text_field

FORMAT: Final = 1
"""Version of the entry's shape; a verifier refuses one that it does not know."""


class Kind(StrEnum):
    """What an entry records."""

    GRANT = "grant"
    DEPOSIT = "deposit"
    SETTLE = "settle"
    REFUND = "refund"
    CLAWBACK = "clawback"
    EXPIRY = "expiry"
    ADJUST = "adjust"
    REVERSAL = "reversal"


@dataclass(frozen=True, slots=True)
class Reference:
    """What caused an entry, by id only; `request_id` is the HTTP request that asked."""

    type: str
    id: str
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Leg:
    """One side of an entry; the legs of an entry sum to zero."""

    account: str
    amount: int


@dataclass(frozen=True, slots=True)
class LotLine:
    """What an entry added to a lot (or took from it), with the lot's whole provenance."""

    lot_id: str
    amount: int
    source: str
    expires_at_us: int | None = None
    payment_id: str | None = None


@dataclass(frozen=True, slots=True)
class EntryDraft:
    """An entry as the core decides it, before it is chained and signed."""

    account: str
    sequence: int
    kind: Kind
    amount: int
    counterpart: str
    """The platform's side: `platform:revenue`, `platform:promotions`, `rail:stripe`, ..."""
    lots: tuple[LotLine, ...]
    debt: int
    """Change of the account's debt: positive when it grows."""
    balance_after: int
    key: str
    input: str
    reference: Reference
    at_us: int
    reason: str = ""
    description: str = ""
    price_book: str | None = None
    usage: Fields | None = None
    by: str | None = None
    approved_by: str | None = None
    id: str = field(init=False)
    """The transaction id: derived from account and sequence, and sortable by time."""

    def __post_init__(self) -> None:
        seed = hashlib.sha256(f"{len(self.account)}:{self.account}:{self.sequence}".encode()).digest()
        id = sortable("txn", self.at_us // 1000, int.from_bytes(seed[:10], "big"))
        object.__setattr__(self, "id", id)

    @property
    def legs(self) -> tuple[Leg, ...]:
        """The user's side and the platform's."""
        return (Leg(f"user:{self.account}", self.amount), Leg(self.counterpart, -self.amount))


@dataclass(frozen=True, slots=True)
class Entry:
    """A chained and signed draft. Immutable for ever."""

    draft: EntryDraft
    prev_hash: str
    key_id: str
    hash: str
    signature: str

    @property
    def id(self) -> str:
        return self.draft.id

    @property
    def sequence(self) -> int:
        return self.draft.sequence

    @property
    def kind(self) -> Kind:
        return self.draft.kind

    @property
    def amount(self) -> int:
        """Change of the balance in micro-credits."""
        return self.draft.amount

    @property
    def balance_after(self) -> int:
        return self.draft.balance_after

    @property
    def key(self) -> str:
        return self.draft.key

    def fields(self) -> dict[str, Value]:
        """The JSON that is stored, exported and verified."""
        return {**body(self.draft, self.prev_hash, self.key_id), "hash": self.hash, "signature": self.signature}


class Signs(Protocol):
    """Signs with the ledger's private key."""

    @property
    def kid(self) -> str:
        """The id of the key: the thumbprint of its public part."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature."""
        ...


def seal(drafts: Sequence[EntryDraft], head_hash: str, signer: Signs) -> tuple[Entry, ...]:
    """Chains and signs drafts behind `head_hash`. The same drafts always give the same entries."""
    entries = []
    for draft in drafts:
        hashed = hashlib.sha256(hashed_bytes(body(draft, head_hash, signer.kid))).digest()
        signature = encode_bytes(signer.sign(hashed))
        entries.append(Entry(draft, head_hash, signer.kid, hashed.hex(), signature))
        head_hash = hashed.hex()
    return tuple(entries)


def hashed_bytes(body: Mapping[str, object]) -> bytes:
    """The canonical bytes of an entry of the right shape, without `hash` and `signature`.

    For such values (ASCII names, integers below 2^53, text) Python's sorted, compact JSON is RFC 8785's byte for byte,
    in a fifth of the time; a test compares the two on a hostile corpus.

    Raises:
        InvariantViolation: a text holds half of a surrogate pair.
    """
    try:
        return _encode({name: value for name, value in body.items() if name not in UNHASHED}).encode()
    except UnicodeEncodeError as error:
        raise InvariantViolation(f"no canonical form: {error}") from error


def body(draft: EntryDraft, prev_hash: str, key_id: str) -> dict[str, Value]:
    """The fields of an entry that are hashed."""
    return {
        "format": FORMAT,
        "id": draft.id,
        "account": draft.account,
        "sequence": draft.sequence,
        "kind": draft.kind.value,
        "amount": draft.amount,
        "postings": [{"account": leg.account, "amount": leg.amount} for leg in draft.legs],
        "lots": [_line_fields(line) for line in draft.lots],
        "debt": draft.debt,
        "balance_after": draft.balance_after,
        "key": draft.key,
        "input": draft.input,
        "reference": {"type": draft.reference.type, "id": draft.reference.id},
        "request_id": draft.reference.request_id,
        "reason": draft.reason,
        "description": draft.description,
        "price_book": draft.price_book,
        "usage": draft.usage,
        "by": draft.by,
        "approved_by": draft.approved_by,
        "created_at": to_rfc3339(draft.at_us),
        "prev_hash": prev_hash,
        "key_id": key_id,
    }


def read(fields: Fields) -> Entry:
    """Reads a stored entry. Checks only its shape; `verification` checks hash, signature and sums.

    Raises:
        InvariantViolation: the document is not an entry.
    """
    reference = map_field(fields, "reference")
    counterpart = list_field(fields, "postings")[1]
    ensure(isinstance(counterpart, Mapping), "a posting is a map")
    assert isinstance(counterpart, Mapping)
    draft = EntryDraft(
        account=text_field(fields, "account"),
        sequence=int_field(fields, "sequence"),
        kind=Kind(text_field(fields, "kind")),
        amount=int_field(fields, "amount"),
        counterpart=text_field(counterpart, "account"),
        lots=tuple(_line(line) for line in list_field(fields, "lots")),
        debt=int_field(fields, "debt"),
        balance_after=int_field(fields, "balance_after"),
        key=text_field(fields, "key"),
        input=text_field(fields, "input"),
        reference=Reference(
            text_field(reference, "type"), text_field(reference, "id"), text_field(fields, "request_id")
        ),
        at_us=from_rfc3339(text_field(fields, "created_at")),
        reason=text_field(fields, "reason"),
        description=text_field(fields, "description"),
        price_book=optional_text(fields, "price_book"),
        usage=_optional_map(fields, "usage"),
        by=optional_text(fields, "by"),
        approved_by=optional_text(fields, "approved_by"),
    )
    names = ("prev_hash", "key_id", "hash", "signature")
    return Entry(draft, *(text_field(fields, name) for name in names))


def plain_usage(usage: Mapping[str, object] | None) -> Fields | None:
    """A vendor's usage object as values that can be hashed: fractions and huge integers become text (T-41, T-54)."""
    if usage is None:
        return None
    return {_ascii(key): _plain(value, depth=0) for key, value in list(usage.items())[:_MAX_MEMBERS]}


def encode_bytes(raw: bytes) -> str:
    """base64url without padding, as JOSE writes bytes."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


UNHASHED: Final = frozenset({"hash", "signature"})
_encode: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_MAX_MEMBERS: Final = 40
_MAX_TEXT: Final = 200
_MAX_DEPTH: Final = 3
_EXACT: Final = 2**53


def _plain(value: object, depth: int) -> Value:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < _EXACT:
        return value
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        return {_ascii(str(key)): _plain(member, depth + 1) for key, member in list(value.items())[:_MAX_MEMBERS]}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and depth < _MAX_DEPTH:
        # Lists become maps, because Firestore holds no list directly inside another.
        return {str(index): _plain(member, depth + 1) for index, member in enumerate(value[:_MAX_MEMBERS])}
    return str(value)[:_MAX_TEXT].encode("utf-8", "replace").decode()


def _ascii(key: str) -> str:
    return key[:_MAX_TEXT].encode("ascii", "backslashreplace").decode()


def _line_fields(line: LotLine) -> dict[str, Value]:
    return {
        "id": line.lot_id,
        "amount": line.amount,
        "source": line.source,
        "expires_at": optional_rfc3339(line.expires_at_us),
        "payment_id": line.payment_id,
    }


def _line(fields: Value) -> LotLine:
    ensure(isinstance(fields, Mapping), "a lot line is a map")
    assert isinstance(fields, Mapping)
    expires_at = optional_text(fields, "expires_at")
    return LotLine(
        text_field(fields, "id"),
        int_field(fields, "amount"),
        text_field(fields, "source"),
        None if expires_at is None else from_rfc3339(expires_at),
        optional_text(fields, "payment_id"),
    )


def _optional_map(fields: Fields, name: str) -> Fields | None:
    return None if fields.get(name) is None else map_field(fields, name)
