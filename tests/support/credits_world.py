"""The credit system in memory, and an auditor that trusts nothing of it."""

from dataclasses import dataclass, field

from app.credits.core import entry as ledger
from app.credits.core.account import Account, LotSource, check
from app.credits.core.commands import Deposit, Grant, Reserve, Settle
from app.credits.core.entry import Entry, Reference
from app.credits.ledger import document
from app.credits.proofs.signing import Signer
from app.credits.proofs.verification import Link, verify_chain
from app.credits.service import Credits, CreditsParts, CreditsSettings
from app.kit.documents import Documents
from app.kit.money import credits
from app.kit.optimistic import Pause, pause
from support.clock import ManualClock, no_pause
from support.memory import MemoryDocuments

SEED = bytes(range(32))
MINUTE = 60_000_000
DAY = 24 * 60 * MINUTE
MESSAGE = Reference("message", "msg_1", "req_1")


def reserve(id: str, ceiling: int, at_least: int | None = None, *, minutes: int = 30) -> Reserve:
    """A reservation for a message."""
    return Reserve(id, ceiling, at_least or ceiling, "chat", MESSAGE, minutes * MINUTE)


def settle(id: str, amount: int) -> Settle:
    """A charge for a message."""
    return Settle(id, amount, MESSAGE, price_book="2026-11-01", usage={"input_tokens": 5, "output_tokens": 7})


def promo(key: str, amount: int, expires_at_us: int | None) -> Grant:
    """A gift that may expire."""
    return Grant(key, amount, LotSource.PROMO, "campaign", Reference("campaign", "winter"), expires_at_us)


def deposit(payment_id: str, amount: int) -> Deposit:
    """A purchase."""
    return Deposit(payment_id, amount, "stripe", Reference("payment", payment_id))


@dataclass
class CreditsWorld:
    """A world for one test; `documents` may be any store with the contract."""

    documents: Documents = field(default_factory=MemoryDocuments)
    clock: ManualClock = field(default_factory=ManualClock)
    signer: Signer = field(default_factory=lambda: Signer(SEED))
    settings: CreditsSettings = field(default_factory=CreditsSettings)
    retired: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.pauses = 0
        self._wait: Pause = no_pause
        self.credits = self.instance()

    def instance(self) -> Credits:
        """Another instance of the service on the same store."""
        parts = CreditsParts(
            self.documents, self.clock, self.signer, self.settings, retired=self.retired, pause=self._pause
        )
        return Credits(parts)

    def _pause(self, attempt: int) -> None:
        self.pauses += 1
        self._wait(attempt)

    def waits_between_attempts(self) -> None:
        """Lets a lost race wait as it does in production: a real store needs it."""
        self._wait = pause

    def account(self, uid: str) -> Account:
        """The account as it is stored."""
        stored = self.documents.get(document.account_path(uid))
        assert stored is not None, f"{uid} has no account"
        return document.read(stored.fields)

    def entries(self, uid: str) -> list[Entry]:
        """All entries, oldest first."""
        return [ledger.read(fields) for fields in self.credits.ledger.entries(uid)]

    def audit(self, uid: str) -> Account:
        """Checks everything that must hold of one account, from the stored documents only."""
        account = self.account(uid)
        check(account)
        stored = [dict(fields) for fields in self.credits.ledger.entries(uid)]
        verified = verify_chain(stored, self.credits.ledger.keys, Link(uid))
        assert verified.valid, verified
        link = verified.link
        assert (account.sequence, account.head_hash) == (link.sequence, link.head_hash)
        assert (account.balance, account.debt) == (link.balance, link.debt)
        entries = [ledger.read(fields) for fields in stored]
        keys = [entry.key for entry in entries]
        assert len(set(keys)) == len(keys), "each key has one effect at most"
        assert account.balance == sum(entry.amount for entry in entries)
        lots: dict[str, int] = {}
        for entry in entries:
            for line in entry.draft.lots:
                lots[line.lot_id] = lots.get(line.lot_id, 0) + line.amount
        assert {lot.id: lot.remaining for lot in account.lots} == {id: left for id, left in lots.items() if left}
        assert all(left >= 0 for left in lots.values())
        return account


GENESIS = "0" * 64
NO_BONUS = CreditsSettings(welcome_bonus=0)
ONE = credits(1)
