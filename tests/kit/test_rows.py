"""Jobs over many rows: what is broken is listed once and passed over, and the next run goes on behind it (T-105)."""

from collections.abc import Iterable

import pytest
from structlog.testing import capture_logs

from app.kit.clock import minutes, seconds
from app.kit.errors import Conflict, Unavailable
from app.kit.stores.broken_rows import LISTED, BrokenRows
from app.kit.stores.documents import Create, Delete, Document, Merge, Query, Where, int_field
from app.kit.stores.rows import MOST_READ, GuardedRows, JobRun
from support.clock import ManualClock
from support.memory import MemoryDocuments

DUE = Query("things", (Where("due", "<=", 10_000),), ("due", "__name__"))


class Job:
    """A job that serves things. A served thing is not due any more; one whose `size` is no integer is broken."""

    def __init__(self) -> None:
        self.documents, self.clock = MemoryDocuments(indexes=None), ManualClock()
        self.rows = GuardedRows(self.documents, self.clock)
        self.served: list[str] = []
        self.away: set[str] = set()
        self.moved: set[str] = set()
        self.takes_us = 0

    def put(self, names: Iterable[str], size: object = "broken", first: int = 0) -> None:
        for due, name in enumerate(names, first):
            self.documents.commit([Create(f"things/{name}", {"due": due, "size": size})])  # type: ignore[dict-item]  # any value

    def serve(self, row: Document) -> None:
        self.clock.advance(us=self.takes_us)
        if row.id in self.away:
            raise Unavailable("away")
        if row.id in self.moved:
            raise Conflict("moved")
        int_field(row.fields, "size")
        self.served.append(row.id)

    def due(self, limit: int = 100) -> JobRun:
        def work(row: Document) -> None:
            self.serve(row)
            self.documents.commit([Delete(row.path)])

        return self.rows.due("job", DUE, work, limit=limit)

    def follow(self) -> JobRun:
        return self.rows.follow("job", DUE, self.serve)

    def listed(self) -> list[str]:
        return [row.path for report in self.rows.reports() for row in report.record.broken]


@pytest.fixture
def job() -> Job:
    return Job()


class TestBrokenRowsInFront:
    def test_do_not_keep_a_good_one_waiting(self, job: Job) -> None:
        job.put([f"b{n:03d}" for n in range(200)])
        job.put(["good"], size=1, first=200)
        batch = job.due()
        assert job.served == ["good"]
        assert (batch.done, len(batch.broken), batch.complete) == (1, 200, True)

    def test_more_than_a_run_reads_are_passed_by_the_next_run(self, job: Job) -> None:
        job.put([f"b{n:04d}" for n in range(MOST_READ + 100)])
        job.put(["good"], size=1, first=MOST_READ + 100)
        assert not job.due().complete
        assert job.due().complete
        assert job.served == ["good"]

    def test_are_logged_and_written_once(self, job: Job) -> None:
        job.put(["one", "two"])
        with capture_logs() as logged:
            job.due()
            writes = job.documents.writes
            job.clock.advance(minutes=1)
            job.due()
        assert [line["path"] for line in logged if line["event"] == "row_broken"] == ["things/one", "things/two"]
        assert job.documents.writes == writes

    def test_are_listed_with_reason_and_times(self, job: Job) -> None:
        job.put(["one"])
        first = job.clock.now_us()
        job.due()
        job.clock.advance(minutes=61)
        job.due()
        (report,) = job.rows.reports()
        (row,) = report.record.broken
        assert (row.path, row.first_us, row.last_us) == ("things/one", first, first + minutes(61))
        assert "size should hold an integer" in row.reason

    def test_that_somebody_mends_or_removes_leave_the_list(self, job: Job) -> None:
        job.put(["mended", "removed", "left"])
        job.due()
        job.documents.commit([Merge("things/mended", {"size": 1}), Delete("things/removed")])
        job.clock.advance(minutes=1)
        job.due()
        assert (job.served, job.listed()) == (["mended"], ["things/left"])

    def test_that_an_earlier_run_of_the_same_pass_met_stay_listed(self, job: Job) -> None:
        job.put(["a", "b", "c"])
        job.takes_us = seconds(5)
        assert not job.due().complete
        job.clock.advance(minutes=1)
        assert job.due().complete
        assert job.listed() == ["things/a", "things/b", "things/c"]

    def test_beyond_the_list_are_counted(self, job: Job) -> None:
        job.put([f"b{n:03d}" for n in range(LISTED + 7)])
        for _ in range(2):
            job.due()
        (report,) = job.rows.reports()
        assert (len(report.record.broken), report.record.unlisted) == (LISTED, 7)

    def test_keep_no_one_waiting_though_somebody_spoilt_the_list(self, job: Job) -> None:
        job.documents.commit([Create("jobs/job", {"after": 7, "broken": "x", "note": "mine"})])
        job.put(["good"], size=1)
        job.put(["bad"], first=1)
        job.due()
        stored = job.documents.get("jobs/job")
        assert (job.served, job.listed()) == (["good"], ["things/bad"])
        assert stored is not None and stored.fields["note"] == "mine"

    def test_are_not_looked_for_in_the_record_of_another_kind(self, job: Job) -> None:
        """The sealing's own record has an `after` as well, and every scrape of the metrics logged it as spoilt."""
        job.documents.commit([Create("jobs/sealing", {"after": None, "complete": 1, "serial": 1})])
        with capture_logs() as logs:
            assert job.rows.reports() == []
        assert logs == []


