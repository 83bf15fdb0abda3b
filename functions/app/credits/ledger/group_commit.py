"""Group commit: commands on one account that arrive in one instance at the same time share one commit.

The first thread leads: it commits all queued commands until its own has a result, then hands the lead to the next
waiting thread, so that none works for others for ever. Commands that arrive during a commit queue up for the next one;
no command is delayed to wait for others. `Store.run` decides, for one command as for a hundred.

The account as the last commit left it is remembered, which saves the next command its read. If another instance has
written the account since, the commit fails, the account is read, and the commands are decided again.
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
    """A queued command, and the event that wakes its thread: the command has a result, or the thread leads now."""

    work: PendingCommand
    woken: Signal
    answered: bool = False


@dataclass(slots=True, eq=False)
class _AccountQueue:
    """The queued commands of one account, and its remembered head; `busy` while a thread leads."""

    waiting: list[_Waiter] = field(default_factory=list)
    busy: bool = False
    head: AccountHead | None = None


class GroupCommit:
    """Runs commands through a store, one commit at a time for each account."""

    def __init__(self, store: Store, concurrency: Concurrency, *, max_batch: int = MAX_BATCH) -> None:
        self._store = store
        self._concurrency = concurrency
        self._max_batch = max_batch
        self._lock = threading.Lock()
        self._queues: OrderedDict[str, _AccountQueue] = OrderedDict()

    def apply(self, uid: str, command: Command, participant: Participant = NO_PARTICIPANT) -> Outcome:
        """Like `Store.apply`, together with the other commands that wait for this account."""
        waiter = _Waiter(PendingCommand(command, participant), self._concurrency.signal())
        with self._lock:
            queue = self._queues.setdefault(uid, _AccountQueue())
            self._queues.move_to_end(uid)
            queue.waiting.append(waiter)
            leads = not queue.busy
            queue.busy = True
        if not leads:
            waiter.woken.wait()
        if not waiter.answered:
            self._lead(uid, queue, waiter)
        return waiter.work.outcome()

    def _lead(self, uid: str, queue: _AccountQueue, own: _Waiter) -> None:
        try:
            while not own.answered:
                with self._lock:
                    batch = queue.waiting[: self._max_batch]
                    del queue.waiting[: self._max_batch]
                try:
                    self._run(uid, queue, batch)
                finally:
                    self._answer(batch)
        finally:
            with self._lock:
                if queue.waiting:
                    queue.waiting[0].woken.set()
                else:
                    queue.busy = False
                    self._forget_oldest()

    def _run(self, uid: str, queue: _AccountQueue, batch: Sequence[_Waiter]) -> None:
        # The state of the account is unknown until the commit has answered.
        head, queue.head = queue.head, None
        try:
            queue.head = _remembered(self._store.run(uid, [waiter.work for waiter in batch], head))
        except InvariantViolation as error:
            left = _unanswered(batch)
            if len(left) == 1:
                left[0].work.result = error
                return
            # A command that breaks an invariant must not fail the others of its batch.
            for waiter in left:
                self._run(uid, queue, [waiter])
        except Failure as error:
            for waiter in _unanswered(batch):
                waiter.work.result = error

    @staticmethod
    def _answer(batch: Sequence[_Waiter]) -> None:
        for waiter in batch:
            if waiter.work.result is None:
                # The leading thread died of a bug; the others must not wait for ever.
                waiter.work.result = Unavailable("This command was interrupted; the same one again is safe")
            waiter.answered = True
            waiter.woken.set()

    def _forget_oldest(self) -> None:
        """Bounds the number of remembered accounts; an account in use is never forgotten."""
        while len(self._queues) > MAX_REMEMBERED:
            uid, queue = self._queues.popitem(last=False)
            if queue.busy:
                self._queues[uid] = queue
                return


def _unanswered(batch: Sequence[_Waiter]) -> list[_Waiter]:
    """The waiters without a result: a batch may take several commits, and what an earlier one did stays done."""
    return [waiter for waiter in batch if waiter.work.result is None]


def _remembered(head: AccountHead) -> AccountHead | None:
    return replace(head, seen={}, fresh=False) if head.account is not None else None
