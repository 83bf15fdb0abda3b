"""The audit report of one account over a period: entries, totals and verification, signed as a whole."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.credits.core.account import Account
from app.credits.core.entry import encode_bytes
from app.credits.proofs.reading import HistoryFilter, LedgerReader
from app.credits.proofs.sealing import Coverage
from app.credits.proofs.signing import Signer
from app.credits.proofs.verification import Verified, verify_chain
from app.kit.canonical import canonical
from app.kit.clock import optional_rfc3339, to_rfc3339
from app.kit.errors import Rejection
from app.kit.money import to_decimal
from app.kit.spreadsheet import csv_text
from app.kit.stores.documents import Fields, Value, int_field, map_field, text_field

MAX_ENTRIES: Final = 5_000
COLUMNS: Final = (
    "sequence",
    "id",
    "created_at",
    "kind",
    "amount",
    "balance_after",
    "reference_type",
    "reference_id",
    "reason",
    "hash",
    "prev_hash",
)


class PeriodTooLong(Rejection):
    """More entries than one report holds."""

    status = 422
    code = "period_too_long"
    title = "Period too long"


@dataclass(frozen=True, slots=True)
class AuditPeriod:
    """From and to, inclusive, in microseconds; None for an open end."""

    from_us: int | None = None
    to_us: int | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """The content of a report, before it is signed."""

    account: Account
    period: AuditPeriod
    at_us: int
    opening_balance: int
    entries: tuple[Fields, ...]
    verified: Verified
    coverage: Coverage | None

    @property
    def closing_balance(self) -> int:
        """The balance after the last entry of the period."""
        return int_field(self.entries[-1], "balance_after") if self.entries else self.opening_balance

    def totals(self) -> dict[str, int]:
        """Sum of the amounts by kind."""
        sums: dict[str, int] = {}
        for entry in self.entries:
            kind = text_field(entry, "kind")
            sums[kind] = sums.get(kind, 0) + int_field(entry, "amount")
        return dict(sorted(sums.items()))


def audit(
    reader: LedgerReader, account: Account, period: AuditPeriod, at_us: int, coverage: Coverage | None = None
) -> Audit:
    """Reads and verifies the entries of the period, linked to the entry before it.

    Raises:
        PeriodTooLong: there are more than `MAX_ENTRIES`.
    """
    first, last = reader.span(account.uid, HistoryFilter(from_us=period.from_us, to_us=period.to_us))
    last = min(last, account.sequence)
    if last - first + 1 > MAX_ENTRIES:
        raise PeriodTooLong("Ask for a shorter period", entries=last - first + 1, limit=MAX_ENTRIES)
    start = reader.link_before(account.uid, first)
    entries = tuple(reader.entries(account.uid, first - 1, last)) if last >= first else ()
    verified = verify_chain([dict(entry) for entry in entries], reader.keys, start)
    return Audit(account, period, at_us, start.balance, entries, verified, coverage)


def signed_json(report: Audit, signer: Signer) -> dict[str, Value]:
    """The report as JSON, with an Ed25519 signature over the SHA-256 of its canonical bytes."""
    body = _body(report)
    hashed = hashlib.sha256(canonical(body)).digest()
    signature = encode_bytes(signer.sign(hashed))
    return {"report": body, "hash": hashed.hex(), "key_id": signer.kid, "signature": signature}


def csv_of(entries: Sequence[Fields]) -> str:
    """Entries as CSV; amounts are decimals."""
    return csv_text([COLUMNS, *([_cell(entry, column) for column in COLUMNS] for entry in entries)])


def _cell(entry: Fields, column: str) -> str:
    if column.startswith("reference_"):
        return text_field(map_field(entry, "reference"), column.removeprefix("reference_"))
    if column in ("amount", "balance_after"):
        return to_decimal(int_field(entry, column))
    return str(entry[column])


def _body(report: Audit) -> dict[str, Value]:
    period, fault = report.period, report.verified.fault
    return {
        "account": report.account.uid,
        "from": optional_rfc3339(period.from_us),
        "to": optional_rfc3339(period.to_us),
        "made_at": to_rfc3339(report.at_us),
        "opening_balance": report.opening_balance,
        "closing_balance": report.closing_balance,
        "totals": {**report.totals()},
        "entries": [dict(entry) for entry in report.entries],
        "verification": {
            "valid": report.verified.valid,
            "entries": report.verified.entries,
            "first_bad_sequence": fault.sequence if fault else None,
            "check": fault.check if fault else None,
        },
        "head": {"sequence": report.account.sequence, "hash": report.account.head_hash},
        "coverage": _coverage(report),
    }


def _coverage(report: Audit) -> dict[str, Value] | None:
    """The last checkpoint over this account. If it sealed more entries than there are, the tail was cut."""
    if report.coverage is None:
        return None
    return {"seal": report.coverage.seal, "checkpoint": report.coverage.checkpoint}