class TestARun:
    def test_without_rows_reads_one_document_and_writes_none(self, job: Job) -> None:
        job.due()
        assert (job.documents.reads, job.documents.writes) == (1, 0)

    def test_serves_no_more_than_its_limit_and_the_next_goes_on(self, job: Job) -> None:
        job.put(["a", "b", "c"], size=1)
        assert not job.due(limit=2).complete
        job.put(["new"], size=1, first=-5)
        job.due(limit=2)
        assert job.served == ["a", "b", "c"]
        job.due(limit=2)
        assert job.served[3:] == ["new"]

    def test_ends_with_its_time_and_the_next_goes_on(self, job: Job) -> None:
        job.put([f"a{n}" for n in range(4)], size=1)
        job.takes_us = seconds(5)
        job.due()
        assert job.served == ["a0", "a1"]
        job.due()
        assert job.served == ["a0", "a1", "a2", "a3"]

    def test_leaves_what_moved_to_the_next_pass(self, job: Job) -> None:
        job.put(["a", "b"], size=1)
        job.moved.add("a")
        job.due()
        job.moved.clear()
        job.due()
        assert (job.served, job.listed()) == (["b", "a"], [])

    def test_passes_a_row_for_which_nothing_answers(self, job: Job) -> None:
        job.put(["a", "b"], size=1)
        job.away.add("a")
        assert (job.due().failed, job.served, job.listed()) == (("things/a",), ["b"], [])

    def test_stops_when_nothing_answers_any_more(self, job: Job) -> None:
        job.put(["a", "b", "c", "d"], size=1)
        job.away |= {"a", "b", "c"}
        with pytest.raises(Unavailable):
            job.due()
        job.due()
        assert job.served == ["d"]


