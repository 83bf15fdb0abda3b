"""Checkpoints: RFC 6962 trees over salted heads, and the cut tails that they find."""

import hashlib
import json
from collections.abc import Sequence

import pytest

from app.credits.ledger import document
from app.credits.proofs import checkpoints, merkle
from app.credits.proofs.sealing import Previous, SealedHead, checkpoint_holds, seal_heads, seal_holds
from app.kit.stores.documents import Create, Delete, Merge, Replace, Write
from support.credits_world import GENESIS, CreditsWorld, deposit, reserve, settle
from support.memory import MemoryDocuments

CT_LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
"""The reference tree of Certificate Transparency's own tests."""
CT_ROOT = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def _entry(sequence: int) -> str:
    return document.entry_path("alice", sequence)


class TestTheTree:
    def test_has_certificate_transparencys_reference_root(self) -> None:
        assert merkle.root_of([merkle.leaf_hash(leaf) for leaf in CT_LEAVES]).hex() == CT_ROOT
        assert merkle.root_of([]) == hashlib.sha256(b"").digest()

    def test_proves_every_leaf_of_every_size_and_nothing_else(self) -> None:
        for size in range(1, 70):
            leaves = [merkle.leaf_hash(bytes([number])) for number in range(size)]
            levels = merkle.levels_of(leaves)
            root = merkle.root_of(leaves)
            for index, leaf in enumerate(leaves):
                path = merkle.inclusion_proof(levels, index)
                assert merkle.includes(root, size, index, leaf, path)
                assert not merkle.includes(root, size, index, merkle.leaf_hash(b"other"), path)
                assert not merkle.includes(root, size, (index + 1) % size, leaf, path) or size == 1
                assert not merkle.includes(root, size, index, leaf, [*path, leaf])
                assert not path or not merkle.includes(root, size, index, leaf, path[:-1])
            assert not merkle.includes(root, size, size, leaves[0], [])
            assert not merkle.includes(root, size, -1, leaves[0], [])


