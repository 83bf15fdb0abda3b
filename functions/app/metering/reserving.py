"""Reserves for a paid call and writes its owner's document in the same commit. `app.metering.holding` reserves more."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.credits.public import Credits, Outcome, Participant, Reserve, Reserved, Seen
from app.kit.errors import InvariantViolation, Rejection
from app.kit.optimistic import Pause
from app.kit.stores.documents import Create, Document, Fields, Replace, Version, Write
from app.metering.holding import Holding
from app.metering.paid_call import PaidCall
from app.metering.quote import Granted, Quote, granted

Begun = Callable[[Granted], Fields]
"""The owner's whole document once its call is reserved for, with what an earlier attempt's held and is not known here.
Pure: it is asked again at every try of the commit.
"""


class CallInProgress(Rejection):
    """Another request makes this call already; `<type>_id` names its owner, such as `message_id`."""

    status = 409
    code = "idempotency_in_progress"
    title = "The first request with this key is still running"


def in_progress(call: PaidCall, detail: str) -> CallInProgress:
    """The refusal of a request that met another one for the same owner."""
    return CallInProgress(detail, retry_after_s=5, **{f"{call.reference.type}_id": call.reference.id})


@dataclass(frozen=True, slots=True)
class Claim:
    """A document at `path` that a call uses up. `used` marks it, in the commit that reserves; it is pure, is asked at
    every try, and may raise a Rejection.
    """

    path: str
    used: Callable[[Document | None], Write]


@dataclass(frozen=True, slots=True)
class Start:
    """What a reservation's commit meets. The owner's document is created; with `replaces` it is written over exactly
    that version, which an earlier attempt left. `claim` is used up by the call.
    """

    replaces: Version | None = None
    claim: Claim | None = None


FRESH: Final = Start()


class Reserving:
    """Begins paid calls. `pause` waits while the store does not answer a running one that needs more."""

    def __init__(self, *, credits: Credits, pause: Pause) -> None:
        self._credits = credits
        self._pause = pause

    def reserve(self, call: PaidCall, quote: Quote, begun: Begun, *, lease_us: int, start: Start = FRESH) -> Granted:
        """Reserves what `quote` expects, or a part of what there is, until `lease_us` microseconds from now.

        Raises:
            Rejection: the claim of `start` refused.
            InsufficientCredits: less than the quote needs is available. Other rejections of `Credits.reserve` likewise.
            AlreadyExists: there is a document, and `start` names no version.
            CallInProgress: another request for the same owner was faster.
        """

        grants: list[Granted] = []

        def writes(outcome: Outcome, seen: Seen) -> list[Write]:
            if not isinstance(outcome, Reserved):
                raise InvariantViolation("a reserve is answered by a reservation")
            grant = granted(quote, outcome.reservation.amount, outcome.most)
            grants.append(grant)
            used = [] if start.claim is None else [start.claim.used(seen[-1])]
            if start.replaces is None:
                return [Create(call.path, begun(grant)), *used]
            stored = seen[0]
            if stored is None or stored.version != start.replaces:
                raise in_progress(call, "Another request with this key was faster.")
            return [Replace(call.path, begun(grant), start.replaces), *used]

        def replayed(_: Outcome) -> None:
            # The account holds this reservation already. The call is the other request's, and it alone may spend it.
            raise in_progress(call, "Another request with this key was faster.")

        reserve = Reserve(
            id=call.reservation_id,
            ceiling=quote.ceiling,
            at_least=quote.needed,
            purpose=call.purpose,
            reference=call.reference,
            expires_in_us=lease_us,
            spender=call.spender,
            expected=quote.expected,
            share=quote.share,
        )
        reads = () if start.replaces is None else (call.path,)
        reads = reads if start.claim is None else (*reads, start.claim.path)
        self._credits.reserve(call.account, reserve, Participant(reads, writes, replayed))
        return grants[-1]

    def holding(self, call: PaidCall, quote: Quote, grant: Granted) -> Holding:
        """What is held for a call that was reserved for, while it runs."""
        return Holding(self._credits, self._pause, call, quote, grant)
