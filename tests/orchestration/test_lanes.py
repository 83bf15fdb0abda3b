"""Admission to a lane: limits, ordering keys, vendors, and fair shares without starvation. Delays between tries."""

import random

from hypothesis import given
from hypothesis import strategies as st

from app.kit.clock import seconds
from app.kit.stores.realtime import Json
from app.orchestration.queue.admission import (
    SHARES,
    LaneState,
    Slot,
    Ticket,
    admit,
    lane_node,
    pick,
    read_lane,
    read_ticket,
    wake_ticket,
)
from app.orchestration.queue.handler import Lane
from app.orchestration.queue.operation import Priority
from app.orchestration.queue.retry import RetryPolicy

NOW = 1_800_000_000_000_000
EMPTY = LaneState(paused=False, slots={}, passes={}, turn=0)


def ticket(
    number: int, priority: Priority = Priority.NORMAL, key: str | None = None, vendor: str | None = None
) -> Ticket:
    name = f"{int(priority)}-{1_800_000_000_000 + number:013d}-op_{number}"
    return Ticket(name, f"op_{number}", "lane", priority, 1_800_000_000_000 + number, key, vendor, number)


class TestPicking:
    def test_the_oldest_of_a_priority_goes_first(self) -> None:
        assert pick(Lane("lane"), EMPTY, [ticket(2), ticket(1)], NOW) == ticket(1)

    def test_a_full_or_paused_lane_picks_nothing(self) -> None:
        busy = LaneState(False, {"op_9": Slot(NOW + 1, None, None)}, {}, 0)
        assert pick(Lane("lane", limit=1), busy, [ticket(1)], NOW) is None
        assert pick(Lane("lane"), LaneState(True, {}, {}, 0), [ticket(1)], NOW) is None

    def test_a_slot_whose_time_is_over_blocks_nobody(self) -> None:
        left = LaneState(False, {"op_9": Slot(NOW, "alice", "acme")}, {}, 0)
        lane = Lane("lane", limit=1, vendor_limits={"acme": 1})
        assert pick(lane, left, [ticket(1, key="alice", vendor="acme")], NOW) is not None

    def test_a_busy_key_and_a_busy_vendor_are_stepped_over(self) -> None:
        busy = LaneState(False, {"op_9": Slot(NOW + 1, "alice", "acme")}, {}, 0)
        lane = Lane("lane", vendor_limits={"acme": 1})
        waiting = [ticket(1, key="alice"), ticket(2, vendor="acme"), ticket(3)]
        assert pick(lane, busy, waiting, NOW) == ticket(3)

    @given(st.lists(st.sampled_from(list(Priority)), min_size=1, max_size=60), st.integers(1, 5))
    def test_everything_gets_its_turn(self, priorities: list[Priority], limit: int) -> None:
        lane, state = Lane("lane", limit), EMPTY
        waiting = [ticket(number, priority) for number, priority in enumerate(priorities)]
        seen: list[Ticket] = []
        while (chosen := pick(lane, state, waiting, NOW)) is not None:
            state = admit(state, chosen, now_us=NOW, until_us=NOW + 10)
            assert len(state.slots) <= limit
            waiting.remove(chosen)
            seen.append(chosen)
            state = LaneState(False, {}, state.passes, state.turn)
        assert not waiting
        for priority in Priority:
            of_it = [one for one in seen if one.priority is priority]
            assert of_it == sorted(of_it, key=lambda one: one.name)

    def test_a_class_that_was_idle_cannot_save_up(self) -> None:
        lane, state = Lane("lane"), EMPTY
        for number in range(80):
            state = admit(state, ticket(number, Priority.LOW), now_us=NOW + number * 10, until_us=NOW + number * 10 + 1)
        both = [
            ticket(number, priority) for priority in (Priority.CRITICAL, Priority.LOW) for number in range(100, 140)
        ]
        seen: list[Priority] = []
        for _ in range(20):
            chosen = pick(lane, state, both, NOW + 10_000)
            assert chosen is not None
            both.remove(chosen)
            state = admit(state, chosen, now_us=NOW + 10_000, until_us=NOW + 10_000)
            seen.append(chosen.priority)
        assert seen.count(Priority.LOW) == 2
        assert SHARES[Priority.CRITICAL] == 8 * SHARES[Priority.LOW]


class TestTheNodes:
    @given(
        st.booleans(),
        st.dictionaries(st.from_regex(r"op_[a-z0-9]{1,8}", fullmatch=True), st.integers(0, 2**50), max_size=5),
        st.dictionaries(st.sampled_from(list(Priority)), st.integers(0, 2**40), max_size=4),
    )
    def test_a_lane_comes_back_as_it_was(
        self, paused: bool, slots: dict[str, int], passes: dict[Priority, int]
    ) -> None:
        state = LaneState(paused, {name: Slot(until, "k", None) for name, until in slots.items()}, passes, 7)
        assert read_lane(lane_node(state)) == state

    def test_anything_odd_in_the_database_counts_as_not_there(self) -> None:
        odd: list[Json] = [None, 5, "text", {"running": 3, "passes": [1], "turn": "x"}, {"running": {"a": None}}]
        for value in odd:
            assert read_lane(value).turn == 0
        assert read_ticket("lane", "not a ticket", {}) is None

    def test_a_wake_is_a_ticket_of_its_own(self) -> None:
        one = wake_ticket("lane", NOW, "a")
        back = read_ticket("lane", one.name, one.value)
        assert back is not None
        assert back.is_wake


class TestDelays:
    @given(st.integers(1, 60), st.integers(0, 2**31))
    def test_they_double_up_to_the_most_and_are_never_nothing(self, attempt: int, seed: int) -> None:
        policy = RetryPolicy(tries=60, first_us=seconds(2), most_us=seconds(600))
        delay = policy.delay_us(attempt, random.Random(seed).randrange)
        full = min(seconds(600), seconds(2) * 2 ** min(attempt - 1, 40))
        assert full // 2 <= delay <= full