class TestSealing:
    def test_covers_every_changed_account_once(self, world: CreditsWorld) -> None:
        for uid in ("alice", "bob", "carol"):
            world.credits.account(uid)
        first = world.credits.checkpoints.seal()
        assert first is not None
        assert (first["number"], first["size"], first["prev_hash"]) == (1, 3, GENESIS)
        assert world.credits.checkpoints.seal() is None
        world.credits.post("bob", deposit("p", 5))
        second = world.credits.checkpoints.seal()
        assert second is not None
        assert (second["number"], second["size"], second["prev_hash"]) == (2, 1, first["hash"])
        for uid, number in (("alice", 1), ("bob", 2)):
            coverage = world.credits.checkpoints.coverage(uid)
            assert coverage is not None
            assert coverage.checkpoint["number"] == number
            assert coverage.holds(world.credits.ledger.keys)

    @pytest.mark.parametrize("few", [0, checkpoints.FEW], ids=["one by one", "together"])
    @pytest.mark.parametrize(
        ("writes", "fault"),
        [
            ([Delete(_entry(5))], (5, "sequence")),
            ([Delete(_entry(6))], (6, "missing")),
            ([Merge(_entry(5), {"amount": 7})], (5, "hash")),
            ([Merge(_entry(5), {"sequence": 6})], (5, "hash")),
            ([Merge(_entry(5), {"sequence": "5"})], (5, "sequence")),
            ([Merge(_entry(5), {"lots": 7})], (5, "shape")),
            ([Create(_entry(7), {"sequence": 7})], (7, "head")),
            ([Merge("accounts/alice", {"sequence": 5})], (5, "head")),
        ],
        ids=["gap", "last gone", "altered", "misplaced", "no number", "shapeless", "one too many", "put back"],
    )
    def test_finds_the_same_fault_however_new_entries_are_read(
        self,
        world: CreditsWorld,
        monkeypatch: pytest.MonkeyPatch,
        few: int,
        writes: Sequence[Write],
        fault: tuple[int, str],
    ) -> None:
        monkeypatch.setattr(checkpoints, "FEW", few)
        world.credits.account("alice")
        for number in range(2):
            world.credits.post("alice", deposit(f"sealed-{number}", 5))
        world.credits.checkpoints.seal()
        for number in range(3):
            world.credits.post("alice", deposit(f"new-{number}", 5))
        world.documents.commit(writes)
        world.credits.checkpoints.seal()
        state = world.credits.checkpoints.current()
        assert state is not None
        breach = state.broken["account-alice"]
        assert (breach.sequence, breach.check) == fault

    def test_leaves_an_entry_that_has_no_place_in_a_whole_chain_to_the_verification_in_turn(
        self, world: CreditsWorld
    ) -> None:
        world.credits.account("alice")
        world.credits.post("alice", deposit("p", 5))
        world.documents.commit([Create("accounts/alice/entries/other", {"sequence": 9})])
        assert world.credits.checkpoints.seal() is not None
        assert world.credits.checkpoints.breaches.subjects() == []
        world.credits.rotation.verify_next(20)
        assert world.credits.checkpoints.breaches.subjects() == ["account-alice"]

    def test_finds_late_commits_of_instances_whose_clock_is_behind(self, world: CreditsWorld) -> None:
        world.credits.account("alice")
        world.clock.advance(minutes=5)
        world.credits.account("bob")
        world.credits.checkpoints.seal()
        world.clock.set(world.clock.now_us() - 3 * 60_000_000)
        world.credits.account("carol")
        sealed = world.credits.checkpoints.seal()
        assert sealed is not None
        assert sealed["size"] == 1

    def test_goes_through_more_accounts_than_a_page(self, world: CreditsWorld) -> None:
        for index in range(310):
            world.credits.account(f"user{index}")
        sealed = world.credits.checkpoints.seal()
        assert sealed is not None
        assert sealed["size"] == 310

    def test_twice_at_once_makes_one_checkpoint(self, world: CreditsWorld) -> None:
        """The archive decides: the second run finds the checkpoint of the first, and makes its copies whole."""
        world.credits.account("alice")
        other = world.instance().checkpoints
        entered = False

        def race(writes: Sequence[Write]) -> None:
            nonlocal entered
            if not entered:
                entered = True
                assert other.seal() is None

        assert isinstance(world.documents, MemoryDocuments)
        world.documents.before_commit.append(race)
        assert world.credits.checkpoints.seal() is not None
        assert sum(name.startswith("checkpoints/") for name in world.ports.archive) == 1
        assert world.credits.validate_chain("alice").valid

    def test_is_given_up_when_another_instance_archived_that_number(self, world: CreditsWorld) -> None:
        world.credits.account("alice")
        other, archive = world.instance().checkpoints, world.ports.archive
        kept = archive.keep

        def slow(name: str, content: bytes) -> bool:
            if name.startswith("checkpoints/"):
                archive.keep = kept  # type: ignore[method-assign]  # the other one is not slow
                assert other.seal() is not None
            return kept(name, content)

        archive.keep = slow  # type: ignore[method-assign]  # the other instance acts in the middle of this one
        assert world.credits.checkpoints.seal() is None
        assert world.credits.checkpoints.coverage("alice") is not None

    @pytest.mark.parametrize("crash_at", [1, 2, 3])
    def test_that_crashes_half_way_is_made_good_by_the_next_run(self, world: CreditsWorld, crash_at: int) -> None:
        world.credits.account("alice")
        commits = 0

        def crash(writes: Sequence[Write]) -> None:
            nonlocal commits
            commits += 1
            if commits == crash_at:
                raise RuntimeError("killed")

        assert isinstance(world.documents, MemoryDocuments)
        world.documents.before_commit.append(crash)
        with pytest.raises(RuntimeError):
            world.credits.checkpoints.seal()
        again = world.instance()
        assert again.checkpoints.seal() is None
        assert again.checkpoints.coverage("alice") is not None
        assert again.rotation.verify_next(10) == 1
        assert again.checkpoints.breaches.subjects() == []

    def test_is_archived_whole_before_it_exists(self, world: CreditsWorld) -> None:
        world.credits.account("alice")
        world.credits.checkpoints.seal()
        whole = json.loads(world.ports.archive["checkpoints/000000000001.json"])
        assert checkpoint_holds(whole["checkpoint"], world.credits.ledger.keys)
        assert [leaf["account"] for leaf in whole["leaves"]] == ["alice"]

    def test_salts_its_leaves(self, world: CreditsWorld) -> None:
        """From a proof for one account nobody can test guesses about its neighbour."""
        heads = [SealedHead("alice", 1, "a" * 64), SealedHead("bob", 1, "b" * 64)]
        sealed = seal_heads(heads, Previous(), 0, 0, world.signer)
        again = seal_heads(heads, Previous(1, "c" * 64), 0, 0, world.signer)
        salts = {str(leaf["salt"]) for leaf in (*sealed.leaves, *again.leaves)}
        assert len(salts) == 4
        seal = {**sealed.seals["alice"]}
        assert seal_holds(seal, sealed.checkpoint)
        assert not seal_holds({**seal, "salt": "0" * 32}, sealed.checkpoint)


