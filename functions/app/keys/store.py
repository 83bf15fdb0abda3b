"""API keys in Firestore: one document per key, and one per user that lists the user's, so that their number is bounded
whatever races. Decides nothing of what a key may do.
"""

from collections.abc import Callable
from typing import Final

from app.keys.api_key import ApiKey, path_of, read, write
from app.kit import telemetry
from app.kit.errors import InvariantViolation, NotFound, Rejection
from app.kit.optimistic import Pause, optimistic
from app.kit.stores.documents import Create, Delete, Document, Documents, Replace, Value, Write, list_field, text_field

MOST_KEYS: Final = 20
"""Of one user."""


class TooManyKeys(Rejection):
    """The user has as many keys as anybody may have."""

    status = 409
    code = "too_many_api_keys"
    title = "Too many API keys"


def list_path(uid: str) -> str:
    """Where it is stored which keys a user has."""
    return f"api_key_lists/{uid}"


class KeyStore:
    """Reads and writes keys."""

    def __init__(self, documents: Documents, pause: Pause) -> None:
        self._documents = documents
        self._pause = pause

    def find(self, id: str) -> ApiKey | None:
        """A key, whoever's it is."""
        stored = self._documents.get(path_of(id))
        return None if stored is None else read(id, stored.fields)

    def list(self, uid: str) -> list[ApiKey]:
        """A user's keys, the newest first. What cannot be read is passed over and logged."""
        listed = self._documents.get(list_path(uid))
        found = self._documents.get_all([path_of(id) for id in reversed(_ids(listed))]) if _ids(listed) else []
        return [key for stored in found if stored is not None and (key := _readable(stored)) is not None]

    def add(self, key: ApiKey) -> None:
        """Stores a new key.

        Raises:
            TooManyKeys: its user has `MOST_KEYS`.
        """

        def attempt() -> None:
            listed = self._documents.get(list_path(key.account))
            ids = _ids(listed)
            if len(ids) >= MOST_KEYS:
                raise TooManyKeys(f"A user has at most {MOST_KEYS} API keys. Delete one first.", most=MOST_KEYS)
            self._documents.commit([Create(path_of(key.id), write(key)), _list(key.account, listed, [*ids, key.id])])

        optimistic(attempt, pause=self._pause)

    def change(self, uid: str, id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey:
        """Writes what `change` makes of a user's key. Fields that a later version of the code wrote stay.

        Raises:
            NotFound: the user has no such key.
        """

        def attempt() -> ApiKey:
            stored = self._own(uid, id)
            changed = change(read(id, stored.fields))
            self._documents.commit([Replace(stored.path, write(changed), stored.version, keep_others=True)])
            return changed

        return optimistic(attempt, pause=self._pause)

    def delete(self, uid: str, id: str) -> None:
        """Removes a user's key, whether it can be read or not.

        Raises:
            NotFound: the user has no such key.
        """

        def attempt() -> None:
            listed = self._documents.get(list_path(uid))
            ids = _ids(listed)
            if id not in ids:
                raise NotFound("You have no such API key.")
            self._documents.commit([Delete(path_of(id)), _list(uid, listed, [one for one in ids if one != id])])

        optimistic(attempt, pause=self._pause)

    def _own(self, uid: str, id: str) -> Document:
        stored = self._documents.get(path_of(id))
        if stored is None or text_field(stored.fields, "account") != uid:
            raise NotFound("You have no such API key.")
        return stored


def _ids(listed: Document | None) -> list[str]:
    """The ids of a user's keys, the oldest first."""
    return [] if listed is None else [str(id) for id in list_field(listed.fields, "ids")]


def _list(uid: str, listed: Document | None, ids: list[str]) -> Write:
    fields: dict[str, Value] = {"ids": [*ids]}
    if listed is None:
        return Create(list_path(uid), fields)
    return Replace(listed.path, fields, listed.version, keep_others=True)


def _readable(stored: Document) -> ApiKey | None:
    try:
        return read(stored.id, stored.fields)
    except (InvariantViolation, ValueError) as error:
        telemetry.log("keys").error("api_key_not_read", path=stored.path, reason=str(error))
        return None
