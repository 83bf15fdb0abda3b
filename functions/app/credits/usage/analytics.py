"""What an account's credits were used for, from rollups that follow the ledger.

A query first brings the rollups up to date, from the entry where the last query stopped, so that a message needs no
write for them. Each entry counts once, because a batch and the new cursor are one commit. Where another query was
faster, the count goes on from the cursor that it left.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final, Literal

from app.credits.proofs.reading import LedgerReader, readable
from app.credits.usage import rollups
from app.credits.usage.rollups import MEASURES, Cursor
from app.kit.clock import EARLIEST_US, Clock, to_rfc3339
from app.kit.errors import Invalid
from app.kit.optimistic import Pause, optimistic
from app.kit.stores.documents import (
    Create,
    Delete,
    Document,
    Documents,
    Fields,
    Query,
    Replace,
    Version,
    Where,
    Write,
    int_field,
    text_field,
)
from app.kit.stores.listing import Listing
from app.kit.stores.rows import GuardedRows
from app.kit.telemetry import log

_log = log("credits")
Granularity = Literal["hour", "day", "month"]

_BATCH: Final = 50
"""Entries per commit: at most 7 increments each, and Firestore takes 500 of one document."""
_BATCHES: Final = 40
"""Batches of one query; a longer backlog is left to later ones, and the answer says that it is not complete."""
_DAY_US: Final = 86_400_000_000
_MOST_DAYS: Final[Mapping[Granularity, int]] = {"hour": 31, "day": 366, "month": 3660}
_DEFAULT_DAYS: Final = 30
_BURN_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Sums over charges: `cost` in micro-credits, the number of charges, and tokens."""

    cost: int = 0
    charges: int = 0
    input: int = 0
    cached_input: int = 0
    output: int = 0
    reasoning: int = 0
    image: int = 0
    cache_write: int = 0

    def __add__(self, other: "UsageTotals") -> "UsageTotals":
        return UsageTotals(*(getattr(self, name) + getattr(other, name) for name in MEASURES))

    @property
    def total_input(self) -> int:
        """All tokens of prompts."""
        return self.input + self.cached_input + self.cache_write

    @property
    def tokens(self) -> int:
        """All tokens, of every kind."""
        return self.total_input + self.output + self.reasoning + self.image

    @property
    def cost_per_charge(self) -> int | None:
        """Micro-credits, rounded down."""
        return self.cost // self.charges if self.charges else None

    @property
    def cost_per_1k_tokens(self) -> int | None:
        """Micro-credits, rounded down."""
        return self.cost * 1000 // self.tokens if self.tokens else None


@dataclass(frozen=True, slots=True)
class Line:
    """Usage of one model for one task in one period; `start` is the period's first moment."""

    start: str
    model: str
    task: str
    usage: UsageTotals


@dataclass(frozen=True, slots=True)
class ConversationCost:
    """One conversation over its whole life."""

    conversation_id: str
    cost: int
    messages: int


@dataclass(frozen=True, slots=True)
class Analytics:
    """The result of a query. `burn_rate` is micro-credits a day over the last week, `days_left` what that leaves."""

    lines: tuple[Line, ...]
    movements: Mapping[str, int]
    conversations: tuple[ConversationCost, ...]
    burn_rate: int
    days_left: int | None
    sequence: int
    complete: bool

    @property
    def total(self) -> UsageTotals:
        """The sum over the whole period."""
        return _sum(line.usage for line in self.lines)

    def by(self, name: Literal["start", "model", "task"]) -> dict[str, UsageTotals]:
        """Sums by one property of the lines, in order."""
        sums: dict[str, UsageTotals] = {}
        for line in self.lines:
            of = getattr(line, name)
            sums[of] = sums.get(of, UsageTotals()) + line.usage
        return dict(sorted(sums.items()))


@dataclass(frozen=True, slots=True)
class UsagePeriod:
    """From (inclusive) until (exclusive), in microseconds."""

    from_us: int
    to_us: int
    granularity: Granularity

    def __post_init__(self) -> None:
        if self.to_us <= self.from_us:
            raise Invalid("The period ends before it begins")
        most = _MOST_DAYS[self.granularity]
        if self.to_us - self.from_us > most * _DAY_US:
            raise Invalid(f"By {self.granularity}, a period has at most {most} days", most_days=most)


