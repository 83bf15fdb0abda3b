"""Copies of what the archive holds, for readers: `checkpoints/{number}`, and `sealed/{uid}`, an account's latest seal.

The archive is the authority. A copy that differs says nothing about the account: it is written anew from there, and
what covers an account is read from there meanwhile.
"""

import contextlib
from collections.abc import Mapping
from typing import Final

from app.credits.proofs.archived import ArchivedState, SealArchive
from app.credits.proofs.judging import ENDLESS, Budget
from app.credits.proofs.sealing import Coverage, SealedLink
from app.kit import telemetry
from app.kit.errors import AlreadyExists, Conflict
from app.kit.optimistic import Pause, optimistic
from app.kit.stores.documents import Create, Delete, Document, Documents, Fields, Query, Replace, Where, Write

PAGE: Final = 300
_log: Final = telemetry.log("credits")


class Copies:
    """Writes and compares them."""

    def __init__(self, documents: Documents, archive: SealArchive, pause: Pause) -> None:
        self._documents, self._archive, self._pause = documents, archive, pause

    def coverage(self, sealed: SealedLink) -> Coverage | None:
        """The checkpoint that sealed this entry; the archive's, where Firestore does not hold what was sealed."""
        uid = sealed.link.account
        seal, checkpoint = self._documents.get_all((f"sealed/{uid}", checkpoint_path(sealed.number)))
        if seal is not None and checkpoint is not None:
            copies = Coverage(seal.fields, checkpoint.fields)
            if self._archive.covers(copies, sealed):
                return copies
        original = self._archive.at(sealed.number).sealed
        return Coverage(original.seals[uid], original.checkpoint) if original else None

    def heal_seal(self, sealed: SealedLink) -> None:
        """Writes the seal of this entry anew from the archive."""
        uid = sealed.link.account
        original = self._archive.at(sealed.number).sealed
        if original is not None:
            stored = self._documents.get(f"sealed/{uid}")
            path, seal = f"sealed/{uid}", original.seals[uid]
            with contextlib.suppress(Conflict, AlreadyExists):  # another run seals the account
                self._documents.commit([Replace(path, seal, stored.version) if stored else Create(path, seal)])

    def heal(self, number: int, budget: Budget) -> str | None:
        """Writes the copies of one checkpoint anew from the archive where they differ; its hash, None if it is not done
        with them.
        """
        state = self._archive.at(number)
        return state.hash if self.write(state, budget) else None

    def remove_beyond(self, number: int) -> None:
        """Removes copies of checkpoints behind the archive's last one, which is `number` or later."""
        last = self._archive.tip(number).number
        while page := self._documents.query(
            Query("checkpoints", (Where("number", ">", last),), ("number",), limit=PAGE)
        ):
            _log.error("checkpoints_removed", first=page[0].id, last=page[-1].id)
            self._documents.commit([Delete(one.path) for one in page])

    def seal_differs(self, state: ArchivedState, sealed: SealedLink, stored: Document | None) -> bool:
        """Whether `stored`, read at `sealed/{uid}`, is not what was sealed last. It may be of a checkpoint behind
        `state`.
        """
        if stored is None:
            return True
        number = _number(stored.fields)
        if number > state.number:
            return number > self._archive.tip(state.number).number
        said = (number, stored.fields.get("sequence"), stored.fields.get("head_hash"))
        return said != (sealed.number, sealed.sequence, sealed.link.head_hash)

    def write(self, state: ArchivedState, budget: Budget = ENDLESS) -> bool:
        """Writes the copies of one checkpoint where they are missing or differ; whether that was all. When the budget
        is spent it stops behind a page that it wrote, so that every call makes progress.
        """
        if state.sealed is None:
            return True
        path, checkpoint = checkpoint_path(state.number), state.sealed.checkpoint
        stored = self._documents.get(path)
        if stored is None or stored.fields != checkpoint:
            if stored is not None:
                _log.error("checkpoint_copy_differed", path=path)
            self._documents.commit([Replace(path, checkpoint)])  # whoever writes here writes the same
        uids = list(state.sealed.seals)
        for start in range(0, len(uids), PAGE):
            page = {uid: state.sealed.seals[uid] for uid in uids[start : start + PAGE]}
            wrote = self._write_seals(state.number, page)
            if wrote and budget.spent() and start + PAGE < len(uids):
                return False
        return True

    def _write_seals(self, number: int, seals: Mapping[str, Fields]) -> bool:
        """Writes seals over older ones, and says whether it did; a run that is late must not put an old one back."""

        def attempt() -> bool:
            stored = self._documents.get_all([f"sealed/{uid}" for uid in seals])
            later = any(there is not None and _number(there.fields) > number for there in stored)
            last = self._archive.tip(number).number if later else number
            writes: list[Write] = []
            for (uid, seal), there in zip(seals.items(), stored):
                if there is None:
                    writes.append(Create(f"sealed/{uid}", seal))
                elif there.fields != seal and not number < _number(there.fields) <= last:
                    # It is older, or of a checkpoint that does not exist.
                    writes.append(Replace(there.path, seal, there.version))
            if writes:
                self._documents.commit(writes)
            return bool(writes)

        return optimistic(attempt, pause=self._pause)


def checkpoint_path(number: int) -> str:
    """Where a checkpoint stands in Firestore."""
    return f"checkpoints/{number:012d}"


def _number(seal: Fields) -> int:
    number = seal.get("checkpoint")
    return number if type(number) is int else 0
