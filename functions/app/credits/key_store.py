"""Where the ledger's public keys are kept: in the archive, each before it signs for the first time.

Instances of two deployments run side by side during a deployment, and each verifies what the other signs: a key that an
instance does not know is looked up by its name. `ledger_keys/{kid}` shows the same in Firestore, where anybody with
rights on it could add a key, so nothing is believed from there.
"""

import contextlib
import json
from dataclasses import dataclass
from typing import Final

from app.credits.proofs.judging import UNREADABLE
from app.credits.proofs.signing import KeyRing, Lifetime, Signer, jwk, thumbprint
from app.kit import telemetry
from app.kit.clock import Clock, minutes, to_rfc3339
from app.kit.errors import AlreadyExists, Invalid, Unavailable
from app.kit.stores.archive import Archive
from app.kit.stores.documents import (
    Create,
    Documents,
    Fields,
    Increment,
    Merge,
    Query,
    Value,
    as_map,
    optional_text,
    text_field,
)

RETIRED_AFTER_US: Final = minutes(24 * 60)
"""A key is retired so long after it was first configured as retired: until then a deployment may still be under way."""
LOOKED_UP_EVERY_US: Final = minutes(6 * 60)
"""How often a process that signs looks whether its own key was given an end. An end is a day away when it is written,
so none passes unnoticed; for twice this time an archive that does not answer stops nobody.
"""
_MARGIN_US: Final = minutes(1)
_MOST_KEYS: Final = 100
_log: Final = telemetry.log("credits")


class KeptKeys(KeyRing):
    """The configured public keys, and every other one that the archive holds, looked up when it is first met."""

    def __init__(self, public: dict[str, str], archive: Archive) -> None:
        super().__init__(public)
        self._archive = archive
        self._known: set[str] = set()
        """Keys whose lifetime was looked up."""

    def verifies(self, kid: str, signature: str, message: bytes) -> bool:
        """As of the key ring; raises `Unavailable` when a key that is not known yet cannot be looked up."""
        if kid not in self._known and _is_kid(kid):
            self.learn(kid)
        return super().verifies(kid, signature, message)

    def learn(self, kid: str) -> None:
        """Reads a key and its lifetime from the archive."""
        content = self._archive.read(f"keys/{kid}.json")
        if content is not None:
            with contextlib.suppress(Invalid, *UNREADABLE):
                kept = as_map(json.loads(content))
                self.add(kid, text_field(kept, "x"), Lifetime(None, self.end(kid)))
        if kid in self:
            self._known.add(kid)

    def end(self, kid: str) -> str | None:
        """The last time that this key may sign, as the archive has it; None while it has no end."""
        ended = self._archive.read(f"keys/{kid}-retired.json")
        return None if ended is None else optional_text(as_map(json.loads(ended)), "not_after")


@dataclass(frozen=True, slots=True)
class KeyStore:
    """Keeps the active key and the ends of retired ones."""

    documents: Documents
    archive: Archive
    clock: Clock
    keys: KeptKeys
    retired: tuple[str, ...]

    def publish(self, kid: str, x: str) -> int:
        """Keeps a key for ever; how many were added. Firestore has it only after the archive."""
        if self.documents.get(f"ledger_keys/{kid}") is not None:
            return 0
        self._keep(kid, x, show=True)
        return 1

    def use(self, kid: str, x: str) -> None:
        """Keeps a key before a process signs with it for the first time. A key that the archive has costs nothing in
        Firestore, because this may be a message's first signature; where it is not shown yet, the next sweep shows it.
        """
        self._keep(kid, x, show=False)

    def _keep(self, kid: str, x: str, *, show: bool) -> None:
        fields: Fields = {**jwk(kid, x), "first_used_at": to_rfc3339(self.clock.now_us())}
        new = self.archive.keep(f"keys/{kid}.json", json.dumps(fields).encode())
        if new or show:
            with contextlib.suppress(AlreadyExists):
                self.documents.commit([Create(f"ledger_keys/{kid}", fields)])

    def review(self, kid: str, x: str) -> int:
        """The sweep's look at the keys: the active one is in the archive, and retired ones have their end there."""
        added = self.publish(kid, x)
        if self.archive.read(f"keys/{kid}.json") is None:
            self.archive.keep(f"keys/{kid}.json", json.dumps(jwk(kid, x)).encode())
        for old in self.retired:
            added += self._retire(thumbprint(old), old)
        if (end := self.keys.end(kid)) is not None:
            _log.error("signing_key_retired", key_id=kid, not_after=end)
        return added

    def learn_all(self) -> None:
        """Learns of the keys that other instances signed with, and of the ends of retired ones."""
        for stored in self.documents.query(Query("ledger_keys", limit=_MOST_KEYS)):
            if _is_kid(stored.id):
                self.keys.learn(stored.id)

    def _retire(self, kid: str, x: str) -> int:
        name = f"keys/{kid}-retired.json"
        self.archive.keep(f"keys/{kid}.json", json.dumps(jwk(kid, x)).encode())
        if self.archive.read(name) is not None:
            return 0
        at = to_rfc3339(self.clock.now_us() + RETIRED_AFTER_US)
        if self.archive.keep(name, json.dumps({"not_after": at}).encode()):
            fields: dict[str | tuple[str, ...], Value | Increment] = {"not_after": at}
            fields.update(jwk(kid, x).items())
            self.documents.commit([Merge(f"ledger_keys/{kid}", fields)])
        self.keys.learn(kid)
        return 1


class PublishedSigner(Signer):
    """Signs with a key only after the archive holds it."""

    def __init__(self, seed: bytes) -> None:
        super().__init__(seed)
        self._store: KeyStore | None = None
        self._published = False
        self._looked_us: int | None = None
        self._end: str | None = None

    def publishing(self, store: KeyStore) -> "PublishedSigner":
        """Publishes to `store` before the first signature, and looks there whether the key has an end."""
        self._store = store
        return self

    def sign(self, message: bytes) -> bytes:
        """The signature of `message`.

        Raises:
            Unavailable: a key of which nobody knows yet cannot be kept; or the key was retired, and nobody would
                believe what it signs now.
        """
        if (store := self._store) is not None:
            if not self._published:
                store.use(self.kid, self.public)
                self._published = True
            self._look_up_end(store)
            if self._end is not None and to_rfc3339(store.clock.now_us() + _MARGIN_US) > self._end:
                raise Unavailable("The ledger's key was retired and may not sign any more")
        return super().sign(message)

    def _look_up_end(self, store: KeyStore) -> None:
        now, looked = store.clock.now_us(), self._looked_us
        if looked is not None and now - looked < LOOKED_UP_EVERY_US:
            return
        try:
            self._end = store.keys.end(self.kid)
        except Unavailable:
            if looked is None or now - looked >= 2 * LOOKED_UP_EVERY_US:
                raise
            return
        self._looked_us = now


def _is_kid(text: str) -> bool:
    """Whether this can be a thumbprint, so that nobody chooses what is read from the archive."""
    return len(text) == 43 and text.isascii() and text.replace("-", "").replace("_", "").isalnum()