class TestACutTail:
    """T-55: entries vanish from the end, and the account with them."""

    def _spent_and_sealed(self, world: CreditsWorld) -> None:
        for index in range(5):
            world.credits.reserve("alice", reserve(f"r{index}", 5))
            world.credits.settle("alice", settle(f"r{index}", 5))
        world.credits.checkpoints.seal()

    def test_is_found_when_the_account_still_knows(self, world: CreditsWorld) -> None:
        self._spent_and_sealed(world)
        world.documents.commit([Delete(document.entry_path("alice", 6))])
        fault = world.credits.validate_chain("alice").verified.fault
        assert fault is not None
        assert (fault.sequence, fault.check) == (6, "missing")

    def test_is_found_when_the_account_was_cut_as_well(self, world: CreditsWorld) -> None:
        world.credits.reserve("alice", reserve("x", 5))
        old = world.documents.get("accounts/alice")
        assert old is not None
        world.credits.settle("alice", settle("x", 5))
        world.credits.checkpoints.seal()
        world.documents.commit([Delete(document.entry_path("alice", 2)), Replace("accounts/alice", old.fields)])
        report = world.instance().validate_chain("alice")
        assert report.verified.fault is not None
        assert (report.verified.fault.sequence, report.verified.fault.check) == (2, "checkpoint")

    def test_is_found_when_it_was_rewritten_with_the_true_key(self, world: CreditsWorld) -> None:
        world.credits.account("alice")
        old = world.documents.get("accounts/alice")
        assert old is not None
        world.credits.post("alice", deposit("p", 5))
        world.credits.checkpoints.seal()
        world.documents.commit([Delete(document.entry_path("alice", 2)), Replace("accounts/alice", old.fields)])
        world.instance().post("alice", deposit("p", 9))
        fault = world.credits.validate_chain("alice").verified.fault
        assert fault is not None
        assert (fault.sequence, fault.check) == (2, "checkpoint")

    def test_a_forged_checkpoint_is_not_believed(self, world: CreditsWorld) -> None:
        self._spent_and_sealed(world)
        stored = world.documents.get("checkpoints/000000000001")
        assert stored is not None
        world.documents.commit([Replace(stored.path, {**stored.fields, "root": "0" * 64})])
        coverage = world.credits.checkpoints.coverage("alice")
        assert coverage is not None
        assert coverage.holds(world.credits.ledger.keys)
        assert coverage.checkpoint["root"] != "0" * 64
        assert world.credits.validate_chain("alice").valid


def test_a_long_chain_is_verified_in_parts(world: CreditsWorld) -> None:
    for index in range(25):
        world.credits.post("alice", deposit(f"p{index}", 1))
    account, after, parts = world.account("alice"), None, 0
    while True:
        report = world.credits.ledger.validate_chain(account, None, after, limit=10)
        assert report.valid
        parts += 1
        after = report.after
        if after is None:
            break
    assert (parts, report.verified.link.sequence) == (3, 26)