@dataclass(slots=True)
class _Sums:
    lines: dict[tuple[str, str, str], UsageTotals] = field(default_factory=dict)
    movements: dict[str, int] = field(default_factory=dict)


class Analyst:
    """Analyses the usage of single accounts."""

    def __init__(self, documents: Documents, ledger: LedgerReader, clock: Clock, pause: Pause) -> None:
        self._documents = documents
        self._ledger = ledger
        self._clock = clock
        self._pause = pause

    def period(self, from_us: int | None, to_us: int | None, granularity: Granularity) -> UsagePeriod:
        """The period that was asked for; by default the last 30 days."""
        until = self._clock.now_us() if to_us is None else to_us
        since = max(until - _DEFAULT_DAYS * _DAY_US, EARLIEST_US) if from_us is None else from_us
        return UsagePeriod(since, until, granularity)

    def analyse(self, uid: str, period: UsagePeriod, *, available: int) -> Analytics:
        """What the account used in `period`; brings its rollups up to date first. Rollups that cannot be read are
        counted again from the entries.

        Raises:
            EntryUnreadable: an entry cannot be read, so no sum would be right.
        """
        try:
            return self._analysed(uid, period, available)
        except _Unreadable as error:
            _log.error("rollups_unreadable", account=uid, reason=str(error))
            self._begin_again(uid)
            return self._analysed(uid, period, available)

    def _analysed(self, uid: str, period: UsagePeriod, available: int) -> Analytics:
        cursor, complete = self.catch_up(uid)
        found = _collect(self._days(uid, cursor, period.from_us, period.to_us), period)
        burnt = self._burnt(uid, cursor, self._clock.now_us())
        return Analytics(
            lines=tuple(Line(*key, usage) for key, usage in sorted(found.lines.items())),
            movements=found.movements,
            conversations=self._conversations(uid, cursor),
            burn_rate=burnt // _BURN_DAYS,
            days_left=available * _BURN_DAYS // burnt if burnt > 0 else None,
            sequence=cursor.sequence,
            complete=complete,
        )

    def catch_up(self, uid: str, batches: int = _BATCHES) -> tuple[Cursor, bool]:
        """Counts up to `batches` batches of new entries; returns the new cursor, and whether no entry is left."""
        cursor, version = self._cursor(uid)

        def count() -> bool:
            nonlocal cursor, version
            batch = [readable(stored) for stored in islice(self._ledger.documents(uid, cursor.sequence), _BATCH)]
            if not batch:
                return False
            after = replace(cursor, sequence=int_field(batch[-1], "sequence"))
            writes: list[Write] = [_move(uid, after, version), *rollups.increments(uid, cursor, batch)]
            version = self._documents.commit(writes)[0]
            cursor = after
            return True

        def reread() -> None:
            nonlocal cursor, version
            cursor, version = self._cursor(uid)

        for _ in range(batches):
            if not optimistic(count, reread=reread, pause=self._pause):
                return cursor, True
        return cursor, False

    def rebuild(self, uid: str) -> Cursor:
        """Forgets the rollups and counts from the first entry again, as a new generation."""
        fresh, complete = self._begin_again(uid), False
        while not complete:
            fresh, complete = self.catch_up(uid)
        return fresh

    def _begin_again(self, uid: str) -> Cursor:
        """Forgets the rollups and begins a new generation of them."""
        cursor, version = self._cursor(uid)
        fresh = Cursor(cursor.generation + 1)
        self._documents.commit([_move(uid, fresh, version)])
        for collection in ("rollups", "conversation_costs"):
            self._forget(f"accounts/{uid}/{collection}", fresh.generation)
        return fresh

    def _forget(self, collection: str, generation: int) -> None:
        before = rollups.slot(generation, "")
        while True:
            old = self._documents.query(Query(collection, (Where("slot", "<", before),), ("slot",), limit=200))
            if not old:
                return
            self._documents.commit([Delete(document.path) for document in old])

    def _cursor(self, uid: str) -> tuple[Cursor, Version | None]:
        stored = self._documents.get(rollups.cursor_path(uid))
        if stored is None:
            return Cursor(), None
        return Cursor(int_field(stored.fields, "generation"), int_field(stored.fields, "sequence")), stored.version

    def _days(self, uid: str, cursor: Cursor, from_us: int, to_us: int) -> list[Fields]:
        first, last = (rollups.slot(cursor.generation, to_rfc3339(at)[:10]) for at in (from_us, to_us - 1))
        where = (Where("slot", ">=", first), Where("slot", "<=", last))
        found = self._documents.query(Query(f"accounts/{uid}/rollups", where=where, order_by=("slot",)))
        return [document.fields for document in found]

    def _burnt(self, uid: str, cursor: Cursor, now_us: int) -> int:
        week = UsagePeriod(now_us - _BURN_DAYS * _DAY_US, now_us + 1, "hour")
        found = _collect(self._days(uid, cursor, week.from_us, week.to_us), week)
        return _sum(found.lines.values()).cost

    def _conversations(self, uid: str, cursor: Cursor) -> tuple[ConversationCost, ...]:
        """The 20 dearest ones."""
        where = (Where("generation", "==", cursor.generation),)
        query = Query(f"accounts/{uid}/conversation_costs", where, ("-cost",))
        rows = GuardedRows(self._documents, self._clock)
        return tuple(Listing(self._documents, rows, "conversation_costs_list", query, _conversation).first(20))