class TestFollowing:
    def test_meets_each_row_once(self, job: Job) -> None:
        job.put(["a", "b"], size=1)
        job.follow()
        job.put(["c"], size=1, first=2)
        job.follow()
        assert job.served == ["a", "b", "c"]

    def test_reports_a_broken_row_once_and_goes_on_behind_it(self, job: Job) -> None:
        job.put(["bad"])
        job.put(["good"], size=1, first=1)
        job.follow()
        assert job.follow().broken == ()
        assert (job.served, job.listed()) == (["good"], ["things/bad"])

    def test_begins_again_with_the_rows_for_which_nothing_answered(self, job: Job) -> None:
        job.put(["a", "b", "c", "d", "e"], size=1)
        job.away |= {"b", "c", "d"}
        with pytest.raises(Unavailable):
            job.follow()
        job.away.clear()
        job.follow()
        assert (job.served, job.listed()) == (["a", "b", "c", "d", "e"], [])

    def test_passes_and_lists_a_single_row_for_which_nothing_answers(self, job: Job) -> None:
        job.put(["a", "b"], size=1)
        job.away.add("a")
        job.follow()
        assert (job.served, job.listed()) == (["b"], ["things/a"])

    def test_tries_a_listed_row_again_until_it_is_served_or_gone(self, job: Job) -> None:
        """One answer that was lost may be that of a row which never changes again."""
        job.put(["a", "b", "c"], size=1)
        job.put(["gone"], first=3)
        job.away.add("a")
        for _ in range(2):
            job.follow()
        assert (job.served, sorted(job.listed())) == (["b", "c"], ["things/a", "things/gone"])
        job.away.clear()
        job.documents.commit([Delete("things/gone")])
        job.follow()
        assert (job.served, job.listed()) == (["b", "c", "a"], [])

    def test_beside_another_run_forgets_no_row_that_the_other_passed(self, job: Job) -> None:
        """T-105: the slower one read the list before the other wrote it, and writes its own later."""
        job.put(["a", "b", "c"], size=1)

        def beside(row: Document) -> None:
            if not job.served:
                job.away = {"b"}
                job.follow()
                job.away = set()
                job.clock.advance(seconds=1)
            job.serve(row)

        with capture_logs():
            job.rows.follow("job", DUE, beside, limit=1)
        assert job.listed() == ["things/b"]
        job.served.clear()
        job.follow()
        assert (job.served, job.listed()) == (["b"], []), "the place of the faster run stands"

    def test_tries_listed_rows_in_turn(self, job: Job) -> None:
        names = [f"b{number:02d}" for number in range(50)]
        job.put(names)
        job.follow()
        job.documents.commit([Merge(f"things/{name}", {"size": 1}) for name in names])
        reads = job.documents.reads
        for _ in range(10):
            job.clock.advance(minutes=1)
            job.follow()
        assert (sorted(job.served), job.listed()) == (names, [])
        assert job.documents.reads - reads <= 50 + 10 * 3


class TestDecoding:
    def test_gives_what_can_be_read_and_lists_the_rest(self, job: Job) -> None:
        job.put(["bad"])
        job.put(["good"], size=1)
        rows = job.documents.query(Query("things"))
        assert job.rows.decoded("list", rows, lambda row: int_field(row.fields, "size")) == [1]
        assert job.listed() == ["things/bad"]

    def test_of_whole_rows_touches_no_store(self, job: Job) -> None:
        job.put(["good"], size=1)
        rows, before = job.documents.query(Query("things")), (job.documents.reads, job.documents.writes)
        job.rows.decoded("list", rows, lambda row: row.id)
        assert (job.documents.reads, job.documents.writes) == before


def test_a_row_that_is_not_met_for_a_month_is_forgotten() -> None:
    documents, clock = MemoryDocuments(indexes=None), ManualClock()
    kept = BrokenRows(documents, clock)
    kept.keep("job", kept.record("job"), kept.record("job"), {"things/old": "odd"}, lambda _: True)
    clock.advance(minutes=31 * 24 * 60)
    kept.keep("job", kept.record("job"), kept.record("job"), {"things/new": "odd"}, lambda _: True)
    assert [row.path for row in kept.record("job").broken] == ["things/new"]


def test_a_bug_of_ours_is_a_broken_row_and_not_the_end_of_the_job(job: Job) -> None:
    job.put(["a", "b"], size=1)

    def work(row: Document) -> None:
        if row.id == "a":
            raise KeyError("lots")
        job.served.append(row.id)

    assert job.rows.due("job", DUE, work).broken == ("things/a",)
    assert job.served == ["b"]
