"""Admission to a lane: limits, ordering keys, vendors, and fair shares without starvation. Delays between tries."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kit.clock import seconds
from app.kit.stores.realtime import Json
from app.orchestration.queue.admission import (
    SHARES,
    Busy,
    LaneState,
    Slot,
    SlotTurns,
    admit,
    busy,
    free_for,
    free_slots,
    pick,
    read_lane,
    read_turns,
    slot_node,
    turns_node,
)
from app.orchestration.queue.handler import Lane
from app.orchestration.queue.operation import Priority
from app.orchestration.queue.retry import RetryPolicy
from app.orchestration.queue.ticket import Ticket, read_ticket, sublane_of, vendor_mark, wake_ticket

NOW = 1_800_000_000_000_000
NEW = read_turns("s0", None)


def ticket(
    number: int,
    priority: Priority = Priority.NORMAL,
    key: str | None = None,
    vendor: str | None = None,
    account: str | None = "alice",
) -> Ticket:
    due_ms, sublane = 1_800_000_000_000 + number, sublane_of(vendor, account, key, f"op_{number}")
    name = f"{int(priority)}-{sublane}-{due_ms:013d}-op_{number}"
    return Ticket(name, f"op_{number}", "lane", priority, due_ms, sublane, key, vendor, number)


def oldest(_: int) -> int:
    """Draws what stands first."""
    return 0


def state(*slots: Slot, paused: bool = False) -> LaneState:
    return LaneState(paused, {f"s{number}": slot for number, slot in enumerate(slots)}, {})


def starts(tickets: Sequence[Ticket], count: int, turns: SlotTurns = NEW) -> list[Ticket]:
    """The first `count` starts of one slot."""
    waiting, seen = [*tickets], list[Ticket]()
    while waiting and len(seen) < count:
        chosen = pick(turns, waiting, Busy(), oldest)
        assert chosen is not None
        turns = admit(turns, chosen)
        waiting.remove(chosen)
        seen.append(chosen)
    return seen


class TestRoom:
    def test_a_full_or_paused_lane_has_no_free_slot(self) -> None:
        lane, running = Lane("lane", limit=2), Slot(NOW + 1, "op_9")
        assert free_slots(lane, state(running), NOW) == ["s1"]
        assert free_slots(lane, state(running, running), NOW) == []
        assert free_slots(lane, state(running, paused=True), NOW) == []

    def test_a_slot_whose_time_is_over_blocks_nobody(self) -> None:
        lane = Lane("lane", limit=1, vendor_limits={"acme": 1})
        left = replace(state(Slot(NOW, "op_9", "alice", "acme")), vendors={vendor_mark("acme"): {"s0": NOW}})
        assert free_slots(lane, left, NOW) == ["s0"]
        assert busy(lane, left, NOW) == Busy()

    def test_a_vendor_is_busy_when_all_its_slots_are_taken(self) -> None:
        lane = Lane("lane", vendor_limits={"acme": 2})
        one = replace(state(), vendors={vendor_mark("acme"): {"s1": NOW + 1}})
        assert free_for(lane, one, "acme", NOW) == ["s0"]
        both = replace(state(), vendors={vendor_mark("acme"): {"s0": NOW + 1, "s1": NOW + 1}})
        assert busy(lane, both, NOW).vendors == {"acme"}


class TestPicking:
    def test_the_oldest_of_an_account_goes_first_while_nothing_runs(self) -> None:
        asked: list[int] = []

        def draw(among: int) -> int:
            asked.append(among)
            return among - 1

        waiting = [ticket(2), ticket(1), ticket(3)]
        assert pick(NEW, waiting, Busy(), draw) == ticket(1)
        assert pick(NEW, waiting, Busy(runs=1), draw) == ticket(2), "slots that decide at once spread"
        assert asked == [1, 2]

    def test_a_busy_key_a_busy_vendor_and_what_runs_are_stepped_over(self) -> None:
        beside = Busy(frozenset({"op_4"}), frozenset({"alice"}), frozenset({"acme"}))
        waiting = [ticket(1, key="alice"), ticket(2, vendor="acme"), ticket(4), ticket(3)]
        assert pick(NEW, waiting, beside, oldest) == ticket(3)
        assert pick(NEW, waiting[:3], beside, oldest) is None

    @given(st.lists(st.sampled_from(list(Priority)), min_size=1, max_size=30))
    def test_everything_gets_its_turn(self, priorities: list[Priority]) -> None:
        waiting = [ticket(number, priority) for number, priority in enumerate(priorities)]
        seen = starts(waiting, len(waiting))
        assert len(seen) == len(waiting)
        for priority in Priority:
            of_it = [one for one in seen if one.priority is priority]
            assert of_it == sorted(of_it, key=lambda one: one.name)

    def test_a_class_that_was_idle_cannot_save_up(self) -> None:
        turns = NEW
        for number in range(80):
            turns = admit(turns, ticket(number, Priority.LOW))
        both = [
            ticket(number, priority) for priority in (Priority.CRITICAL, Priority.LOW) for number in range(100, 140)
        ]
        assert [one.priority for one in starts(both, 20, turns)].count(Priority.LOW) == 2
        assert SHARES[Priority.CRITICAL] == 8 * SHARES[Priority.LOW]

    @pytest.mark.parametrize("other", ["bob", "carol", "dave", "erin"])
    def test_accounts_take_turns(self, other: str) -> None:
        """T-113: whatever the order of their names."""
        many = [ticket(number) for number in range(500)]
        first = starts([*many, *(ticket(900 + number, account=other) for number in range(3))], 6)
        assert [one.sublane for one in first].count(sublane_of(None, other, None, "")) == 3

    def test_an_account_has_one_turn_however_many_keys_it_uses(self) -> None:
        many = [ticket(number, key=f"conversation-{number}") for number in range(50)]
        assert len({one.sublane for one in many}) == 1

    def test_the_turns_of_one_priority_do_not_skip_an_account_of_another(self) -> None:
        """The sublane served last is remembered by priority: urgent work must not move the turns of the rest."""
        urgent = [ticket(number, Priority.CRITICAL, account="root") for number in range(40)]
        rest = [ticket(100 + number, account=account) for account in ("alice", "bob", "carol") for number in range(8)]
        seen = [one.sublane for one in starts([*urgent, *rest], 30) if one.priority is Priority.NORMAL]
        assert set(seen[:3]) == {one.sublane for one in rest}


class TestTheNodes:
    @given(
        st.dictionaries(st.sampled_from(list(Priority)), st.integers(0, 2**40), max_size=4),
        st.integers(0, 2**40),
        st.dictionaries(st.sampled_from(list(Priority)), st.from_regex(r"v[0-9a-f]{16}", fullmatch=True)),
    )
    def test_turns_come_back_as_they_were(
        self, passes: dict[Priority, int], turn: int, last: dict[Priority, str]
    ) -> None:
        turns = SlotTurns(passes, turn, {**NEW.last, **last})
        assert read_turns("s0", turns_node(turns)) == turns

    def test_a_slot_comes_back_as_it_was(self) -> None:
        slot = Slot(NOW, "op_1", "k", None)
        assert read_lane({"slots": {"s3": slot_node(slot)}}).slots == {"s3": slot}

    def test_anything_odd_in_the_database_counts_as_not_there(self) -> None:
        odd: list[Json] = [None, 5, "text", {"slots": 3, "vendors": [1], "refused": "x"}, {"slots": {"a": None}}]
        for value in odd:
            assert free_slots(Lane("lane", limit=1), read_lane(value), NOW) == ["s0"]
            assert read_turns("s0", value) == NEW
        assert read_ticket("lane", "not a ticket", {}) is None

    def test_what_an_earlier_deployment_left_takes_no_room_but_stays_paused(self) -> None:
        left: Json = {"paused": True, "turn": 4, "passes": {"p2": 8}, "running": {"op_1": {"until": NOW + 1}}}
        assert read_lane(left, paused=True) == replace(state(), paused=True)

    def test_a_ticket_of_an_earlier_deployment_is_read(self) -> None:
        value: Json = {"id": "op_1", "key": "k", "vendor": None, "position": 7}
        old = read_ticket("lane", "2-1800000000000-op_1", value)
        assert old is not None
        assert (old.operation_id, old.priority, old.key, old.position) == ("op_1", Priority.NORMAL, "k", 7)
        assert old.behind_sublane == old.behind_vendor == "2-1800000000000-op_1~", "its name says no sublane"

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
