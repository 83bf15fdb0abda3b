"""Changes of an account's status by administrators. `status_changes/{id}` keeps who changed what and why, for ever."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.credits.core.account import AccountStatus
from app.credits.core.commands import Outcome
from app.credits.ledger.document import account_path
from app.credits.ledger.step import Participant
from app.credits.service import Credits
from app.kit import telemetry
from app.kit.clock import Clock, to_rfc3339
from app.kit.errors import AlreadyExists, InvariantViolation, KeyReused, Rejection
from app.kit.ids import Ids
from app.kit.stores.documents import Create, Document, Documents, Fields, Write, text_field

_log: Final = telemetry.log("credits")

MOVES: Final = {
    AccountStatus.ACTIVE: (AccountStatus.FROZEN, AccountStatus.SUSPENDED, AccountStatus.CLOSED),
    AccountStatus.FROZEN: (AccountStatus.ACTIVE, AccountStatus.SUSPENDED, AccountStatus.CLOSED),
    AccountStatus.SUSPENDED: (AccountStatus.ACTIVE, AccountStatus.FROZEN, AccountStatus.CLOSED),
    AccountStatus.CLOSED: (),
}
"""Where an account may go from each status; a closed one stays closed."""


class StatusNotChanged(Rejection):
    """The account may not go from its status to the one asked for, or has that one."""

    status = 409
    code = "status_not_changed"
    title = "Status not changed"


@dataclass(frozen=True, slots=True)
class StatusChange:
    """What an administrator asks for."""

    uid: str
    status: AccountStatus
    reason: str
    by: str


class Statuses:
    """Changes statuses, and keeps each change in the commit that makes it."""

    def __init__(self, documents: Documents, clock: Clock, ids: Ids, credits: Credits) -> None:
        self._documents, self._clock, self._ids, self._credits = documents, clock, ids, credits

    def change(self, change: StatusChange, id: str | None = None) -> Fields:
        """What was recorded of the change. The same `id` again changes nothing and gives the same.

        Raises:
            NotFound: there is no such account.
            StatusNotChanged: `MOVES` does not allow it.
            KeyReused: `id` was used for another change.
        """
        account = self._credits.existing(change.uid)
        path = f"status_changes/{id or self._ids.new('sta')}"
        if (kept := self._documents.get(path)) is not None:
            return _repeated(kept, change)
        _check(account.status, change)
        recorded = _Recorded(path, change, to_rfc3339(self._clock.now_us()))
        participant = Participant((account_path(change.uid),), recorded)
        try:
            self._credits.set_status(change.uid, change.status, change.reason, participant)
        except AlreadyExists:
            return _repeated(self._kept(path), change)
        _log.warning("account_status_changed", uid=change.uid, status=change.status.value, by=change.by)
        return self._kept(path).fields

    def _kept(self, path: str) -> Document:
        kept = self._documents.get(path)
        if kept is None:
            raise InvariantViolation("a change of a status is kept in its commit")
        return kept


@dataclass(frozen=True, slots=True)
class _Recorded:
    path: str
    change: StatusChange
    at: str

    def __call__(self, _: Outcome, seen: tuple[Document | None, ...]) -> Sequence[Write]:
        change, account = self.change, seen[0]
        was = AccountStatus(text_field(account.fields, "status")) if account else AccountStatus.ACTIVE
        _check(was, change)
        fields = {
            "account": change.uid,
            "was": was.value,
            "status": change.status.value,
            "reason": change.reason,
            "by": change.by,
            "at": self.at,
        }
        return [Create(self.path, fields)]


def _check(was: AccountStatus, change: StatusChange) -> None:
    if change.status not in MOVES[was]:
        raise StatusNotChanged(f"{was.value} cannot become {change.status.value}", uid=change.uid)


def _repeated(kept: Document, change: StatusChange) -> Fields:
    asked = (change.uid, change.status.value, change.reason)
    if tuple(kept.fields.get(name) for name in ("account", "status", "reason")) != asked:
        raise KeyReused("This key was used for another change", id=kept.id)
    return kept.fields
