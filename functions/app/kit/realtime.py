"""The Realtime Database as servers use it: a tree that mirrors live state and carries the orchestration.

Never authoritative: whatever is lost here is rebuilt from the documents. The adapter is firebase_admin's client, which
bypasses the security rules.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from app.kit.errors import Unavailable, ensure

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class Realtime(Protocol):
    """The port. Paths are relative to the root, without `.json`; every method raises `Unavailable`."""

    def get(self, path: str) -> Json:
        """The value at `path`; None when there is nothing."""
        ...

    def first(self, path: str, limit: int, *, start_at: str = "") -> dict[str, Json]:
        """Up to `limit` children of `path` in key order, from the key `start_at` on. No key may look like a number."""
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

        with _translated("a read"):
            value: Json = db.reference(path).get()
        return value

    def first(self, path: str, limit: int, *, start_at: str = "") -> dict[str, Json]:
        from firebase_admin import db

        query = db.reference(path).order_by_key().limit_to_first(limit)
        with _translated("a query"):
            found = (query.start_at(start_at) if start_at else query).get()
        return dict(found) if isinstance(found, Mapping) else {}

    def update(self, values: Mapping[str, Json]) -> None:
        from firebase_admin import db

        with _translated("a write"):
            db.reference("/").update({path.strip("/"): value for path, value in values.items()})

    def transact(self, path: str, decide: Callable[[Json], Json]) -> Json:
        from firebase_admin import db

        reference = db.reference(path)
        with _translated("a transaction"):
            for attempt in range(_TRIES):
                current, etag = reference.get(etag=True)
                wanted = decide(current)
                if wanted == current:
                    return wanted
                ensure(wanted is not None, "a transaction on the Realtime Database does not remove")
                done, _, _ = reference.set_if_unchanged(etag, wanted)
                if done:
                    return wanted
                # Without a pause that differs, those who met once meet again at every try.
                time.sleep(secrets.randbelow(min(_LONGEST_PAUSE_US, 1000 << attempt)) / 1_000_000)
        raise Unavailable(f"no turn at {path} in {_TRIES} tries")


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """The SDK's errors as ours, and those of the library that fetches its tokens, which the SDK lets through."""
    from firebase_admin.exceptions import FirebaseError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (FirebaseError, GoogleAuthError) as error:
        raise Unavailable(f"the Realtime Database refused {what}: {error}") from error


_TRIES = 25
"""As many as the client SDKs take before they give up."""
_LONGEST_PAUSE_US = 100_000
