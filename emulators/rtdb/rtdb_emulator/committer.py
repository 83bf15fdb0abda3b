"""Durable first, visible second: holds every outgoing message until the journal has taken the writes before it.

One flush per turn of the event loop serves all writes of that turn. Knows neither messages nor trees.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from rtdb_emulator.journal import FileJournal, Journal, NoJournal, Saved

_LOG: Final = logging.getLogger(__name__)
_COMPACT_ABOVE: Final = 4 * 1024 * 1024


class Waiting(Protocol):
    """Somebody who holds messages until the flush."""

    def release(self) -> None: ...


class Committer:
    """Flushes the journal once per turn of the loop, then releases everybody who waits."""

    def __init__(self, journal: Journal | None = None, *, compact_above: int = _COMPACT_ABOVE) -> None:
        self.journal: Journal = journal or NoJournal()
        self.saved: Callable[[], Mapping[str, Saved]] = dict
        self.failed: Callable[[OSError], None] = _raise
        self._waiting: list[Waiting] = []
        self._scheduled = False
        self._compact_above = compact_above
        self._compaction: asyncio.Task[None] | None = None

    def hold(self, waiting: Waiting) -> None:
        """Release `waiting` after the next flush, in the order of these calls."""
        self._waiting.append(waiting)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def flushed(self) -> Awaitable[None]:
        """Something to await before an answer may leave."""
        turn = _Turn()
        self.hold(turn)
        return turn.future

    async def settled(self) -> None:
        """Wait until nothing that was read can be lost any more; most of the time that is now."""
        if self._scheduled:
            await self.flushed()

    async def idle(self) -> None:
        """Wait until no compaction is running."""
        if self._compaction is not None:
            await self._compaction

    def _flush(self) -> None:
        self._scheduled = False
        try:
            self.journal.flush()
        except OSError as error:
            self.failed(error)
            return
        waiting, self._waiting = self._waiting, []
        for held in waiting:
            held.release()
        self._maybe_compact()

    def _maybe_compact(self) -> None:
        journal = self.journal
        if isinstance(journal, FileJournal) and journal.size > self._compact_above and self._compaction is None:
            self._compaction = asyncio.create_task(self._compact(journal))

    async def _compact(self, journal: FileJournal) -> None:
        try:
            write_compacted = journal.begin_compaction()
            before = journal.size
            fd = await asyncio.to_thread(write_compacted, self.saved())
            journal.finish_compaction(fd)
            _LOG.info("compacted %s from %d to %d bytes", journal.file, before, journal.size)
        except OSError:
            _LOG.exception("compaction failed, going on with the old file")
            journal.abandon_compaction()
        finally:
            self._compact_above = max(self._compact_above, 2 * journal.size)
            self._compaction = None


class _Turn:
    def __init__(self) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def release(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


def _raise(error: OSError) -> None:
    raise error
