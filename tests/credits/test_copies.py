"""Copies of seals and checkpoints in Firestore: the archive is the authority, and writes them anew."""

from collections.abc import Callable

import pytest

from app.credits.core.account import AccountStatus
from support.tamper_game import Game
from support.tamper_strategies import SEAL, Loot

_FIRST = "checkpoints/000000000001"


def _older_backup(loot: Loot) -> None:
    """The ledger is whole; what the sweeps keep came back from an older backup."""
    copies = ("checkpoints", "sealed", "jobs")
    loot.back(loot.first, *copies)


CHANGES: dict[str, Callable[[Loot], object]] = {
    "the seal is gone": lambda it: it.delete(SEAL),
    "the seal is an older one": lambda it: it.back(it.first, SEAL),
    "the seal is of a checkpoint to come": lambda it: it.change(SEAL, checkpoint=10**6),
    "a checkpoint is gone": lambda it: it.delete(_FIRST),
    "a checkpoint has another root": lambda it: it.change(_FIRST, root="0" * 64),
    "a checkpoint is above the last": lambda it: it.put("checkpoints/000000000099", {**it.last[_FIRST], "number": 99}),
    "all are from an older backup": _older_backup,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
class TestACopyThatDiffers:
    def test_freezes_nobody_and_spoils_no_statement(self, change: Callable[[Loot], object]) -> None:
        game = Game()
        change(game.loot)
        for _ in range(5):
            assert game.bank.validate_chain("alice").valid
            assert game.world.client("alice").get("/v1/credits/audit").status_code == 200
            game.spend("alice")
            game.sweep(fresh=True)
        assert game.broken() <= {"checkpoints"}
        assert game.bank.existing("alice").status is AccountStatus.ACTIVE

    def test_is_written_anew_from_the_archive(self, change: Callable[[Loot], object]) -> None:
        game = Game()
        game.sweep()
        before = {path: fields for path, fields in game.loot.now().items() if path.startswith(("checkp", "sealed"))}
        change(game.loot)
        for _ in range(4):
            game.sweep(fresh=True)
        root = game.world.client(game.world.user("root", role="admin"))
        body = {"reason": "a backup was restored", "accept": False}
        for subject in game.broken():
            assert root.post(f"/v1/credits/breaches/{subject}/resolve", json=body).status_code == 202
        for _ in range(4):
            game.sweep(fresh=True)
        assert game.broken() == set()
        after = game.loot.now()
        assert {path: after[path] for path in before} == before
        assert {path for path in after if path.startswith("checkpoints")} >= {_FIRST}
        assert "checkpoints/000000000099" not in after


def test_what_an_archive_of_before_left_in_firestore_gives_way_to_the_new_one() -> None:
    """The checkpoints of an earlier version, or of a bucket that was lost, have the numbers of the new ones."""
    game = Game()
    game.world.ports.archive.clear()
    game.world.system = game.world.instance()
    game.bank = game.world.system.credits.service
    for _ in range(4):
        game.sweep(fresh=True)
        game.honest_life()
        assert game.bank.validate_chain("alice").valid
        assert game.world.client("alice").get("/v1/credits/audit").status_code == 200
    assert game.broken() == set()
    assert game.bank.existing("alice").status is AccountStatus.ACTIVE
