"""Breaches from the alarm to the act that closes them: what closes one, what does not, and what it leaves alone."""

from collections.abc import Sequence

import pytest

from app.credits import rotation
from app.credits.core.account import AccountStatus
from app.credits.proofs import checkpoints
from app.credits.proofs.verification import Link
from app.kit.canonical import digest
from app.kit.errors import Unavailable
from app.kit.stores.documents import Replace, Write
from support.credits_world import promo
from support.tamper_game import Game
from support.tamper_strategies import ALICE, SEAL, entry


def _broken() -> Game:
    """Alice's chain is cut back to its first entry, and that was found."""
    game = Game()
    game.loot.back(game.loot.first, ALICE, SEAL)
    game.sweep()
    assert game.broken() == {"account-alice"}
    return game


def _resolve(game: Game, by: str, *, accept: bool) -> int:
    administrator = game.world.client(game.world.user(by, role="admin"))
    body = {"reason": "as agreed", "accept": accept}
    return int(administrator.post("/v1/credits/breaches/account-alice/resolve", json=body).status_code)


def _accepted(game: Game) -> None:
    for by in ("root", "boss"):
        assert _resolve(game, by, accept=True) == 202


class TestAnAcceptedChain:
    def test_counts_once_two_administrators_accepted_it(self) -> None:
        game = _broken()
        for _ in range(2):
            assert _resolve(game, "root", accept=True) == 202
            game.sweep()
            assert game.broken() == {"account-alice"}, "one is not enough"
        _accepted(game)
        game.sweep()
        assert game.broken() == set()

    def test_is_refused_at_once_when_it_does_not_verify_by_itself(self) -> None:
        game = Game()
        game.loot.delete(entry(3))
        game.sweep()
        assert _resolve(game, "root", accept=True) == 409
        assert "resolution" not in game.loot.now()["breaches/account-alice"]

    @pytest.mark.parametrize("gone", [False, True])
    def test_is_the_one_that_was_accepted_and_no_other(self, gone: bool) -> None:
        game = _broken()
        _accepted(game)
        if gone:
            game.loot.delete(ALICE)
        else:
            game.loot.back(game.loot.spent, ALICE)
        game.sweep()
        assert game.broken() == {"account-alice"}

    def test_that_was_no_account_stays_none(self) -> None:
        game = Game()
        game.loot.delete(ALICE)
        game.sweep()
        _accepted(game)
        game.loot.back(game.loot.first, ALICE)
        game.sweep()
        assert game.broken() == {"account-alice"}
        game.loot.delete(ALICE)
        game.sweep()
        assert game.broken() == set()

    def test_may_not_be_the_administrators_own(self) -> None:
        assert _resolve(_broken(), "alice", accept=True) == 403

    def test_counts_for_an_hour(self) -> None:
        game = _broken()
        _resolve(game, "root", accept=True)
        game.world.clock.advance(minutes=61)
        _resolve(game, "boss", accept=True)
        game.sweep()
        assert game.broken() == {"account-alice"}, "the second one was alone by then"
        _resolve(game, "root", accept=True)
        game.world.clock.advance(minutes=61)
        game.sweep()
        assert game.broken() == {"account-alice"}, "nobody sealed it in time"


class TestARestoredChain:
    def test_closes_its_breach_however_long_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(checkpoints, "ENTRIES", 4)
        game = _broken()
        game.loot.back(game.loot.last, ALICE, SEAL)
        _resolve(game, "root", accept=False)
        game.sweep()
        assert game.broken() == set()
        assert game.bank.existing("alice").status is AccountStatus.ACTIVE

    def test_spends_again_although_the_process_died_while_it_was_frozen(self) -> None:
        """That we froze the account is written with the freeze, so that nothing forgets it."""
        game = Game()
        game.loot.back(game.loot.first, ALICE, SEAL)
        dead = False

        def die(writes: Sequence[Write]) -> None:
            nonlocal dead
            dead = dead or any(
                isinstance(one, Replace) and one.path == ALICE and one.fields["status"] == "frozen" for one in seen
            )
            seen.extend(writes)
            if dead:
                raise Unavailable("killed")

        seen: list[Write] = []
        game.world.documents.before_commit.append(die)
        game.sweep()
        assert dead
        game.world.documents.before_commit.clear()
        game.loot.back({**game.loot.last, ALICE: {**game.loot.last[ALICE], "status": "frozen"}}, ALICE, SEAL)
        _resolve(game, "root", accept=False)
        game.sweep()
        assert game.broken() == set()
        assert game.bank.existing("alice").status is AccountStatus.ACTIVE

    def test_spends_again_although_its_alarm_was_changed_meanwhile(self) -> None:
        """The alarm is written anew from the archive; that we froze the account stands in no other place."""
        game = _broken()
        game.loot.change("breaches/account-alice", sequence=99)
        game.sweep()
        game.loot.back({**game.loot.last, ALICE: {**game.loot.last[ALICE], "status": "frozen"}}, ALICE, SEAL)
        _resolve(game, "root", accept=False)
        game.sweep()
        assert game.broken() == set()
        assert game.bank.existing("alice").status is AccountStatus.ACTIVE

    def test_stays_frozen_when_somebody_froze_it_for_another_reason(self) -> None:
        game = _broken()
        game.bank.set_status("alice", AccountStatus.FROZEN, "fraud")
        game.sweep()
        game.loot.back({**game.loot.last, ALICE: {**game.loot.last[ALICE], "status": "frozen"}}, ALICE, SEAL)
        _resolve(game, "root", accept=False)
        game.sweep()
        assert game.broken() == set()
        assert game.bank.existing("alice").status is AccountStatus.FROZEN


