"""Entries and statements as CSV, to be read in a spreadsheet. docs/verification.md says how one is verified."""

import codecs
import csv
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.credits.core.entry import encode_bytes
from app.credits.proofs.signing import KeyRing, Signer
from app.credits.statements.audit import Statement
from app.kit.clock import to_rfc3339
from app.kit.money import to_decimal
from app.kit.spreadsheet import csv_text, undefused
from app.kit.stores.documents import Fields, int_field, map_field, text_field

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
_STATEMENT: Final = ("record", "account", "from", "to")
_SIGNATURE: Final = b'\r\n"signature",'
_TABLE: Final = re.compile(r"""\s*["']?record["']?[,;\t]["']?account\b""")
_WHY: Final[Mapping[str, str]] = {
    "saved": "These are not the bytes that were signed: a spreadsheet or an editor has saved the file again, with "
    "other quotes, separators, line ends or another encoding. Verify the file as it was downloaded, or download it "
    "again. A statement in JSON may be saved by any program.",
    "shape": "The file does not end with its row `signature`: it is cut, or it is no signed statement.",
    "report_hash": "Something in the file was changed after it was signed. If a spreadsheet has saved it, verify the "
    "file as it was downloaded.",
    "report_signature": "None of the given keys has signed it.",
    "key": "Its key was not to be used at that time.",
}


@dataclass(frozen=True, slots=True)
class TableVerdict:
    """Whether a CSV statement is what was signed, and whose it is; `check` names what does not hold."""

    valid: bool
    check: str | None = None
    account: str = ""
    first: str = ""
    last: str = ""

    def sentence(self) -> str:
        """The verdict in words."""
        if not self.valid:
            return f"NOT valid: {self.check} does not hold. {_WHY[self.check or 'shape']}"
        period = f"from {self.first or 'the first entry'} to {self.last or 'the last'}"
        return f"valid: the statement of {self.account} {period}, as it was signed; its sums are not checked"


_HEADER: Final = csv_text([(*_STATEMENT, *COLUMNS)]).encode()


def csv_of(entries: Sequence[Fields]) -> str:
    """Entries as CSV; amounts are decimals."""
    return csv_text([COLUMNS, *(_row(entry) for entry in entries)])


def signed_csv(made: Statement, signer: Signer) -> str:
    """A statement as CSV: a row for the opening, one for each entry, one for the closing, and the signature of all."""
    first, last = made.period.bounds
    whose = (made.account.uid, first or "", last or "")
    rows = [
        (*_STATEMENT, *COLUMNS),
        ("opening", *whose, *_standing(made.opening.state["sequence"], made.opening.balance)),
    ]
    rows += [("entry", *whose, *_row(entry)) for entry in made.entries]
    rows.append(("closing", *whose, *_standing(made.closing.state["sequence"], made.closing.balance)))
    body = csv_text(rows)
    hashed = hashlib.sha256(body.encode()).digest()
    cells = {
        "id": signer.kid,
        "created_at": to_rfc3339(made.at_us),
        "reason": encode_bytes(signer.sign(hashed)),
        "hash": hashed.hex(),
    }
    return body + csv_text([("signature", *whose, *(cells.get(column, "") for column in COLUMNS))])


def is_table(data: bytes) -> bool:
    """Whether a file is a CSV statement, also one that another program has saved in its own way."""
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return _TABLE.match(data[:200].decode("utf-16" if wide else "utf-8-sig", "replace")) is not None


def verify_csv(data: bytes, keys: KeyRing) -> TableVerdict:
    """Checks the bytes, the signature and the key's lifetime of a CSV statement. No sums: that is what JSON is for.

    A byte order mark in front, which spreadsheets need to read UTF-8, is no part of what was signed.
    """
    data = data.removeprefix(codecs.BOM_UTF8)
    if not data.startswith(_HEADER):
        return TableVerdict(False, "saved")
    body, row, _ = data.rpartition(_SIGNATURE)
    try:
        told = next(csv.reader(io.StringIO(data[len(body) + 2 :].decode(), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error, StopIteration):
        return TableVerdict(False, "shape")
    if not row or len(told) != len(_STATEMENT) + len(COLUMNS) or not data.endswith(b"\r\n"):
        return TableVerdict(False, "shape")
    cells = dict(zip((*_STATEMENT, *COLUMNS), told))
    hashed = hashlib.sha256(body + b"\r\n").digest()
    if cells["hash"] != hashed.hex():
        return TableVerdict(False, "report_hash")
    # A signature in base64url may begin with a minus, and so may a key's name.
    kid, signature = undefused(cells["id"]), undefused(cells["reason"])
    if not keys.verifies(kid, signature, hashed):
        return TableVerdict(False, "report_signature")
    if not keys.lived(kid, cells["created_at"]):
        return TableVerdict(False, "key")
    opening = next(csv.DictReader(io.StringIO(body.decode(), newline="")))
    return TableVerdict(True, None, undefused(opening["account"]), opening["from"], opening["to"])


def _standing(sequence: object, balance: int) -> tuple[str, ...]:
    cells = {"sequence": str(sequence), "balance_after": to_decimal(balance)}
    return tuple(cells.get(column, "") for column in COLUMNS)


def _row(entry: Fields) -> tuple[str, ...]:
    return tuple(_cell(entry, column) for column in COLUMNS)


def _cell(entry: Fields, column: str) -> str:
    if column.startswith("reference_"):
        return text_field(map_field(entry, "reference"), column.removeprefix("reference_"))
    if column in ("amount", "balance_after"):
        return to_decimal(int_field(entry, column))
    return str(entry[column])
