"""Corrections by administrators: an adjustment or a reversal, proposed by one and approved by another.

`corrections/{id}` keeps the proposal for ever; approving it and posting its entry are one commit. A proposal bears the
ledger's signature, so that nobody who can only write to Firestore proposes in an administrator's name. A rejection is
archived before it is written: in Firestore a rejected proposal can be put back to what it was, with its signature. An
approval needs no such trace, because its entry has a key.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.credits.core.commands import Adjust, Outcome, Posted, Reverse
from app.credits.core.entry import Entry, Reference
from app.credits.core.rejections import NothingToReverse
from app.credits.core.returns import left_to_reverse
from app.credits.ledger.step import Participant
from app.credits.proofs.judging import UNREADABLE
from app.credits.service import Credits
from app.kit import telemetry
from app.kit.canonical import canonical
from app.kit.clock import Clock, to_rfc3339
from app.kit.errors import AlreadyExists, Conflict, Forbidden, Invalid, KeyReused, NotFound, Rejection, ensure
from app.kit.ids import Ids
from app.kit.stores.archive import Archive
from app.kit.stores.documents import (
    Create,
    Document,
    Documents,
    Fields,
    Replace,
    Value,
    Version,
    Write,
    int_field,
    text_field,
)

PROPOSED: Final = "proposed"

_log: Final = telemetry.log("credits")
_TYPE: Final = "credits-correction"
_SAID: Final = ("id", "account", "amount", "reverses", "reason", "proposed_by", "proposed_at")
"""What is signed of a proposal, beside `_TYPE`."""


class CorrectionClosed(Rejection):
    """It was approved or rejected before."""

    status = 409
    code = "correction_closed"
    title = "Correction closed"


class CorrectionForged(Rejection):
    """The proposal does not bear the ledger's signature: it was written or changed past this service."""

    status = 409
    code = "correction_forged"
    title = "Correction forged"


