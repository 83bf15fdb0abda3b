"""The use cases of the credit system. Everything that other features may ask of credits is asked here.

Amounts are integer micro-credits. Each command carries a key or a reservation's id; the same one again gives the first
outcome and writes nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from app.credits import rotation
from app.credits.balance_mirror import BalanceView, view
from app.credits.core import events
from app.credits.core.account import MAX_LOTS, Account, AccountStatus, Reservation
from app.credits.core.commands import (
    AccountSwept,
    Adjust,
    Changed,
    Clawback,
    Command,
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
from app.credits.core.decide import ALLOWED, Rules, decide
from app.credits.core.entry import Entry, encode_bytes
from app.credits.core.rejections import AccountNotActive, LedgerCheckFailed, TooManyLots
from app.credits.key_store import KeptKeys, KeyStore, PublishedSigner
from app.credits.ledger.group_commit import GroupCommit
from app.credits.ledger.step import NO_PARTICIPANT, AccountOpening, Participant
from app.credits.ledger.store import Store, StoreParts
from app.credits.proofs import checkpoints
from app.credits.proofs.archived import SealArchive
from app.credits.proofs.breaches import Breaches
from app.credits.proofs.judging import Agrees, Judge
from app.credits.proofs.reading import ChainReport, HistoryFilter, LedgerReader, Proof, readable
from app.credits.proofs.receipts import receipt
from app.credits.proofs.signed_record import SignedRecord
from app.credits.proofs.signing import thumbprint
from app.credits.proofs.verification import Link
from app.credits.rotation import Rotation
from app.credits.settings import CreditsSettings
from app.credits.statements.audit import (
    Asked,
    AuditPeriod,
    Statement,
    StatementRefused,
    signed_json,
    statement,
    statements,
)
from app.credits.statements.table import signed_csv
from app.credits.usage.analytics import Analyst
from app.kit import telemetry
from app.kit.clock import Clock, minutes, to_rfc3339
from app.kit.concurrency import Concurrency
from app.kit.errors import InvariantViolation, NotFound
from app.kit.optimistic import full_jitter
from app.kit.stores.archive import Archive
from app.kit.stores.documents import Documents, Fields, Query, Value, Where
from app.kit.stores.listing import Listing
from app.kit.stores.rows import GuardedRows

_log: Final = telemetry.log("credits")
OVERDUE_US: Final = minutes(15)
"""A reservation that is open for so long after its expiry was not swept."""


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

    def __init__(
        self,
        settings: CreditsSettings,
        *,
        documents: Documents,
        clock: Clock,
        concurrency: Concurrency,
        draw: Callable[[int], int],
        opening: Callable[[str], AccountOpening] | None = None,
        publish: events.Publish = events.publish_nothing,
        archive: Archive,
        agrees: Agrees = lambda _, __: True,
    ) -> None:
        """`opening` says what belongs to the first touch of an account; without it accounts open empty. `publish`
        gives the rows that tell an account's events. `agrees` compares an account's lots with its entries.
        """
        self.settings = settings
        self._documents = documents
        self._clock = clock
        self._rows = GuardedRows(documents, clock)
        signer = PublishedSigner(settings.signing_key)
        public = (signer.public, *settings.retired_keys)
        keys = KeptKeys({thumbprint(x): x for x in public}, archive)
        self._key_store = KeyStore(documents, archive, clock, keys, settings.retired_keys)
        self._signer = signer.publishing(self._key_store)
        self.ledger = LedgerReader(documents, keys)
        pause = full_jitter(concurrency, draw)
        parts = checkpoints.SealingParts(
            documents=documents,
            clock=clock,
            archive=SealArchive(archive, keys, signer),
            judge=Judge(documents, self.ledger, agrees),
            breaches=Breaches(documents, clock, signer, keys),
            record=SignedRecord(checkpoints.RECORD, documents, signer, keys),
            pause=pause,
            monotonic_us=concurrency.monotonic_us,
        )
        self.checkpoints = checkpoints.Checkpoints(parts)
        self.rotation = Rotation(parts, self.checkpoints, SignedRecord(rotation.RECORD, documents, signer, keys), keys)
        self.store = Store(
            StoreParts(
                documents=documents,
                clock=clock,
                signer=self._signer,
                rules=Rules(settings.max_reservation),
                opening=opening or (lambda _: AccountOpening(settings.low_threshold)),
                publish=publish,
                pause=pause,
                genuine=self.ledger.genuine,
            )
        )
        self.analyst = Analyst(documents, self.ledger, clock, pause)
        self._funnel = GroupCommit(self.store, concurrency)

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
        """What a reservation could take now: overdue reservations and lots are resolved first, as `reserve` does.

        Nothing where the account's status allows no reservation.
        """
        if not issubclass(Reserve, ALLOWED[account.status]):
            return 0
        at_us = max(self._clock.now_us(), account.updated_at_us + 1)
        swept = decide(account, (SweepAccount(),), at_us, Rules(self.settings.max_reservation))
        return swept.account.available(at_us)

    def balance(self, uid: str) -> BalanceView:
        """The balance as clients see it; opens the account when it is new."""
        return view(self.account(uid), self._clock.now_us())

    def refuse_purchase(self, uid: str) -> None:
        """Refuses a purchase whose credits this account could not take. Asked before a payment is begun; one that was
        taken all the same finds room (`MOST_LOTS`), or is paid back as any deposit that is refused.

        Raises:
            AccountNotActive: the account's status allows no deposit.
            TooManyLots: it holds as many lots as it may.
        """
        account = self.account(uid)
        if not issubclass(Deposit, ALLOWED[account.status]):
            raise AccountNotActive(account.status.value)
        if len(account.lots) >= MAX_LOTS:
            raise TooManyLots(MAX_LOTS)

    def reserve(self, uid: str, reserve: Reserve, participant: Participant = NO_PARTICIPANT) -> Reservation:
        """Sets aside `min(ceiling, available, MAX_RESERVATION_AMOUNT)`, when that is `at_least` what is needed.

        Raises:
            InsufficientCredits: it is not.
            ReservationClosed: this id was resolved already.
        """
        return self._expect(Reserved, self._apply(uid, reserve, participant)).reservation

    def extend(self, uid: str, extend: Extend, participant: Participant = NO_PARTICIPANT) -> Reservation:
        """Keeps a reservation open longer and, with `to_amount`, makes it larger."""
        return self._expect(Reserved, self._apply(uid, extend, participant)).reservation

    def settle(self, uid: str, settle: Settle, participant: Participant = NO_PARTICIPANT) -> Settled:
        """Charges a reservation once, up to what it holds; a charge of nothing releases it without an entry.

        Raises:
            ReservationClosed: it was resolved in another way before.
            ReservationUnknown: there is none of that id.
        """
        return self._expect(Settled, self._apply(uid, settle, participant))

    def release(
        self, uid: str, reservation_id: str, reason: str, participant: Participant = NO_PARTICIPANT
    ) -> Reservation:
        """Gives a reservation back; twice is the same as once."""
        return self._expect(Released, self._apply(uid, Release(reservation_id, reason), participant)).reservation

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
        return self._expect(Posted, self._apply(uid, command, participant))

    def freeze_lots(
        self, uid: str, payment_id: str, *, frozen: bool, participant: Participant = NO_PARTICIPANT
    ) -> Account:
        """Keeps what a disputed payment bought from being spent, or frees it again."""
        return self._expect(Changed, self._apply(uid, FreezeLots(payment_id, frozen), participant)).account

    def set_status(
        self, uid: str, status: AccountStatus, reason: str, participant: Participant = NO_PARTICIPANT
    ) -> Account:
        """Moves the account to another status."""
        self.checkpoints.breaches.status_decided(uid)
        return self._expect(Changed, self._apply(uid, SetStatus(status, reason), participant)).account

    def set_threshold(self, uid: str, amount: int) -> Account:
        """Warn below `amount`."""
        return self._expect(Changed, self._apply(uid, SetThreshold(amount))).account

    def returned(self, uid: str, entry: Entry) -> int:
        """How much of an entry is undone; raises LedgerCheckFailed where what says so is not what was signed."""
        with self._suspecting(uid):
            return self.store.returned(uid, entry)

    def _apply(self, uid: str, command: Command, participant: Participant = NO_PARTICIPANT) -> Outcome:
        with self._suspecting(uid):
            return self._funnel.apply(uid, command, participant)

    def sweep(self, uid: str) -> AccountSwept:
        """Resolves what is overdue on one account."""
        return self._expect(AccountSwept, self._apply(uid, SweepAccount()))

    def expire_due(self, limit: int = 100) -> SweptAccounts:
        """Sweeps the accounts that are due, at most `limit`: overdue reservations, lots, and expiry notices.

        One account that cannot be swept does not keep the others waiting; it is named and stays due.

        Raises:
            Unavailable: the store does not answer, or did not for several accounts in a row.
        """
        now = to_rfc3339(self._clock.now_us())
        due = Query("accounts", (Where("next_expiry_at", "<=", now),), ("next_expiry_at", "__name__"))
        swept: list[AccountSwept] = []
        batch = self._rows.due("expiry", due, lambda stored: swept.append(self.sweep(stored.id)), limit=limit)
        return SweptAccounts(
            accounts=batch.done,
            reservations=sum(len(one.reservations) for one in swept),
            entries=sum(len(one.entries) for one in swept),
            failed=tuple(path.removeprefix("accounts/") for path in (*batch.broken, *batch.failed)),
            more=not batch.complete,
        )

    def long_overdue(self) -> list[str]:
        """Accounts, at most ten, with something that the sweep should have resolved a while ago."""
        before = to_rfc3339(self._clock.now_us() - OVERDUE_US)
        where = (Where("next_expiry_at", "<=", before),)
        return [one.id for one in self._documents.query(Query("accounts", where, ("next_expiry_at",), limit=10))]

    def entry(self, uid: str, transaction_id: str) -> Entry:
        """One entry of this account; raises NotFound for anything else."""
        entry = self.store.entry_with(uid, "id", transaction_id)
        if entry is None:
            raise NotFound("There is no such transaction", transaction_id=transaction_id)
        return entry

    def verify(self, uid: str, transaction_id: str) -> Proof:
        """What can be said of one entry of this account."""
        return self.ledger.verify(uid, transaction_id)

    def history(self, uid: str, chosen: HistoryFilter) -> Listing[Fields]:
        """Entries of this account, newest first."""
        query = self.ledger.history(uid, chosen)
        return Listing(self._documents, self._rows, "history_list", query, readable)

    def validate_chain(self, uid: str, after: Link | None = None) -> ChainReport:
        """The account's own chain, from its first entry; resumes at a link of it.

        A link comes from the caller, so what fails behind one accuses nobody: the verification in turn finds it.
        """
        archived, coverage = self.checkpoints.evidence(uid), self.checkpoints.coverage(uid)
        report = self.ledger.validate_chain(self.account(uid), coverage, after, archived=archived)
        if not report.valid and after is None:
            self.checkpoints.breaches.suspect(uid)
        return report

    def receipt(self, uid: str, transaction_id: str) -> str:
        """One entry as a JWS that any JOSE library verifies with `keys()`.

        Raises:
            LedgerCheckFailed: the entry is not what was signed, or does not fit to its neighbours.
        """
        with self._suspecting(uid):
            proof = self.ledger.verify(uid, transaction_id)
            if not proof.valid:
                failed = [check for check, holds in proof.checks.items() if not holds]
                raise LedgerCheckFailed("This does not verify and is not signed. We look at it.", checks=failed)
        return receipt(proof.entry, self._signer)

    def signed_audit(self, uid: str, period: AuditPeriod) -> dict[str, Value]:
        """A period of the account as one statement in JSON, signed as a whole.

        Raises:
            PeriodTooLong: it has too many entries; `signed_parts` has room for them.
            StatementRefused: the account's chain does not verify.
        """
        return signed_json(self._statement(uid, period), self._signer)

    def audit_csv(self, uid: str, period: AuditPeriod) -> str:
        """As `signed_audit`, as a table for spreadsheets."""
        return signed_csv(self._statement(uid, period), self._signer)

    def signed_parts(self, uid: str, period: AuditPeriod) -> Iterator[dict[str, Value]]:
        """A period of any length as statements that continue each other; raises as `signed_audit`, also on its way."""
        with self._suspecting(uid):
            for part in statements(self.ledger, self._asked(uid, period)):
                yield signed_json(part, self._signer)

    def _statement(self, uid: str, period: AuditPeriod) -> Statement:
        with self._suspecting(uid):
            return statement(self.ledger, self._asked(uid, period))

    def _asked(self, uid: str, period: AuditPeriod) -> Asked:
        """What a statement is made from; the account is what was sealed, also by the archive."""
        archived, coverage = self.checkpoints.evidence(uid), self.checkpoints.coverage(uid)
        account = self.existing(uid)
        fault = self.ledger.sealed_fault(account, coverage, archived)
        if fault is not None:
            raise StatementRefused(fault.sequence, fault.check)
        return Asked(account, period, self._clock.now_us(), coverage)

    def sign(self, hashed: bytes) -> tuple[str, str]:
        """The ledger's signature over a digest, and the name of its key."""
        return encode_bytes(self._signer.sign(hashed)), self._signer.kid

    def keys(self) -> dict[str, list[dict[str, str]]]:
        """The public keys of all signers, as a JWK set."""
        self._key_store.learn_all()
        return self.ledger.keys.jwks()

    def publish_key(self) -> int:
        """Keeps the active public key for ever, and the ends of retired ones; how many were added."""
        return self._key_store.review(self._signer.kid, self._signer.public)

    def ending_key(self) -> list[str]:
        """The active key, when it was retired: it stops to sign at its end."""
        kid = self._signer.kid
        return [] if self._key_store.keys.end(kid) is None else [kid]

    @contextmanager
    def _suspecting(self, uid: str) -> Iterator[None]:
        """Nothing is signed or decided that does not verify; the account's chain is verified by the next sweep."""
        try:
            yield
        except LedgerCheckFailed as failed:
            _log.error("signing_refused", account=uid, checks=failed.fields.get("checks"))
            self.checkpoints.breaches.suspect(uid)
            raise

    @staticmethod
    def _expect(kind: type[T], outcome: Outcome) -> T:
        if not isinstance(outcome, kind):
            raise InvariantViolation(f"a {type(outcome).__name__} answers another command")
        return outcome
