"""Every way to tamper with an exported account, and where an honest verifier must stop."""

import base64
import copy
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from app.credits.core.account import LotSource
from app.credits.core.commands import Adjust, Clawback, Grant, Refund, Reverse
from app.credits.core.entry import Reference
from app.credits.proofs.sealing import Previous, seal_heads
from app.credits.proofs.signing import Signer
from app.credits.statements.audit import Asked, AuditPeriod, signed_json, statements
from app.kit.canonical import canonical
from support.credits_world import DAY, CreditsWorld, deposit, promo, reserve, settle

Json = Any  # hostile JSON: anything may stand anywhere
Export = dict[str, Json]

STRANGER = Signer(b"\x07" * 32)
"""A key that no key set contains."""


@dataclass(frozen=True)
class Case:
    """A tampered export; `sequences` are the entries at which a verifier may rightly stop (None: not at an entry)."""

    name: str
    export: Export
    sequences: tuple[int | None, ...]


def honest(world: CreditsWorld, uid: str, spends: int = 6) -> Export:
    """An account with entries of every kind, sealed in a checkpoint, as its owner exports it."""
    bank = world.credits
    for neighbour in (uid, "neighbour-1", "neighbour-2", "neighbour-3"):
        bank.post(neighbour, deposit(f"{neighbour}-{uid}", 1))
    bank.post(uid, promo("winter", 50_000_000, world.clock.now_us() + 3 * DAY))
    bank.post(uid, deposit("pay_1", 20_000_000))
    for index in range(spends):
        bank.reserve(uid, reserve(f"{uid}-r{index}", 2_000_000))
        world.clock.advance(seconds=7)
        bank.settle(uid, settle(f"{uid}-r{index}", 900_000 + index))
    charge = world.entries(uid)[-1]
    bank.post(uid, Refund("refund:1", charge, 1000, 0, "sorry", Reference("ticket", "t1"), by="root"))
    bank.post(uid, Clawback("claw:1", "pay_1", 20_000_000, "stripe", "refund", Reference("payment", "pay_1")))
    bank.post(uid, Grant("gift", 7, LotSource.BONUS, "gift", Reference("campaign", "zażółć"), description="🐵 gift"))
    bank.post(uid, Adjust("adjust:1", -5, "typo", "root", "second", Reference("ticket", "t2")))
    wrong = world.entries(uid)[-1]
    bank.post(uid, Reverse(wrong, "typo", "root", "second", Reference("entry", wrong.id)))
    world.clock.advance(minutes=4 * 24 * 60)
    bank.sweep(uid)
    bank.checkpoints.seal()
    return copy.deepcopy(bank.signed_audit(uid, AuditPeriod()))


def in_parts(world: CreditsWorld, uid: str, most: int) -> Iterator[Export]:
    """The account as it is exported in parts of so many entries."""
    bank = world.credits
    asked = Asked(bank.existing(uid), AuditPeriod(), world.clock.now_us(), bank.checkpoints.coverage(uid))
    for part in statements(bank.ledger, asked, most=most):
        yield copy.deepcopy(signed_json(part, world.signer))


def cases(world: CreditsWorld) -> Iterator[Case]:
    """Every case, none of which may pass."""
    export, other = honest(world, "alice"), honest(world, "bob")
    for index in range(len(export["report"]["entries"])):
        yield from _of_entry(export, index, world.signer)
        yield from _structural(export, other, index, world.signer)
    yield from _of_the_rest(export, world.signer)


def _of_entry(export: Export, index: int, signer: Signer) -> Iterator[Case]:
    entry = export["report"]["entries"][index]
    sequence = index + 1
    for path, value in places(entry):
        for number, changed in enumerate(_changes(value)):
            tampered = copy.deepcopy(entry)
            put(tampered, path, changed)
            name = f"{sequence}.{'.'.join(map(str, path))}#{number}"
            yield Case(name, _with_entry(export, index, tampered), (sequence,))
            if path[0] not in ("hash", "signature", "key_id") and number == 0:
                yield from _rehashed(export, index, tampered, name, signer)
    for name in entry:
        yield Case(f"{sequence} without {name}", _with_entry(export, index, _without(entry, name)), (sequence,))
    yield Case(f"{sequence} with more", _with_entry(export, index, {**entry, "extra": 1}), (sequence,))


def _rehashed(export: Export, index: int, tampered: Json, name: str, signer: Signer) -> Iterator[Case]:
    """The attacker recomputes the hash. Without the ledger's key the signature is wrong, with it the links are."""
    sequence = index + 1
    try:
        hashed = hashlib.sha256(canonical(_without(_without(tampered, "hash"), "signature"))).digest()
    except Exception:  # noqa: BLE001 - a change that has no canonical form cannot be hashed anew
        return
    fitting = {**tampered, "hash": hashed.hex()}
    yield Case(f"{name} rehashed", _with_entry(export, index, fitting), (sequence,))
    strange = {**fitting, "signature": encode(STRANGER.sign(hashed))}
    yield Case(f"{name} signed by a stranger", _with_entry(export, index, strange), (sequence,))
    insider = {**fitting, "signature": encode(signer.sign(hashed))}
    last = len(export["report"]["entries"])
    stops: tuple[int | None, ...] = (sequence, sequence + 1) if sequence < last else (sequence, sequence + 1, None)
    yield Case(f"{name} by an insider", resigned(_with_entry(export, index, insider), signer), stops)


