"""Orchestration's figures for Prometheus: what waits, what is stuck, and when a sweep last ended.

Every figure is read from the stores when it is asked for, so that all instances answer the same, and every count has a
bound. Documents are counted without being parsed, so that a malformed one hides no other.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from app.feature import Figure
from app.kit.clock import from_rfc3339, minutes, to_rfc3339
from app.kit.errors import Fault
from app.kit.stores.broken_rows import BrokenRows
from app.kit.stores.documents import Document, Query, Where, text_field
from app.orchestration.assembly import Orchestration
from app.orchestration.queue import operation_document
from app.orchestration.queue.operation import OperationState, Priority
from app.orchestration.sagas import saga_document
from app.orchestration.sagas.saga import ENDED, SagaStatus

BOUND: Final = 100
"""Where a count of documents stops: every counted document costs a read, and a hundred is reason enough to look."""

OVERDUE_US: Final = minutes(15)

Group = Callable[[Orchestration], Iterator[Figure]]


def figures(orchestration: Orchestration) -> Iterator[Figure]:
    """All figures. When a store is unavailable, only the figures that are read from it are missing."""
    missing = 0
    for group in _GROUPS:
        try:
            yield from [*group(orchestration)]
        except Fault:
            missing += 1
    yield Figure("figures_missing", "Groups of figures whose store did not answer", missing)


def _lanes(orchestration: Orchestration) -> Iterator[Figure]:
    now_us = orchestration.clock.now_us()
    for name in sorted(orchestration.handlers.lanes):
        depth = orchestration.doorbell.depth(name, now_us)
        lane = {"lane": name}
        yield Figure("lane_waiting", "Operations that wait; 1000 when it may be more", depth.tickets, lane)
        yield Figure("lane_running", "Operations that run", depth.running, lane)
        yield Figure("lane_paused", "1 when somebody paused the lane", int(depth.paused), lane)
        oldest = depth.oldest_due_ms
        for priority in Priority:
            age_ms = now_us // 1000 - oldest[priority] if priority in oldest else 0
            help = "How long ago the oldest operation that waits was due"
            labels = {**lane, "priority": priority.name.lower()}
            yield Figure("lane_oldest_age_seconds", help, max(0, age_ms) // 1000, labels)


def _operations(orchestration: Orchestration) -> Iterator[Figure]:
    now_us = orchestration.clock.now_us()
    overdue = orchestration.outbox.query(
        Query(
            operation_document.COLLECTION,
            where=(Where("wake_at", "<=", to_rfc3339(now_us)),),
            order_by=("wake_at",),
            limit=BOUND,
        )
    )
    help = f"Operations that should have moved by now, for the sweeper to ring, counted to {BOUND}"
    yield Figure("operations_overdue", help, len(overdue))
    longest_us = now_us - from_rfc3339(text_field(overdue[0].fields, "wake_at")) if overdue else 0
    help = "How long ago the first of them should have moved"
    yield Figure("operations_overdue_longest_seconds", help, longest_us // 1_000_000)


def _dead_letters(orchestration: Orchestration) -> Iterator[Figure]:
    dead = orchestration.outbox.query(
        Query(
            operation_document.COLLECTION,
            where=(Where("state", "==", OperationState.DEAD.value),),
            order_by=("-finished_at",),
            limit=BOUND,
        )
    )
    yield Figure("dead_letters", f"Operations that failed for good, counted to {BOUND}", len(dead))
    help = "Of the dead letters that were counted, those of one name"
    for (lane, name), count in sorted(Counter(map(_lane_and_name, dead)).items()):
        yield Figure("dead_letters_by_name", help, count, {"lane": lane, "operation": name})


def _sagas(orchestration: Orchestration) -> Iterator[Figure]:
    for status in SagaStatus:
        if status not in ENDED:
            where = (Where("status", "==", status.value),)
            found = orchestration.outbox.query(Query(saga_document.COLLECTION, where=where, limit=BOUND))
            yield Figure(
                "sagas", f"Sagas that have not ended, counted to {BOUND}", len(found), {"status": status.value}
            )


def _sweeps(orchestration: Orchestration) -> Iterator[Figure]:
    last = orchestration.sweeper.last()
    age_us = orchestration.clock.now_us() - (last.at_us if last else 0)
    help = "Since a sweep last came to its end; since 1970 when none ever did"
    yield Figure("sweep_age_seconds", help, max(0, age_us) // 1_000_000)
    yield Figure("sweep_failed", "Parts of the last sweep that failed", last.failed if last else 0)


def _broken_rows(orchestration: Orchestration) -> Iterator[Figure]:
    for report in BrokenRows(orchestration.outbox, orchestration.clock).reports():
        count = len(report.record.broken) + report.record.unlisted
        yield Figure(
            "broken_rows", "Rows that a job cannot read or work on, and passes over", count, {"job": report.job}
        )


def long_overdue(orchestration: Orchestration) -> list[str]:
    """Operations, at most ten, that should have moved a while ago and that no sweep has started."""
    before = to_rfc3339(orchestration.clock.now_us() - OVERDUE_US)
    where = (Where("wake_at", "<=", before),)
    query = Query(operation_document.COLLECTION, where, ("wake_at",), limit=10)
    return [operation.id for operation in orchestration.outbox.query(query)]


def _lane_and_name(letter: Document) -> tuple[str, str]:
    return str(letter.fields.get("lane")), str(letter.fields.get("name"))


_GROUPS: Final[tuple[Group, ...]] = (_lanes, _operations, _dead_letters, _sagas, _sweeps, _broken_rows)
