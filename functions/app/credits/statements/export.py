"""Verifying an exported account with nothing but the file and the public keys. No database, no network.

docs/verification.md is the specification: shapes, checks, and their order. `web/public/verify.html` does the same in a
browser; one corpus of hostile files is checked by both.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, cast

from app.credits.proofs.sealing import seal_holds
from app.credits.proofs.signing import KeyRing
from app.credits.proofs.verification import Link
from app.credits.statements.replay import ChainReplay, ReplayedLot
from app.credits.statements.shapes import STATEMENT, fits, state_holds
from app.kit.canonical import canonical
from app.kit.errors import InvariantViolation
from app.kit.money import MAX_MICRO

Extent = Literal["covered", "part", "not covered"]

_MAX_DEPTH: Final = 100
_SPACE: Final = " \t\n\r"
_SAME_IN_ALL_PARTS: Final = ("account", "from", "to", "made_at", "head")


class Unreadable(Exception):
    """The file is not JSON that every reader understands alike."""


class _FailedCheck(NamedTuple):
    """The check that does not hold, and the sequence of its entry if it has one."""

    check: str
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class ExportVerdict:
    """What the file proves. `check` names the first thing that does not hold, `sequence` its entry if it has one.

    Of a valid one, `period` says how much of the account the file holds, and `checkpoint` how much of that a signed
    checkpoint seals.
    """

    valid: bool
    entries: int
    check: str | None = None
    sequence: int | None = None
    period: Extent | None = None
    checkpoint: Extent | None = None

    def sentence(self) -> str:
        """The verdict in words."""
        if self.valid:
            return (
                f"valid: {self.entries} entries, every hash, signature and sum holds. {_PERIOD[self.period or 'part']} "
                f"{_CHECKPOINT[self.checkpoint or 'not covered']}"
            )
        where = f" at entry {self.sequence}" if self.sequence is not None else ""
        return f"NOT valid: {self.check} does not hold{where}"


_PERIOD: Final[Mapping[Extent, str]] = {
    "covered": "The file holds the whole account.",
    "part": "The file holds a part of the account.",
    "not covered": "The file holds no entry of the account, only its balance.",
}
_CHECKPOINT: Final[Mapping[Extent, str]] = {
    "covered": "A checkpoint seals all of it.",
    "part": "A checkpoint seals it up to an earlier entry; later ones are not covered yet.",
    "not covered": "No checkpoint covers it: entries cut from its end would not show.",
}


def parse(text: str) -> object:
    """JSON that can be read in one way only: no repeated names, no fractions, no integer beyond 2^53 (T-54).

    Raises:
        Unreadable: it is not.
    """
    try:
        value: object = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from error
    return _shallow(value)


def parse_statements(text: str) -> list[object]:
    """The objects of a statement file, as strict as `parse`.

    Raises:
        Unreadable: there is none, or anything else.
    """
    found: list[object] = []
    at = _after_space(text, 0)
    while at < len(text):
        if text[at] != "{":
            raise Unreadable(f"no object at character {at}")
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise Unreadable(str(error)) from error
        found.append(_shallow(value))
        at = _after_space(text, at)
    if not found:
        raise Unreadable("an empty file")
    return found


def verify_export(statement: object, keys: KeyRing) -> ExportVerdict:
    """Checks a file with one statement."""
    return verify_statements([statement], keys)


def verify_statements(statements: Iterable[object], keys: KeyRing) -> ExportVerdict:
    """Checks a whole file, one statement after the other. Both verifiers name the same first fault."""
    reading = _Reading(keys)
    for statement in statements:
        fault = reading.take(statement)
        if fault is not None:
            return ExportVerdict(False, reading.entries, *fault)
    return ExportVerdict(True, reading.entries, period=reading.period(), checkpoint=reading.checkpoint())


@dataclass(slots=True)
class _Reading:
    """How far a file has been read. After the first statement `report` and `replay` are those of the last one."""

    keys: KeyRing
    report: Mapping[str, object] | None = None
    replay: ChainReplay = field(default_factory=lambda: ChainReplay(Link("")))
    entries: int = 0
    hashes: dict[int, str] = field(default_factory=dict)
    opened_at: int = 0
    sealed: int = 0
    """The last entry of this file that a checkpoint was seen to seal."""

    def take(self, statement: object) -> _FailedCheck | None:
        """Checks the next statement; the first thing that does not hold."""
        if not fits(statement, STATEMENT):
            return _FailedCheck("shape")
        whole = cast(Mapping[str, object], statement)
        report = cast(Mapping[str, object], whole["report"])
        if not state_holds(report["opening"]):
            return _FailedCheck("shape")
        fault = self._begin(report) or self._entries(report) or self._end(report) or self._covered(report)
        return fault or _signed(whole, report, self.keys)

    def period(self) -> Extent:
        """How much of the account the file holds."""
        head = self._head()
        if self.opened_at == 0 and self.replay.link.sequence == head:
            return "covered"
        return "part" if self.entries else "not covered"

    def checkpoint(self) -> Extent:
        """How much of the file a checkpoint seals."""
        if self.sealed == 0 or (self.entries and self.sealed <= self.opened_at):
            return "not covered"
        return "covered" if self.sealed == self.replay.link.sequence else "part"

    def _head(self) -> int:
        return _int(_map(_map(self.report)["head"])["sequence"])

    def _begin(self, report: Mapping[str, object]) -> _FailedCheck | None:
        before, part = self.report, _map(report["part"])
        opening, balance = _map(report["opening"]), _int(report["opening_balance"])
        if before is not None:
            last = _map(before["part"])
            goes_on = not last["last"] and part["number"] == _int(last["number"]) + 1
            if not goes_on or any(report[name] != before[name] for name in _SAME_IN_ALL_PARTS):
                return _FailedCheck("part")
        elif _int(part["number"]) < 1:
            return _FailedCheck("part")
        lots = _lots(opening)
        if sum(lot.remaining for lot in lots.values()) - _int(opening["debt"]) != balance:
            return _FailedCheck("opening")
        if before is not None:
            self.report = report
            return None if self._stands(opening, balance) else _FailedCheck("opening")
        if part["number"] == 1 and report["from"] is None and opening["sequence"] != 0:
            return _FailedCheck("opening")
        self._open(report, opening, lots)
        return None

    def _open(self, report: Mapping[str, object], opening: Mapping[str, object], lots: dict[str, ReplayedLot]) -> None:
        sequence, hash, debt = _int(opening["sequence"]), str(opening["hash"]), _int(opening["debt"])
        balance, at = _int(report["opening_balance"]), str(opening["created_at"] or "")
        self.replay = ChainReplay(Link(str(report["account"]), sequence, hash, balance, debt, at), lots)
        self.report, self.opened_at = report, sequence
        if sequence:
            self.hashes[sequence] = hash

    def _stands(self, state: Mapping[str, object], balance: object) -> bool:
        """Whether `state` and `balance` are what was folded; lots in any order."""
        link, lots = self.replay.link, self.replay.lots
        known = (link.sequence, link.head_hash, link.created_at or None, link.debt, link.balance)
        told = (state["sequence"], state["hash"], state["created_at"], state["debt"], balance)
        return told == known and _lots(state) == lots and len(cast(list[object], state["lots"])) == len(lots)

    def _entries(self, report: Mapping[str, object]) -> _FailedCheck | None:
        first, last = report["from"], report["to"]
        for entry in cast(list[object], report["entries"]):
            fault = self.replay.follow(entry, self.keys)
            if fault is not None:
                return _FailedCheck(fault.check, fault.sequence)
            link = self.replay.link
            if not (first is None or str(first) <= link.created_at) or not (
                last is None or link.created_at <= str(last)
            ):
                return _FailedCheck("period", link.sequence)
            self.hashes[link.sequence] = link.head_hash
            self.entries += 1
        return None

    def _end(self, report: Mapping[str, object]) -> _FailedCheck | None:
        link, head, part = self.replay.link, _map(report["head"]), _map(report["part"])
        there, at_end = link.sequence == head["sequence"], part["last"] and report["to"] is None
        if (
            link.sequence > _int(head["sequence"])
            or (there and link.head_hash != head["hash"])
            or (at_end and not there)
        ):
            return _FailedCheck("head", link.sequence + 1)
        if not self._stands(_map(report["closing"]), report["closing_balance"]):
            return _FailedCheck("closing")
        entries = cast(list[Mapping[str, object]], report["entries"])
        totals: dict[str, int] = {}
        for entry in entries:
            totals[str(entry["kind"])] = totals.get(str(entry["kind"]), 0) + _int(entry["amount"])
        if report["totals"] != totals:
            return _FailedCheck("totals")
        told = _map(report["verification"])
        holds = told["valid"] and told["entries"] == len(entries)
        if not holds or told["first_bad_sequence"] is not None or told["check"] is not None:
            return _FailedCheck("verification")
        return None

    def _covered(self, report: Mapping[str, object]) -> _FailedCheck | None:
        """Checks the checkpoint, if there is one: signature, inclusion, and the entry that it sealed (T-55)."""
        if report["coverage"] is None:
            return None
        coverage = _map(report["coverage"])
        seal, checkpoint = _map(coverage["seal"]), _map(coverage["checkpoint"])
        body = {name: value for name, value in checkpoint.items() if name not in ("hash", "signature")}
        hashed = hashlib.sha256(canonical(body)).digest()
        if hashed.hex() != checkpoint["hash"]:
            return _FailedCheck("checkpoint")
        fault = _signature(checkpoint, hashed, str(checkpoint["sealed_at"]), self.keys, "checkpoint")
        if fault is not None:
            return fault
        if not seal_holds(seal, checkpoint) or seal["account"] != report["account"]:
            return _FailedCheck("seal")
        sequence = _int(seal["sequence"])
        if self.hashes.get(sequence, seal["head_hash"]) != seal["head_hash"]:
            return _FailedCheck("sealed_head", sequence)
        if sequence > self._head():
            return _FailedCheck("sealed_head", self.replay.link.sequence + 1)
        if sequence in self.hashes:
            self.sealed = max(self.sealed, sequence)
        return None


def _signed(whole: Mapping[str, object], report: Mapping[str, object], keys: KeyRing) -> _FailedCheck | None:
    try:
        hashed = hashlib.sha256(canonical(report)).digest()
    except InvariantViolation:
        return _FailedCheck("report_hash")
    if hashed.hex() != whole["hash"]:
        return _FailedCheck("report_hash")
    return _signature(whole, hashed, str(report["made_at"]), keys, "report_signature")


def _signature(signed: Mapping[str, object], hashed: bytes, at: str, keys: KeyRing, check: str) -> _FailedCheck | None:
    kid = str(signed["key_id"])
    if not keys.verifies(kid, str(signed["signature"]), hashed):
        return _FailedCheck(check)
    return None if keys.lived(kid, at) else _FailedCheck("key")


def _lots(state: Mapping[str, object]) -> dict[str, ReplayedLot]:
    """The lots of a state whose shape holds."""
    return {
        str(lot["id"]): ReplayedLot(
            _int(lot["remaining"]),
            str(lot["source"]),
            cast(str | None, lot["expires_at"]),
            cast(str | None, lot["payment_id"]),
        )
        for lot in cast(list[Mapping[str, object]], state["lots"])
    }


def _map(value: object) -> Mapping[str, object]:
    """A part of a statement that `fits` has found to be a map."""
    return cast(Mapping[str, object], value)


def _int(value: object) -> int:
    """A part of a statement that `fits` has found to be an integer."""
    return cast(int, value)


def _shallow(value: object) -> object:
    """Refuses what is nested too deeply; found without recursion."""
    deepest, level = 0, [value]
    while level:
        deepest += 1
        level = [
            member
            for one in level
            for member in (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
        ]
    if deepest > _MAX_DEPTH:
        raise Unreadable("nested too deeply")
    return value


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


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


_DECODER: Final = json.JSONDecoder(
    parse_float=_refuse, parse_constant=_refuse, parse_int=_exact, object_pairs_hook=_once
)
