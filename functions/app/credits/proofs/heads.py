"""The last sealed entry of each account in the archive, by groups of accounts.

`heads/{hash}.json` holds a whole group. A checkpoint that changes a group does not write it anew: the group's entries
are those of the object and, over them, those of the checkpoints since then. When these have become many, a later
checkpoint writes the group whole again. Nothing in the archive is ever removed or replaced.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from app.credits.proofs.sealing import SealedLink
from app.credits.proofs.verification import Link
from app.kit.canonical import canonical
from app.kit.errors import InvariantViolation, ensure
from app.kit.stores.archive import Archive
from app.kit.stores.documents import Fields, Value, as_map, int_field, text_field

LAYERS: Final = 8
"""A group is written whole when so many checkpoints stand over it, or soon after."""
WRITTEN_AT_ONCE: Final = 16
"""Most groups that one checkpoint writes whole, so that its time is bounded: one request for each. If every checkpoint
changes all 256 groups, each is written by every sixteenth.
"""
_DELTAS_IN_MEMORY: Final = 64


@dataclass(frozen=True, slots=True)
class Group:
    """Where the last sealed entries of a group are found: the hash of the object that holds them all (None before the
    first), and the numbers of the checkpoints since then that changed some, oldest first.
    """

    whole: str | None = None
    since: tuple[int, ...] = ()


Members = Mapping[str, SealedLink]
Delta = Mapping[str, Mapping[str, SealedLink | None]]
"""What a checkpoint changes, by group and account; None for an account that it forgets."""
Grouped = dict[str, tuple[Group, Members]]
_NOTHING: Final[tuple[Group, Members]] = (Group(), {})


class SealedHeads:
    """Reads groups, and lays the next checkpoint over them. Thread-safe."""

    def __init__(self, archive: Archive, read: Callable[[int], Delta]) -> None:
        """`read` reads what a checkpoint changed."""
        self._archive, self._read = archive, read
        self._known: Grouped = {}
        self._deltas: dict[int, Delta] = {}
        self._lock = threading.Lock()

    def members(self, name: str, group: Group) -> Members:
        """The last sealed entries of all accounts of a group."""
        known, found = self._known.get(name, _NOTHING)
        if known == group:
            return found
        if known.whole != group.whole or known.since != group.since[: len(known.since)]:
            known, found = Group(group.whole), self._whole(group.whole)
        for number in group.since[len(known.since) :]:
            found = _over(found, self._delta(number).get(name, {}))
        self.remember({name: (group, found)})
        return found

    def advanced(self, groups: Mapping[str, Group], delta: Delta, number: int) -> Grouped:
        """The groups that checkpoint `number` changes, as they are after it. Some are archived whole, under names that
        nothing refers to yet; no group is remembered before `number` is known to be this checkpoint.
        """
        changed: Grouped = {}
        for name, changes in delta.items():
            group = groups.get(name, Group())
            members = _over(self.members(name, group), changes)
            changed[name] = Group(group.whole, (*group.since, number)), members
        grown = [name for name, (group, _) in changed.items() if len(group.since) >= LAYERS]
        grown.sort(key=lambda name: (-len(changed[name][0].since), name))
        for name in grown[:WRITTEN_AT_ONCE]:
            members = changed[name][1]
            changed[name] = Group(self._write(members)), members
        return changed

    def remember(self, grouped: Grouped) -> None:
        """Keeps groups in memory, in place of what they were."""
        with self._lock:
            self._known |= grouped

    def remember_delta(self, number: int, delta: Delta) -> None:
        """Keeps what an archived checkpoint changed in memory."""
        with self._lock:
            self._deltas[number] = delta
            if len(self._deltas) > _DELTAS_IN_MEMORY:
                # The one that was read first goes: an old one that was read now may serve all 256 groups.
                del self._deltas[next(iter(self._deltas))]

    def _delta(self, number: int) -> Delta:
        delta = self._deltas.get(number)
        if delta is None:
            delta = self._read(number)
            self.remember_delta(number, delta)
        return delta

    def _write(self, members: Members) -> str:
        content = canonical({uid: _line(sealed) for uid, sealed in members.items()})
        hashed = hashlib.sha256(content).hexdigest()
        self._archive.keep(f"heads/{hashed}.json", content)
        return hashed

    def _whole(self, hashed: str | None) -> Members:
        if hashed is None:
            return {}
        content = self._archive.read(f"heads/{hashed}.json")
        ensure(content is not None, f"the archive holds heads {hashed}")
        assert content is not None
        ensure(hashlib.sha256(content).hexdigest() == hashed, f"archived heads {hashed} are what was sealed")
        return {uid: _sealed_link(uid, as_list(line)) for uid, line in as_map(json.loads(content)).items()}


def group_of(uid: str) -> str:
    """The group of an account: one of 256, by hash, so that groups are of one size."""
    return hashlib.sha256(uid.encode()).hexdigest()[:2]


def delta_of(sealed: Iterable[SealedLink], forgotten: Iterable[str]) -> Delta:
    """What a checkpoint changes."""
    delta: dict[str, dict[str, SealedLink | None]] = {}
    for uid in forgotten:
        delta.setdefault(group_of(uid), {})[uid] = None
    for one in sealed:
        delta.setdefault(group_of(one.link.account), {})[one.link.account] = one
    return delta


def as_list(value: Value) -> list[Value]:
    """A list stored within a map."""
    if not isinstance(value, list):
        raise InvariantViolation("a list should be stored here")
    return value


def _over(members: Members, changes: Mapping[str, SealedLink | None]) -> Members:
    after = {**members, **changes}
    return {uid: sealed for uid, sealed in after.items() if sealed is not None}


def _line(sealed: SealedLink) -> list[Value]:
    link = sealed.link
    return [link.sequence, link.head_hash, link.balance, link.debt, link.created_at, sealed.number]


def _sealed_link(uid: str, line: list[Value]) -> SealedLink:
    fields: Fields = dict(zip(("sequence", "hash", "balance", "debt", "at", "number"), line, strict=True))
    link = Link(
        account=uid,
        sequence=int_field(fields, "sequence"),
        head_hash=text_field(fields, "hash"),
        balance=int_field(fields, "balance"),
        debt=int_field(fields, "debt"),
        created_at=text_field(fields, "at"),
    )
    return SealedLink(link, int_field(fields, "number"))
