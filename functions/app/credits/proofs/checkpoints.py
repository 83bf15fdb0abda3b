"""Stores checkpoints; the scheduled job that makes them.

`checkpoints/{number}` is created once and never changed; `sealed/{uid}` holds an account's latest seal. All leaves go
to an archive (Cloud Storage) before the checkpoint exists, so that whoever has the archive can rebuild every proof.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from app.credits.ledger import document
from app.credits.proofs.sealing import Previous, Sealed, SealedHead, checkpoint_holds, seal_heads, seal_holds
from app.credits.proofs.signing import KeyRing, Signer
from app.kit.clock import Clock, from_rfc3339, minutes, to_rfc3339
from app.kit.errors import AlreadyExists
from app.kit.stores.archive import Archive
from app.kit.stores.documents import Create, Document, Documents, Fields, Query, Replace, Where, int_field, text_field

PAGE: Final = 300
MAX_HEADS: Final = 20_000
OVERLAP_US: Final = minutes(10)
"""Each run looks this far back again: writers' clocks differ, and a commit may land after one with a later time."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The last checkpoint that covers an account, and the account's place in it."""

    seal: Fields
    checkpoint: Fields

    def holds(self, keys: KeyRing) -> bool:
        """Whether signature and inclusion proof are right."""
        return checkpoint_holds({**self.checkpoint}, keys) and seal_holds({**self.seal}, self.checkpoint)

    @property
    def sequence(self) -> int:
        """Sequence of the last entry that it covers."""
        return int_field(self.seal, "sequence")

    @property
    def head_hash(self) -> str:
        """Hash of that entry."""
        return text_field(self.seal, "head_hash")


class Checkpoints:
    """Makes checkpoints, and finds the one that covers an account."""

    def __init__(self, documents: Documents, clock: Clock, signer: Signer, archive: Archive | None = None) -> None:
        self._documents, self._clock, self._signer = documents, clock, signer
        self._archive = archive

    def seal(self, limit: int = MAX_HEADS) -> Fields | None:
        """Seals what changed since the last checkpoint; None when nothing did, or another run was faster."""
        last = self._last()
        since_us = from_rfc3339(text_field(last.fields, "through")) - OVERLAP_US if last else 0
        changed: list[SealedHead] = []
        through = since_us
        for account in self._accounts(since_us):
            through = from_rfc3339(text_field(account.fields, "updated_at"))
            changed.append(_head(account))
            if len(changed) == limit:
                break
        heads = list(self._unsealed(changed))
        if not heads:
            return None
        previous = Previous(int_field(last.fields, "number"), text_field(last.fields, "hash")) if last else Previous()
        sealed = seal_heads(heads, previous, self._clock.now_us(), through, self._signer)
        return sealed.checkpoint if self._keep(sealed) else None

    def coverage(self, uid: str) -> Coverage | None:
        """The last checkpoint that covers this account."""
        seal = self._documents.get(f"sealed/{uid}")
        if seal is None:
            return None
        checkpoint = self._documents.get(_path(int_field(seal.fields, "checkpoint")))
        return None if checkpoint is None else Coverage(seal.fields, checkpoint.fields)

    def _keep(self, sealed: Sealed) -> bool:
        number, root = int_field(sealed.checkpoint, "number"), text_field(sealed.checkpoint, "root")
        if self._archive is not None:
            whole = {"checkpoint": sealed.checkpoint, "leaves": sealed.leaves}
            self._archive(f"checkpoints/{number:012d}-{root[:16]}.json", json.dumps(whole).encode())
        try:
            self._documents.commit([Create(_path(number), sealed.checkpoint)])
        except AlreadyExists:
            return False
        # A crash from here on leaves some seals behind their checkpoint; the next run seals those accounts again.
        seals = [Replace(f"sealed/{uid}", seal) for uid, seal in sealed.seals.items()]
        for start in range(0, len(seals), PAGE):
            self._documents.commit(seals[start : start + PAGE])
        return True

    def _accounts(self, since_us: int) -> Iterator[Document]:
        """Accounts written since then, oldest change first."""
        after: tuple[str, ...] = ()
        where = (Where("updated_at", ">", to_rfc3339(max(0, since_us))),)
        while True:
            page = self._documents.query(
                Query("accounts", where, ("updated_at", "__name__"), limit=PAGE, start_after=after)
            )
            yield from page
            if len(page) < PAGE:
                return
            after = (text_field(page[-1].fields, "updated_at"), page[-1].id)

    def _unsealed(self, heads: list[SealedHead]) -> Iterator[SealedHead]:
        for start in range(0, len(heads), PAGE):
            page = heads[start : start + PAGE]
            seals = self._documents.get_all([f"sealed/{head.account}" for head in page])
            for head, seal in zip(page, seals):
                if head.sequence and (seal is None or int_field(seal.fields, "sequence") != head.sequence):
                    yield head

    def _last(self) -> Document | None:
        found = self._documents.query(Query("checkpoints", order_by=("-number",), limit=1))
        return found[0] if found else None


def _head(account: Document) -> SealedHead:
    stored = document.read(account.fields)
    return SealedHead(stored.uid, stored.sequence, stored.head_hash)


def _path(number: int) -> str:
    return f"checkpoints/{number:012d}"
