"""The memory of a chore in one document that nobody else can write: each version is signed and numbered.

Whoever may write to Firestore could tell a chore that its work is done. A record without our signature counts as lost,
and one that is older than what this process read or wrote last is ignored.
"""

import hashlib
from typing import Final

from app.credits.core.entry import encode_bytes
from app.credits.proofs.signing import KeyRing, Signer
from app.kit import telemetry
from app.kit.canonical import canonical
from app.kit.errors import InvariantViolation
from app.kit.stores.documents import Documents, Fields, Replace, Value, int_field, text_field

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


def _serial(fields: Fields) -> int:
    return int_field(fields, "serial") if "serial" in fields else 0
