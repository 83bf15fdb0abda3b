"""Verifying an exported account with nothing but the file and the public keys. No database, no network.

An export is what `GET /v1/credits/audit` answers. `web/public/verify.html` does the same in a browser; one corpus of
hostile files is checked by both.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from app.credits.proofs.sealing import checkpoint_holds, seal_holds
from app.credits.proofs.signing import KeyRing
from app.credits.proofs.verification import Link, Verified, verify_chain
from app.kit.canonical import canonical
from app.kit.errors import InvariantViolation
from app.kit.money import MAX_MICRO

_FailedCheck = tuple[str, int | None]
"""The check that does not hold, and the sequence of its entry if it has one."""

_MAX_DEPTH: Final = 100
_EXPORT: Final = frozenset({"report", "hash", "key_id", "signature"})
_REPORT: Final = frozenset(
    {
        "account",
        "from",
        "to",
        "made_at",
        "opening_balance",
        "closing_balance",
        "totals",
        "entries",
        "verification",
        "head",
        "coverage",
    }
)


class Unreadable(Exception):
    """The file is not JSON that every reader understands alike."""


@dataclass(frozen=True, slots=True)
class ExportVerdict:
    """What the file proves. `check` names the first thing that does not hold, `sequence` its entry if it has one."""

    valid: bool
    entries: int
    check: str | None = None
    sequence: int | None = None

    def sentence(self) -> str:
        """The verdict in words."""
        if self.valid:
            return f"valid: {self.entries} entries, every hash, signature and sum holds"
        where = f" at entry {self.sequence}" if self.sequence is not None else ""
        return f"NOT valid: {self.check} does not hold{where}"


def parse(text: str) -> object:
    """JSON that can be read in one way only: no repeated names, no fractions, no integer beyond 2^53 (T-54).

    Raises:
        Unreadable: it is not.
    """
    try:
        value: object = json.loads(
            text, parse_float=_refuse, parse_constant=_refuse, parse_int=_exact, object_pairs_hook=_once
        )
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from error
    if _depth_of(value) > _MAX_DEPTH:
        raise Unreadable("nested too deeply")
    return value


def verify_export(export: object, keys: KeyRing) -> ExportVerdict:
    """Checks the whole file. The order of checks is part of the format: both verifiers name the same first fault."""
    report = _report(export)
    if report is None or not isinstance(export, Mapping):
        return ExportVerdict(False, 0, "shape")
    chain = _chain(report, keys)
    if chain.fault is not None:
        return ExportVerdict(False, chain.entries, chain.fault.check, chain.fault.sequence)
    fault = _ends(report, chain.link) or _covered(report, chain.link, keys) or _signed(export, report, keys)
    return ExportVerdict(fault is None, chain.entries, *(fault or (None, None)))


def _report(export: object) -> Mapping[str, object] | None:
    if not isinstance(export, dict) or export.keys() != _EXPORT:
        return None
    report = export["report"]
    if not isinstance(report, dict) or report.keys() != _REPORT or not isinstance(report["entries"], list):
        return None
    if not isinstance(report["account"], str) or type(report["opening_balance"]) is not int:
        return None
    head = report["head"]
    if not isinstance(head, dict) or head.keys() != {"sequence", "hash"}:
        return None
    return report


def _chain(report: Mapping[str, object], keys: KeyRing) -> Verified:
    entries = report["entries"]
    assert isinstance(entries, list)
    return verify_chain(entries, keys, _start(report, entries))


def _start(report: Mapping[str, object], entries: list[object]) -> Link:
    """The link before the first entry: the start of a chain, or what the first entry of a part claims to follow."""
    account, opening = report["account"], report["opening_balance"]
    assert isinstance(account, str) and isinstance(opening, int)
    first = entries[0] if entries else None
    if report["from"] is None or not isinstance(first, dict):
        return Link(account, balance=opening)
    sequence, previous = first.get("sequence"), first.get("prev_hash")
    if type(sequence) is not int or not isinstance(previous, str) or sequence <= 1:
        return Link(account, balance=opening)
    return Link(account, sequence - 1, previous, opening, MAX_MICRO)


def _ends(report: Mapping[str, object], link: Link) -> _FailedCheck | None:
    head = report["head"]
    assert isinstance(head, dict)
    if report["to"] is None and not (_is(head["sequence"], link.sequence) and _is(head["hash"], link.head_hash)):
        return "head", link.sequence + 1
    if not _is(report["closing_balance"], link.balance):
        return "closing_balance", None
    if report["from"] is None and report["opening_balance"] != 0:
        return "opening_balance", None
    return None


def _covered(report: Mapping[str, object], link: Link, keys: KeyRing) -> _FailedCheck | None:
    """Checks the checkpoint, if the export has one: signature, inclusion, and the entry that it sealed (T-55)."""
    coverage = report["coverage"]
    if coverage is None:
        return None
    if not isinstance(coverage, dict) or coverage.keys() != {"seal", "checkpoint"}:
        return "coverage", None
    seal, checkpoint = coverage["seal"], coverage["checkpoint"]
    if not checkpoint_holds(checkpoint, keys) or not isinstance(checkpoint, dict):
        return "checkpoint", None
    if not seal_holds(seal, checkpoint) or seal["account"] != report["account"]:
        return "seal", None
    entries = report["entries"]
    assert isinstance(entries, list)
    seen = [entry["hash"] for entry in entries if entry["sequence"] == seal["sequence"]]
    if seen:
        return None if seen == [seal["head_hash"]] else ("sealed_head", seal["sequence"])
    beyond = report["to"] is None and seal["sequence"] > link.sequence
    return ("sealed_head", link.sequence + 1) if beyond else None


def _signed(export: Mapping[str, object], report: Mapping[str, object], keys: KeyRing) -> _FailedCheck | None:
    try:
        hashed = hashlib.sha256(canonical(report)).digest()
    except InvariantViolation:
        return "report_hash", None
    if hashed.hex() != export["hash"]:
        return "report_hash", None
    if not keys.verifies(str(export["key_id"]), str(export["signature"]), hashed):
        return "report_signature", None
    return None


def _is(claimed: object, known: int | str) -> bool:
    """Whether both are equal and of one type: in Python `True` equals 1."""
    return type(claimed) is type(known) and claimed == known


def _depth_of(value: object) -> int:
    """How deeply maps and lists are nested, found without recursion."""
    deepest, level = 0, [value]
    while level:
        deepest += 1
        level = [
            member
            for one in level
            for member in (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
        ]
    return deepest


def _refuse(text: str) -> object:
    raise ValueError(f"{text} has more than one reading")


def _exact(text: str) -> int:
    value = int(text)
    if abs(value) > MAX_MICRO or text == "-0":
        raise ValueError(f"{text} has more than one reading")
    return value


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name is repeated")
    return members
