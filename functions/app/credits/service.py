"""The use cases of the credit system. Everything that other features may ask of credits is asked here.

Amounts are integer micro-credits. Each command carries a key or a reservation's id; the same one again gives the first
outcome and writes nothing.
"""

import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from app.credits.balance_mirror import BalanceView, view
from app.credits.core import events
from app.credits.core.account import Account, AccountStatus, LotSource, Reservation
from app.credits.core.commands import (
    AccountSwept,
    Adjust,
    Changed,
    Clawback,
    Deposit,
    Extend,
    FreezeLots,
    Grant,
    Outcome,
    Posted,
    Refund,
    Release,
    Released,
    Reserve,
    Reserved,
    Reverse,
    SetStatus,
    SetThreshold,
    Settle,
    Settled,
    SweepAccount,
)
from app.credits.core.decide import Rules, decide
from app.credits.core.entry import Entry, Reference, encode_bytes
from app.credits.ledger.group_commit import GroupCommit
from app.credits.ledger.step import NO_PARTICIPANT, AccountOpening, OpeningGrants, Participant
from app.credits.ledger.store import Store, StoreParts
from app.credits.proofs.audit import Audit, AuditPeriod, audit, signed_json
from app.credits.proofs.checkpoints import Archive, Checkpoints
from app.credits.proofs.reading import ChainReport, LedgerReader, Proof
from app.credits.proofs.receipts import receipt
from app.credits.proofs.signing import KeyRing, Signer, jwk, thumbprint
from app.credits.usage.analytics import Analyst
from app.kit.clock import Clock, to_rfc3339
from app.kit.documents import Create, Documents, Query, Value, Where
from app.kit.errors import AlreadyExists, Conflict, InvariantViolation, NotFound, Unavailable
from app.kit.money import credits

WELCOME_KEY: Final = "welcome"


@dataclass(frozen=True, slots=True)
class CreditsSettings:
    """What a deployment decides about credits."""

    welcome_bonus: int = credits(1000)
    max_reservation: int = credits(1000)
    reservation_expiry_us: int = 30 * 60_000_000
    low_threshold: int = credits(50)


@dataclass(frozen=True, slots=True)
class CreditsParts:
    """What the service is made of; `retired` are public keys (base64url) that signed before."""

    documents: Documents
    clock: Clock
    signer: Signer
    settings: CreditsSettings = CreditsSettings()
    retired: tuple[str, ...] = ()
    publish: events.Publish = events.publish_nothing
    opening: Callable[[str], AccountOpening] | None = None
    pause: Callable[[int], None] | None = None
    archive: Archive | None = None


@dataclass(frozen=True, slots=True)
class SweptAccounts:
    """What one run of the sweeper did."""

    accounts: int
    reservations: int
    entries: int
    failed: tuple[str, ...]
    more: bool


T = TypeVar("T", bound=Outcome)


