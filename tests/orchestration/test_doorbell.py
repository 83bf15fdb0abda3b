"""Tickets and slots in the Realtime Database: what is read and written, and what a trigger and a leaving runner see."""

from collections.abc import Mapping, Sequence

import pytest

from app.kit.clock import seconds
from app.kit.errors import Unavailable
from app.kit.stores.documents import Write
from app.kit.stores.realtime import Json
from app.orchestration.queue.admission import Wanted
from app.orchestration.queue.doorbell import LANES, QUEUE, SLOTS, WINDOW, TakenSlot
from app.orchestration.queue.handler import Handler, Lane
from app.orchestration.queue.operation import Priority
from app.orchestration.queue.ticket import Ticket, sublane_of, vendor_mark
from orchestration.shop import Shop, Spy, order

LANE = Lane("lane", 2, {"acme": 1})
EVERYTHING = Wanted(everything=True)


def ticket(number: int, account: str = "alice", vendor: str | None = None) -> Ticket:
    due_ms, sublane = 1_800_000_000_000 + number, sublane_of(vendor, account, None, "")
    return Ticket(
        f"2-{sublane}-{due_ms}-op_{number}", f"op_{number}", "lane", Priority.NORMAL, due_ms, sublane, None, vendor
    )


class Counter:
    """A shop's doorbell, and what it is asked."""

    def __init__(self) -> None:
        self.shop = Shop([Handler("work", Spy())])
        self.bell = self.shop.doorbell
        self.written: list[str] = []
        self.shop.realtime.before_write.append(self._note)

    @property
    def now_us(self) -> int:
        return self.shop.clock.now_us()

    def admit(self, wanted: Wanted = EVERYTHING) -> TakenSlot | None:
        return self.bell.admit(LANE, now_us=self.now_us, until_us=self.now_us + seconds(60), wanted=wanted)

    def one(self, which: Ticket) -> TakenSlot | None:
        return self.bell.admit_one(LANE, which, now_us=self.now_us, until_us=self.now_us + seconds(60))

    def next(self, slot: TakenSlot | None) -> Ticket | None:
        assert slot is not None
        return slot.next(now_us=self.now_us, until_us=self.now_us + seconds(60))

    def overtaken(self) -> None:
        """Lets a slot's time pass, and other runners take all of the lane."""
        self.shop.clock.advance(seconds=61)
        taken = [self.admit(), self.admit()]
        assert all(self.next(slot) for slot in taken)

    def _note(self, values: Mapping[str, Json]) -> None:
        self.written.extend(values)


