"""The balance that a client listens to: `/users/{uid}/balance` in the Realtime Database, never authoritative.

Written by a trigger on the account document. Triggers come late, twice and out of order, so a value is only written
over an older one: `updated_at` of an account strictly grows and its text sorts as its time does.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from app.credits.core.account import Account, BalanceLevel
from app.credits.ledger import document
from app.kit import telemetry
from app.kit.clock import Clock, from_rfc3339, minutes, to_rfc3339
from app.kit.errors import InvariantViolation
from app.kit.money import to_decimal
from app.kit.stores.broken_rows import COLLECTION
from app.kit.stores.documents import Document, Documents, Fields, Increment, Merge, Query, Value, Where
from app.kit.stores.realtime import Json, Realtime
from app.kit.stores.rows import GuardedRows

BalanceView = dict[str, Json]

_JOB: Final = "mirror_comparison"
_FIRST_LOOK_US: Final = minutes(60)
_LOOKS: Final = ((_JOB, minutes(1)), ("mirror_comparison_again", minutes(30)))
"""The jobs that compare a changed mirror, and how long after the change. A minute is enough for a trigger. The second
look is for accounts that an instance which stood still wrote later than they say: the first one had passed that time.
"""
_ENDLESS: Final = 253_402_300_799_999_999
"""The last microsecond of the year 9999."""


def view(account: Account, now_us: int) -> BalanceView:
    """The balance as clients see it, over HTTP and in the mirror alike (T-28: posted, held and available apart)."""
    return {
        "balance": to_decimal(account.balance),
        "reserved": to_decimal(account.reserved),
        "available": to_decimal(account.available(now_us)),
        "debt": to_decimal(account.debt),
        "sequence": account.sequence,
        "low": account.level is not BalanceLevel.OK,
        "updated_at": to_rfc3339(account.updated_at_us),
    }


def newer(mirrored: Json, wanted: BalanceView) -> Json:
    """What should stand in the mirror: `wanted`, unless what is there is as new or newer. Pure (T-46)."""
    if not isinstance(mirrored, dict):
        return dict(wanted)
    there, here = mirrored.get("updated_at"), wanted["updated_at"]
    if isinstance(there, str) and isinstance(here, str) and there >= here:
        return mirrored
    return dict(wanted)


def mirror_path(uid: str) -> str:
    """Where the mirror of an account stands."""
    return f"users/{uid}/balance"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Result of comparing mirrors with accounts: how many differed, and the longest lag, in microseconds."""

    checked: int
    differing: tuple[str, ...]
    repaired: int
    worst_lag_us: int


@dataclass(frozen=True, slots=True)
class LastComparison:
    """How far behind the worst mirror was, in microseconds, and how many were repaired."""

    worst_lag_us: int
    repaired: int


@dataclass(frozen=True, slots=True)
class MirrorRepair:
    """What the mirror showed, what is true, and whether the mirror had to be rewritten."""

    was: Json
    wanted: BalanceView
    repaired: bool


