"""The Realtime Database as servers use it: a tree that mirrors live state and carries the orchestration.

Never authoritative: whatever is lost here is rebuilt from the documents. The adapter is firebase_admin's client, which
bypasses the security rules.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from app.kit.errors import Unavailable, ensure

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class Realtime(Protocol):
    """The port. Paths are relative to the root, without `.json`; every method raises `Unavailable`."""

    def get(self, path: str) -> Json:
        """The value at `path`; None when there is nothing."""
        ...

    def first(self, path: str, limit: int, *, start_at: str = "") -> dict[str, Json]:
        """Up to `limit` children of `path` in key order, from the key `start_at` on. Keys must not look like numbers."""
        ...

    def update(self, values: Mapping[str, Json]) -> None:
        """Replaces several places at once, all or nothing; None removes. No path may lie inside another."""
        ...

    def transact(self, path: str, decide: Callable[[Json], Json]) -> Json:
        """Replaces the value by `decide(current)`, again when another writer was faster; returns what stands there.

        `decide` must be pure, and may not return None (the SDK has no conditional removal). When it returns the
        current value unchanged, nothing is written.
        """
        ...


class FirebaseRealtime:
    """Over firebase_admin.db, which must be initialised by the composition root."""

    def get(self, path: str) -> Json:
        from firebase_admin import db
        from firebase_admin.exceptions import FirebaseError

        try:
            value: Json = db.reference(path).get()
        except FirebaseError as error:
            raise Unavailable(f"the Realtime Database refused a read: {error}") from error
        return value

    def first(self, path: str, limit: int, *, start_at: str = "") -> dict[str, Json]:
        from firebase_admin import db
        from firebase_admin.exceptions import FirebaseError

        query = db.reference(path).order_by_key().limit_to_first(limit)
        try:
            found = (query.start_at(start_at) if start_at else query).get()
        except FirebaseError as error:
            raise Unavailable(f"the Realtime Database refused a query: {error}") from error
        return dict(found) if isinstance(found, Mapping) else {}

    def update(self, values: Mapping[str, Json]) -> None:
        from firebase_admin import db
        from firebase_admin.exceptions import FirebaseError

        try:
            db.reference("/").update({path.strip("/"): value for path, value in values.items()})
        except FirebaseError as error:
            raise Unavailable(f"the Realtime Database refused a write: {error}") from error

    def transact(self, path: str, decide: Callable[[Json], Json]) -> Json:
        from firebase_admin import db
        from firebase_admin.exceptions import FirebaseError

        reference = db.reference(path)
        try:
            for _ in range(_TRIES):
                current, etag = reference.get(etag=True)
                wanted = decide(current)
                if wanted == current:
                    return wanted
                ensure(wanted is not None, "a transaction on the Realtime Database does not remove")
                done, _, _ = reference.set_if_unchanged(etag, wanted)
                if done:
                    return wanted
        except FirebaseError as error:
            raise Unavailable(f"the Realtime Database refused a transaction: {error}") from error
        raise Unavailable(f"no turn at {path} in {_TRIES} tries")


_TRIES = 25
"""As many as the client SDKs take before they give up."""