class TestASlot:
    def test_is_a_node_of_its_own_and_nothing_above_it_is_written(self) -> None:
        """T-112."""
        asked = Counter()
        asked.bell.ring("lane", [ticket(number) for number in range(3)])
        slot = asked.admit()
        while asked.next(slot) is not None:
            pass
        assert slot is not None
        slot.leave(asked.now_us)
        shared = {f"{SLOTS}/lane", f"{SLOTS}/lane/slots", f"{QUEUE}/lane"}
        assert shared.isdisjoint(asked.written)
        assert asked.shop.realtime.get(f"{SLOTS}/lane") is None
        assert asked.shop.realtime.get(QUEUE) is None

    def test_that_is_over_is_left_to_who_took_it(self) -> None:
        asked = Counter()
        asked.bell.ring("lane", [ticket(number) for number in range(3)])
        slow = asked.admit()
        assert asked.next(slow) is not None
        asked.overtaken()
        assert slow is not None
        assert asked.next(slow) is None
        slow.leave(asked.now_us)
        assert asked.bell.depth("lane", asked.now_us).running == 2

    def test_whose_extension_failed_is_over_when_its_time_is(self) -> None:
        """T-72: another takes it then, and whoever had it must not think that it still does."""
        asked = Counter()
        asked.bell.ring("lane", [ticket(number) for number in range(3)])
        slow = asked.admit()
        assert asked.next(slow) is not None
        assert slow is not None

        def away(_: object) -> None:
            asked.shop.realtime.before_write.remove(away)
            raise Unavailable("no answer")

        asked.shop.realtime.before_write.append(away)
        with pytest.raises(Unavailable):
            slow.extend(now_us=asked.now_us, until_us=asked.now_us + seconds(600))
        asked.overtaken()
        slow.leave(asked.now_us)
        assert asked.bell.depth("lane", asked.now_us).running == 2

    def test_that_is_over_is_not_extended_by_who_had_it(self) -> None:
        """T-72: a runner that stood still extends its operation's lease, and its slot is another's by then."""
        asked = Counter()
        asked.bell.ring("lane", [ticket(number) for number in range(3)])
        slow = asked.admit()
        assert asked.next(slow) is not None
        asked.overtaken()
        before = asked.shop.realtime.get(f"{SLOTS}/lane")
        assert slow is not None
        slow.extend(now_us=asked.now_us, until_us=asked.now_us + seconds(600))
        slow.leave(asked.now_us)
        assert asked.shop.realtime.get(f"{SLOTS}/lane") == before

    def test_of_a_vendor_is_free_again_when_its_operation_has_ended(self) -> None:
        asked = Counter()
        asked.bell.ring("lane", [ticket(number, vendor="acme") for number in range(2)])
        slot = asked.admit()
        assert asked.next(slot) is not None
        assert asked.admit() is None
        assert slot is not None
        slot.leave(asked.now_us)
        assert asked.shop.realtime.get(f"{SLOTS}/lane/vendors/{vendor_mark('acme')}") is None
        assert asked.next(asked.admit()) is not None

    def test_of_a_vendor_is_kept_as_long_as_its_operation_works(self) -> None:
        """T-72: the heartbeat extends both, or the vendor gets more than it can take."""
        asked = Counter()
        asked.bell.ring("lane", [ticket(number, vendor="acme") for number in range(2)])
        slot = asked.admit()
        assert asked.next(slot) is not None
        assert slot is not None
        asked.shop.clock.advance(seconds=50)
        slot.extend(now_us=asked.now_us, until_us=asked.now_us + seconds(60))
        asked.shop.clock.advance(seconds=20)
        assert asked.admit() is None


class TestATrigger:
    def test_starts_its_own_ticket_while_there_is_room(self) -> None:
        asked = Counter()
        asked.bell.ring("lane", [ticket(number) for number in range(3)])
        assert asked.next(asked.one(ticket(2))) == ticket(2)

    def test_takes_turns_with_those_who_were_refused_before_it(self) -> None:
        asked = Counter()
        asked.bell.ring("lane", [ticket(number) for number in range(4)])
        slots = [asked.one(ticket(0)), asked.one(ticket(1))]
        assert all(slots)
        assert asked.one(ticket(2)) is None
        assert slots[0] is not None
        slots[0].leave(asked.now_us)
        assert asked.one(ticket(3)) is None
        assert asked.admit(Wanted(everything=False)) is not None

    def test_leaves_new_tickets_to_their_own_triggers(self) -> None:
        asked = Counter()
        due_ms = asked.now_us // 1000
        asked.bell.ring("lane", [ticket(due_ms - 1_800_000_000_000)])
        assert asked.admit(Wanted(everything=False)) is None
        asked.shop.clock.advance(seconds=3)
        assert asked.admit(Wanted(everything=False)) is not None, "its trigger should have come by now"


class TestAWindowOfABusyVendor:
    def test_is_stepped_over(self) -> None:
        """T-113: whatever the number of accounts that wait for it."""
        asked = Counter()
        waiting = [ticket(number, f"account-{number}", "acme") for number in range(10 * WINDOW)]
        behind = ticket(9_000, "zoe", "other")
        assert behind.sublane > waiting[0].sublane
        asked.bell.ring("lane", [*waiting, behind])
        assert asked.next(asked.one(waiting[0])) == waiting[0]
        assert asked.next(asked.admit()) == behind


class TestAnEarlierDeployment:
    def test_leaves_tickets_that_are_served(self) -> None:
        spy = Spy()
        shop = Shop([Handler("work", spy)])
        shop.rings = False
        identity = shop.queue.enqueue(order(account="alice"))
        value: Json = {"id": identity, "key": None, "vendor": None, "position": 1}
        shop.realtime.update({f"{QUEUE}/default": {f"2-1800000000000-{identity}": value}})
        shop.runner().serve("default")
        assert spy.runs == [identity]
        assert shop.realtime.get(QUEUE) is None