class _Unreadable(Exception):
    """A rollup cannot be read."""


def _conversation(stored: Document) -> ConversationCost:
    fields = stored.fields
    return ConversationCost(
        text_field(fields, "conversation"), int_field(fields, "cost"), int_field(fields, "messages")
    )


def _move(uid: str, cursor: Cursor, version: Version | None) -> Write:
    path = rollups.cursor_path(uid)
    if version is None:
        return Create(path, cursor.fields())
    return Replace(path, cursor.fields(), version, keep_others=True)


def _collect(days: Sequence[Fields], period: UsagePeriod) -> _Sums:
    """Adds up the hours that lie in the period. Whole hours: the rollups know nothing finer."""
    found = _Sums()
    first, last = to_rfc3339(period.from_us)[:13], to_rfc3339(period.to_us - 1)[:13]
    for day in days:
        if not isinstance(day.get("day"), str):
            raise _Unreadable("day should hold text")
        for _, kinds in _within(day, "movements", first, last):
            for kind in kinds:
                found.movements[kind] = found.movements.get(kind, 0) + _count(kinds, kind)
        for hour, models in _within(day, "hours", first, last):
            _collect_hour(found, _start(hour, period.granularity), models)
    return found


def _within(day: Fields, name: str, first: str, last: str) -> Iterator[tuple[str, Fields]]:
    hours = _map(day, name)
    for hour in sorted(hours):
        at = f"{day.get('day')}T{hour}"
        if first <= at <= last:
            yield at, _map(hours, hour)


def _collect_hour(found: _Sums, start: str, models: Fields) -> None:
    for model in models:
        tasks = _map(models, model)
        for task in tasks:
            counts = _map(tasks, task)
            usage = UsageTotals(*(_count(counts, name) for name in MEASURES))
            key = (start, model, task)
            found.lines[key] = found.lines.get(key, UsageTotals()) + usage


def _start(hour: str, granularity: Granularity) -> str:
    """The first moment of the period that `hour` (`2026-11-21T08`) lies in."""
    match granularity:
        case "hour":
            return f"{hour}:00:00.000000Z"
        case "day":
            return f"{hour[:10]}T00:00:00.000000Z"
        case "month":
            return f"{hour[:7]}-01T00:00:00.000000Z"


def _sum(usages: Iterable[UsageTotals]) -> UsageTotals:
    total = UsageTotals()
    for usage in usages:
        total = total + usage
    return total


def _map(fields: Fields, name: str) -> Fields:
    value = fields.get(name, {})
    if not isinstance(value, Mapping):
        raise _Unreadable(f"{name} should hold a map")
    return value


def _count(fields: Fields, name: str) -> int:
    value = fields.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Unreadable(f"{name} should hold an integer")
    return value
