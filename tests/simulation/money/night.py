"""A night in which every call of Firestore takes long, over some hundred accounts that have just changed: a sealing
ends in time, and what it left is sealed and copied by those that follow.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

from app.credits.core.account import Lot, LotSource, opened
from app.credits.core.entry import seal
from app.credits.ledger import document
from app.credits.proofs.signing import Signer
from app.kit.clock import minutes, seconds
from app.kit.errors import Fault
from app.kit.stores.documents import Create, Write
from simulation.instance import Backend
from simulation.money.drafts import gift
from simulation.world import World

_ACCOUNTS: Final = 410
"""More than a slow run seals, and more than a page of copies besides."""
_SLOW_US: Final = seconds(2)
_DONE_US: Final = seconds(75)
"""Three chores are over by then: each has some seconds, and does not begin more than it can end."""
_SIGNER: Final = Signer(bytes(range(32)))

Found = Iterator[str]


class Night:
    """Falls when all else is over."""

    def __init__(self, world: World) -> None:
        self._world, self._kernel = world, world.kernel
        self._slow_copies = False
        self._found: list[str] = []
        world.documents.tries.append(self._tried)

    def falls(self) -> Found:
        """What was wrong with it."""
        uids = [f"night{number:03d}" for number in range(_ACCOUNTS)]
        self._open(uids)
        self._world.documents.delay_us = _SLOW_US
        backend = self._sweep(_DONE_US)
        if "chore checkpoint" in self._kernel.names(backend.instance):
            yield f"a checkpoint is made for more than {_DONE_US // seconds(1)} s while Firestore is slow"
            return
        self._world.documents.delay_us = 0
        self._kernel.run(self._kernel.now_us + minutes(1))
        self._slow_copies = True
        self._sweep(_DONE_US)
        self._slow_copies, self._world.documents.delay_us = False, 0
        for _ in range(3):
            self._sweep(minutes(1))
        yield from self._found
        real = self._world.documents.real
        if missing := [uid for uid in uids if real.get(f"sealed/{uid}") is None]:
            yield f"{len(missing)} of {len(uids)} accounts have no copy of their seal: {missing[:3]}"

    def _sweep(self, for_us: int) -> Backend:
        """By one instance, and what it does for so long."""
        backend = self._kernel.random.choice(self._world.backends)
        self._kernel.spawn("sweep", partial(_swept, backend), backend.instance)
        self._kernel.run(self._kernel.now_us + for_us)
        return backend

    def _tried(self, writes: Sequence[Write]) -> None:
        """Calls take long from the first copy of a checkpoint on; the next one follows when all its copies stand."""
        numbers = [int(write.path.partition("/")[2]) for write in writes if write.path.startswith("checkpoints/")]
        if not self._slow_copies or not numbers:
            return
        self._world.documents.delay_us = 2 * _SLOW_US
        before = self._world.outside.archive.kept.get(f"checkpoints/{numbers[0] - 1:012d}.json", b'{"leaves": []}')
        real, uids = self._world.documents.real, [leaf["account"] for leaf in json.loads(before)["leaves"]]
        if missing := [uid for uid in uids if real.get(f"sealed/{uid}") is None]:
            self._found.append(f"checkpoint {numbers[0]} follows one of which {len(missing)} copies are missing")

    def _open(self, uids: Sequence[str]) -> None:
        """Accounts with one gift each, as the ledger would have written them."""
        at_us = self._kernel.now_us
        ends_us = at_us + minutes(60 * 24 * 90)
        for start in range(0, len(uids), 200):
            writes: list[Write] = []
            for uid in uids[start : start + 200]:
                [entry] = seal([gift(uid, 1, at_us, ends_us)], "0" * 64, _SIGNER)
                lot = Lot("lot_1", LotSource.PROMO, 10, made=1, expires_at_us=ends_us)
                account = replace(
                    opened(uid, at_us, 0),
                    lots=(lot,),
                    balance=10,
                    sequence=1,
                    head_hash=entry.hash,
                    version=1,
                    updated_at_us=at_us + 1,
                )
                writes += [Create(document.entry_path(uid, 1), entry.fields())]
                writes += [Create(f"accounts/{uid}", document.write(account))]
            self._world.documents.real.commit(writes)


def _swept(backend: Backend) -> None:
    with suppress(Fault):
        backend.orchestration.sweep()
