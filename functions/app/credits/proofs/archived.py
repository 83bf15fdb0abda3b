"""What the archive says of the ledger: each account's last sealed entry, and the chains that are broken.

Whoever can write to Firestore can put everything there back to what it was, with valid signatures. The archive keeps a
name once and for ever, so what was sealed is looked up here. `checkpoints/{number}.json` is the checkpoint with its
leaves, the breaches that are open, and for each group of accounts where the last sealed entries of its accounts are
found (`heads.py`). The first one to archive a number has made that checkpoint.
"""

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from app.credits.core.account import GENESIS_HASH
from app.credits.core.entry import encode_bytes
from app.credits.proofs import merkle
from app.credits.proofs.heads import Delta, Group, Members, SealedHeads, as_list, delta_of, group_of
from app.credits.proofs.sealing import Coverage, Previous, Sealed, SealedHead, SealedLink, checkpoint_holds, seal_heads
from app.credits.proofs.signing import KeyRing, Signer
from app.credits.proofs.verification import Link
from app.kit.canonical import canonical
from app.kit.errors import ensure
from app.kit.stores.archive import Archive
from app.kit.stores.documents import Fields, Value, as_map, int_field, list_field, map_field, text_field

CHECKPOINTS: Final = "checkpoints"
"""The subject of a breach that concerns the chain of checkpoints itself; other subjects are `account-{uid}`."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A chain that does not extend what was sealed: the first entry that is wrong, and the check that failed there."""

    sequence: int
    check: str
    since: int = 0
    """Number of the checkpoint that recorded it."""


@dataclass(frozen=True, slots=True)
class ArchivedState:
    """The last checkpoint in the archive, and what stands beside it. `number` 0: there is none yet."""

    number: int = 0
    hash: str = GENESIS_HASH
    groups: Mapping[str, Group] = field(default_factory=dict)
    broken: Mapping[str, Breach] = field(default_factory=dict)
    """Open breaches by subject."""
    resolved: tuple[str, ...] = ()
    """Subjects of breaches that this checkpoint closed."""
    links: Mapping[str, Value] = field(default_factory=dict)
    """By account that this checkpoint sealed, what its leaf does not say of its link: balance, debt and time."""
    forgotten: tuple[str, ...] = ()
    """Accounts of which nothing is sealed any more."""
    sealed: Sealed | None = None


@dataclass(frozen=True, slots=True)
class Advance:
    """What the next checkpoint changes: heads that it seals, accounts that it forgets, breaches found and closed."""

    heads: Mapping[str, Link] = field(default_factory=dict)
    forgotten: frozenset[str] = frozenset()
    broken: Mapping[str, Breach] = field(default_factory=dict)
    resolved: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.heads or self.forgotten or self.broken or self.resolved)


def merged(advances: Iterable[Advance]) -> Advance:
    """All of them in one checkpoint."""
    heads: dict[str, Link] = {}
    broken: dict[str, Breach] = {}
    forgotten: frozenset[str] = frozenset()
    resolved: frozenset[str] = frozenset()
    for one in advances:
        heads |= one.heads
        broken |= one.broken
        forgotten, resolved = forgotten | one.forgotten, resolved | one.resolved
    return Advance(heads, forgotten, broken, resolved)


