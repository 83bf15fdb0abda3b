"""Jobs over many rows: each row is read and worked on alone, so that a broken one stops no other.

A broken row is passed over and listed (`app.kit.stores.broken_rows`). A run is bounded in rows and time, and the next
one goes on where it stopped, so that broken rows in front never keep the ones behind them waiting for good. Knows
nothing of what the rows are.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from app.kit.clock import Clock, minutes, seconds
from app.kit.errors import Conflict, Fault, Unavailable
from app.kit.stores.broken_rows import BrokenRow, BrokenRows, JobRecord, JobReport, reason_of
from app.kit.stores.documents import Document, Documents, Query, Value
from app.kit.telemetry import log

BUDGET_US: Final = seconds(8)
"""A run begins no new row after this time."""
MOST_READ: Final = 1_000
"""Rows that a run reads at most; broken ones count here, and not for its limit."""
_PAGE: Final = 100
_AGAIN: Final = 20
"""Listed rows that a run of `follow` tries again."""
_IN_A_ROW: Final = 3
"""So many rows in a row for which a dependency did not answer end a run."""

_log = log("jobs")
Work = Callable[[Document], object]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JobRun:
    """What a run did. `failed` holds the paths of rows for which a dependency did not answer. `complete` is False when
    rows are left for the next run.
    """

    done: int
    broken: tuple[str, ...]
    failed: tuple[str, ...]
    complete: bool


@dataclass(slots=True)
class _Run:
    """A run while it works. `trailing` are the failed rows since the last one that did not fail; `before_them` is the
    cursor in front of them.
    """

    after: tuple[Value, ...]
    whole: set[str] = field(default_factory=set)
    broken: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    trailing: dict[str, str] = field(default_factory=dict)
    before_them: tuple[Value, ...] = ()
    read: int = 0


class GuardedRows:
    """Runs jobs over the rows of `documents`."""

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock
        self._list = BrokenRows(documents, clock)

    def due(self, job: str, query: Query, work: Work, *, limit: int = 100, for_us: int = BUDGET_US) -> JobRun:
        """Works on rows that leave the query when they are served: at most `limit`, in about `for_us` microseconds.

        A run goes on behind the last one's rows; after the last row, the next run begins at the first one again. `work`
        raises `Conflict` for a row that moved, and another `Fault` where a dependency did not answer. Any other
        exception means that the row is broken.

        Raises:
            Unavailable: the store does not answer, or a dependency did not for several rows in a row.
        """
        was, now_us = self._list.record(job), self._clock.now_us()
        began_us = was.began_us if was.after else now_us
        run = _Run(was.after)
        complete = self._pages(query, work, run, limit, now_us + for_us)

        def stays(row: BrokenRow) -> bool:
            return row.path not in run.whole and not (complete and row.last_us < began_us)

        self._list.keep(job, was, JobRecord(() if complete else run.after, began_us), run.broken, stays)
        return self._job_run(job, run, complete)

    def follow(self, job: str, query: Query, work: Work, *, limit: int = 100, for_us: int = BUDGET_US) -> JobRun:
        """Works on each row once, in the order of the query; otherwise as `due`.

        When a run ends in rows for which a dependency did not answer, the next one begins with these. When it
        did answer for a row behind such a one, the row itself counts as broken. Some of the listed rows are tried again
        in each run, because they may never change, and the query would not meet them any more.
        """
        was, now_us = self._list.record(job), self._clock.now_us()
        run = _Run(was.after)
        complete = self._pages(query, work, run, limit, now_us + for_us)
        after = run.before_them if run.trailing else run.after
        passed = {path: reason for path, reason in run.failed.items() if path not in run.trailing}
        met = {**run.broken, **passed}
        mended = set[str]() if run.trailing else self._mended(was.broken, work, now_us)
        served = (run.whole | mended) - met.keys()

        def stays(row: BrokenRow) -> bool:
            # What a run beside this one listed since may be about a newer state of the row.
            return row.path not in served or row not in was.broken

        self._list.keep(job, was, JobRecord(after, now_us), met, stays)
        return self._job_run(job, run, complete)

    def decoded(self, job: str, rows: Iterable[Document], decode: Callable[[Document], T]) -> list[T]:
        """The rows that can be read; the others are listed. For readers with a cursor of their own.

        While every row can be read, it reads and writes nothing.
        """
        found: list[T] = []
        broken: dict[str, str] = {}
        for row in rows:
            try:
                found.append(decode(row))
            except Fault:
                raise
            except Exception as error:  # noqa: BLE001  # the edge of a batch: a broken row must not stop it
                broken[row.path] = reason_of(error)
        if broken:
            self.report(job, broken)
        return found

    def report(self, job: str, broken: Mapping[str, str]) -> None:
        """Lists rows, by their paths and with reasons, that a reader could not read, or not wholly."""
        was = self._list.record(job)
        self._list.keep(job, was, was, broken, lambda _: True)

    def reports(self) -> list[JobReport]:
        """Every job that knows of broken rows."""
        return self._list.reports()

    def _mended(self, listed: Sequence[BrokenRow], work: Work, now_us: int) -> set[str]:
        """Works on some of the listed rows, other ones every minute. Returns those that are served now, or gone."""
        if not listed:
            return set()
        turn = now_us // minutes(1) * _AGAIN % len(listed)
        paths = [row.path for row in (*listed[turn:], *listed[:turn])[:_AGAIN]]
        mended: set[str] = set()
        for path, row in zip(paths, self._documents.get_all(paths)):
            # What fails stays listed, and is not logged again.
            with suppress(Exception):
                if row is not None:
                    work(row)
                mended.add(path)
        return mended

    def _pages(self, query: Query, work: Work, run: _Run, limit: int, ends_us: int) -> bool:
        """Works through pages; whether it came to the end of the query."""
        size = min(_PAGE, limit)
        while True:
            page = self._documents.query(replace(query, limit=size, start_after=run.after))
            for row in page:
                if len(run.whole) >= limit or run.read >= MOST_READ or len(run.trailing) >= _IN_A_ROW:
                    return False
                if run.read and self._clock.now_us() >= ends_us:
                    return False
                self._row(row, work, run, place_of_row(query, row))
            if len(page) < size:
                return True

    def _row(self, row: Document, work: Work, run: _Run, place: tuple[Value, ...]) -> None:
        before, run.after = run.after, place
        run.read += 1
        try:
            work(row)
            run.whole.add(row.path)
        except Conflict:
            _log.info("row_moved", path=row.path)
        except Fault as fault:
            _log.warning("row_failed", path=row.path, reason=str(fault))
            run.before_them = run.before_them if run.trailing else before
            run.trailing[row.path] = run.failed[row.path] = reason_of(fault)
            return
        except Exception as error:  # noqa: BLE001  # the edge of a batch: a broken row must not stop it
            run.broken[row.path] = reason_of(error)
            return
        run.trailing = {}

    def _job_run(self, job: str, run: _Run, complete: bool) -> JobRun:
        if len(run.trailing) >= _IN_A_ROW:
            raise Unavailable(f"{job} stopped after {len(run.trailing)} rows in a row failed")
        return JobRun(len(run.whole), tuple(run.broken), tuple(run.failed), complete)


def place_of_row(query: Query, row: Document) -> tuple[Value, ...]:
    """The cursor behind a row: what the fields of the query's order hold in it."""
    names = [name.lstrip("-") for name in query.whole_order]
    name = row.path if query.group else row.id
    return tuple(name if field == "__name__" else row.fields.get(field) for field in names)
