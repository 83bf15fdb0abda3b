"""Corrections by administrators: an adjustment or a reversal, proposed by one and approved by another.

`corrections/{id}` keeps the proposal for ever; approving it and posting its entry are one commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.credits.core.commands import Adjust, Outcome, Posted, Reverse
from app.credits.core.entry import Reference
from app.credits.ledger.step import Participant
from app.credits.service import Credits
from app.kit.clock import Clock, to_rfc3339
from app.kit.errors import Forbidden, Invalid, NotFound, Rejection, ensure
from app.kit.ids import Ids
from app.kit.stores.documents import Create, Document, Documents, Fields, Replace, Value, Write, int_field, text_field

PROPOSED: Final = "proposed"


class CorrectionClosed(Rejection):
    """It was approved or rejected before."""

    status = 409
    code = "correction_closed"
    title = "Correction closed"


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

    def __init__(self, documents: Documents, clock: Clock, ids: Ids, credits: Credits) -> None:
        self._documents, self._clock, self._ids, self._credits = documents, clock, ids, credits

    def propose(self, proposal: Proposal, by: str) -> Fields:
        """Keeps a proposal; nothing is posted yet.

        Raises:
            Invalid: it names both an amount and a transaction, or neither.
            NotFound: there is no such account or transaction.
        """
        if (proposal.amount == 0) == (proposal.transaction_id is None):
            raise Invalid("Give either an amount or the transaction that it reverses.")
        self._credits.existing(proposal.uid)
        if proposal.transaction_id is not None:
            self._credits.entry(proposal.uid, proposal.transaction_id)
        id = self._ids.new("cor")
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
        self._documents.commit([Create(_path(id), fields)])
        return fields

    def read(self, id: str) -> Fields:
        """One proposal."""
        return self._load(id).fields

    def approve(self, id: str, by: str) -> Posted:
        """Posts what was proposed. Approving again answers the same entry.

        Raises:
            SecondApproverNeeded: `by` proposed it.
            CorrectionClosed: it was rejected, or decided by somebody else meanwhile.
        """
        proposal = self._load(id).fields
        if text_field(proposal, "proposed_by") == by:
            raise SecondApproverNeeded("Somebody else must approve this", correction_id=id)
        if proposal["state"] == "rejected":
            raise CorrectionClosed("This correction was rejected", correction_id=id)
        uid, command = text_field(proposal, "account"), self._command(id, proposal, by)
        return self._credits.post(uid, command, Participant((_path(id),), _Decided(id, by)))

    def reject(self, id: str, by: str) -> Fields:
        """Closes a proposal for good; its proposer may do that as well."""
        stored = self._load(id)
        if stored.fields["state"] != PROPOSED:
            raise CorrectionClosed("This correction was decided before", correction_id=id)
        fields = {**stored.fields, "state": "rejected", "decided_by": by}
        self._documents.commit([Replace(stored.path, fields, stored.version)])
        return fields

    def _command(self, id: str, proposal: Fields, by: str) -> Adjust | Reverse:
        reason, proposer = text_field(proposal, "reason"), text_field(proposal, "proposed_by")
        approver = proposal["decided_by"] if proposal["state"] == "approved" else by
        ensure(isinstance(approver, str), "an approved correction names its approver")
        reference = Reference("correction", id)
        if proposal["reverses"] is None:
            return Adjust(f"adjust:{id}", int_field(proposal, "amount"), reason, proposer, str(approver), reference)
        entry = self._credits.entry(text_field(proposal, "account"), text_field(proposal, "reverses"))
        return Reverse(entry, reason, proposer, str(approver), reference)

    def _load(self, id: str) -> Document:
        stored = self._documents.get(_path(id))
        if stored is None:
            raise NotFound("There is no such correction", correction_id=id)
        return stored


@dataclass(frozen=True, slots=True)
class _Decided:
    """Marks the proposal in the commit that posts its entry, unless it was decided meanwhile."""

    id: str
    by: str

    def __call__(self, outcome: Outcome, seen: tuple[Document | None, ...]) -> Sequence[Write]:
        stored = seen[0]
        if stored is None or stored.fields["state"] != PROPOSED or not isinstance(outcome, Posted):
            raise CorrectionClosed("This correction was decided meanwhile", correction_id=self.id)
        fields = {
            **stored.fields,
            "state": "approved",
            "decided_by": self.by,
            "transaction_id": outcome.entry.id,
        }
        return [Replace(stored.path, fields, stored.version)]


def _path(id: str) -> str:
    return f"corrections/{id}"