class SealArchive:
    """Reads the archived checkpoints and adds the next one. Thread-safe."""

    def __init__(self, archive: Archive, keys: KeyRing, signer: Signer) -> None:
        self._archive, self._keys, self._signer = archive, keys, signer
        self._tip = ArchivedState()
        self._lock = threading.Lock()
        self._heads = SealedHeads(archive, self._delta)

    def tip(self, hint: int = 0) -> ArchivedState:
        """The last checkpoint, verified with the one before it. `hint` may be the number of any archived one.

        Raises:
            InvariantViolation: what the archive holds was not made with our keys.
        """
        known = self._tip
        number, content = self._last(hint, known.number)
        if content is None or number == known.number:
            return known
        state = self._read(number, content, self._hash_before(known, number))
        if state.links:
            self._heads.remember_delta(number, _delta_of(state))
        return self._advanced(state)

    def _advanced(self, state: ArchivedState) -> ArchivedState:
        """The newer one of `state` and the last checkpoint that this process knows, which it is from now on."""
        with self._lock:
            if state.number > self._tip.number:
                self._tip = state
            return self._tip

    def at(self, number: int) -> ArchivedState:
        """One archived checkpoint, verified as `tip` does."""
        content = self._content(number)
        return self._read(number, content, self._hash_before(ArchivedState(), number))

    def covers(self, coverage: Coverage, sealed: SealedLink) -> bool:
        """Whether `coverage`, which may be anybody's, proves what was sealed."""
        seal = coverage.seal
        said = (seal.get("checkpoint"), seal.get("account"), seal.get("sequence"), seal.get("head_hash"))
        link = sealed.link
        return said == (sealed.number, link.account, link.sequence, link.head_hash) and coverage.holds(self._keys)

    def head(self, state: ArchivedState, uid: str) -> SealedLink | None:
        """The last sealed entry of one account; None when nothing of it was sealed."""
        return self.group(state, group_of(uid)).get(uid)

    def group(self, state: ArchivedState, name: str) -> Members:
        """The last sealed entries of all accounts of one group."""
        return self._heads.members(name, state.groups.get(name, Group()))

    def add(self, state: ArchivedState, advance: Advance, at_us: int, through_us: int) -> ArchivedState | None:
        """Archives the checkpoint behind `state`; None when another instance was faster."""
        heads = [SealedHead(uid, link.sequence, link.head_hash) for uid, link in advance.heads.items()]
        sealed = seal_heads(heads, Previous(state.number, state.hash), at_us, through_us, self._signer)
        number = state.number + 1
        broken = {name: one for name, one in state.broken.items() if name not in advance.resolved}
        broken |= {name: replace(one, since=number) for name, one in advance.broken.items() if name not in broken}
        delta = delta_of((SealedLink(link, number) for link in advance.heads.values()), advance.forgotten)
        grouped = self._heads.advanced(state.groups, delta, number)
        after = ArchivedState(
            number=number,
            hash=text_field(sealed.checkpoint, "hash"),
            groups={**state.groups, **{name: group for name, (group, _) in grouped.items()}},
            broken=broken,
            resolved=tuple(sorted(advance.resolved)),
            links={uid: [link.balance, link.debt, link.created_at] for uid, link in advance.heads.items()},
            forgotten=tuple(sorted(advance.forgotten - advance.heads.keys())),
            sealed=sealed,
        )
        if not self._archive.keep(_name(number), self._write(after, sealed)):
            return None
        self._heads.remember(grouped)
        self._heads.remember_delta(number, delta)
        self._advanced(after)
        return after

    def _last(self, hint: int, known: int) -> tuple[int, bytes | None]:
        """The highest archived number and its content; the numbers are dense, so a few reads find it. They begin at
        `hint` if that is archived, else at `known`, else at the first.
        """
        content = self._archive.read(_name(hint)) if hint > known else None
        if content is not None:
            known = hint
        elif known:
            content = self._archive.read(_name(known))
            known = known if content is not None else 0
        step, beyond = 1, known + 1
        while (found := self._archive.read(_name(beyond))) is not None:
            known, content, step = beyond, found, step * 2
            beyond = known + step
        while beyond - known > 1:
            middle = (known + beyond) // 2
            found = self._archive.read(_name(middle))
            if found is None:
                beyond = middle
            else:
                known, content = middle, found
        return known, content

    def _hash_before(self, known: ArchivedState, number: int) -> str:
        if number == known.number + 1:
            return known.hash
        whole = as_map(json.loads(self._content(number - 1)))
        return text_field(map_field(whole, "checkpoint"), "hash")

    def _content(self, number: int) -> bytes:
        content = self._archive.read(_name(number))
        ensure(content is not None, f"the archive holds checkpoint {number}")
        return content or b"null"

    def _delta(self, number: int) -> Delta:
        """What an archived checkpoint changed. That it is the one of its number follows from its name and signature."""
        state = self._read(number, self._content(number), None)
        return _delta_of(state)

    def _read(self, number: int, content: bytes, prev_hash: str | None) -> ArchivedState:
        whole: Fields = as_map(json.loads(content))
        checkpoint = map_field(whole, "checkpoint")
        leaves = tuple(as_map(leaf) for leaf in list_field(whole, "leaves"))
        root = merkle.root_of([merkle.leaf_hash(canonical(leaf)) for leaf in leaves])
        ensure(checkpoint_holds(checkpoint, self._keys), f"archived checkpoint {number} has its signature")
        ensure(int_field(checkpoint, "number") == number, f"archived checkpoint {number} has its number")
        ensure(root.hex() == checkpoint["root"], f"archived checkpoint {number} has its leaves")
        follows = prev_hash is None or checkpoint["prev_hash"] == prev_hash
        ensure(follows, f"archived checkpoint {number} follows from the one before")
        state = _state(whole, checkpoint)
        kid, signature = text_field(whole, "key_id"), text_field(whole, "signature")
        ensure(self._keys.verifies(kid, signature, _digest(state)), f"archived checkpoint {number} is signed whole")
        return replace(state, sealed=Sealed(checkpoint, _seals(number, leaves), leaves))

    def _write(self, state: ArchivedState, sealed: Sealed) -> bytes:
        whole: dict[str, Value] = {
            "checkpoint": sealed.checkpoint,
            "leaves": sealed.leaves,
            **_beside(state),
            "key_id": self._signer.kid,
            "signature": encode_bytes(self._signer.sign(_digest(state))),
        }
        return json.dumps(whole).encode()


