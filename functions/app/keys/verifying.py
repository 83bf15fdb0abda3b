"""Verifies the keys that requests carry: whose they are, and what they allow.

What was found is remembered for a minute per instance: so long a key that was deleted, narrowed or rotated away, or
whose user was disabled, counts at most. While Auth does not answer, the key counts, as a token does.
"""

import threading
from collections import OrderedDict
from typing import Final

from app.api.auth import ApiKeyExpired, ApiKeyInvalid, Principal
from app.keys.api_key import ApiKey, digest_of, id_in
from app.keys.store import KeyStore
from app.kit import telemetry
from app.kit.clock import Clock, minutes
from app.kit.errors import Unavailable
from app.ports import Identities

REMEMBERED_US: Final = minutes(1)
MOST_REMEMBERED: Final = 10_000

_INVALID: Final = "This API key does not exist, was deleted or replaced, or belongs to a user who was disabled."


class KeysInUse:
    """`app.api.auth.KeyVerifier`. Thread-safe."""

    def __init__(self, store: KeyStore, identities: Identities, clock: Clock) -> None:
        self._store = store
        self._identities = identities
        self._clock = clock
        self._known: OrderedDict[str, tuple[ApiKey, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, text: str) -> Principal:
        now_us = self._clock.now_us()
        id = id_in(text)
        if id is None:
            raise ApiKeyInvalid(_INVALID)
        digest = digest_of(text)
        with self._lock:
            known = self._known.get(digest)
        if known is None or not 0 < known[1] - now_us <= REMEMBERED_US:  # A clock may go back.
            key = self._looked_up(id, text, now_us)
            self._remember(digest, key, now_us)
        else:
            key = known[0]
        if not key.is_text(text, now_us):
            raise ApiKeyInvalid(_INVALID)
        if key.has_expired(now_us):
            raise ApiKeyExpired("This API key has expired.")
        return Principal(key.account, scopes=frozenset(key.scopes), api_key=key.id, budgets=key.budgets)

    def _looked_up(self, id: str, text: str, now_us: int) -> ApiKey:
        key = self._store.find(id)
        if key is None or not key.is_text(text, now_us):
            raise ApiKeyInvalid(_INVALID)
        try:
            active = self._identities(key.account).active
        except Unavailable as fault:
            telemetry.log("keys").warning("user_not_looked_up", reason=str(fault))
            active = True
        if not active:
            raise ApiKeyInvalid(_INVALID)
        return key

    def _remember(self, digest: str, key: ApiKey, now_us: int) -> None:
        with self._lock:
            self._known[digest] = key, now_us + REMEMBERED_US
            self._known.move_to_end(digest)
            while len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
