"""Fifty ways to tamper with the ledger of a running backend, by somebody who may write all of Firestore, has seen every
earlier state of it, and has no key. (The Realtime Database holds nothing that money is decided from.)

A strategy acts on `Loot`: the store, and what it held at four times. The victim is `alice`, `bob` is a neighbour.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from app.kit.canonical import digest
from app.kit.stores.documents import Create, Delete, Replace
from support.memory import MemoryDocuments

Body = dict[str, Any]
Snapshot = dict[str, Body]


@dataclass
class Loot:
    """What the attacker holds. `opened`: alice had one entry, unsealed; `first`: sealed; `spent`: with three more,
    sealed; `last`: with two more, of which the last is not sealed yet.
    """

    documents: MemoryDocuments
    opened: Snapshot = field(default_factory=dict)
    first: Snapshot = field(default_factory=dict)
    spent: Snapshot = field(default_factory=dict)
    last: Snapshot = field(default_factory=dict)

    def now(self) -> Snapshot:
        """Everything in Firestore."""
        return {path: dict(one.fields) for path, one in self.documents.all().items()}

    def put(self, path: str, fields: Body) -> None:
        """Writes a document."""
        self.documents.commit([Replace(path, fields)])

    def change(self, path: str, **fields: Any) -> None:
        """Changes fields of a document."""
        self.put(path, {**self.now()[path], **fields})

    def delete(self, *prefixes: str) -> None:
        """Deletes documents and everything below them."""
        for path in self.now():
            if any(path == one or path.startswith(f"{one}/") for one in prefixes):
                self.documents.commit([Delete(path)])

    def back(self, then: Snapshot, *prefixes: str) -> None:
        """Puts documents, and everything below them, back to what they were."""
        self.delete(*prefixes)
        for path, fields in then.items():
            if any(path == one or path.startswith(f"{one}/") for one in prefixes):
                self.documents.commit([Create(path, fields)])


ALICE: Final = "accounts/alice"
SEAL: Final = "sealed/alice"
JOBS: Final = ("jobs/sealing", "jobs/chain_verification")


def entry(sequence: int, uid: str = "alice") -> str:
    """Where an entry stands."""
    return f"accounts/{uid}/entries/{sequence:012d}"


def _rehash(fields: Body) -> Body:
    return {**fields, "hash": digest({name: v for name, v in fields.items() if name not in ("hash", "signature")})}


def _richer(loot: Loot, amount: int = 1_000_000_000) -> None:
    """More balance and a lot that is larger by as much: the account does not contradict itself."""
    account = loot.now()[ALICE]
    first, *others = account["lots"]
    lots = [{**first, "remaining": first["remaining"] + amount}, *others]
    loot.change(ALICE, balance=account["balance"] + amount, lots=lots)


def _lots(loot: Loot, **changes: Any) -> None:
    lots = list(loot.now()[ALICE]["lots"])
    loot.change(ALICE, lots=[{**lots[0], **changes}, *lots[1:]])


def _shifted(loot: Loot) -> None:
    lots = [dict(lot) for lot in loot.now()[ALICE]["lots"]]
    lots[0]["remaining"] += 1000
    lots[1]["remaining"] -= 1000
    loot.change(ALICE, lots=lots)


def _forged(loot: Loot, sequence: int, **changes: Any) -> None:
    loot.put(entry(sequence), _rehash({**loot.now()[entry(sequence)], **changes}))


def _appended(loot: Loot) -> None:
    last = loot.now()[entry(6)]
    forged = _rehash({**last, "sequence": 7, "prev_hash": last["hash"], "amount": 10**9, "balance_after": 2 * 10**9})
    loot.put(entry(7), forged)
    loot.change(ALICE, sequence=7, head_hash=forged["hash"])
    _richer(loot)


def _transplanted(loot: Loot) -> None:
    """The chain of a neighbour, signed as it is, under alice's name."""
    theirs = {path: fields for path, fields in loot.now().items() if path.startswith("accounts/bob")}
    loot.delete(ALICE)
    for path, fields in theirs.items():
        loot.put(path.replace("accounts/bob", ALICE), {**fields, **({"uid": "alice"} if "uid" in fields else {})})


def _renumbered_seal(loot: Loot) -> None:
    loot.put(SEAL, {**loot.first[SEAL], "checkpoint": 10**6})


def _unscanned(loot: Loot) -> None:
    """The search for changes is told that it has looked at everything until the year 3000."""
    loot.back(loot.spent, ALICE, SEAL)
    loot.change("jobs/sealing", since="3000-01-01T00:00:00.000000Z")


def _unturned(loot: Loot) -> None:
    """The verification in turn is told that it is past alice, and the account that it did not change."""
    loot.back(loot.first, ALICE)
    loot.change("jobs/chain_verification", account="alicf")


def _swapped(loot: Loot) -> None:
    loot.put(entry(2), loot.last[entry(3)])
    loot.put(entry(3), loot.last[entry(2)])


def _moved(loot: Loot) -> None:
    loot.put(f"{ALICE}/entries/z", loot.last[entry(3)])
    loot.delete(entry(3))


def _two_alices(loot: Loot) -> None:
    loot.put(f"{ALICE}/entries/x", loot.now()[entry(3)])


def _all(*acts: Callable[[Loot], object]) -> Callable[[Loot], None]:
    def act(loot: Loot) -> None:
        for one in acts:
            one(loot)

    return act


def _last_checkpoint(loot: Loot) -> str:
    return max(path for path in loot.now() if path.startswith("checkpoints/"))


