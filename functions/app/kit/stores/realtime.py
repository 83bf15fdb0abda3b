"""The port to the Realtime Database, a tree that mirrors live state and carries the tickets of the queue.

It is never authoritative: what is lost here is rebuilt from the documents. The adapter speaks the REST API with the
credentials of firebase_admin's app, which bypass the security rules.
"""

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlencode

from app.kit.errors import Conflict, Unavailable, ensure
from app.kit.optimistic import jitter_us, optimistic

if TYPE_CHECKING:
    from app.kit.stores.realtime_http import Reply, Rest

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
        """Replaces the values at several paths, all or none; None removes one. No path may lie inside another."""
        ...

    def transact(self, path: str, decide: Callable[[Json], Json]) -> Json:
        """Replaces the value by `decide(current)` and returns it; decides again when another writer was faster.

        `decide` must be pure, and may not return None (the API has no conditional removal). When it returns the
        current value unchanged, nothing is written.
        """
        ...


class FirebaseRealtime:
    """The adapter over the REST API. The default for `rest` is the database of firebase_admin's default app."""

    def __init__(self, rest: "Rest | None" = None) -> None:
        self._path_locks = _PathLocks()
        self._lock = threading.Lock()
        self._connected = rest

    def get(self, path: str) -> Json:
        return _value(self._rest().read(path))

    def first(self, path: str, limit: int, *, start_at: str = "") -> dict[str, Json]:
        query = {"orderBy": '"$key"', "limitToFirst": str(limit)}
        if start_at:
            query["startAt"] = json.dumps(start_at)
        found = _value(self._rest().read(path, urlencode(query)))
        # JSON promises no order of an object's members.
        return dict(sorted(found.items())) if isinstance(found, dict) else {}

    def update(self, values: Mapping[str, Json]) -> None:
        plain = {path.strip("/"): value for path, value in values.items()}
        with self._path_locks.above(plain):
            self._rest().write(plain)

    def transact(self, path: str, decide: Callable[[Json], Json]) -> Json:
        rest = self._rest()
        seen: Reply | None = None

        def attempt() -> Json:
            nonlocal seen
            seen = seen or rest.read_tagged(path)
            current = _value(seen)
            wanted = decide(current)
            if wanted == current:
                return wanted
            ensure(wanted is not None, "a transaction on the Realtime Database does not remove")
            ensure(seen.etag is not None, "the Realtime Database tags what is read for a transaction")
            seen = rest.write_over(path, seen.etag or "", wanted)
            if seen.status == _STALE:
                raise Conflict(f"somebody else wrote at {path}", path=path)
            return wanted

        def pause(number: int) -> None:
            nonlocal seen
            pause_us = jitter_us(number, secrets.randbelow, first_us=_FIRST_PAUSE_US, longest_us=_LONGEST_PAUSE_US)
            time.sleep(pause_us / 1_000_000)
            if pause_us > _FRESH_US or (seen and seen.etag is None):
                seen = None

        with self._path_locks.at(path.strip("/")):
            return optimistic(attempt, pause=pause, tries=_TRIES)

    def _rest(self) -> "Rest":
        if self._connected is None:
            # The client and its SDKs are heavy; most cold starts answer before they need them.
            from app.kit.stores.realtime_http import connect

            with self._lock:
                self._connected = self._connected or connect()
        return self._connected


class _PathLocks:
    """A lock for each path, so that only other processes can conflict there. Paths have no slash at either end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths: dict[str, tuple[threading.Lock, int]] = {}
        """A path's lock and how many threads hold it or wait for it; removed when none does."""

    @contextmanager
    def at(self, path: str) -> Iterator[None]:
        """Holds the lock of `path`; raises `Unavailable` when it is not free within `_LONGEST_WAIT_S`."""
        with self._lock:
            lock, users = self._paths.get(path, (threading.Lock(), 0))
            self._paths[path] = lock, users + 1
        try:
            if not lock.acquire(timeout=_LONGEST_WAIT_S):
                raise Unavailable(f"no turn at {path} in {_LONGEST_WAIT_S} s")
            try:
                yield
            finally:
                lock.release()
        finally:
            with self._lock:
                _, users = self._paths[path]
                if users == 1:
                    del self._paths[path]
                else:
                    self._paths[path] = lock, users - 1

    @contextmanager
    def above(self, paths: Iterable[str]) -> Iterator[None]:
        """Holds the locks in use at or above `paths`: a write below a transaction's path would make it conflict."""
        above = {path[:end] for path in paths for end in _ends(path) if path[:end] in self._paths}
        with ExitStack() as locks:
            # Sorted, so that two updates that need the same locks do not deadlock.
            for path in sorted(above):
                locks.enter_context(self.at(path))
            yield


def _ends(path: str) -> list[int]:
    """The index at which each key of a path ends."""
    return [*(index for index, letter in enumerate(path) if letter == "/"), len(path)]


def _value(answer: "Reply") -> Json:
    try:
        value: Json = json.loads(answer.body)
    except ValueError as error:
        raise Unavailable(f"the Realtime Database answered what is no JSON: {answer.body[:200]!r}") from error
    return value


_STALE: Final = 412
_TRIES: Final = 25
"""As many as the client SDKs make before they give up."""
_FIRST_PAUSE_US: Final = 1_000
_LONGEST_PAUSE_US: Final = 100_000
_FRESH_US: Final = 5_000
"""The value in a 412 answer is used for this long before it is read again: about the time of a call."""
_LONGEST_WAIT_S: Final = 30
