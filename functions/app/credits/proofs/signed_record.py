"""The memory of a chore in one document that nobody else can write: each version is signed and numbered. `Scan` is what
the sealing remembers.

Whoever may write to Firestore could tell a chore that its work is done. A record without our signature counts as lost,
and one that is older than what this process read or wrote last is ignored.
"""

import hashlib
from dataclasses import asdict, dataclass
from typing import Final

from app.credits.core.entry import encode_bytes
from app.credits.proofs.signing import KeyRing, Signer
from app.credits.proofs.verification import Link
from app.kit import telemetry
from app.kit.canonical import canonical
from app.kit.clock import from_rfc3339, to_rfc3339
from app.kit.errors import InvariantViolation
from app.kit.stores.documents import Documents, Fields, Replace, Value, as_map, int_field, text_field

_log: Final = telemetry.log("credits")
_UNSIGNED: Final = ("key_id", "signature")


class SignedRecord:
    """One document. Thread-safe. Of two writers at once the later one wins, and both versions are good."""

    def __init__(self, path: str, documents: Documents, signer: Signer, keys: KeyRing) -> None:
        self._path, self._documents, self._signer, self._keys = path, documents, signer, keys
        self._newest: Fields = {}

    def read(self) -> Fields | None:
        """The newest version; None when there is none, or it is not ours."""
        stored = self._documents.get(self._path)
        if stored is not None and not self._ours(stored.fields):
            _log.error("chore_record_forged", path=self._path)
            stored = None
        fields = stored.fields if stored else {}
        if _serial(fields) >= _serial(self._newest):
            self._newest = fields
        else:
            _log.error("chore_record_rolled_back", path=self._path)
        return self._newest or None

    def write(self, fields: Fields) -> None:
        """Writes the next version."""
        signed: dict[str, Value] = {**fields, "serial": _serial(self._newest) + 1}
        signature = encode_bytes(self._signer.sign(self._digest(signed)))
        signed |= {"key_id": self._signer.kid, "signature": signature}
        self._documents.commit([Replace(self._path, signed)])
        self._newest = signed

    def _ours(self, fields: Fields) -> bool:
        try:
            kid, signature = text_field(fields, "key_id"), text_field(fields, "signature")
            body = {name: value for name, value in fields.items() if name not in _UNSIGNED}
            return self._keys.verifies(kid, signature, self._digest(body))
        except (InvariantViolation, ValueError, TypeError):
            return False

    def _digest(self, fields: Fields) -> bytes:
        return hashlib.sha256(canonical({"path": self._path, **fields})).digest()


@dataclass(frozen=True, slots=True)
class Scan:
    """Where the search for changed accounts stands. `since`: changes from then on; `after`: the last account that the
    present search saw; `began_us`: when this search began; `complete`: number of the last checkpoint whose seals stand.
    `half`: how far the chain of a resolved breach is verified that is too long for one run; `accepted`: whether it was
    resolved by accepting it.
    """

    since_us: int = 0
    began_us: int = 0
    after: tuple[str, ...] = ()
    complete: int = 0
    half: Link | None = None
    accepted: bool = False


def scan_of(fields: Fields) -> Scan:
    """As `scan_fields` wrote it."""
    at = fields.get("after")
    after = (text_field(fields, "after"), text_field(fields, "after_id")) if at is not None else ()
    since_us, began_us = (from_rfc3339(text_field(fields, name)) for name in ("since", "began"))
    half = None if fields.get("half") is None else link_of(as_map(fields["half"]))
    return Scan(since_us, began_us, after, int_field(fields, "complete"), half, fields.get("accepted") is True)


def scan_fields(scan: Scan) -> Fields:
    """What is written of it."""
    return {
        "since": to_rfc3339(scan.since_us),
        "began": to_rfc3339(scan.began_us),
        "after": scan.after[0] if scan.after else None,
        "after_id": scan.after[1] if scan.after else None,
        "complete": scan.complete,
        "half": link_fields(scan.half),
        "accepted": scan.accepted,
    }


def link_fields(link: Link | None) -> Fields | None:
    """How far a chain is verified, as a record holds it."""
    return asdict(link) if link else None


def link_of(fields: Fields) -> Link:
    """A link as a chore's record holds it."""
    return Link(
        account=text_field(fields, "account"),
        sequence=int_field(fields, "sequence"),
        head_hash=text_field(fields, "head_hash"),
        balance=int_field(fields, "balance"),
        debt=int_field(fields, "debt"),
        created_at=text_field(fields, "created_at"),
    )


def _serial(fields: Fields) -> int:
    return int_field(fields, "serial") if "serial" in fields else 0