class BalanceMirror:
    """Keeps the mirrors equal to the accounts."""

    def __init__(self, documents: Documents, realtime: Realtime, clock: Clock) -> None:
        self._documents = documents
        self._realtime = realtime
        self._rows = GuardedRows(documents, clock)

    def account_written(self, fields: Fields | None) -> None:
        """A trigger said that an account document is now `fields` (None: deleted, which only erasure does)."""
        if fields is None:
            return
        account = document.read(fields)
        wanted = view(account, account.updated_at_us)
        self._realtime.transact(mirror_path(account.uid), lambda current: newer(current, wanted))

    def repair(self, uid: str) -> MirrorRepair:
        """Brings the mirror to the account, which must exist: the authoritative side wins, always.

        The mirror is read first. An account read after it is at least as new, so a mirror that claims more is wrong and
        not ahead; only what a trigger writes meanwhile may be newer.
        """
        path = mirror_path(uid)
        was = self._realtime.get(path)
        stored = self._documents.get(document.account_path(uid))
        if stored is None:
            raise InvariantViolation("a mirror is repaired from its account")
        wanted = _view_of(stored)
        if was != wanted:
            self._realtime.transact(path, lambda now: dict(wanted) if now == was else newer(now, wanted))
        return MirrorRepair(was, wanted, was != wanted)

    def compare_next(self, now_us: int, limit: int) -> Comparison:
        """The scheduled comparison: goes on where the last one stopped, with the first look and with the second one.

        Raises:
            Unavailable: a store does not answer. The next one begins with the accounts that were not compared.
        """
        comparing = _Comparing(self)
        try:
            for job, grace_us in _LOOKS:
                query = _written(self._since_us(job, now_us), now_us - grace_us)
                self._rows.follow(job, query, comparing.compare, limit=limit)
        finally:
            done = comparing.result()
            if done.checked:
                figures: dict[str | tuple[str, ...], Value | Increment] = {
                    "worst_lag_us": done.worst_lag_us,
                    "repaired": done.repaired,
                }
                self._documents.commit([Merge(f"{COLLECTION}/{_JOB}", figures)])
        if done.differing:
            log = telemetry.log("credits")
            log.warning("mirrors_differed", accounts=len(done.differing), lag_us=done.worst_lag_us)
        return done

    def _since_us(self, job: str, now_us: int) -> int:
        """The time of change at which a job began. It is kept, so that nobody is left out while none was compared."""
        record = self._documents.get(f"{COLLECTION}/{job}")
        since = record.fields.get("since") if record else None
        if isinstance(since, str):
            return from_rfc3339(since)
        begun = record is not None and bool(record.fields.get("after"))
        began_us = 0 if begun else now_us - _FIRST_LOOK_US
        self._documents.commit([Merge(f"{COLLECTION}/{job}", {"since": to_rfc3339(began_us)})])
        return began_us

    def last_comparison(self) -> LastComparison | None:
        """What the scheduled comparison found when it last had something to compare."""
        record = self._documents.get(f"{COLLECTION}/{_JOB}")
        lag, repaired = (record.fields.get(name) if record else None for name in ("worst_lag_us", "repaired"))
        return LastComparison(lag, repaired) if isinstance(lag, int) and isinstance(repaired, int) else None

    def compare(
        self, since_us: int, limit: int = 500, *, until_us: int = _ENDLESS, report_only: bool = False
    ) -> Comparison:
        """Compares mirrors of accounts written after `since_us`; the account wins, unless only a report is wanted."""
        comparing = _Comparing(self, report_only=report_only)
        found = self._documents.query(replace(_written(since_us, until_us), limit=limit))
        self._rows.decoded("mirror_report", found, comparing.compare)
        return comparing.result()

    def mirrored(self, uid: str) -> Json:
        """What the mirror of an account shows."""
        return self._realtime.get(mirror_path(uid))


@dataclass(slots=True)
class _Comparing:
    """One comparison while it goes through accounts."""

    mirror: BalanceMirror
    report_only: bool = False
    checked: int = 0
    differing: list[str] = field(default_factory=list)
    repaired: int = 0
    worst_us: int = 0

    def compare(self, stored: Document) -> None:
        account = document.read(stored.fields)
        mirrored = self.mirror.mirrored(account.uid)
        self.checked += 1
        if mirrored == view(account, account.updated_at_us):
            return
        self.differing.append(account.uid)
        self.worst_us = max(self.worst_us, account.updated_at_us - _mirrored_at(mirrored, account.opened_at_us))
        if not self.report_only:
            self.repaired += self.mirror.repair(account.uid).repaired

    def result(self) -> Comparison:
        return Comparison(self.checked, tuple(self.differing), self.repaired, self.worst_us)


def _written(since_us: int, until_us: int) -> Query:
    """Accounts written after one time and until another, the oldest change first."""
    where = (Where("updated_at", ">", to_rfc3339(since_us)), Where("updated_at", "<=", to_rfc3339(until_us)))
    return Query("accounts", where, ("updated_at", "__name__"))


def _view_of(stored: Document) -> BalanceView:
    account = document.read(stored.fields)
    return view(account, account.updated_at_us)


def _mirrored_at(mirrored: Json, otherwise_us: int) -> int:
    at = mirrored.get("updated_at") if isinstance(mirrored, dict) else None
    try:
        return from_rfc3339(at) if isinstance(at, str) else otherwise_us
    except ValueError:
        return otherwise_us