STRATEGIES: Final[dict[str, Callable[[Loot], object]]] = {
    # --- the tail of a chain is cut
    "cuts the last sealed entry": lambda it: it.delete(entry(5), entry(6)),
    "cuts the tail and puts the account back": lambda it: it.back(it.first, ALICE),
    "cuts the tail, the account and its seal": lambda it: it.back(it.first, ALICE, SEAL),
    "puts account, seal and checkpoints back": lambda it: it.back(it.first, ALICE, SEAL, "checkpoints"),
    "puts everything back to the first checkpoint": lambda it: it.back(
        it.first, "accounts", "sealed", "checkpoints", "jobs", "breaches"
    ),
    "puts everything back to the second checkpoint": lambda it: it.back(
        it.spent, "accounts", "sealed", "checkpoints", "jobs", "breaches"
    ),
    "puts the account back before its first seal": lambda it: it.back(it.opened, ALICE, SEAL),
    "puts only the account document back": lambda it: it.put(ALICE, it.spent[ALICE]),
    "cuts the tail and deletes the seal": _all(lambda it: it.back(it.spent, ALICE), lambda it: it.delete(SEAL)),
    "cuts the tail and deletes all checkpoints": _all(
        lambda it: it.back(it.spent, ALICE), lambda it: it.delete(SEAL, "checkpoints")
    ),
    "cuts what is not sealed and keeps the account": lambda it: it.delete(entry(6)),
    "puts the account back and keeps what is not sealed": lambda it: it.change(
        ALICE, sequence=5, head_hash=it.now()[entry(5)]["hash"], balance=it.now()[entry(5)]["balance_after"]
    ),
    # --- accounts vanish
    "deletes the account and its entries": lambda it: it.delete(ALICE),
    "deletes the account, its entries and its seal": lambda it: it.delete(ALICE, SEAL),
    "deletes the account document alone": lambda it: it.documents.commit([Delete(ALICE)]),
    "deletes all entries": lambda it: it.delete(f"{ALICE}/entries"),
    "deletes the whole ledger": lambda it: it.delete("accounts", "sealed", "checkpoints", "jobs"),
    "deletes a neighbour": lambda it: it.delete("accounts/bob", "sealed/bob"),
    # --- entries change
    "changes an amount": lambda it: it.change(entry(2), amount=1),
    "changes an amount and its hash": lambda it: _forged(it, 2, amount=1),
    "changes the last entry and its hash": lambda it: _forged(it, 5, reason="a gift"),
    "changes a description": lambda it: it.change(entry(3), description="something else"),
    "changes who caused an entry": lambda it: it.change(entry(3), by="root"),
    "changes a usage": lambda it: it.change(entry(3), usage={"input_tokens": 1}),
    "changes a time": lambda it: it.change(entry(4), created_at="2020-01-01T00:00:00.000000Z"),
    "makes an entry unreadable": lambda it: it.change(entry(3), sequence="three"),
    "makes a sequence a fraction": lambda it: it.change(entry(3), sequence=3.5),
    "deletes an entry in the middle": lambda it: it.delete(entry(3)),
    "swaps two entries": _swapped,
    "moves an entry to another document": _moved,
    "copies an entry beside itself": _two_alices,
    "puts in an entry of a neighbour": lambda it: it.put(entry(3), it.last[entry(3, "bob")]),
    "appends an entry without a key": _appended,
    "puts the neighbour's chain in the place of alice's": _transplanted,
    "strips a signature": lambda it: it.change(entry(4), signature=""),
    # --- the account changes
    "makes the account richer": _richer,
    "makes the balance larger than its lots": lambda it: it.change(ALICE, balance=10**12),
    "gives an expired lot more time": lambda it: _lots(it, expires_at="2099-01-01T00:00:00.000000Z"),
    "moves credits between lots": _shifted,
    "makes a lot bought that was a gift": lambda it: _lots(it, source="paid"),
    "forgets a debt": lambda it: it.change(ALICE, debt=-5),
    "names another head": lambda it: it.change(ALICE, head_hash="0" * 64),
    "renames the account": lambda it: it.change(ALICE, uid="mallory"),
    "makes the account unreadable": lambda it: it.change(ALICE, lots="none"),
    # --- seals, checkpoints and the chores' own records
    "deletes the seal": lambda it: it.delete(SEAL),
    "puts the seal back": lambda it: it.back(it.first, SEAL),
    "makes the seal one of a checkpoint to come": _renumbered_seal,
    "deletes a checkpoint": lambda it: it.delete("checkpoints/000000000001"),
    "cuts the chain of checkpoints": lambda it: it.delete("checkpoints/000000000002", "checkpoints/000000000003"),
    "changes a checkpoint's root": lambda it: it.change("checkpoints/000000000001", root="0" * 64),
    "forges a later checkpoint": lambda it: it.put(
        "checkpoints/000000000009", {**it.last["checkpoints/000000000002"], "number": 9}
    ),
    "cuts the tail and tells the search that it is done": _unscanned,
    "cuts the tail and tells the verification that it is done": _unturned,
    "cuts the tail and deletes the records of the chores": _all(
        lambda it: it.back(it.first, ALICE, SEAL), lambda it: it.delete(*JOBS)
    ),
}

IN_A_CROWD: Final[dict[str, Callable[[Loot], object]]] = {
    "appends an entry without a key among many accounts": _appended,
    "makes the account richer among many accounts": _richer,
    "cuts the tail among many accounts and tells the search that it is done": _unscanned,
}
"""Where the verification in turn does not come by for long: what changed must be found by the sealing."""

IN_SILENCE: Final[dict[str, Callable[[Loot], object]]] = {
    "cuts the last checkpoint, and no other follows": lambda it: it.delete(_last_checkpoint(it)),
}
"""Where nothing changes any more, so that no checkpoint is made over what was done."""
