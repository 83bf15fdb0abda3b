"""The Realtime Database as servers use it: a tree that mirrors live state and carries the orchestration.

Never authoritative: whatever is lost here is rebuilt from the documents. The adapter speaks the REST API with the
credentials of firebase_admin's app, which bypass the security rules.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlencode

from app.kit.errors import Conflict, Unavailable, ensure
from app.kit.optimistic import jitter_us, optimistic

if TYPE_CHECKING:
    from app.kit.realtime_http import Reply, Rest

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

        `decide` must be pure, and may not return None (the API has no conditional removal). When it returns the
        current value unchanged, nothing is written.
        """
        ...


class FirebaseRealtime:
    """Over the REST API: `rest`, or firebase_admin's default app, which the composition root must have initialised."""

    def __init__(self, rest: "Rest | None" = None) -> None:
        self._turns = _Turns()
        self._lock = threading.Lock()
        self._connected = rest

    def get(self, path: str) -> Json:
        return _value(self._rest().read(path))

    def first(self, path: str, limit: int, *, start_at: str = "") -> dict[str, Json]:
        query = {"orderBy": '"$key"', "limitToFirst": str(limit)}
        if start_at:
            query["startAt"] = json.dumps(start_at)
        found = _value(self._rest().read(path, urlencode(query)))
        # The members of a JSON object have no order that anybody promises.
        return dict(sorted(found.items())) if isinstance(found, dict) else {}

    def update(self, values: Mapping[str, Json]) -> None:
        plain = {path.strip("/"): value for path, value in values.items()}
        with self._turns.below(plain):
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
            pause_us = jitter_us(number, first_us=_FIRST_PAUSE_US, longest_us=_LONGEST_PAUSE_US)
            time.sleep(pause_us / 1_000_000)
            if pause_us > _FRESH_US or (seen and seen.etag is None):
                seen = None

        with self._turns.at(path.strip("/")):
            return optimistic(attempt, pause=pause, tries=_TRIES)

    def _rest(self) -> "Rest":
        if self._connected is None:
            # The client and its SDKs are heavy; most cold starts answer before they need them.
            from app.kit.realtime_http import connect

            with self._lock:
                self._connected = self._connected or connect()
        return self._connected


class _Turns:
    """Lets the threads of this process take turns at a path, so that only processes meet there. Paths are bare."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths: dict[str, tuple[threading.Lock, int]] = {}
        """A path's lock and how many hold it or wait for it; nobody's is forgotten."""

    @contextmanager
    def at(self, path: str) -> Iterator[None]:
        """Wait for a turn at `path`; `Unavailable` when it does not come."""
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
    def below(self, paths: Iterable[str]) -> Iterator[None]:
        """Wait for whoever has a turn above one of `paths`: a write there would refuse theirs."""
        above = {path[:end] for path in paths for end in _ends(path) if path[:end] in self._paths}
        with ExitStack() as turns:
            # In order, though nobody can wait in a circle: who has a turn at a path asks for no other.
            for path in sorted(above):
                turns.enter_context(self.at(path))
            yield


def _ends(path: str) -> list[int]:
    """Where the keys of a path end."""
    return [*(index for index, letter in enumerate(path) if letter == "/"), len(path)]


def _value(answer: "Reply") -> Json:
    try:
        value: Json = json.loads(answer.body)
    except ValueError as error:
        raise Unavailable(f"the Realtime Database answered what is no JSON: {answer.body[:200]!r}") from error
    return value


_STALE: Final = 412
_TRIES: Final = 25
"""As many as the client SDKs take before they give up."""
_FIRST_PAUSE_US: Final = 1_000
_LONGEST_PAUSE_US: Final = 100_000
_FRESH_US: Final = 5_000
"""How long the value that a refusal brought may lie before it is read again: about as long as a call takes."""
_LONGEST_WAIT_S: Final = 30
