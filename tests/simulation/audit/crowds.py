"""What a crowd at the counter may expect: everybody once, no more at once than there is room, fair turns, and soon.

Limits hold in every weather in which slots are neither lost nor outlived; turns and speed are judged in calm weather.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from app.kit.stores.documents import int_field
from app.kit.stores.realtime import Json
from simulation.audit.records import Records
from simulation.machine.kernel import CALM, Instance
from simulation.outside.counter import CLERK, LANE, SEATS, Served
from simulation.people.crowd import SECOND, Told
from simulation.world import World

_OVERTAKEN: Final = 4 * SEATS
"""Starts of one other account that somebody who waits may see before a turn comes: four for each seat."""
_FIRST_COME: Final = 20
"""Later orders of an account that may start before an earlier one of the same account."""
_HEARD_US: Final = 3 * SECOND
"""How soon a pause is heard, see `doorbell.LOOK_US`."""
_ENTERED_US: Final = SECOND
"""From an order's acceptance until every runner may know of it."""
_WAKE_US: Final = 20 * SECOND
"""How long a ticket that only wakes runners may stay."""
_SPARE_US: Final = 8 * SECOND
_CLOCKS_US: Final = 4 * SECOND
"""More than any two clocks differ."""
_WAKES: Final = f"orchestration/queue/{LANE}"
_SLOTS: Final = "orchestration/slots/"

Found = Iterator[str]