def test_an_account_that_could_not_be_read_closes_its_breach_when_it_can_be_again() -> None:
    """An operator's typing error: nothing that was signed is wrong."""
    game = Game()
    before = game.loot.now()[ALICE]
    game.loot.change(ALICE, debt="0")
    game.sweep()
    assert game.broken() == {"account-alice"}
    game.loot.put(ALICE, {**game.loot.now()[ALICE], "debt": before["debt"]})
    game.sweep()
    assert game.broken() == set()
    assert game.bank.existing("alice").status is AccountStatus.ACTIVE


class TestASuspectedAccount:
    def _state(self, game: Game, uid: str) -> object:
        return game.loot.now()[f"breaches/account-{uid}"]["state"]

    def test_is_verified_whole_however_long_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rotation, "ENTRIES_A_RUN", 3)
        game = Game()
        game.bank.checkpoints.breaches.suspect("alice")
        game.sweep()
        assert self._state(game, "alice") == "resolved"

    def test_that_does_not_exist_keeps_no_other_waiting(self) -> None:
        game = Game()
        for number in range(121):
            game.bank.checkpoints.breaches.suspect(f"aaa{number:03d}")
        game.loot.change(entry(3), description="something else")
        game.bank.checkpoints.breaches.suspect("alice")
        for _ in range(8):
            game.sweep()
        assert self._state(game, "aaa000") == "resolved"
        assert game.broken() == {"account-alice"}


def test_one_run_of_the_verification_in_turn_reads_a_bounded_number_of_entries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rotation, "ENTRIES_A_RUN", 3)
    game = Game()  # alice has six entries, bob has three
    verified = [game.bank.rotation.verify_next(20) for _ in range(6)]
    assert max(verified) == 1
    assert game.bank.rotation.rounds().accounts == 2


def test_a_figure_tells_how_many_seconds_a_chain_may_be_unverified() -> None:
    """From the begin of the last whole round: what was verified first in it is the oldest."""
    game = Game()
    game.sweep()
    game.sweep()
    game.world.clock.advance(minutes=2)
    figures = {one.name: one.value for one in game.world.system.credits.figures()}
    assert figures["chain_verification_age_seconds"] == 60 + 120


class TestWhatThisVersionDoesNotKnow:
    """The next version writes while this one still sweeps; nobody without the key can write such an entry."""

    def _signed(self, game: Game, **changes: object) -> dict[str, object]:
        """Alice's last entry as the next version would have signed it."""
        body = {**game.loot.now()[entry(6)], **changes}
        hashed = bytes.fromhex(digest({name: body[name] for name in body if name not in ("hash", "signature")}))
        signature, kid = game.bank.sign(hashed)
        assert body["key_id"] == kid
        return {**body, "hash": hashed.hex(), "signature": signature}

    @pytest.mark.parametrize("changes", [{"kind": "gift"}, {"format": 99}, {"mood": "good"}])
    def test_is_no_tampering_when_we_signed_it(self, changes: dict[str, object]) -> None:
        game = Game()
        newer = self._signed(game, **changes)
        game.loot.put(entry(6), newer)
        game.loot.change(ALICE, head_hash=newer["hash"])
        for round in range(3):
            game.sweep(fresh=round == 1)
        assert game.broken() == set()
        assert game.bank.existing("alice").status is AccountStatus.ACTIVE

    def test_is_tampering_when_we_did_not(self) -> None:
        game = Game()
        game.loot.change(entry(6), kind="gift")
        game.sweep()
        assert game.broken() == {"account-alice"}

    @pytest.mark.parametrize("signed", [True, False])
    def test_is_believed_of_a_lot_when_a_signed_entry_made_it(self, signed: bool) -> None:
        game = Game()
        game.bank.post("alice", promo("next", 5, None))
        account = game.loot.now()[ALICE]
        lots = [dict(lot) for lot in account["lots"]]
        lots[-1]["source"] = "gift"
        assert lots[-1]["made"] == 7
        made = game.loot.now()[entry(7)]
        if signed:
            body = {**made, "lots": [{**made["lots"][0], "source": "gift"}]}
            hashed = bytes.fromhex(digest({name: body[name] for name in body if name not in ("hash", "signature")}))
            game.loot.put(entry(7), {**body, "hash": hashed.hex(), "signature": game.bank.sign(hashed)[0]})
            game.loot.change(ALICE, head_hash=hashed.hex())
        game.loot.change(ALICE, lots=lots)
        game.sweep()
        game.sweep(fresh=True)
        assert game.broken() == (set() if signed else {"account-alice"})


def test_more_breaches_than_one_run_looks_at_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was erased comes back although others stand before it."""
    monkeypatch.setattr(checkpoints, "SHOWN", 1)
    game = Game()
    game.loot.delete(ALICE)
    game.loot.delete("accounts/bob")
    for _ in range(4):
        game.sweep()
    alarms = [f"breaches/account-{uid}" for uid in ("alice", "bob")]
    assert {path for path in alarms if path in game.loot.now()} == {*alarms}
    for path in alarms:
        game.loot.delete(path)
    for _ in range(4):
        game.sweep()
    assert {path for path in alarms if path in game.loot.now()} == {*alarms}


def test_a_link_that_a_caller_made_up_accuses_nobody() -> None:
    """Otherwise anybody could fill the list of what is verified first."""
    game = Game()
    credits = game.world.system.credits.service
    assert not credits.validate_chain("bob", Link("bob", 1, "0" * 64)).valid
    assert "breaches/account-bob" not in game.loot.now()
