"""The tamper game (T-102): somebody with full rights on both databases and no key, while sweeps run in between."""

from collections.abc import Callable
from functools import partial

import pytest

from app.credits.core.account import AccountStatus
from app.credits.proofs.archived import account_of
from app.kit.errors import Failure
from support.credits_world import deposit
from support.tamper_game import Game
from support.tamper_strategies import IN_A_CROWD, IN_SILENCE, STRATEGIES, Loot

GAMES: dict[str, tuple[Callable[[], Game], Callable[[Loot], object]]] = {
    **{name: (partial(Game, crowd=12), strategy) for name, strategy in IN_A_CROWD.items()},
    **{name: (partial(Game, quiet=True), strategy) for name, strategy in IN_SILENCE.items()},
    **{name: (Game, strategy) for name, strategy in STRATEGIES.items()},
}


@pytest.mark.parametrize(("begun", "strategy"), GAMES.values(), ids=GAMES.keys())
def test_every_strategy_is_detected_and_stays_detected(
    begun: Callable[[], Game], strategy: Callable[[Loot], object]
) -> None:
    game = begun()
    assert game.broken() == set()
    strategy(game.loot)
    game.sweep()
    found = game.broken()
    assert found, "at once"
    for round in range(6):
        game.honest_life()
        if round == 2:
            game.erase_the_alarm()
        if round == 3:
            game.forge_a_pardon()
        game.sweep(fresh=round % 2 == 1)
        assert found <= game.broken(), f"round {round}"
    for uid in filter(None, map(account_of, found)):
        with pytest.raises((Failure, ValueError)):
            game.spend(uid)


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES.keys())
def test_every_strategy_is_detected_by_an_instance_that_remembers_nothing(strategy: Callable[[Loot], object]) -> None:
    game = Game()
    strategy(game.loot)
    game.sweep(fresh=True)
    game.sweep(fresh=True)
    assert game.broken()


def test_there_are_fifty_strategies() -> None:
    assert len(STRATEGIES) >= 50


def test_an_honest_world_raises_no_alarm() -> None:
    game = Game()
    for round in range(20):
        game.honest_life()
        game.sweep(fresh=round % 3 == 1)
        assert game.broken() == set()
    sealed = game.bank.checkpoints.coverage("alice")
    assert sealed is not None
    assert sealed.sequence == game.bank.existing("alice").sequence


class TestABrokenChain:
    def test_spends_nothing_while_others_are_sealed_as_before(self) -> None:
        game = Game()
        STRATEGIES["cuts the tail, the account and its seal"](game.loot)
        game.sweep()
        assert game.broken() == {"account-alice"}
        assert game.bank.existing("alice").status is AccountStatus.FROZEN
        game.bank.post("alice", deposit("late", 5))
        game.spend("bob")
        game.sweep()
        assert game.bank.checkpoints.coverage("bob").sequence == game.bank.existing("bob").sequence  # type: ignore[union-attr]
        assert not game.bank.validate_chain("alice").valid

    def test_spends_again_when_it_was_restored_and_an_administrator_said_so(self) -> None:
        game = Game()
        STRATEGIES["cuts the tail, the account and its seal"](game.loot)
        game.sweep()
        root = game.world.client(game.world.user("root", role="admin"))
        path, body = "/v1/credits/breaches/account-alice/resolve", {"reason": "restored", "accept": False}
        assert root.post(path, json=body).status_code == 202
        game.sweep()
        assert game.broken() == {"account-alice"}, "nothing was restored yet"
        game.loot.back(game.loot.last, "accounts/alice", "sealed/alice")
        game.sweep()
        assert game.broken() == set()
        game.spend("alice")
        game.sweep()
        assert game.bank.validate_chain("alice").valid

    def test_counts_as_it_stands_when_two_administrators_accept_it(self) -> None:
        game = Game()
        STRATEGIES["cuts the tail, the account and its seal"](game.loot)
        game.sweep()
        body = {"reason": "lost in a fire", "accept": True}
        for by in ("root", "boss"):
            administrator = game.world.client(game.world.user(by, role="admin"))
            assert administrator.post("/v1/credits/breaches/account-alice/resolve", json=body).status_code == 202
        game.sweep()
        assert game.broken() == set()
        game.spend("alice")
        for _ in range(3):
            game.sweep(fresh=True)
        assert game.broken() == set()
        assert game.bank.validate_chain("alice").valid

    def test_is_not_closed_by_a_resolution_that_we_did_not_sign(self) -> None:
        game = Game()
        STRATEGIES["cuts the tail, the account and its seal"](game.loot)
        game.sweep()
        said = {"type": "credits-breach-resolution", "subject": "account-alice", "accept": True, "by": "root"}
        since = game.loot.now()["breaches/account-alice"]["since"]
        more = {"since": since, "reason": "mine", "at": "2026-11-21T08:30:00.000000Z", "key_id": "x", "signature": "y"}
        game.loot.change("breaches/account-alice", resolution={**said, **more}, state="resolved")
        game.sweep()
        assert game.broken() == {"account-alice"}


class TestARepair:
    """T-102: what Firestore says of seals may have been put back with the account; the archive has not."""

    def test_is_refused_when_the_seal_was_put_back_as_well(self) -> None:
        game = Game()
        STRATEGIES["cuts the tail, the account and its seal"](game.loot)
        root = game.world.client(game.world.user("root", role="admin"))
        answer = root.post("/v1/credits/repair", json={"uid": "alice"})
        assert (answer.status_code, (answer.json or {})["code"]) == (409, "not_repairable")


class TestSigning:
    """T-120: what does not verify is not signed."""

    def _receipt(self, game: Game) -> tuple[int, str]:
        caller = game.world.client("alice")
        entries = caller.get("/v1/credits/history").json
        assert entries is not None
        answer = caller.get(f"/v1/credits/receipts/{entries['items'][1]['id']}")
        return answer.status_code, answer.text

    def test_refuses_the_receipt_of_an_altered_entry(self) -> None:
        game = Game()
        STRATEGIES["changes the last entry and its hash"](game.loot)
        status, text = self._receipt(game)
        assert status == 409
        assert "ledger_check_failed" in text

    def test_refuses_the_receipt_of_an_entry_whose_neighbour_does_not_fit(self) -> None:
        game = Game()
        game.loot.delete("accounts/alice/entries/000000000004")
        assert self._receipt(game)[0] == 409

    def test_refuses_a_statement_over_a_cut_chain(self) -> None:
        game = Game()
        STRATEGIES["cuts the tail, the account and its seal"](game.loot)
        caller = game.world.client("alice")
        assert caller.get("/v1/credits/audit").status_code == 409
        csv = caller.get("/v1/credits/audit", headers={"Accept": "text/csv"})
        assert csv.status_code == 409
        assert "X-Ledger-Signature" not in csv.headers

    def test_that_was_refused_has_the_account_verified_first(self) -> None:
        """Before all others, however many there are."""
        game = Game()
        for number in range(60):
            game.bank.account(f"aaa{number:02d}")
        game.sweep()
        STRATEGIES["changes a description"](game.loot)
        entries = game.bank.ledger.entries("alice")
        third = [str(fields["id"]) for fields in entries][2]
        game.world.client("alice").get(f"/v1/credits/receipts/{third}")
        game.sweep()
        assert game.broken() == {"account-alice"}
