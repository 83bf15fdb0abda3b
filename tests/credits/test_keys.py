"""Keys of the ledger: kept before they sign, so that two deployments side by side call nothing forged."""

import json

from app.kit.stores.documents import Replace
from support.credits_world import CreditsWorld, deposit

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


def test_a_key_is_kept_in_the_archive_by_its_first_signature(world: CreditsWorld) -> None:
    world.credits.account("alice")
    assert f"keys/{world.signer.kid}.json" in world.archive
