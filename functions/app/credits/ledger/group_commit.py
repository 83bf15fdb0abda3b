"""Group commit: commands that meet on one account inside one instance go out in one commit, on a remembered head.

Whoever comes first leads: it commits what is waiting, and when its own command is answered it hands the lead to the
next one that waits, so nobody works for others for ever. While a commit is under way the others gather behind it, hence
no command ever waits for company. Nothing here decides anything: `Store.run` does, for one command as for a hundred.

The head that the last commit left behind is remembered, which saves the next command its read. Another instance may
have moved the account since; then the commit fails, the account is read, and nothing but time is lost.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from app.credits.core.commands import Command, Outcome
from app.credits.ledger.step import NO_PARTICIPANT, AccountHead, Participant, PendingCommand
from app.credits.ledger.store import Store
from app.kit.concurrency import Concurrency, Signal
from app.kit.errors import Failure, InvariantViolation, Unavailable

MAX_BATCH: Final = 64
"""Commands in one commit: some 100 kB, far below Firestore's 10 MiB."""
MAX_REMEMBERED: Final = 2_000
"""Accounts whose head is remembered: a few MB."""


@dataclass(slots=True, eq=False)
class _Waiter:
    """A command in a lane, and its thread's wake-up call: either it is answered, or it leads now."""

    work: PendingCommand
    woken: Signal
    answered: bool = False


@dataclass(slots=True, eq=False)
class _AccountQueue:
    """The commands of one account."""

    waiting: list[_Waiter] = field(default_factory=list)
    busy: bool = False
    head: AccountHead | None = None


class GroupCommit:
    """The funnel in front of a store."""

    def __init__(self, store: Store, concurrency: Concurrency, *, max_batch: int = MAX_BATCH) -> None:
        self._store = store
        self._concurrency = concurrency
        self._max_batch = max_batch
        self._lock = threading.Lock()
        self._lanes: OrderedDict[str, _AccountQueue] = OrderedDict()

    def apply(self, uid: str, command: Command, participant: Participant = NO_PARTICIPANT) -> Outcome:
        """As `Store.apply`, together with what else is asked of this account at the moment."""
        turn = _Waiter(PendingCommand(command, participant), self._concurrency.signal())
        with self._lock:
            lane = self._lanes.setdefault(uid, _AccountQueue())
            self._lanes.move_to_end(uid)
            lane.waiting.append(turn)
            leads = not lane.busy
            lane.busy = True
        if not leads:
            turn.woken.wait()
        if not turn.answered:
            self._lead(uid, lane, turn)
        return turn.work.outcome()

    def _lead(self, uid: str, lane: _AccountQueue, own: _Waiter) -> None:
        try:
            while not own.answered:
                with self._lock:
                    batch = lane.waiting[: self._max_batch]
                    del lane.waiting[: self._max_batch]
                try:
                    self._run(uid, lane, batch)
                finally:
                    self._answer(batch)
        finally:
            with self._lock:
                if lane.waiting:
                    lane.waiting[0].woken.set()
                else:
                    lane.busy = False
                    self._forget_oldest()

    def _run(self, uid: str, lane: _AccountQueue, batch: Sequence[_Waiter]) -> None:
        # Until the commit has answered, nobody can say where the account stands.
        head, lane.head = lane.head, None
        try:
            lane.head = _remembered(self._store.run(uid, [turn.work for turn in batch], head))
        except InvariantViolation as error:
            left = _unanswered(batch)
            if len(left) == 1:
                left[0].work.result = error
                return
            # One command that cannot be right must not fail those beside it.
            for turn in left:
                self._run(uid, lane, [turn])
        except Failure as error:
            for turn in _unanswered(batch):
                turn.work.result = error

    @staticmethod
    def _answer(batch: Sequence[_Waiter]) -> None:
        for turn in batch:
            if turn.work.result is None:
                # The leading thread died of a bug; nobody may wait behind it for ever.
                turn.work.result = Unavailable("This command was interrupted; the same one again is safe")
            turn.answered = True
            turn.woken.set()

    def _forget_oldest(self) -> None:
        """Keeps the number of remembered accounts bounded; an account in use is never forgotten."""
        while len(self._lanes) > MAX_REMEMBERED:
            uid, lane = self._lanes.popitem(last=False)
            if lane.busy:
                self._lanes[uid] = lane
                return


def _unanswered(batch: Sequence[_Waiter]) -> list[_Waiter]:
    """Those without a result: a batch may take several commits, and what an earlier one did stays done."""
    return [turn for turn in batch if turn.work.result is None]


def _remembered(head: AccountHead) -> AccountHead | None:
    return replace(head, seen={}, fresh=False) if head.account is not None else None