class Crowds:
    """Watches the counter."""

    def __init__(self, world: World, told: Told) -> None:
        self._world, self._told = world, told
        self._calm = world.faults == CALM
        self._wakes: dict[str, int] = {}
        self._holders: dict[str, tuple[Instance, int]] = {}
        """Whose the slots of all lanes are, by their path."""
        self._spoilt: set[str] = set()
        """Slots that somebody wrote who had stood still on the way: whose they are, nobody can know any more."""
        self._extended: dict[tuple[Instance | None, str], int] = {}
        """Until when whoever had a slot last extended it."""
        self._found: list[str] = []
        world.realtime.real.before_write.append(self._written)
        world.realtime.tries.append(self._tried)

    def verdict(self, records: Records) -> Found:
        """Every violation, once all is quiet."""
        yield from self._found
        yield from self._once(records)
        desk, faults = self._world.outside.desk, self._world.faults
        if not (faults.stall or faults.amnesia):
            for name, most in ((LANE, SEATS), (CLERK, 1)):
                if desk.most[name] > most:
                    yield f"{desk.most[name]} are served at once by the {name}, which takes {most}"
        if self._calm and self._told.wishes:
            yield from self._prompt()
            yield from self._rested()
            yield from self._fair()
            yield from self._first_come()

    def _once(self, records: Records) -> Found:
        for order in self._told.wishes:
            mark = records.one(f"marks/{order}")
            count = int_field(mark.fields, "n") if mark else 0
            if count != 1:
                yield f"{order} of the crowd was accepted and has {count} effects"

    def _prompt(self) -> Found:
        """A backlog is worked off at half of the speed that the seats allow, or faster, without the scheduler."""
        wishes, since = self._told.wishes, self._told.since_us
        clerk_us = sum(one.takes_us for one in wishes.values() if one.clerk)
        work_us = max(clerk_us, sum(one.takes_us for one in wishes.values()) // SEATS)
        longest_us = max(one.takes_us for one in wishes.values())
        rested_us = sum(rest.ends_us - rest.begins_us for rest in self._told.rests)
        began_us = min(since.values())
        starts = [one for one in self._world.outside.desk.served if one.order in wishes]
        took_us = max(one.at_us for one in starts) - began_us if starts else 0
        most_us = (3 * work_us) // 2 + longest_us + rested_us + _SPARE_US
        if took_us > most_us:
            yield f"{len(starts)} of the crowd began within {took_us / 1e6:.0f} s, {most_us / 1e6:.0f} s are enough"

    def _rested(self) -> Found:
        for rest in self._told.rests:
            for one in self._world.outside.desk.served:
                if rest.begins_us + _HEARD_US < one.at_us < rest.ends_us:
                    yield f"{one.order} began at a counter that rests"

    def _fair(self) -> Found:
        """Nobody waits for more than a few orders of another account of the same priority."""
        served = self._world.outside.desk.served
        for place, one in enumerate(served):
            wish = self._told.wishes.get(one.order)
            if wish is None or wish.clerk:
                continue
            before = self._mine_before(one, place)
            ready_us = max(before, self._told.since_us[one.order] + _ENTERED_US)
            meanwhile: dict[str, int] = {}
            for other in served[:place]:
                if other.at_us > ready_us and other.priority is one.priority and other.account != one.account:
                    meanwhile[other.account] = meanwhile.get(other.account, 0) + 1
            for account, count in meanwhile.items():
                if count > _OVERTAKEN and not self._by_clerk(account):
                    yield f"{one.order} of {one.account} waited for {count} orders of {account}"

    def _mine_before(self, one: Served, place: int) -> int:
        """When the last start of the same account and priority was."""
        mine = [
            other.at_us
            for other in self._world.outside.desk.served[:place]
            if (other.account, other.priority) == (one.account, one.priority)
        ]
        return max(mine, default=0)

    def _by_clerk(self, account: str) -> bool:
        return any(wish.clerk and wish.account == account for wish in self._told.wishes.values())

    def _first_come(self) -> Found:
        """Who came long before others of the same account starts before most of them."""
        since = self._told.since_us
        lines: dict[tuple[str, object], list[Served]] = {}
        for one in self._world.outside.desk.served:
            if one.order in since:
                lines.setdefault((one.account, one.priority), []).append(one)
        for starts in lines.values():
            for place, one in enumerate(starts):
                later = sum(since[other.order] > since[one.order] + SECOND for other in starts[:place])
                if later > _FIRST_COME:
                    yield f"{one.order} of {one.account} was overtaken by {later} that came later"

    def _written(self, values: Mapping[str, Json]) -> None:
        now_us = self._world.kernel.now_us
        for path, value in values.items():
            if path.startswith(f"{_WAKES}/") and "-wake_" in path:
                if value is not None:
                    self._wakes.setdefault(path, now_us)
                else:
                    self._wakes.pop(path, None)
            elif path.startswith(_SLOTS) and path.count("/") == 4 and "/slots/" in path:
                self._slot(path, value)
            elif path.startswith(_SLOTS) and path.endswith("/until") and isinstance(value, int) and value <= now_us:
                self._spoilt.add(path.removesuffix("/until"))
        self._old_wakes(now_us)

    def _old_wakes(self, now_us: int) -> None:
        """Tickets that only wake runners are taken down, also while no runner finds room."""
        old = [path for path, since_us in self._wakes.items() if since_us < now_us - _WAKE_US]
        if self._calm and old:
            self._found.append(f"{len(old)} tickets that only wake runners have stood for long: {old[0]}")
            self._wakes.clear()

    def _slot(self, path: str, value: Json) -> None:
        process = self._world.kernel.current
        if value is None:
            self._holders.pop(path, None)
        elif isinstance(value, dict) and process is not None and process.instance is not None:
            until_us = value.get("until")
            # What was on its way while its writer stood still makes nobody a holder.
            if isinstance(until_us, int) and until_us > self._world.kernel.now_us:
                self._holders[path] = process.instance, self._world.kernel.now_us
            else:
                self._spoilt.add(path)

    def _tried(self, values: Mapping[str, Json]) -> None:
        """Who extends a slot or gives it back has it. What the database has lost is nobody's.

        An extension may have been on its way while its instance stood still, which nobody can know.
        """
        process = self._world.kernel.current
        if process is None or self._world.faults.amnesia:
            return
        for path, value in values.items():
            slot = path.removesuffix("/until")
            (holder, since_us), mine = self._holders.get(slot, (None, 0)), (process.instance, slot)
            # By how much clocks differ, it may have been taken a little early; and the dead hold nothing.
            known = since_us < self._world.kernel.now_us - _CLOCKS_US
            foreign = holder is not None and holder is not process.instance and not holder.dead and known
            if slot in self._spoilt:
                continue
            if path != slot and isinstance(value, int):
                self._extended[mine] = value
            elif value is not None or self._extended.get(mine, 0) > self._world.kernel.now_us:
                continue
            if foreign:
                self._found.append(f"{path} was written by an instance that another had taken it from")
