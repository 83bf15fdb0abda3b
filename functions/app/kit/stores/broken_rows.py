"""The document of a job over many rows, `jobs/{job}`: where its next run goes on, and the rows that it cannot read.

A broken row is logged when it is listed, and not again. It leaves the list when it is met whole, when a pass over all
rows did not meet it, or after 30 days.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from app.kit.clock import Clock, from_rfc3339, minutes, to_rfc3339
from app.kit.optimistic import optimistic
from app.kit.stores.documents import (
    Create,
    Document,
    Documents,
    Fields,
    Query,
    Replace,
    Value,
    Version,
    as_map,
    int_field,
    list_field,
    text_field,
    unknown,
)
from app.kit.telemetry import log

COLLECTION: Final = "jobs"
LISTED: Final = 500
"""Broken rows in the list of one job. Further ones are only counted: a document holds 1 MiB."""
FRESH_US: Final = minutes(60)
"""`last_seen` is written again only when it is older than this, so that the list is not written every minute."""
_FORGET_US: Final = minutes(30 * 24 * 60)
_JOBS: Final = 100

_log = log("jobs")


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that a job could not read or work on, and when it was met."""

    path: str
    reason: str
    first_us: int
    last_us: int
    others: Fields = field(default_factory=dict)
    """What is stored with it and is not known here: another version of the code wrote it. It is kept."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What a job's document says. `after` holds the cursor of the next run's query, `began_us` the time at which the
    pass over all rows began, `unlisted` the number of broken rows that the list has no room for.
    """

    after: tuple[Value, ...] = ()
    began_us: int = 0
    broken: tuple[BrokenRow, ...] = ()
    unlisted: int = 0
    version: Version | None = field(default=None, compare=False)
    """That of the document it was read from; None where there was none."""


@dataclass(frozen=True, slots=True)
class JobReport:
    """The broken rows of one job."""

    job: str
    record: JobRecord


class BrokenRows:
    """Reads and writes the documents of jobs."""

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock

    def record(self, job: str) -> JobRecord:
        """What is known of a job; of one that never ran, nothing."""
        stored = self._documents.get(f"{COLLECTION}/{job}")
        return JobRecord() if stored is None else _read(stored)

    def reports(self) -> list[JobReport]:
        """Every job that knows of broken rows."""
        found = [(stored.id, _read(stored)) for stored in self._documents.query(Query(COLLECTION, limit=_JOBS))]
        return [JobReport(job, record) for job, record in found if record.broken or record.unlisted]

    def keep(
        self, job: str, was: JobRecord, now: JobRecord, met: Mapping[str, str], stays: Callable[[BrokenRow], bool]
    ) -> None:
        """Writes the place and the list of `now`, if they differ from `was`.

        `met` maps the paths of broken rows to reasons. A listed row that was not met remains where `stays` says so.
        Where another run of the job wrote since `was` was read, its place stands, and the rows that it listed as well.

        Raises:
            Contended: other runs wrote each time.
        """

        def attempt() -> None:
            self._keep(job, was, now, met, stays)

        def reread() -> None:
            nonlocal was, now
            was = self.record(job)
            now = was

        # A few runs overlap, where a scheduler fires twice: they need not wait for one another.
        optimistic(attempt, pause=lambda _: None, reread=reread)

    def _keep(
        self, job: str, was: JobRecord, now: JobRecord, met: Mapping[str, str], stays: Callable[[BrokenRow], bool]
    ) -> None:
        at_us = self._clock.now_us()
        rows = _listed(was.broken, met, stays, at_us)
        unlisted = sum(path not in rows for path in met)
        known = {row.path: row for row in was.broken}
        for path, row in rows.items():
            if path not in known:
                _log.error("row_broken", job=job, path=path, reason=row.reason)
        if unlisted > was.unlisted:
            _log.error("broken_rows_not_listed", job=job, count=unlisted)
        kept = replace(now, broken=tuple(rows.values()), unlisted=unlisted)
        if _differs(was, kept):
            path, fields = f"{COLLECTION}/{job}", _fields(kept)
            known_as = was.version
            self._documents.commit(
                [Create(path, fields) if known_as is None else Replace(path, fields, known_as, keep_others=True)]
            )


def reason_of(error: Exception) -> str:
    """An error in one line of at most 300 characters."""
    return f"{type(error).__name__}: {error}"[:300]


def _listed(
    known: Sequence[BrokenRow], met: Mapping[str, str], stays: Callable[[BrokenRow], bool], at_us: int
) -> dict[str, BrokenRow]:
    rows: dict[str, BrokenRow] = {}
    for row in known:
        if row.path in met:
            rows[row.path] = replace(row, reason=met[row.path], last_us=at_us)
        elif stays(row) and row.last_us > at_us - _FORGET_US:
            rows[row.path] = row
    for path, reason in met.items():
        if path not in rows and len(rows) < LISTED:
            rows[path] = BrokenRow(path, reason, at_us, at_us)
    return rows


def _differs(was: JobRecord, now: JobRecord) -> bool:
    """Whether more than the age of `last_seen` changed, or that by an hour."""
    before = {row.path: row for row in was.broken}
    if (was.after, was.unlisted, {*before}) != (now.after, now.unlisted, {row.path for row in now.broken}):
        return True
    pairs = [(before[row.path], row) for row in now.broken]
    return any(old.reason != new.reason or new.last_us - old.last_us >= FRESH_US for old, new in pairs)


def _fields(record: JobRecord) -> Fields:
    return {
        "after": list(record.after),
        "pass_began_at": to_rfc3339(record.began_us),
        "unlisted": record.unlisted,
        "broken": [
            {
                **row.others,
                "path": row.path,
                "reason": row.reason,
                "first_seen": to_rfc3339(row.first_us),
                "last_seen": to_rfc3339(row.last_us),
            }
            for row in record.broken
        ],
    }


def _read(stored: Document) -> JobRecord:
    """The record in a document. One that somebody spoilt counts as none: the job begins at its first row again."""
    fields = stored.fields
    if "broken" not in fields:
        return JobRecord(version=stored.version)  # a record of another kind: jobs that verify keep theirs here as well
    try:
        return JobRecord(
            after=tuple(list_field(fields, "after")),
            began_us=from_rfc3339(text_field(fields, "pass_began_at")),
            broken=tuple(_row(as_map(row)) for row in list_field(fields, "broken")),
            unlisted=int_field(fields, "unlisted"),
            version=stored.version,
        )
    except Exception as error:  # noqa: BLE001  # the edge of a batch: whatever is stored there, the job goes on
        _log.error("job_record_unreadable", path=stored.path, reason=reason_of(error))
        return JobRecord(version=stored.version)


def _row(fields: Fields) -> BrokenRow:
    return BrokenRow(
        path=text_field(fields, "path"),
        reason=text_field(fields, "reason"),
        first_us=from_rfc3339(text_field(fields, "first_seen")),
        last_us=from_rfc3339(text_field(fields, "last_seen")),
        others=unknown(fields, _ROW),
    )


_ROW: Final = frozenset({"path", "reason", "first_seen", "last_seen"})
