"""What the archive grows by with each checkpoint, and that what was sealed is found in it."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.credits.proofs import heads
from app.credits.proofs.archived import Advance, ArchivedState, SealArchive
from app.credits.proofs.sealing import SealedLink
from app.credits.proofs.signing import KeyRing, Signer
from app.credits.proofs.verification import Link
from support.world import Kept

SIGNER = Signer(bytes(range(32)))
KEYS = KeyRing({SIGNER.kid: SIGNER.public})


class Counted(Kept):
    """Counts what is read of it."""

    reads = 0

    def read(self, name: str) -> bytes | None:
        self.reads += 1
        return super().read(name)


@dataclass
class Growing:
    """An archive of `accounts` accounts, of which `active` random ones are sealed with each checkpoint."""

    accounts: int
    active: int
    archive: Kept = field(default_factory=Kept)
    truth: dict[str, SealedLink] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(0)
        self.sealer = SealArchive(self.archive, KEYS, SIGNER)
        self.state = self.sealer.tip()
        self.advance(self.accounts)

    def advance(self, active: int) -> None:
        """The next checkpoint."""
        chosen = self.random.sample(range(self.accounts), active)
        self.state = self.add(self.sealer, self.state, {self.uid(number): self.link(number) for number in chosen})

    def add(self, sealer: SealArchive, state: ArchivedState, sealed: Mapping[str, Link]) -> ArchivedState:
        """A checkpoint over these links."""
        after = sealer.add(state, Advance(sealed), 0, 0)
        assert after is not None
        self.truth |= {uid: SealedLink(link, after.number) for uid, link in sealed.items()}
        return after

    def uid(self, number: int) -> str:
        """As long as those of Firebase Authentication."""
        return f"{number:028d}"

    def link(self, number: int) -> Link:
        """The next last entry of an account."""
        before = self.truth.get(self.uid(number))
        sequence = before.sequence + 1 if before else 1
        hashed = f"{self.random.getrandbits(256):064x}"
        return Link(self.uid(number), sequence, hashed, 12_345_678, 0, "2026-11-21T08:30:00.000250Z")

    def bytes_of(self, folder: str) -> int:
        """What stands in one folder of the archive."""
        return sum(len(content) for name, content in self.archive.items() if name.startswith(folder))


def growth(accounts: int, active: int, checkpoints: int) -> tuple[int, int]:
    """Bytes that one checkpoint adds on average: in `checkpoints/`, and in `heads/`."""
    world = Growing(accounts, active)
    for _ in range(2 * heads.LAYERS):
        world.advance(active)
    before = [world.bytes_of(folder) for folder in ("checkpoints/", "heads/")]
    for _ in range(checkpoints):
        world.advance(active)
    after = [world.bytes_of(folder) for folder in ("checkpoints/", "heads/")]
    own, groups = ((now - then) // checkpoints for now, then in zip(after, before))
    return own, groups


def test_a_checkpoint_writes_few_groups_anew() -> None:
    """Of 2,000 accounts 60 pay in each minute; to write every group that changes would take 66 kB."""
    own, groups = growth(2_000, 60, 40)
    assert own <= 60 * 250 + 256 * 150
    assert groups <= 10_000


def test_no_checkpoint_writes_more_groups_than_its_time_allows() -> None:
    world = Growing(600, 600)  # nearly all groups change
    for _ in range(20):
        before = len(world.archive)
        world.advance(600)
        assert len(world.archive) - before <= 1 + heads.WRITTEN_AT_ONCE
        assert max(len(group.since) for group in world.state.groups.values()) <= 2 * heads.WRITTEN_AT_ONCE


class TestWhatWasSealed:
    def _found(self, world: Growing, sealer: SealArchive) -> dict[str, SealedLink]:
        state = sealer.tip()
        return {uid: link for name in state.groups for uid, link in sealer.group(state, name).items()}

    def test_is_found_by_whoever_made_it_and_by_whoever_reads_the_archive(self) -> None:
        world = Growing(300, 40)
        other = SealArchive(world.archive, KEYS, SIGNER)
        for _ in range(40):
            world.advance(40)
            assert self._found(world, world.sealer) == world.truth
            assert self._found(world, other) == world.truth
        assert self._found(world, SealArchive(world.archive, KEYS, SIGNER)) == world.truth

    def test_is_found_with_one_read_of_an_old_checkpoint_for_all_groups(self) -> None:
        """By a process that followed the checkpoints since then, and keeps as many of them as it may."""
        archive = Counted()
        world = Growing(600, 1, archive)
        other = SealArchive(archive, KEYS, SIGNER)
        for _ in range(70):
            world.advance(1)
            other.tip()
        state = other.tip()
        archive.reads = 0
        for name in state.groups:
            other.group(state, name)
        assert archive.reads <= 20

    def test_is_found_in_a_few_reads_although_firestore_names_a_checkpoint_that_never_was(self) -> None:
        archive = Counted()
        world = Growing(30, 1, archive)
        for _ in range(40):
            world.advance(1)
        archive.reads = 0
        assert world.sealer.tip(10**9).number == 41
        assert archive.reads <= 3

    def test_is_that_of_the_first_who_archived_a_number(self) -> None:
        """The second one has laid out the same number otherwise, and remembers nothing of it."""
        world = Growing(300, 40)
        slow = SealArchive(world.archive, KEYS, SIGNER)
        state = slow.tip()
        for _ in range(12):
            self._found(world, slow)
            world.advance(40)
            lost = {world.uid(number): Link(world.uid(number), 99) for number in range(300)}
            assert slow.add(state, Advance(lost), 0, 0) is None
            state = slow.tip()
            assert self._found(world, slow) == world.truth

    def test_is_forgotten_where_an_administrator_said_so(self) -> None:
        world = Growing(30, 5)
        for number in range(20):
            gone = world.uid(number)
            after = world.sealer.add(world.state, Advance(forgotten=frozenset({gone})), 0, 0)
            assert after is not None
            world.state = after
            del world.truth[gone]
            assert self._found(world, SealArchive(world.archive, KEYS, SIGNER)) == world.truth
            assert self._found(world, world.sealer) == world.truth