class TestADeployment:
    def test_leaves_the_slots_that_are_taken_though_old_code_writes_its_lane_whole(self) -> None:
        asked = Counter()
        asked.bell.ring("lane", [ticket(number) for number in range(3)])
        held = [asked.one(ticket(0)), asked.one(ticket(1))]
        assert all(held)
        asked.shop.realtime.update({f"{LANES}/lane": {"running": {}, "turn": 3}})
        assert asked.one(ticket(2)) is None, "both slots are taken"


class TestWakes:
    def test_do_not_pile_up_while_a_lane_is_full_or_paused(self) -> None:
        """They would fill the first window, and count as depth."""
        asked = Counter()
        asked.bell.ring("lane", [ticket(number) for number in range(3)])
        held = [asked.one(ticket(0)), asked.one(ticket(1))]
        assert all(held)
        asked.bell.wake("lane", asked.now_us, [f"w{number}" for number in range(9)])
        assert asked.admit() is None
        assert len(asked.shop.realtime.first(f"{QUEUE}/lane", 100)) == 3
        asked.bell.pause("lane", paused=True)
        asked.bell.wake("lane", asked.now_us, [f"w{number}" for number in range(9)])
        assert asked.admit() is None
        assert len(asked.shop.realtime.first(f"{QUEUE}/lane", 100)) == 3


class TestWhatWasRefused:
    def test_of_a_vendor_is_noted_for_whoever_leaves(self) -> None:
        """Two runners look, and one takes the vendor's only slot: the other's ticket has no trigger any more."""
        asked = Counter()
        asked.bell.ring("lane", [ticket(number, vendor="acme") for number in range(2)])
        slots = [asked.admit(), asked.admit()]
        assert [asked.next(slot) is not None for slot in slots] == [True, False]
        noted = asked.shop.realtime.get(f"{SLOTS}/lane/refused")
        assert isinstance(noted, int)
        assert noted >= ticket(0).due_ms

    def test_never_goes_back(self) -> None:
        """A trigger that comes late notes an earlier ticket, and who leaves must still look for the later one."""
        asked = Counter()
        for due_ms in (5_000, 1_000):
            asked.bell._refuse("lane", due_ms)
        noted = asked.shop.realtime.get(f"{SLOTS}/lane/refused")
        assert isinstance(noted, int)
        assert noted >= 5_000


class TestTheDepth:
    def test_is_counted_behind_wakes_that_nobody_served(self) -> None:
        asked = Counter()
        asked.bell.wake("lane", asked.now_us, [f"w{number}" for number in range(1_200)])
        asked.bell.ring("lane", [ticket(number) for number in range(30)])
        depth = asked.bell.depth("lane", asked.now_us)
        assert (depth.tickets, depth.more) == (30, False)

    @pytest.mark.parametrize("tickets", [999, 1_000, 1_001])
    def test_says_when_it_is_more_than_it_counts(self, tickets: int) -> None:
        asked = Counter()
        asked.bell.ring("lane", [ticket(number) for number in range(tickets)])
        depth = asked.bell.depth("lane", asked.now_us)
        assert (depth.tickets, depth.more) == (min(tickets, 1_000), tickets > 1_000)

    def test_is_not_said_to_be_all_when_the_count_was_given_up(self) -> None:
        asked = Counter()
        asked.bell.wake("lane", asked.now_us, [f"w{number}" for number in range(10_000)])
        asked.bell.ring("lane", [ticket(1)])
        assert asked.bell.depth("lane", asked.now_us).more


class TestACommit:
    def test_that_is_refused_rings_for_nothing(self) -> None:
        """T-38: nobody is sent to an operation that does not exist."""
        counter = Counter()

        def refuse(_: Sequence[Write]) -> None:
            raise Unavailable("refused")

        counter.shop.documents.before_commit.append(refuse)
        with pytest.raises(Unavailable):
            counter.shop.queue.enqueue(order())
        assert counter.written == []

    def test_has_happened_before_anybody_hears_of_its_operations(self) -> None:
        counter = Counter()
        stored: list[list[str]] = []
        counter.shop.realtime.before_write.append(
            lambda _: stored.append([path for path in counter.shop.documents.all() if path.startswith("operations/")])
        )
        operation = counter.shop.queue.enqueue(order())
        assert stored
        assert all(paths == [f"operations/{operation}"] for paths in stored)
