"""Exports of somebody who holds the signing key and lies, or who signs by mistake what is none: from a seed.

Each starts from an honest file, changes some places to odd values, and then chains, seals and signs anew as much as
still can be. So what a verifier meets behind the right hashes and signatures is hostile.
"""

import copy
import hashlib
import random
from collections.abc import Iterator, Sequence

from app.credits.proofs.sealing import Previous, SealedHead, seal_heads
from app.credits.proofs.signing import Signer
from app.kit.canonical import canonical
from app.kit.errors import InvariantViolation
from app.kit.money import MAX_MICRO
from support.tampering import Export, Json, encode, places, put, refit, resigned

_ODD: tuple[Json, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    7,
    MAX_MICRO,
    -MAX_MICRO,
    "",
    "1",
    "user:alice",
    "settle",
    "paid",
    "lot_1",
    "0" * 64,
    "F" * 64,
    "2027-01-15T08:00:00.000000Z",
    "2027-01-15T08:00:00Z",
    "\N{ARABIC-INDIC DIGIT ONE}",
    "\N{MONKEY FACE}",
    "__proto__",
    "constructor",
    "\0",
    [],
    [[]],
    {},
    {"__proto__": 1},
    {"length": 1},
    [None, 1, "x", {}],
    {"\N{MONKEY FACE}": 1},
)
_UNSIGNED = ("hash", "signature")


def hostile(exports: Sequence[Export], signer: Signer, *, count: int, seed: int) -> Iterator[list[Export]]:
    """So many hostile files; each is the list of its statements."""
    chance = random.Random(seed)
    for _ in range(count):
        file = copy.deepcopy(list(chance.choice([exports, exports[:1], exports[:1], exports[-1:]])))
        for _ in range(chance.choice([1, 1, 1, 2, 3])):
            _change(chance, chance.choice(file))
        if chance.random() < 0.1:
            chance.shuffle(file)
        yield [signed_again(chance, export, signer) for export in file]


def _change(chance: random.Random, export: Export) -> None:
    """Changes one place: mostly to another value of its type, so that what is left to find is more than a shape."""
    # A quarter of the changes falls outside of the entries, which have nearly all the places.
    inside = [*places(export, skip=() if chance.random() < 0.75 else ("entries",))]
    path, value = chance.choice(inside)
    alike = [other for _, other in inside if type(other) is type(value)] + [
        odd for odd in _ODD if type(odd) is type(value)
    ]
    match chance.randrange(12):
        case 0:
            _at(export, path[:-1]).pop(path[-1])
        case 1:
            put(export, path, copy.deepcopy(chance.choice(_ODD)))
        case 2 if isinstance(value, dict):
            value[chance.choice(["extra", "__proto__", "toString", ""])] = copy.deepcopy(chance.choice(_ODD))
        case 3 | 4 | 5 if isinstance(value, int):
            put(export, path, value + chance.choice([1, -1, 2**32, -(2**32), -2 * value]))
        case 3 | 4 if isinstance(value, list):
            value.insert(chance.randrange(len(value) + 1), copy.deepcopy(chance.choice([*_ODD, *value[:3]])))
        case 5 if isinstance(value, list):
            chance.shuffle(value)
        case 6 | 7 | 8 | 9 if path[:2] == ("report", "entries") and len(path) > 3:
            _from_another_entry(chance, export, path)
        case _:
            put(export, path, copy.deepcopy(chance.choice(alike)))


def _from_another_entry(chance: random.Random, export: Export, path: tuple[str | int, ...]) -> None:
    """Puts the same member of another entry there: its key, its kind, its lots."""
    other = chance.choice(export["report"]["entries"])
    if isinstance(other, dict) and path[3] in other:
        put(export, path[:4], copy.deepcopy(other[path[3]]))


def signed_again(chance: random.Random, export: Export, signer: Signer) -> Export:
    """Chained, made to fit, sealed and signed anew, each with some probability and as far as its shape allows."""
    for step, likely in ((rechain, 0.9), (_refit, 0.7), (_reseal, 0.6)):
        if chance.random() < likely:
            try:
                step(export, signer)
            except (KeyError, IndexError, TypeError, AttributeError, ValueError, InvariantViolation):
                continue
    try:
        return resigned(export, signer) if chance.random() < 0.95 else export
    except (KeyError, InvariantViolation):
        return export


def rechain(export: Export, signer: Signer) -> None:
    """Chains and signs the entries anew, as they stand."""
    entries = export["report"]["entries"]
    for index, entry in enumerate(entries):
        if index and isinstance(entries[index - 1].get("hash"), str):
            entry["prev_hash"] = entries[index - 1]["hash"]
        _sign(entry, signer)


def _refit(export: Export, _: Signer) -> None:
    head, to = export["report"]["head"], export["report"]["to"]
    refit(export["report"])
    if to is not None or not export["report"]["part"]["last"]:
        export["report"]["head"] = head


def _reseal(export: Export, signer: Signer) -> None:
    """Half the checkpoints are sealed anew over the altered entries, the other half only signed as they stand."""
    report = export["report"]
    if report["coverage"] is None:
        return
    head = report["head"]
    if head["sequence"] % 2:
        _sign(report["coverage"]["checkpoint"], signer)
        return
    heads = [SealedHead(report["account"], head["sequence"], head["hash"]), SealedHead("neighbour", 1, "0" * 64)]
    sealed = seal_heads(heads, Previous(), 1, 1, signer)
    report["coverage"] = {"seal": dict(sealed.seals[report["account"]]), "checkpoint": dict(sealed.checkpoint)}


def _sign(signed: Json, signer: Signer) -> None:
    body = {name: value for name, value in signed.items() if name not in _UNSIGNED}
    hashed = hashlib.sha256(canonical(body)).digest()
    signed.update(hash=hashed.hex(), signature=encode(signer.sign(hashed)))


def _at(value: Json, path: tuple[str | int, ...]) -> Json:
    for name in path:
        value = value[name]
    return value
