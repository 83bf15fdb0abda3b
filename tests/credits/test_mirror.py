"""The mirror of the balance, under triggers that come late, twice and out of order."""

import random
from collections.abc import Callable

import pytest

from app.credits.balance_mirror import BalanceMirror, mirror_path, view
from app.credits.ledger import document
from app.kit.money import credits
from app.kit.stores.documents import Create, Delete, Fields
from app.kit.stores.realtime import Json
from support.credits_world import CreditsWorld, deposit, reserve, settle
from support.memory import Change, MemoryDocuments, MemoryRealtime


def _mirrored(world: CreditsWorld) -> tuple[BalanceMirror, MemoryRealtime, list[Fields]]:
    """The mirror, the database that it writes to, and a list that gets all triggers of the account in order."""
    assert isinstance(world.documents, MemoryDocuments)
    triggers: list[Fields] = []

    def watch(changes: list[Change]) -> None:
        triggers.extend(after for path, _, after in changes if path == "accounts/alice" and after is not None)

    world.documents.after_commit.append(watch)
    realtime = MemoryRealtime()
    return BalanceMirror(world.documents, realtime, world.clock), realtime, triggers


def _spend(world: CreditsWorld, times: int) -> None:
    for index in range(times):
        world.clock.advance(us=index % 3)
        world.credits.reserve("alice", reserve(f"r{index}", credits(1)))
        world.credits.settle("alice", settle(f"r{index}", 1000 + index))


def test_shows_posted_held_and_available_apart(world: CreditsWorld) -> None:
    """T-28"""
    mirror, realtime, triggers = _mirrored(world)
    world.credits.reserve("alice", reserve("r", 2_500_000))
    mirror.account_written(triggers[-1])
    value = realtime.get(mirror_path("alice"))
    assert isinstance(value, dict)
    assert (value["balance"], value["reserved"], value["available"]) == ("1000", "2.5", "997.5")
    assert value == world.credits.balance("alice")


def test_ends_at_the_source_whatever_the_order(world: CreditsWorld) -> None:
    """T-44, T-46: 10,000 triggers, each up to seven times and shuffled."""
    mirror, realtime, triggers = _mirrored(world)
    _spend(world, 1250)
    dice = random.Random(7)
    delivered = [fields for fields in triggers for _ in range(dice.randint(1, 7))]
    dice.shuffle(delivered)
    assert len(delivered) >= 9_000
    highest = 0
    for fields in delivered:
        mirror.account_written(fields)
        value = realtime.get(mirror_path("alice"))
        assert isinstance(value, dict)
        sequence = value["sequence"]
        assert isinstance(sequence, int)
        assert sequence >= highest, "the sequence that a client sees never goes back"
        highest = sequence
    assert realtime.get(mirror_path("alice")) == world.credits.balance("alice")


def test_is_written_once_for_a_trigger_that_fires_seven_times(world: CreditsWorld) -> None:
    """T-44"""
    mirror, realtime, triggers = _mirrored(world)
    world.credits.post("alice", deposit("p", 1))
    for _ in range(7):
        mirror.account_written(triggers[-1])
    assert realtime.writes == 1


def test_ignores_a_deleted_account(world: CreditsWorld) -> None:
    mirror, realtime, _ = _mirrored(world)
    mirror.account_written(None)
    assert realtime.get(mirror_path("alice")) is None


@pytest.mark.parametrize(
    "lie",
    [
        {"balance": "5"},
        {"sequence": 999, "balance": "5"},
        {"sequence": 999, "updated_at": "2099-01-01T00:00:00.000000Z", "balance": "5"},
    ],
    ids=["richer", "ahead of its source", "ahead in everything"],
)
def test_a_repair_believes_no_lie(world: CreditsWorld, lie: dict[str, Json]) -> None:
    realtime = MemoryRealtime()
    mirror = BalanceMirror(world.documents, realtime, world.clock)
    world.credits.account("alice")
    true = mirror.repair("alice").wanted
    realtime.update({f"{mirror_path('alice')}/{name}": value for name, value in lie.items()})
    assert mirror.repair("alice").repaired
    assert realtime.get(mirror_path("alice")) == true
    assert not mirror.repair("alice").repaired


