"""Ends paid calls whose function was killed: their lease is over and nobody settled them. For the sweeper.

The billing policy's `crashed` decides what they cost, and the rest of their reservation goes back. The owner's document
is ended in the same commit.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from app.credits.public import (
    NO_PARTICIPANT,
    Credits,
    Outcome,
    Participant,
    ReservationClosed,
    ReservationUnknown,
    Seen,
    Settle,
    Settled,
)
from app.kit import telemetry
from app.kit.clock import Clock, to_rfc3339
from app.kit.stores.documents import Delete, Document, Documents, Query, Replace, Value, Write
from app.kit.stores.rows import GuardedRows
from app.metering import billing
from app.metering.billing import Charge, Ending, Mode, Policy, Priced
from app.metering.paid_call import PaidCall, Settlement

MOST_UNTOLD: Final = 1_000
"""Ends of one feature that are kept until somebody waits for them to be told. The oldest are dropped first."""

_log = telemetry.log("metering")


@dataclass(frozen=True, slots=True)
class Orphan:
    """A call that nobody settled, as its owner's document shows it. Amounts are micro-credits.

    `delivered` is the price of what is known to have reached the caller; 0 where that is lost with the function.
    `deleted`: what the document belonged to is gone, and the document goes as well.
    """

    call: PaidCall
    mode: Mode
    model: str
    reserved: int
    delivered: int = 0
    deleted: bool = False


class Owners(Protocol):
    """The documents of one feature that paid calls belong to."""

    job: str
    """The name under which `jobs/` lists their documents that cannot be read."""

    def overdue(self, before: str) -> Query:
        """Documents whose call has not ended and whose lease ended before this RFC 3339 time, the oldest first."""
        ...

    def orphan(self, stored: Document) -> Orphan:
        """The call of such a document.

        Raises:
            InvariantViolation: the document cannot be read.
        """
        ...

    def ended(self, settlement: Settlement) -> Mapping[str, Value]:
        """The fields that the document changes when its call ends so. Pure."""
        ...

    def closed(self, stored: Document, settlement: Settlement) -> None:
        """Tells whoever waits for the call of its end, which was written. May wait for other stores; raises nothing."""
        ...


class Orphans:
    """Ends the calls of dead functions."""

    def __init__(self, *, credits: Credits, documents: Documents, clock: Clock, policy: Policy) -> None:
        self._credits = credits
        self._documents = documents
        self._clock = clock
        self._policy = policy
        self._rows = GuardedRows(documents, clock)
        self._untold: dict[str, deque[tuple[Document, Settlement]]] = {}
        """The ends that `tell` still has to tell, by the job of their owners."""

    def sweep(self, owners: Owners, limit: int = 100) -> int:
        """Ends the overdue calls of `owners`, at most `limit`; returns how many. One that settles meanwhile is left.

        A document that cannot be read or ended is listed and stays overdue; the others do not wait for it. Nobody is
        told: that is `tell`, so that credits do not wait for the Realtime Database.

        Raises:
            Unavailable: the store does not answer, or did not for several calls in a row.
        """
        untold = self._untold.setdefault(owners.job, deque(maxlen=MOST_UNTOLD))
        ended = [0]

        def end(stored: Document) -> None:
            settlement = self._end(owners, stored)
            _log.warning("orphan_ended", path=stored.path, reason=settlement.reason, cost=settlement.cost)
            untold.append((stored, settlement))
            ended[0] += 1

        self._rows.due(owners.job, owners.overdue(to_rfc3339(self._clock.now_us())), end, limit=limit)
        return ended[0]

    def tell(self, owners: Owners, limit: int = 100) -> int:
        """Tells whoever waits for calls that `sweep` ended here, at most `limit`; returns how many were told.

        What an instance has not told when it ends is never told: owners must find it otherwise.
        """
        untold = self._untold.setdefault(owners.job, deque(maxlen=MOST_UNTOLD))
        for told in range(limit):
            try:
                stored, settlement = untold.popleft()
            except IndexError:
                return told
            owners.closed(stored, settlement)
        return limit

    def give_up(self, orphan: Orphan) -> None:
        """Resolves the reservation of a dead attempt by the table, for the attempt that takes its place.

        The document is the new attempt's to write. Does nothing when the reservation was resolved before.
        """
        self._settle(orphan, NO_PARTICIPANT)

    def _end(self, owners: Owners, stored: Document) -> Settlement:
        orphan = owners.orphan(stored)

        def ended(settlement: Settlement) -> Write:
            if orphan.deleted:
                return Delete(stored.path, stored.version)
            return Replace(stored.path, {**stored.fields, **owners.ended(settlement)}, stored.version)

        def writes(outcome: Outcome, seen: Seen) -> list[Write]:
            found = seen[0]
            moved = found is None or found.version != stored.version
            return [] if moved else [ended(self._settlement(orphan, outcome))]

        outcome = self._settle(orphan, Participant((stored.path,), writes))
        settlement = self._settlement(orphan, outcome)
        if outcome is None or outcome.replayed:
            # The sweep of accounts resolved the reservation before, or a new attempt did, by this very settlement,
            # whose repeat writes nothing. The document is left to be ended, unless it moved.
            self._documents.commit([ended(settlement)])
        return settlement

    def _settle(self, orphan: Orphan, participant: Participant) -> Settled | None:
        """Charges what the table says and gives back the rest; None when the reservation was resolved before."""
        call, charge = orphan.call, self._charge(orphan)
        settle = Settle(
            reservation_id=call.reservation_id,
            amount=charge.amount,
            reference=call.reference,
            usage=call.usage(orphan.model),
            reason=charge.reason,
        )
        try:
            return self._credits.settle(call.account, settle, participant)
        except (ReservationClosed, ReservationUnknown):
            return None

    def _charge(self, orphan: Orphan) -> Charge:
        priced = Priced(usage=None, delivered=orphan.delivered, reserved=orphan.reserved)
        return billing.charge(self._policy, Ending.CRASHED, orphan.mode, priced)

    def _settlement(self, orphan: Orphan, outcome: Outcome | None) -> Settlement:
        settled = outcome if isinstance(outcome, Settled) else None
        entry = None if settled is None else settled.entry
        return Settlement(
            reason=self._charge(orphan).reason,
            at=to_rfc3339(self._clock.now_us()),
            model=orphan.model,
            cost=0 if settled is None else settled.reservation.captured,
            transaction_id=None if entry is None else entry.id,
        )
