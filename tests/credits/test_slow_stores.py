"""Sealing and verifying where calls take long: a run ends in time and keeps what it found, and the next one goes on."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from app.credits.proofs import breaches, checkpoints, judging
from app.credits.proofs.breaches import Resolution
from app.kit.clock import seconds
from app.kit.stores.documents import Create, Delete, Document, Merge, Query, Version, Write
from support.credits_world import CreditsWorld, deposit
from support.memory import MemoryDocuments
from support.slow_network import SlowTime
from support.world import Kept

SHARE_US = seconds(8)
"""The least that a chore has of a sweep."""


class SlowDocuments(MemoryDocuments):
    """Every call takes `call_us` of the time that budgets are measured with."""

    def __init__(self, time: SlowTime) -> None:
        super().__init__()
        self.time, self.call_us, self.calls = time, 0, 0

    def get(self, path: str) -> Document | None:
        self._pass()
        return super().get(path)

    def get_all(self, paths: Sequence[str]) -> list[Document | None]:
        self._pass()
        return super().get_all(paths)

    def commit(self, writes: Sequence[Write]) -> list[Version]:
        self._pass()
        return super().commit(writes)

    def query(self, query: Query) -> list[Document]:
        self._pass()
        return super().query(query)

    def _pass(self) -> None:
        self.calls += 1
        self.time.at_us += self.call_us


class SlowArchive(Kept):
    """As slow as the documents."""

    documents: SlowDocuments

    def keep(self, name: str, content: bytes) -> bool:
        self.documents.time.at_us += self.documents.call_us
        return super().keep(name, content)

    def read(self, name: str) -> bytes | None:
        self.documents.time.at_us += self.documents.call_us
        return super().read(name)


@dataclass
class Slow:
    """A world on slow stores, which are fast at first. `took_us`: the time of each run so far."""

    time: SlowTime = field(default_factory=SlowTime)
    took_us: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.documents, archive = SlowDocuments(self.time), SlowArchive()
        archive.documents = self.documents
        self.world = CreditsWorld(documents=self.documents, concurrency=self.time, archive=archive)
        self.bank = self.world.credits

    def open(self, accounts: int) -> list[str]:
        """So many accounts, each with one entry."""
        uids = [f"user{number:04d}" for number in range(accounts)]
        for uid in uids:
            self.bank.account(uid)
        return uids

    def grow(self, uid: str, entries: int) -> None:
        """An account with so many entries more."""
        for number in range(entries):
            self.bank.post(uid, deposit(f"{uid}-{number}", 1))

    def seal(self, *, fresh: bool = False) -> bool:
        """A run a minute later; whether it made a checkpoint."""
        self.world.clock.advance(minutes=1)
        bank = self.world.instance() if fresh else self.bank
        began_us = self.time.at_us
        made = bank.checkpoints.seal()
        self.took_us.append(self.time.at_us - began_us)
        return made is not None

    def turn(self) -> int:
        """A run of the verification in turn."""
        began_us = self.time.at_us
        verified = self.bank.rotation.verify_next(20)
        self.took_us.append(self.time.at_us - began_us)
        return verified

    def sealed(self, uid: str) -> int:
        """Up to which entry this account is sealed."""
        link = self.bank.checkpoints.evidence(uid)
        return link.sequence if link else 0


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    monkeypatch.setattr(judging, "TIMED", 10)  # so that long chains need not be long here
    return Slow()


class TestSealing:
    def test_ends_within_a_chores_share_and_goes_on_where_it_stopped(self, slow: Slow) -> None:
        """Nine hundred accounts that changed in ten minutes, and 20 ms for each call."""
        uids = slow.open(900)
        slow.documents.call_us = 20_000
        for _ in range(10):
            slow.seal(fresh=True)
        assert max(slow.took_us) <= SHARE_US
        slow.documents.call_us = 0
        assert all(slow.sealed(uid) == 1 for uid in uids)

    def test_asks_about_once_for_fifty_accounts_that_changed(self, slow: Slow) -> None:
        """Seals, sealed entries and new ones are read for so many at once."""
        for uid in slow.open(300):
            slow.bank.account(uid)
        slow.seal()
        slow.world.clock.advance(minutes=30)
        for number in range(300):
            slow.bank.post(f"user{number:04d}", deposit(f"pay-{number}", 1))
        slow.documents.calls = 0
        assert slow.seal()
        assert slow.documents.calls <= 20

    def test_of_a_chain_that_takes_longer_than_a_run_makes_progress_in_each(self, slow: Slow) -> None:
        slow.bank.account("alice")
        slow.grow("alice", 54)
        slow.documents.call_us = 2 * checkpoints.BUDGET_US
        reached = []
        for _ in range(5):
            slow.seal(fresh=True)
            reached.append(slow.sealed("alice"))
        assert reached == [10, 20, 30, 40, 55], "the last fifteen are few, and read at once"

    def test_writes_a_page_of_copies_at_least_and_makes_no_checkpoint_before_all_stand(self, slow: Slow) -> None:
        uids = slow.open(700)
        before = slow.documents.before_commit
        before.append(lambda _: setattr(slow.documents, "call_us", seconds(3)))  # from the first copy on
        assert slow.seal()
        slow.bank.account("late")
        assert self._copied(slow) == 300
        assert not slow.seal()
        assert self._copied(slow) == 600, "no checkpoint follows before the copies of the last one stand"
        slow.turn()
        assert self._copied(slow) > 700, "the last page, and what that run sealed"
        before.clear()
        slow.documents.call_us = 0
        slow.seal()
        assert slow.bank.checkpoints.coverage("late") is not None
        while slow.turn():
            pass
        assert slow.bank.checkpoints.breaches.subjects() == []
        assert all(slow.sealed(uid) == 1 for uid in uids)

    def _copied(self, slow: Slow) -> int:
        return sum(path.startswith("sealed/") for path in slow.documents.all())

    def test_asks_for_the_archives_last_checkpoint_once_for_a_page_of_forged_copies(self, slow: Slow) -> None:
        uids = slow.open(60)
        slow.seal()
        slow.documents.commit([Merge(f"sealed/{uid}", {"checkpoint": 10**9}) for uid in uids])
        state = slow.bank.checkpoints.current()
        assert state is not None
        slow.documents.call_us, before = 1, slow.time.at_us
        assert slow.bank.checkpoints.copies.write(state)
        assert slow.time.at_us - before <= 6, "calls of both stores"
        assert {slow.documents.all()[f"sealed/{uid}"].fields["checkpoint"] for uid in uids} == {1}

    def test_shows_many_breaches_in_some_runs(self, slow: Slow) -> None:
        uids = slow.open(40)
        slow.seal()
        for uid in uids:
            slow.documents.commit([Merge(f"accounts/{uid}", {"balance": 5})])
        slow.documents.commit([Merge(f"accounts/{uid}", {"updated_at": "2027-02-01T00:00:00.000000Z"}) for uid in uids])
        slow.documents.call_us = 100_000
        for _ in range(20):
            slow.seal(fresh=True)
        assert max(slow.took_us) <= SHARE_US
        open_now = {path for path, one in slow.documents.all().items() if one.fields.get("state") == breaches.OPEN}
        assert open_now == {f"breaches/account-{uid}" for uid in uids}


class TestALongChain:
    """Of 45 entries, where each call takes longer than a whole run has."""

    def _long(self, slow: Slow) -> None:
        slow.bank.account("alice")
        slow.grow("alice", 44)
        slow.seal()

    def test_that_is_suspected_is_verified_in_parts(self, slow: Slow) -> None:
        self._long(slow)
        slow.bank.checkpoints.breaches.suspect("alice")
        slow.documents.call_us = 2 * checkpoints.BUDGET_US
        states = []
        for _ in range(5):
            slow.turn()
            states.append(slow.documents.all()["breaches/account-alice"].fields["state"])
        assert states == ["suspected"] * 4 + ["resolved"]

    def test_is_verified_in_turn_although_no_run_can_do_it_whole(self, slow: Slow) -> None:
        self._long(slow)
        slow.documents.call_us = 2 * checkpoints.BUDGET_US
        assert [slow.turn() for _ in range(5)] == [0, 0, 0, 0, 1]

    def test_that_is_suspected_and_half_done_is_ended_before_another_begins(self, slow: Slow) -> None:
        for uid in ("bob", "mia"):
            slow.bank.account(uid)
            slow.grow(uid, 44)
        slow.seal()
        slow.bank.checkpoints.breaches.suspect("mia")
        slow.documents.call_us = 2 * checkpoints.BUDGET_US
        for _ in range(2):
            slow.turn()
        slow.bank.checkpoints.breaches.suspect("bob")
        for _ in range(3):
            slow.turn()
        assert slow.bank.checkpoints.breaches.suspected(2) == ["bob"]

    @pytest.mark.parametrize("accept", [False, True])
    def test_closes_its_breach_when_it_is_resolved(self, slow: Slow, accept: bool) -> None:
        self._long(slow)
        third = slow.documents.all()["accounts/alice/entries/000000000003"]
        slow.documents.commit([Delete(third.path)])
        slow.turn()
        assert slow.bank.checkpoints.breaches.subjects() == ["account-alice"]
        slow.documents.commit([Create(third.path, third.fields)])
        for by in ("root", "boss"):
            slow.bank.checkpoints.resolve("account-alice", Resolution(by, "restored", accept))
        slow.documents.call_us = 2 * checkpoints.BUDGET_US
        states = []
        for _ in range(5):
            slow.seal(fresh=True)
            states.append(slow.documents.all()["breaches/account-alice"].fields["state"])
        assert states == ["open"] * 4 + ["resolved"]

    def _broken(self, slow: Slow, *uids: str) -> None:
        """Chains that were broken, found and put right, and whose breaches are resolved."""
        thirds = [slow.documents.all()[f"accounts/{uid}/entries/000000000003"] for uid in uids]
        slow.documents.commit([Delete(third.path) for third in thirds])
        slow.turn()
        assert slow.bank.checkpoints.breaches.subjects() == [f"account-{uid}" for uid in uids]
        slow.documents.commit([Create(third.path, third.fields) for third in thirds])
        for uid in uids:
            slow.bank.checkpoints.resolve(f"account-{uid}", Resolution("root", "restored", accept=False))

    def test_whose_breach_is_resolved_is_ended_before_another_begins(self, slow: Slow) -> None:
        for uid in ("alice", "bob"):
            slow.bank.account(uid)
            slow.grow(uid, 44)
        slow.seal()
        self._broken(slow, "alice", "bob")
        slow.documents.call_us = 2 * checkpoints.BUDGET_US
        left = []
        for _ in range(10):
            slow.seal(fresh=True)
            left.append(len(slow.bank.checkpoints.breaches.subjects()))
        assert left == [2] * 4 + [1] * 5 + [0]

    def test_whose_breach_is_resolved_has_time_although_others_changed(self, slow: Slow) -> None:
        """The search for these takes longer than a run; an acceptance counts for one hour only."""
        self._long(slow)
        self._broken(slow, "alice")
        slow.open(900)
        slow.documents.call_us = 250_000
        slow.seal(fresh=True)
        slow.documents.call_us = 0
        assert slow.bank.checkpoints.breaches.subjects() == []
        assert slow.sealed("user0899") == 0, "the search was not over"
        assert slow.took_us[-1] <= SHARE_US