def _structural(export: Export, other: Export, index: int, signer: Signer) -> Iterator[Case]:
    entries, theirs = export["report"]["entries"], other["report"]["entries"]
    sequence, last = index + 1, len(entries)
    yield Case(f"{sequence} deleted", _with_entries(export, entries[:index] + entries[index + 1 :]), (sequence,))
    yield Case(f"{sequence} twice", _with_entries(export, entries[: index + 1] + entries[index:]), (sequence + 1,))
    exchanged = [*entries[:index], theirs[min(index, len(theirs) - 1)], *entries[index + 1 :]]
    yield Case(f"{sequence} of another account", _with_entries(export, exchanged), (sequence,))
    inserted = [*entries[:index], theirs[0], *entries[index:]]
    yield Case(f"a stranger's before {sequence}", _with_entries(export, inserted), (sequence,))
    if sequence < last:
        swapped = [*entries[:index], entries[index + 1], entries[index], *entries[index + 2 :]]
        yield Case(f"{sequence} and the next swapped", _with_entries(export, swapped), (sequence,))
    cut = _with_entries(export, entries[:index])
    yield Case(f"cut before {sequence}", cut, (None, sequence))
    yield Case(f"cut before {sequence} by an insider", _cut_by_insider(export, index, signer), (sequence,))


def _cut_by_insider(export: Export, index: int, signer: Signer) -> Export:
    """Everything fits and is signed with the real key; only the checkpoint shows the cut (T-55)."""
    cut = copy.deepcopy(export)
    report = cut["report"]
    report["entries"] = report["entries"][:index]
    refit(report)
    return resigned(cut, signer)


def refit(report: Json) -> None:
    """Makes head, closing, totals and verification what the entries say, where they say anything."""
    state, totals = copy.deepcopy(report["opening"]), dict[str, int]()
    lots = {lot["id"]: lot for lot in state["lots"]}
    balance = report["opening_balance"]
    for entry in report["entries"]:
        balance += entry["amount"]
        totals[entry["kind"]] = totals.get(entry["kind"], 0) + entry["amount"]
        state.update(sequence=entry["sequence"], hash=entry["hash"], created_at=entry["created_at"])
        state["debt"] += entry["debt"]
        for line in entry["lots"]:
            made = {**line, "remaining": 0}
            del made["amount"]
            lots.setdefault(line["id"], made)["remaining"] += line["amount"]
    state["lots"] = [lot for lot in lots.values() if lot["remaining"]]
    report.update(closing=state, closing_balance=balance, totals=totals)
    report["verification"]["entries"] = len(report["entries"])
    report["head"] = {"sequence": state["sequence"], "hash": state["hash"]}


def _of_the_rest(export: Export, signer: Signer) -> Iterator[Case]:
    for path, value in places(export, skip=("entries",)):
        for number, changed in enumerate(_changes(value)):
            tampered = copy.deepcopy(export)
            put(tampered, path, changed)
            yield Case(f"{'.'.join(map(str, path))}#{number}", tampered, _ANYWHERE)
    report = export["report"]
    forged = seal_heads([], Previous(), 0, 0, STRANGER)
    swaps: list[Callable[[Export], None]] = [
        lambda whole: whole["report"]["coverage"].update(checkpoint=dict(forged.checkpoint)),
        lambda whole: whole["report"]["coverage"]["seal"].update(account="bob"),
        lambda whole: whole["report"]["coverage"]["seal"].update(proof=[]),
        lambda whole: whole["report"]["coverage"]["seal"].update(proof=report["coverage"]["seal"]["proof"] * 2),
        lambda whole: whole["report"]["coverage"]["seal"].update(index=1 - report["coverage"]["seal"]["index"]),
        lambda whole: whole["report"]["coverage"]["seal"].update(head_hash="0" * 64),
    ]
    for number, swap in enumerate(swaps):
        tampered = copy.deepcopy(export)
        swap(tampered)
        yield Case(f"coverage swapped {number}, by an insider", resigned(tampered, signer), _ANYWHERE)


_ANYWHERE: tuple[int | None, ...] = (None, *range(1, 100))


def resigned(export: Export, signer: Signer) -> Export:
    """The report of `export` with a valid signature."""
    hashed = hashlib.sha256(canonical(export["report"])).digest()
    return {
        "report": export["report"],
        "hash": hashed.hex(),
        "key_id": signer.kid,
        "signature": encode(signer.sign(hashed)),
    }


def places(value: Json, path: tuple[str | int, ...] = (), skip: tuple[str, ...] = ()) -> Iterator[tuple[Json, Json]]:
    """Every place in a JSON value, except the value itself."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        if name in skip:
            continue
        yield (*path, name), member
        yield from places(member, (*path, name), skip)


def _changes(value: Json) -> list[Json]:
    """Other values, near and far; none equal to `value` as JSON."""
    match value:
        case None:
            return ["", 0, "x", False, {}]
        case bool():
            return [not value, None, int(value)]
        case int():
            near = [value + 1, value - 1, -value if value else 7, value + 2**32]
            return [*near, str(value), None, 2**53, [value]]
        case str():
            flipped = ("b" if value[:1] == "a" else "a") + value[1:]
            return [flipped, value + " ", value[:-1] if value else "y", value.upper() + "!", None, 0, [value]]
        case list():
            return [value[:-1] if value else [1], [*value, *value[:1], 1], None, {}]
        case _:
            return [{**value, "extra": None}, dict(list(value.items())[1:]) if value else [], None, []]


def put(value: Json, path: tuple[str | int, ...], changed: Json) -> None:
    for name in path[:-1]:
        value = value[name]
    value[path[-1]] = changed


def _without(value: Json, name: str) -> Json:
    return {key: member for key, member in value.items() if key != name}


def _with_entry(export: Export, index: int, entry: Json) -> Export:
    entries = list(export["report"]["entries"])
    entries[index] = entry
    return _with_entries(export, entries)


def _with_entries(export: Export, entries: list[Json]) -> Export:
    return {**export, "report": {**export["report"], "entries": entries}}


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