class SecondApproverNeeded(Forbidden):
    """Nobody approves what they proposed."""

    code = "second_approver_needed"
    title = "A second administrator must approve"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What should be corrected: an amount to add or take, or (with `transaction_id`) an entry to undo."""

    uid: str
    reason: str
    amount: int = 0
    transaction_id: str | None = None


class Corrections:
    """Proposals and their fate."""

    def __init__(self, documents: Documents, clock: Clock, ids: Ids, credits: Credits, archive: Archive) -> None:
        self._documents, self._clock, self._ids, self._credits = documents, clock, ids, credits
        self._archive = archive

    def propose(self, proposal: Proposal, by: str, id: str | None = None) -> Fields:
        """Keeps a proposal; nothing is posted yet. The same `id` again gives the proposal that was kept.

        Raises:
            Invalid: it names both an amount and a transaction, or neither.
            NotFound: there is no such account or transaction.
            NothingToReverse: nothing of the transaction is left to undo.
            KeyReused: `id` was used for another proposal.
            CorrectionForged: somebody else put another proposal in the place of this one.
        """
        if (proposal.amount == 0) == (proposal.transaction_id is None):
            raise Invalid("Give either an amount or the transaction that it reverses.")
        self._credits.existing(proposal.uid)
        id = id or self._ids.new("cor")
        if self._documents.get(_path(id)) is not None:
            return _repeated(self._verified(id).fields, proposal)
        if proposal.transaction_id is not None:
            entry = self._reversible(proposal.uid, proposal.transaction_id)
            left_to_reverse(entry, self._credits.returned(proposal.uid, entry))
        fields: dict[str, Value] = {
            "id": id,
            "state": PROPOSED,
            "account": proposal.uid,
            "amount": proposal.amount,
            "reverses": proposal.transaction_id,
            "reason": proposal.reason,
            "proposed_by": by,
            "proposed_at": to_rfc3339(self._clock.now_us()),
            "decided_by": None,
            "transaction_id": None,
        }
        fields["signature"], fields["key_id"] = self._credits.sign(_digest(fields))
        try:
            self._documents.commit([Create(_path(id), fields)])
        except AlreadyExists:
            return _repeated(self._verified(id).fields, proposal)
        return fields

    def read(self, id: str) -> Fields:
        """One proposal."""
        return self._load(id).fields

    def approve(self, id: str, by: str) -> Posted:
        """Posts what was proposed. Approving again answers the same entry.

        Raises:
            CorrectionForged: nobody proposed it here.
            SecondApproverNeeded: `by` proposed it.
            CorrectionClosed: it was rejected, or decided by somebody else meanwhile.
            Unavailable: the archive does not answer.
            NothingToReverse: nothing of its transaction is left to undo, or another correction undid it.
        """
        stored = self._verified(id)
        proposal = stored.fields
        if text_field(proposal, "proposed_by") == by:
            raise SecondApproverNeeded("Somebody else must approve this", correction_id=id)
        if proposal["state"] == "rejected" or (proposal["state"] == PROPOSED and self._was_rejected(id)):
            raise CorrectionClosed("This correction was rejected", correction_id=id)
        uid, command = text_field(proposal, "account"), self._command(id, proposal, by)
        posted = self._credits.post(uid, command, Participant((_path(id),), _Decided(id, by, stored.version)))
        if posted.entry.draft.reference.id != id:
            # The ledger answered with the one reversal that the entry can have: nothing was posted for this proposal.
            raise NothingToReverse("Another correction reversed this entry", transaction_id=posted.entry.id)
        return posted

    def reject(self, id: str, by: str) -> Fields:
        """Closes a proposal for good; its proposer may do that as well. Raises as `approve` does."""
        stored = self._verified(id)
        if stored.fields["state"] != PROPOSED:
            raise CorrectionClosed("This correction was decided before", correction_id=id)
        fields = {**stored.fields, "state": "rejected", "decided_by": by}
        self._archive.keep(_rejection(id), json.dumps({"rejected_by": by}).encode())
        try:
            self._documents.commit([Replace(stored.path, fields, stored.version)])
        except Conflict as error:
            raise CorrectionClosed("This correction was decided meanwhile", correction_id=id) from error
        return fields

    def _was_rejected(self, id: str) -> bool:
        """Whether the archive has a rejection of a proposal that stands as if nobody had decided it.

        Either somebody put it back, or its rejection failed after this and is to be repeated.
        """
        if self._archive.read(_rejection(id)) is None:
            return False
        _log.error("correction_reopened", correction_id=id)
        return True

    def _command(self, id: str, proposal: Fields, by: str) -> Adjust | Reverse:
        reason, proposer = text_field(proposal, "reason"), text_field(proposal, "proposed_by")
        approver = proposal["decided_by"] if proposal["state"] == "approved" else by
        ensure(isinstance(approver, str), "an approved correction names its approver")
        reference = Reference("correction", id)
        if proposal["reverses"] is None:
            return Adjust(f"adjust:{id}", int_field(proposal, "amount"), reason, proposer, str(approver), reference)
        entry = self._reversible(text_field(proposal, "account"), text_field(proposal, "reverses"))
        return Reverse(entry, reason, proposer, str(approver), reference)

    def _reversible(self, uid: str, transaction_id: str) -> Entry:
        """An entry as it was signed: what somebody altered in the store is not undone by what it says now."""
        entry = self._credits.entry(uid, transaction_id)
        if entry.draft.account != uid or not self._credits.ledger.genuine(entry):
            raise NothingToReverse("This entry does not verify", transaction_id=transaction_id)
        return entry

    def _verified(self, id: str) -> Document:
        """A proposal as it was signed when it was made under this very id."""
        stored = self._load(id)
        try:
            kid, signature = text_field(stored.fields, "key_id"), text_field(stored.fields, "signature")
            ours = stored.fields["id"] == id
            ours = ours and self._credits.ledger.keys.verifies(kid, signature, _digest(stored.fields))
        except UNREADABLE:
            ours = False
        if not ours:
            _log.error("correction_forged", correction_id=id)
            raise CorrectionForged("Nobody proposed this correction as it stands; propose it anew", correction_id=id)
        return stored

    def _load(self, id: str) -> Document:
        stored = self._documents.get(_path(id))
        if stored is None:
            raise NotFound("There is no such correction", correction_id=id)
        return stored


@dataclass(frozen=True, slots=True)
class _Decided:
    """Marks the proposal in the commit that posts its entry, if it is still the one of which the archive was asked."""

    id: str
    by: str
    version: Version

    def __call__(self, outcome: Outcome, seen: tuple[Document | None, ...]) -> Sequence[Write]:
        stored = seen[0]
        same = stored is not None and stored.version == self.version
        if stored is None or not same or stored.fields["state"] != PROPOSED or not isinstance(outcome, Posted):
            raise CorrectionClosed("This correction was decided meanwhile", correction_id=self.id)
        fields = {
            **stored.fields,
            "state": "approved",
            "decided_by": self.by,
            "transaction_id": outcome.entry.id,
        }
        return [Replace(stored.path, fields, stored.version)]


def _repeated(kept: Fields, proposal: Proposal) -> Fields:
    asked = (proposal.uid, proposal.amount, proposal.transaction_id, proposal.reason)
    if tuple(kept[name] for name in ("account", "amount", "reverses", "reason")) != asked:
        raise KeyReused("This key was used for another correction", correction_id=kept["id"])
    return kept


def _digest(proposal: Fields) -> bytes:
    return hashlib.sha256(canonical({"type": _TYPE, **{name: proposal[name] for name in _SAID}})).digest()


def _path(id: str) -> str:
    return f"corrections/{id}"


def _rejection(id: str) -> str:
    return f"corrections/{id}-rejected.json"