class Credits:
    """Accounts, reservations and the ledger."""

    def __init__(self, parts: CreditsParts) -> None:
        self.settings = parts.settings
        self._parts = parts
        self._documents = parts.documents
        self._clock = parts.clock
        public = (parts.signer.public, *parts.retired)
        self.ledger = LedgerReader(parts.documents, KeyRing({thumbprint(x): x for x in public}))
        self.checkpoints = Checkpoints(parts.documents, parts.clock, parts.signer, parts.archive)
        self.store = Store(
            StoreParts(
                documents=parts.documents,
                clock=parts.clock,
                signer=parts.signer,
                rules=Rules(parts.settings.max_reservation),
                opening=parts.opening or self._welcome,
                publish=parts.publish,
                pause=parts.pause or pause,
            )
        )
        self.analyst = Analyst(parts.documents, self.ledger, parts.clock)
        self._lanes = GroupCommit(self.store)

    def account(self, uid: str) -> Account:
        """The account of `uid`, opened at first touch with the welcome bonus: the same through every door (T-36)."""
        return self.store.open(uid)

    def existing(self, uid: str) -> Account:
        """The account of somebody else, as an administrator asks for it; raises NotFound instead of opening one."""
        account = self.store.load(uid)
        if account is None:
            raise NotFound("There is no such account", uid=uid)
        return account

    def available(self, account: Account) -> int:
        """What the account can spend now."""
        return account.available(self._clock.now_us())

    def reservable(self, account: Account) -> int:
        """What a reservation could take now: overdue reservations and lots are resolved first, as `reserve` does."""
        at_us = max(self._clock.now_us(), account.updated_at_us + 1)
        swept = decide(account, (SweepAccount(),), at_us, Rules(self.settings.max_reservation))
        return swept.account.available(at_us)

    def balance(self, uid: str) -> BalanceView:
        """The balance as clients see it; opens the account when it is new."""
        return view(self.account(uid), self._clock.now_us())

    def reserve(self, uid: str, reserve: Reserve, participant: Participant = NO_PARTICIPANT) -> Reservation:
        """Sets aside `min(ceiling, available, MAX_RESERVATION_AMOUNT)`, when that is `at_least` what is needed.

        Raises:
            InsufficientCredits: it is not.
            ReservationClosed: this id was resolved already.
        """
        return self._expect(Reserved, self._lanes.apply(uid, reserve, participant)).reservation

    def extend(self, uid: str, extend: Extend, participant: Participant = NO_PARTICIPANT) -> Reservation:
        """Keeps a reservation open longer and, with `to_amount`, makes it larger."""
        return self._expect(Reserved, self._lanes.apply(uid, extend, participant)).reservation

    def settle(self, uid: str, settle: Settle, participant: Participant = NO_PARTICIPANT) -> Settled:
        """Charges a reservation once, up to what it holds; a charge of nothing releases it without an entry.

        Raises:
            ReservationClosed: it was resolved in another way before.
            ReservationUnknown: there is none of that id.
        """
        return self._expect(Settled, self._lanes.apply(uid, settle, participant))

    def release(
        self, uid: str, reservation_id: str, reason: str, participant: Participant = NO_PARTICIPANT
    ) -> Reservation:
        """Gives a reservation back; twice is the same as once."""
        return self._expect(Released, self._lanes.apply(uid, Release(reservation_id, reason), participant)).reservation

    def post(
        self,
        uid: str,
        command: Grant | Deposit | Clawback | Refund | Adjust | Reverse,
        participant: Participant = NO_PARTICIPANT,
    ) -> Posted:
        """One entry, once per key for ever.

        Raises:
            KeyReused: the key was used with another input.
        """
        return self._expect(Posted, self._lanes.apply(uid, command, participant))

    def freeze_lots(
        self, uid: str, payment_id: str, *, frozen: bool, participant: Participant = NO_PARTICIPANT
    ) -> Account:
        """Keeps what a disputed payment bought from being spent, or frees it again."""
        return self._expect(Changed, self._lanes.apply(uid, FreezeLots(payment_id, frozen), participant)).account

    def set_status(self, uid: str, status: AccountStatus, reason: str) -> Account:
        """Moves the account to another status."""
        return self._expect(Changed, self._lanes.apply(uid, SetStatus(status, reason))).account

    def set_threshold(self, uid: str, amount: int) -> Account:
        """Warn below `amount`."""
        return self._expect(Changed, self._lanes.apply(uid, SetThreshold(amount))).account

    def sweep(self, uid: str) -> AccountSwept:
        """Resolves what is overdue on one account."""
        return self._expect(AccountSwept, self._lanes.apply(uid, SweepAccount()))

    def expire_due(self, limit: int = 100) -> SweptAccounts:
        """Sweeps the accounts that are due, at most `limit`: overdue reservations, lots, and expiry notices.

        One account that cannot be swept does not keep the others waiting; it is named and stays due.
        """
        now = to_rfc3339(self._clock.now_us())
        due = self._documents.query(
            Query("accounts", where=(Where("next_expiry_at", "<=", now),), order_by=("next_expiry_at",), limit=limit)
        )
        reservations = entries = 0
        failed = []
        for stored in due:
            try:
                swept = self.sweep(stored.id)
            except (Conflict, Unavailable, InvariantViolation):
                failed.append(stored.id)
                continue
            reservations += len(swept.reservations)
            entries += len(swept.entries)
        return SweptAccounts(len(due) - len(failed), reservations, entries, tuple(failed), len(due) == limit)

    def entry(self, uid: str, transaction_id: str) -> Entry:
        """One entry of this account; raises NotFound for anything else."""
        entry = self.store.entry_with(uid, "id", transaction_id)
        if entry is None:
            raise NotFound("There is no such transaction", transaction_id=transaction_id)
        return entry

    def verify(self, uid: str, transaction_id: str) -> Proof:
        """What can be said of one entry of this account."""
        return self.ledger.verify(uid, transaction_id)

    def validate_chain(self, uid: str, cursor: str | None = None) -> ChainReport:
        """The account's own chain, from its first entry; resumes at `cursor`."""
        coverage = self.checkpoints.coverage(uid)
        return self.ledger.validate_chain(self.account(uid), coverage, cursor)

    def receipt(self, uid: str, transaction_id: str) -> str:
        """One entry as a JWS that any JOSE library verifies with `keys()`."""
        return receipt(self.entry(uid, transaction_id).fields(), self._parts.signer)

    def audit(self, uid: str, period: AuditPeriod) -> Audit:
        """What happened on the account in a period, verified."""
        coverage = self.checkpoints.coverage(uid)
        return audit(self.ledger, self.existing(uid), period, self._clock.now_us(), coverage)

    def signed_audit(self, uid: str, period: AuditPeriod) -> dict[str, Value]:
        """The audit as JSON, signed as a whole."""
        return signed_json(self.audit(uid, period), self._parts.signer)

    def sign(self, hashed: bytes) -> tuple[str, str]:
        """The ledger's signature over a digest, and the name of its key."""
        return encode_bytes(self._parts.signer.sign(hashed)), self._parts.signer.kid

    def keys(self) -> dict[str, list[dict[str, str]]]:
        """The public keys of all signers, as a JWK set."""
        return self.ledger.keys.jwks()

    def publish_key(self) -> None:
        """Keeps the active public key for ever, in `ledger_keys/{kid}`. Called once per start."""
        kid, x = self._parts.signer.kid, self._parts.signer.public
        fields = {**jwk(kid, x), "first_used_at": to_rfc3339(self._clock.now_us())}
        if self._documents.get(f"ledger_keys/{kid}") is None:
            with contextlib.suppress(AlreadyExists):
                self._documents.commit([Create(f"ledger_keys/{kid}", fields)])

    def _welcome(self, uid: str) -> AccountOpening:
        amount = self.settings.welcome_bonus
        grants = (Grant(WELCOME_KEY, amount, LotSource.BONUS, "welcome", Reference("account", uid)),) if amount else ()
        return AccountOpening(self.settings.low_threshold, grants=lambda _: OpeningGrants(grants))

    @staticmethod
    def _expect(kind: type[T], outcome: Outcome) -> T:
        if not isinstance(outcome, kind):
            raise InvariantViolation(f"a {type(outcome).__name__} answers another command")
        return outcome


def pause(attempt: int) -> None:
    """Full jitter under a ceiling that doubles from 4 to 256 ms: writers that met once do not meet again."""
    ceiling_us = 4_000 << min(attempt - 1, 6)
    time.sleep(secrets.randbelow(ceiling_us) / 1_000_000)
