"""Keys of the ledger: kept before they sign, so that two deployments side by side call nothing forged."""

import json

import pytest

from app.kit.errors import Unavailable
from app.kit.stores.documents import Delete, Replace
from support.credits_world import CreditsWorld, deposit
from support.memory import MemoryDocuments

NEW = b"\x09" * 32


def _deploying(old: CreditsWorld) -> CreditsWorld:
    """An instance of the next deployment, with a new key, beside one of the present that knows nothing of it."""
    return CreditsWorld(old.documents, old.clock, NEW, retired=(old.signer.public,), archive=old.archive)


def test_what_a_newer_deployment_signs_is_not_forged_to_an_older_one(world: CreditsWorld) -> None:
    world.credits.account("alice")
    world.credits.checkpoints.seal()
    newer = _deploying(world)
    newer.credits.post("alice", deposit("p", 5))
    newer.credits.checkpoints.seal()
    world.credits.post("alice", deposit("q", 5))
    assert world.credits.validate_chain("alice").valid
    assert newer.credits.validate_chain("alice").valid
    for one in (world, newer, world):
        one.credits.checkpoints.seal()
        one.credits.rotation.verify_next(10)
    assert world.credits.checkpoints.breaches.subjects() == []


def test_all_keys_are_published_by_every_instance(world: CreditsWorld) -> None:
    world.credits.account("alice")
    newer = _deploying(world)
    newer.credits.account("bob")
    kids = {world.signer.kid, newer.signer.kid}
    assert {key["kid"] for key in world.credits.keys()["keys"]} == kids
    assert {key["kid"] for key in newer.credits.keys()["keys"]} == kids


def test_a_cold_instance_that_signs_asks_firestore_for_no_key(world: CreditsWorld) -> None:
    """Its first signature may be that of a message. Only a key that is new altogether is shown at once."""
    store = world.documents
    assert isinstance(store, MemoryDocuments)
    sign = b"\x01" * 32
    for instance, writes in ((world.credits, 1), (world.instance(), 0)):
        before = (store.reads, store.writes)
        instance.sign(sign)
        assert (store.reads - before[0], store.writes - before[1]) == (0, writes)


def test_a_key_that_is_not_shown_is_shown_by_the_next_sweep(world: CreditsWorld) -> None:
    world.credits.sign(b"\x01" * 32)
    path = f"ledger_keys/{world.signer.kid}"
    world.documents.commit([Delete(path)])
    world.instance().sign(b"\x01" * 32)
    assert world.documents.get(path) is None
    world.credits.publish_key()
    assert world.documents.get(path) is not None


def test_a_key_that_stands_in_firestore_alone_is_not_believed(world: CreditsWorld) -> None:
    world.credits.account("alice")
    stranger = CreditsWorld(seed=NEW)
    stranger.credits.account("alice")
    for path in (f"ledger_keys/{stranger.signer.kid}", "accounts/alice", "accounts/alice/entries/000000000001"):
        stored = stranger.documents.get(path)
        assert stored is not None
        world.documents.commit([Replace(path, stored.fields)])
    assert not world.instance().validate_chain("alice").valid
    assert len(world.credits.keys()["keys"]) == 1


def test_a_retired_key_has_an_end_that_stays(world: CreditsWorld) -> None:
    world.credits.account("alice")
    newer = _deploying(world)
    newer.credits.publish_key()
    name = f"keys/{world.signer.kid}-retired.json"
    kept = world.archive[name]
    newer.clock.advance(minutes=60)
    newer.credits.publish_key()
    assert world.archive[name] == kept
    published = {key["kid"]: key for key in newer.credits.keys()["keys"]}
    assert published[world.signer.kid]["not_after"] == json.loads(kept)["not_after"]
    assert "not_after" not in published[newer.signer.kid]


def test_an_end_is_published_by_an_instance_that_knew_the_key_before(world: CreditsWorld) -> None:
    world.credits.account("alice")
    assert "not_after" not in world.credits.keys()["keys"][0]
    _deploying(world).credits.publish_key()
    published = {key["kid"]: key for key in world.credits.keys()["keys"]}
    assert "not_after" in published[world.signer.kid]


def test_a_key_is_kept_in_the_archive_by_its_first_signature(world: CreditsWorld) -> None:
    world.credits.account("alice")
    assert f"keys/{world.signer.kid}.json" in world.archive


def test_a_key_that_the_archive_lacks_is_kept_there_by_the_next_sweep(world: CreditsWorld) -> None:
    """Firestore shows it, as it does where the archive's bucket was lost."""
    world.credits.account("alice")
    world.credits.publish_key()
    del world.archive[f"keys/{world.signer.kid}.json"]
    world.system.orchestration.sweep()
    assert f"keys/{world.signer.kid}.json" in world.archive


class TestAKeyThatWasRetired:
    """A deployment with a new key was rolled back: the old key has an end that nothing takes back."""

    def _rolled_back(self) -> CreditsWorld:
        before = CreditsWorld()
        before.credits.account("alice")
        _deploying(before).system.orchestration.sweep()
        return CreditsWorld(before.documents, before.clock, archive=before.archive)

    def test_alarms_at_once_when_it_goes_on_to_sign(self) -> None:
        world = self._rolled_back()
        world.system.orchestration.sweep()
        [alarm] = [one for one in world.system.credits.invariants() if one.name == "signing_key_has_no_end"]
        assert list(alarm.broken()) == [world.signer.kid]
        assert not [one for one in CreditsWorld().system.credits.invariants() if list(one.broken())]

    def test_signs_nothing_past_its_end(self) -> None:
        world = self._rolled_back()
        world.credits.post("alice", deposit("in time", 5))
        for path in ("a day later", "after a start"):
            if path == "a day later":
                world.clock.advance(minutes=24 * 60)
            with pytest.raises(Unavailable):
                world.credits.post("alice", deposit(path, 5))
            world = CreditsWorld(world.documents, world.clock, archive=world.archive)
        third = CreditsWorld(world.documents, world.clock, b"\x0a" * 32, archive=world.archive)
        third.credits.post("alice", deposit("with a third key", 5))
        third.system.orchestration.sweep()
        assert third.credits.validate_chain("alice").valid
        assert third.credits.checkpoints.breaches.subjects() == []

    def test_may_be_one_whose_end_nobody_can_read_any_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An archive that does not answer stops nobody for half a day, and everybody after it."""

        def silent(_: str) -> bytes | None:
            raise Unavailable("the archive does not answer")

        world = CreditsWorld()
        world.credits.account("alice")
        monkeypatch.setattr(world.archive, "read", silent)
        for hours in range(1, 12):
            world.clock.advance(minutes=60)
            world.credits.post("alice", deposit(f"hour {hours}", 5))
        world.clock.advance(minutes=61)
        with pytest.raises(Unavailable):
            world.credits.post("alice", deposit("too late", 5))

    def test_is_noticed_by_a_process_that_signed_before(self) -> None:
        world = CreditsWorld()
        world.credits.account("alice")
        _deploying(world).credits.publish_key()
        for hours in range(1, 24):
            world.clock.advance(minutes=60)
            world.credits.post("alice", deposit(f"hour {hours}", 5))
        world.clock.advance(minutes=61)
        with pytest.raises(Unavailable):
            world.credits.post("alice", deposit("too late", 5))
