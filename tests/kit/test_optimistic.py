"""The one loop for writes that lose against other writers (T-43)."""

from collections.abc import Callable

import pytest

from app.kit.errors import AlreadyExists, Conflict, Invalid, Unavailable
from app.kit.optimistic import TRIES, Contended, full_jitter, jitter_us, optimistic
from support.world import WatchedThreads


class Race:
    """An attempt that loses `losses` times; `seen` is what happened, in order."""

    def __init__(self, losses: int, error: Callable[[], Exception] = lambda: Conflict("another was faster")) -> None:
        self.losses = losses
        self.error = error
        self.seen: list[object] = []

    def attempt(self) -> str:
        self.seen.append("attempt")
        if self.losses:
            self.losses -= 1
            raise self.error()
        return "written"

    def pause(self, number: int) -> None:
        self.seen.append(number)

    def reread(self) -> None:
        self.seen.append("reread")


def test_without_a_conflict_nothing_waits_and_nothing_is_read_again() -> None:
    race = Race(0)
    assert optimistic(race.attempt, reread=race.reread, pause=race.pause) == "written"
    assert race.seen == ["attempt"]


def test_after_a_conflict_it_waits_reads_again_and_then_tries_again() -> None:
    race = Race(2)
    assert optimistic(race.attempt, reread=race.reread, pause=race.pause) == "written"
    assert race.seen == ["attempt", 1, "reread", "attempt", 2, "reread", "attempt"]


def test_a_document_that_was_created_meanwhile_is_a_conflict() -> None:
    race = Race(1, lambda: AlreadyExists("it is there"))
    assert optimistic(race.attempt, pause=race.pause) == "written"


def test_the_last_try_may_succeed() -> None:
    race = Race(TRIES - 1)
    assert optimistic(race.attempt, pause=race.pause) == "written"


@pytest.mark.parametrize("tries", [1, 3, TRIES])
def test_who_loses_every_time_is_told_at_once_after_the_last(tries: int) -> None:
    race = Race(tries)
    with pytest.raises(Contended, match=f"{tries} times in a row: another was faster") as told:
        optimistic(race.attempt, pause=race.pause, tries=tries)
    assert isinstance(told.value.__cause__, Conflict)
    assert race.seen.count("attempt") == tries
    assert race.seen[-1] == "attempt"


@pytest.mark.parametrize("error", [Unavailable("down"), Invalid("nonsense"), Contended("inside"), KeyError("bug")])
def test_whatever_is_no_conflict_passes_through_at_once(error: Exception) -> None:
    race = Race(1, lambda: error)
    with pytest.raises(type(error)):
        optimistic(race.attempt, pause=race.pause)
    assert race.seen == ["attempt"]


def test_what_the_second_reading_raises_ends_it() -> None:
    race = Race(1)

    def gone() -> None:
        raise Unavailable("down")

    with pytest.raises(Unavailable, match="down"):
        optimistic(race.attempt, reread=gone, pause=race.pause)
    assert race.seen == ["attempt", 1]


def test_the_wait_is_drawn_below_a_ceiling_that_doubles_to_a_bound() -> None:
    longest = [jitter_us(attempt, draw=lambda below: below - 1) + 1 for attempt in (1, 2, 3, 6, 7, 8, 60)]
    assert longest == [4_000, 8_000, 16_000, 128_000, 256_000, 256_000, 256_000]
    assert jitter_us(60, draw=lambda _: 0) == 0


def test_the_pause_made_of_the_ports_sleeps_for_what_is_drawn() -> None:
    threads = WatchedThreads()
    pause = full_jitter(threads, lambda below: below // 2)
    for attempt in (1, 2, 60):
        pause(attempt)
    assert threads.sleeps == [2_000, 4_000, 128_000]


def test_the_ceiling_is_the_callers_to_choose() -> None:
    chosen = [jitter_us(attempt, first_us=10, longest_us=25, draw=lambda below: below) for attempt in (1, 2, 3)]
    assert chosen == [10, 20, 25]