def subject_of(uid: str) -> str:
    """The subject of a breach of this account's chain."""
    return f"account-{uid}"


def account_of(subject: str) -> str | None:
    """The account that a breach concerns; None for the chain of checkpoints."""
    return subject.removeprefix("account-") if subject.startswith("account-") else None


def _name(number: int) -> str:
    return f"checkpoints/{number:012d}.json"


def _beside(state: ArchivedState) -> dict[str, Value]:
    """What an archived checkpoint holds beside the checkpoint and its leaves."""
    broken: dict[str, Value] = {
        name: {"sequence": one.sequence, "check": one.check, "since": one.since} for name, one in state.broken.items()
    }
    beside: dict[str, Value] = {
        "groups": {name: group.whole for name, group in state.groups.items() if group.whole is not None},
        "broken": broken,
        "resolved": list(state.resolved),
    }
    more: dict[str, Value] = {
        "since": {name: list(group.since) for name, group in state.groups.items() if group.since},
        "links": dict(state.links),
        "forgotten": list(state.forgotten),
    }
    # Checkpoints that an earlier version archived say nothing of these.
    return beside | {name: value for name, value in more.items() if value}


def _digest(state: ArchivedState) -> bytes:
    return hashlib.sha256(canonical({"checkpoint": state.hash, **_beside(state)})).digest()


def _state(whole: Fields, checkpoint: Fields) -> ArchivedState:
    broken = {
        name: Breach(int_field(one, "sequence"), text_field(one, "check"), int_field(one, "since"))
        for name, value in map_field(whole, "broken").items()
        if (one := as_map(value))
    }
    named, since = map_field(whole, "groups"), as_map(whole.get("since", {}))
    groups = {name: _group(named.get(name), since.get(name, [])) for name in (*named, *since)}
    return ArchivedState(
        number=int_field(checkpoint, "number"),
        hash=text_field(checkpoint, "hash"),
        groups=groups,
        broken=broken,
        resolved=tuple(str(name) for name in list_field(whole, "resolved")),
        links=as_map(whole.get("links", {})),
        forgotten=tuple(str(uid) for uid in as_list(whole.get("forgotten", []))),
    )


def _group(whole: Value, since: Value) -> Group:
    numbers = tuple(number for number in as_list(since) if isinstance(number, int))
    return Group(None if whole is None else str(whole), numbers)


def _delta_of(state: ArchivedState) -> Delta:
    """What a checkpoint changed, from its leaves and what stands beside them."""
    sealed: list[SealedLink] = []
    for leaf in state.sealed.leaves if state.sealed else ():
        uid = text_field(leaf, "account")
        fields: Fields = dict(zip(("balance", "debt", "at"), as_list(state.links.get(uid)), strict=True))
        link = Link(
            account=uid,
            sequence=int_field(leaf, "sequence"),
            head_hash=text_field(leaf, "head_hash"),
            balance=int_field(fields, "balance"),
            debt=int_field(fields, "debt"),
            created_at=text_field(fields, "at"),
        )
        sealed.append(SealedLink(link, state.number))
    return delta_of(sealed, state.forgotten)


def _seals(number: int, leaves: Iterable[Fields]) -> dict[str, Fields]:
    """The seals of a checkpoint, computed again from its leaves."""
    listed = list(leaves)
    levels = merkle.levels_of([merkle.leaf_hash(canonical(leaf)) for leaf in listed])
    seals: dict[str, Fields] = {}
    for index, leaf in enumerate(listed):
        proof = [step.hex() for step in merkle.inclusion_proof(levels, index)]
        seals[text_field(leaf, "account")] = {"checkpoint": number, **leaf, "index": index, "proof": proof}
    return seals
