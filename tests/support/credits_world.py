"""The credit system in memory, and an audit of what it has stored."""

from dataclasses import dataclass, field
from typing import cast

from app.credits.core import entry as ledger
from app.credits.core.account import Account, LotSource, check
from app.credits.core.commands import Deposit, Grant, Reserve, Settle
from app.credits.core.entry import Entry, Reference, encode_bytes
from app.credits.ledger import document
from app.credits.proofs.signing import Signer
from app.credits.proofs.verification import Link, verify_chain
from app.credits.service import Credits
from app.kit.concurrency import Threads
from app.kit.money import credits, to_decimal
from app.kit.stores.documents import Documents
from app.wiring import System
from support.clock import ManualClock
from support.memory import MemoryDocuments
from support.world import Kept, MemoryPorts, WatchedThreads

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
    """A world for one test; `documents` may be any store with the contract. `bonus` is what an account opens with."""

    documents: Documents = field(default_factory=MemoryDocuments)
    clock: ManualClock = field(default_factory=ManualClock)
    seed: bytes = SEED
    bonus: int = credits(1000)
    retired: tuple[str, ...] = ()
    concurrency: Threads = field(default_factory=WatchedThreads)
    archive: Kept = field(default_factory=Kept)

    def __post_init__(self) -> None:
        self.signer = Signer(self.seed)
        variables = {
            "LEDGER_SIGNING_KEY": encode_bytes(self.seed),
            "LEDGER_RETIRED_KEYS": " ".join(self.retired),
            "WELCOME_BONUS_AMOUNT": to_decimal(self.bonus),
        }
        documents = cast(MemoryDocuments, self.documents)
        self.ports = MemoryPorts(
            clock=self.clock, concurrency=self.concurrency, documents=documents, archive=self.archive
        )
        self.ports.variables.update(variables)
        self.system = System(self.ports)
        self.credits = self.system.credits.service

    def instance(self) -> Credits:
        """Another instance of the service on the same store."""
        return System(self.ports).credits.service

    @property
    def pauses(self) -> int:
        """How often somebody waited before another try."""
        assert isinstance(self.concurrency, WatchedThreads)
        return len(self.concurrency.sleeps)

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
ONE = credits(1)
