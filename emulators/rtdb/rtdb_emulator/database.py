"""One namespace: its tree, its rules, its listens, and the one way in which any of them changes.

Knows no transport. Everything here is synchronous, so a request is never seen half done.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from rtdb_emulator.access import DEFAULT_RULES, Access, Asker
from rtdb_emulator.committer import Committer
from rtdb_emulator.errors import MissingIndex, PermissionDenied
from rtdb_emulator.identity import Identity
from rtdb_emulator.journal import Saved
from rtdb_emulator.listens import Listen, Listens, Sink
from rtdb_emulator.paths import Path, to_text
from rtdb_emulator.query import Query, index_needed
from rtdb_emulator.tree import Node, get, inner
from rtdb_emulator.writes import Moment, WriteSet

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Commit:
    """A write that happened, as function triggers need it."""

    namespace: str
    before: Node
    after: Node
    touched: tuple[Path, ...]
    asker: Asker


class CommitObserver(Protocol):
    """Somebody who wants to know about commits."""

    def committed(self, commit: Commit) -> None: ...


class Database:
    """The data of one namespace."""

    def __init__(self, name: str, committer: Committer, observer: CommitObserver, clock: Callable[[], int]) -> None:
        self.name = name
        self.root: Node = None
        self.access = Access()
        self.listens = Listens()
        self._committer = committer
        self._observer = observer
        self._clock = clock

    def moment(self) -> Moment:
        """The tree and the time, for one write request."""
        return Moment(self.root, self._clock())

    def asker(self, identity: Identity) -> Asker:
        """This identity, asking now."""
        return Asker(identity, self._clock())

    def read(self, path: Path, asker: Asker, query: Query | None = None) -> Node:
        """The node, or the part of it that the query keeps. Raises PermissionDenied or MissingIndex."""
        self._logged(lambda: self.access.check_read(path, self.root, asker, query), "read", path)
        node = get(self.root, path)
        if query is None:
            return node
        self.require_index(path, query)
        return inner({key: below for key, below in query.select(node).items() if below is not None})

    def require_index(self, path: Path, query: Query) -> None:
        """Raise MissingIndex unless the rules define the index that the ordering needs."""
        needed = index_needed(query)
        if needed is not None and not self.access.has_index(path, needed):
            raise MissingIndex(
                f'Index not defined, add ".indexOn": "{needed}", for path "/{to_text(path)}", to the rules'
            )

    def check_write(self, write: WriteSet, asker: Asker) -> Node:
        """The tree as it would be. Raises PermissionDenied."""
        after = write.apply(self.root)
        paths = write.paths
        self._logged(lambda: self.access.check_write(paths, self.root, after, asker), "write", *paths)
        return after

    def write(self, write: WriteSet, asker: Asker, *, triggers: bool = True) -> None:
        """Do it, record it, tell everybody. Raises PermissionDenied."""
        before, after = self.root, self.check_write(write, asker)
        if after is before:
            return
        self._committer.journal.record_write(self.name, write)
        self.root = after
        self._recheck(self.listens.volatile, asker.now_ms)
        self.listens.commit(write.touched, before, after, write.update_of)
        if triggers:
            self._observer.committed(Commit(self.name, before, after, write.touched, asker))

    def listen(self, listen: Listen) -> Node:
        """Register a listen; the result is what it shows now. Raises PermissionDenied."""
        asker = self.asker(listen.sink.identity)
        listen.volatile = self._logged(
            lambda: self.access.check_read(listen.path, self.root, asker, listen.query), "listen", listen.path
        )
        return self.listens.add(listen, self.root)

    def recheck_listens_of(self, sink: Sink, listens: list[Listen]) -> None:
        """Revoke what the sink's new identity may not read."""
        self._recheck(dict.fromkeys(one for one in listens if one.sink is sink), self._clock())

    def replace_rules(self, text: str) -> None:
        """New rules for everybody, listens included. Raises RulesError and changes nothing."""
        self.access = Access(text)
        self._committer.journal.record_rules(self.name, text)
        self._recheck(dict.fromkeys(self.listens), self._clock())

    def restore(self, saved: Saved) -> None:
        """Take over what the data file says."""
        self.root = saved.root
        if saved.rules_text is not None:
            self.access = Access(saved.rules_text)

    def saved(self) -> Saved:
        """What the data file should say."""
        text = self.access.text
        return Saved(self.root, None if text == DEFAULT_RULES else text)

    def _recheck(self, listens: dict[Listen, None], now_ms: int) -> None:
        for listen in tuple(listens):
            asker = Asker(listen.sink.identity, now_ms)
            try:
                listen.volatile = self.access.check_read(listen.path, self.root, asker, listen.query)
            except PermissionDenied as denied:
                _LOG.debug("listen on %s/%s revoked: %s", self.name, to_text(listen.path), denied.reason)
                self.listens.remove(listen)
                listen.sink.revoked(listen)
            else:
                self.listens.mark(listen)

    def _logged(self, check: Callable[[], bool | None], verb: str, *paths: Path) -> bool:
        try:
            return bool(check())
        except PermissionDenied as denied:
            where = ", ".join("/" + to_text(path) for path in paths)
            _LOG.info("%s of %s in %s denied: %s", verb, where, self.name, denied.reason)
            raise
