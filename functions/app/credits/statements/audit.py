"""Statements: what happened on one account in a period, from a chain that was replayed from first entry to head.

A statement holds nothing that the chain does not prove: opening and closing states are what the entries before and in
the period leave, and a chain that does not verify gives no statement. docs/verification.md has its shape. Long ones
come in parts, of which no more than one is held in memory.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from app.credits.core.account import Account
from app.credits.core.entry import encode_bytes
from app.credits.core.rejections import LedgerCheckFailed
from app.credits.proofs.reading import LedgerReader
from app.credits.proofs.sealing import Coverage
from app.credits.proofs.signing import Signer
from app.credits.proofs.verification import Link
from app.credits.statements.replay import ChainReplay
from app.credits.statements.shapes import FORMAT
from app.kit.canonical import canonical
from app.kit.clock import optional_rfc3339, to_rfc3339
from app.kit.errors import Rejection
from app.kit.stores.documents import Fields, Value, int_field, text_field

MAX_ENTRIES: Final = 5_000
PART: Final = 1_000


class PeriodTooLong(Rejection):
    """More entries than one statement holds."""

    status = 422
    code = "period_too_long"
    title = "Period too long"


class StatementRefused(LedgerCheckFailed):
    """The account's chain does not verify, so nothing is said about it in a signed statement."""

    def __init__(self, sequence: int, check: str) -> None:
        super().__init__("The ledger of this account does not verify. No statement is signed.", checks=[check])
        self.sequence, self.check = sequence, check


@dataclass(frozen=True, slots=True)
class AuditPeriod:
    """From and to, inclusive, in microseconds; None for an open end."""

    from_us: int | None = None
    to_us: int | None = None

    @property
    def bounds(self) -> tuple[str | None, str | None]:
        """Both as statements spell times."""
        return optional_rfc3339(self.from_us), optional_rfc3339(self.to_us)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a statement is asked about. `coverage` was read before the account."""

    account: Account
    period: AuditPeriod
    at_us: int
    coverage: Coverage | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an account stood: its state as statements say it, and its balance."""

    state: dict[str, Value]
    balance: int


@dataclass(frozen=True, slots=True)
class Statement:
    """The content of a statement, or of one part of it, before it is signed. Only the last part has a checkpoint."""

    account: Account
    period: AuditPeriod
    at_us: int
    number: int
    opening: Standing
    closing: Standing
    entries: tuple[Fields, ...]
    last: bool = False
    coverage: Coverage | None = None

    def totals(self) -> dict[str, int]:
        """Sum of the amounts by kind."""
        sums: dict[str, int] = {}
        for entry in self.entries:
            kind = text_field(entry, "kind")
            sums[kind] = sums.get(kind, 0) + int_field(entry, "amount")
        return dict(sorted(sums.items()))


@dataclass(slots=True)
class _Making:
    """A statement while its account is replayed."""

    account: Account
    period: AuditPeriod
    at_us: int
    replay: ChainReplay
    opening: Standing | None = None
    closing: Standing | None = None
    entries: list[Fields] = field(default_factory=list)
    number: int = 1

    def before(self, at: str) -> None:
        """Notes that an entry of this time comes next."""
        first, last = self.period.bounds
        if self.opening is None and (first is None or at >= first):
            self.opening = self._here()
        if self.closing is None and last is not None and at > last:
            self.closing = self._here()

    def take(self, entry: Fields) -> None:
        """Takes an entry that was replayed, if it belongs to the period."""
        if self.opening is not None and self.closing is None:
            self.entries.append(entry)

    def part(self) -> Statement:
        """What was taken since the part before."""
        here = self._here()
        opening, closing = self.opening or here, self.closing or here
        made = Statement(self.account, self.period, self.at_us, self.number, opening, closing, tuple(self.entries))
        self.opening, self.entries, self.number = closing, [], self.number + 1
        return made

    def _here(self) -> Standing:
        return Standing(self.replay.state(), self.replay.link.balance)


def statement(reader: LedgerReader, asked: Asked) -> Statement:
    """The whole period as one statement.

    Raises:
        PeriodTooLong: it has more than `MAX_ENTRIES`.
        StatementRefused: the chain does not verify.
    """
    made = next(statements(reader, asked, most=MAX_ENTRIES))
    if not made.last:
        raise PeriodTooLong("Ask for a shorter period, or for application/x-ndjson", limit=MAX_ENTRIES)
    return made


def statements(reader: LedgerReader, asked: Asked, *, most: int = PART) -> Iterator[Statement]:
    """The period in parts of at most `most` entries.

    The chain is verified from its first entry to the account's head, whatever the period; the last part comes only
    after all of it did.

    Raises:
        StatementRefused: it does not.
    """
    account, coverage = asked.account, asked.coverage
    making = _Making(account, asked.period, asked.at_us, ChainReplay(Link(account.uid)))
    link, sealed = making.replay.link, None
    for entry in reader.entries(account.uid, 0, account.sequence):
        making.before(str(entry.get("created_at")))
        if len(making.entries) == most and making.closing is None:
            yield making.part()
        fault = making.replay.follow({**entry}, reader.keys)
        if fault is not None:
            raise StatementRefused(fault.sequence, fault.check)
        making.take(entry)
        link = making.replay.link
        if coverage is not None and link.sequence == coverage.sequence:
            sealed = link.head_hash
    _check_end(reader, account, link, coverage, sealed)
    yield replace(making.part(), last=True, coverage=coverage)


def _check_end(
    reader: LedgerReader, account: Account, link: Link, coverage: Coverage | None, sealed: str | None
) -> None:
    """The account is where its chain ends, and the chain has the entry that the last checkpoint sealed (T-55)."""
    if link.sequence < account.sequence:
        raise StatementRefused(link.sequence + 1, "missing")
    stands = (account.head_hash, account.balance, account.debt)
    if stands != (link.head_hash, link.balance, link.debt):
        raise StatementRefused(max(1, link.sequence), "head")
    if coverage is not None and not (coverage.holds(reader.keys) and coverage.head_hash == sealed):
        raise StatementRefused(min(coverage.sequence, link.sequence + 1), "checkpoint")


def signed_json(made: Statement, signer: Signer) -> dict[str, Value]:
    """The statement as JSON, with an Ed25519 signature over the SHA-256 of its canonical bytes."""
    body = _body(made)
    hashed = hashlib.sha256(canonical(body)).digest()
    signature = encode_bytes(signer.sign(hashed))
    return {"report": body, "hash": hashed.hex(), "key_id": signer.kid, "signature": signature}


def _body(made: Statement) -> dict[str, Value]:
    first, last = made.period.bounds
    return {
        "format": FORMAT,
        "account": made.account.uid,
        "from": first,
        "to": last,
        "made_at": to_rfc3339(made.at_us),
        "part": {"number": made.number, "last": made.last},
        "opening_balance": made.opening.balance,
        "opening": made.opening.state,
        "entries": [dict(entry) for entry in made.entries],
        "totals": {**made.totals()},
        "closing_balance": made.closing.balance,
        "closing": made.closing.state,
        "verification": {"valid": True, "entries": len(made.entries), "first_bad_sequence": None, "check": None},
        "head": {"sequence": made.account.sequence, "hash": made.account.head_hash},
        "coverage": _coverage(made),
    }


def _coverage(made: Statement) -> dict[str, Value] | None:
    """The last checkpoint over this account. If it sealed more entries than there are, the tail was cut."""
    if made.coverage is None:
        return None
    return {"seal": made.coverage.seal, "checkpoint": made.coverage.checkpoint}