class MovingRealtime(MemoryRealtime):
    """Runs `meanwhile` once, between a read and what its caller does next."""

    meanwhile: Callable[[], None] | None = None

    def get(self, path: str) -> Json:
        value = super().get(path)
        if (move := self.meanwhile) is not None:
            self.meanwhile = None
            move()
        return value


@pytest.mark.parametrize("mirrored", [False, True], ids=["before its trigger", "after its trigger"])
def test_a_repair_does_not_put_an_older_balance_over_a_newer_one(world: CreditsWorld, mirrored: bool) -> None:
    """T-46: the account moves while a repair is under way."""
    realtime = MovingRealtime()
    mirror = BalanceMirror(world.documents, realtime, world.clock)
    world.credits.account("alice")

    def move() -> None:
        world.clock.advance(seconds=1)
        world.credits.reserve("alice", reserve("r", 5))
        stored = world.documents.get(document.account_path("alice"))
        assert stored is not None
        if mirrored:
            mirror.account_written(stored.fields)

    realtime.meanwhile = move
    mirror.repair("alice")
    shown = realtime.get(mirror_path("alice"))
    assert isinstance(shown, dict)
    assert shown["reserved"] == "0.000005"


class TestComparingMirrors:
    def test_repairs_what_differs_and_measures_the_lag(self, world: CreditsWorld) -> None:
        assert isinstance(world.documents, MemoryDocuments)
        realtime = MemoryRealtime()
        mirror = BalanceMirror(world.documents, realtime, world.clock)
        since = world.clock.now_us() - 1
        for uid in ("alice", "bob"):
            account = world.credits.account(uid)
            realtime.update({mirror_path(uid): view(account, since)})
        world.clock.advance(seconds=9)
        world.credits.post("alice", deposit("p", 5))
        report = mirror.compare(since, report_only=True)
        assert (report.checked, report.differing, report.repaired) == (2, ("alice",), 0)
        assert report.worst_lag_us == 9_000_000
        assert mirror.compare(since).repaired == 1
        assert mirror.compare(since).differing == ()

    def test_goes_on_where_it_stopped_and_leaves_triggers_their_time(self, world: CreditsWorld) -> None:
        mirror = BalanceMirror(world.documents, MemoryRealtime(), world.clock)
        for index in range(5):
            world.clock.advance(us=1)
            world.credits.account(f"user{index}")
        assert mirror.compare_next(world.clock.now_us(), limit=2).checked == 0
        world.clock.advance(minutes=2)
        done = [mirror.compare_next(world.clock.now_us(), limit=2).repaired for _ in range(4)]
        assert done == [2, 2, 1, 0]
        assert mirror.compare_next(world.clock.now_us(), limit=2).checked == 0

    def test_meets_what_was_written_later_than_it_says(self, world: CreditsWorld) -> None:
        """An instance that stands still between decision and commit writes behind the place of the first look."""
        mirror = BalanceMirror(world.documents, MemoryRealtime(), world.clock)
        world.credits.account("late")
        late = world.documents.get("accounts/late")
        assert late is not None
        world.documents.commit([Delete("accounts/late")])
        world.clock.advance(seconds=1)
        world.credits.account("punctual")
        world.clock.advance(minutes=2)
        assert mirror.compare_next(world.clock.now_us(), limit=9).repaired == 1
        world.documents.commit([Create("accounts/late", late.fields)])
        world.clock.advance(minutes=2)
        assert mirror.compare_next(world.clock.now_us(), limit=9).repaired == 0
        world.clock.advance(minutes=30)
        assert mirror.compare_next(world.clock.now_us(), limit=9).differing == ("late",)

    def test_leaves_nobody_out_when_the_next_one_comes_hours_later(self, world: CreditsWorld) -> None:
        mirror = BalanceMirror(world.documents, MemoryRealtime(), world.clock)
        for index in range(5):
            world.clock.advance(us=1)
            world.credits.account(f"user{index}")
        world.clock.advance(minutes=2)
        assert mirror.compare_next(world.clock.now_us(), limit=2).repaired == 2
        world.clock.advance(minutes=180)
        assert [mirror.compare_next(world.clock.now_us(), limit=2).repaired for _ in range(3)] == [2, 1, 0]
