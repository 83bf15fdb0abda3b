"""A yard whose mason is busy: hundreds wait for him, and others want the smith, who is free; then the foreman rests,
and an administrator looks how much waits. In calm weather, in which all of that can be told in seconds.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast
from zlib import crc32

from app.api.auth import Principal
from app.kit.clock import minutes, seconds
from app.kit.stores.realtime import Json
from app.orchestration.queue.ticket import vendor_mark, wake_ticket
from simulation.drills.orders import Orders
from simulation.edge import HttpRequest
from simulation.outside.counter import MASON, YARD
from simulation.people.door import Door
from simulation.world import World

_QUEUE: Final = f"orchestration/queue/{YARD}"
_GHOSTS: Final = 470
"""More than whoever looks for work reads."""
_WAKES: Final = 1_100
"""More than an answer counts."""
_SMITH_US: Final = seconds(15)
"""By then the smith has begun: three seats are free after five seconds."""
_RESTS_US: Final = seconds(150)
"""Two sweeps come meanwhile, and whoever waits is overdue."""


class Yard:
    """Plays both scenes."""

    def __init__(self, world: World) -> None:
        self._world, self._kernel = world, world.kernel
        self._orders, self._door = Orders(world, "yard"), Door(world, "yard")
        self._token = world.outside.tokens.issue(Principal("bailiff", "admin"))
        self._rests = False
        self.found = self._door.found
        world.realtime.real.before_write.append(self._written)

    def live(self) -> None:
        """One after the other."""
        self._kernel.sleep(self._kernel.random.randrange(seconds(60)))
        self._busy()
        self._kernel.sleep(seconds(60))
        self._rest()

    def verdict(self) -> Iterator[str]:
        """Each of its orders was done once."""
        yield from self._orders.verdict()

    def _busy(self) -> None:
        """All seats are taken when the smith is wanted. They are free soon, and only the mason goes on."""
        order, real = self._orders.order, self._world.realtime.real
        self._orders.enter([order("yard.mason", 60), order("yard.work", 4), order("yard.work", 4)])
        self._kernel.sleep(seconds(2))
        ghosts = {f"{_QUEUE}/{name}": value for name, value in _ghosts(self._kernel.now_us)}
        real.update(ghosts)
        wanted = [order("yard.smith", 1) for _ in range(3)]
        self._orders.enter(wanted)
        self._kernel.sleep(_SMITH_US)
        real.update(dict.fromkeys(ghosts))
        begun = {one.order for one in self._world.outside.desk.worked}
        if late := [str(one.once) for one in wanted if one.once not in begun]:
            self.found.append(f"{late} want the smith, who is free, and stand behind those who want the mason")

    def _rest(self) -> None:
        """Nothing starts meanwhile, no runner is woken in vain, and what waits is told however much is woken."""
        self._sure("pause")
        self._kernel.sleep(seconds(3))
        self._rests = True
        waiting = [self._orders.order("yard.work", 1) for _ in range(2)]
        self._orders.enter(waiting)
        self._kernel.sleep(_RESTS_US)
        self._rests = False
        now_us, real = self._kernel.now_us, self._world.realtime.real
        wakes = [wake_ticket(YARD, now_us, f"old{number}") for number in range(_WAKES)]
        real.update({f"{_QUEUE}/{one.name}": one.value for one in wakes})
        heard = self._door.ask(HttpRequest("GET", "/v1/orchestration/lanes", self._token))
        real.update(dict.fromkeys(f"{_QUEUE}/{one.name}" for one in wakes))
        lanes = cast(Sequence[Mapping[str, object]], heard.fields["lanes"]) if heard and heard.status == 200 else ()
        told = [lane["waiting"] for lane in lanes if lane["lane"] == YARD]
        if told != [len(waiting)]:
            self.found.append(f"{len(waiting)} wait in the yard, and an administrator is told {told}")
        self._sure("resume")
        self._kernel.sleep(minutes(1))

    def _sure(self, act: str) -> None:
        for number in range(8):
            headers = {"Idempotency-Key": f"yard-{act}-{number}"}
            heard = self._door.ask(
                HttpRequest("POST", f"/v1/orchestration/lanes/{YARD}/{act}", self._token, b"{}", headers=headers)
            )
            if heard is not None and heard.status == 200:
                return

    def _written(self, values: Mapping[str, Json]) -> None:
        """Nobody is woken for a lane that rests."""
        process = self._kernel.current
        if not self._rests or process is None or not process.name.startswith("chore"):
            return
        if woken := [path for path, value in values.items() if path.startswith(_QUEUE) and "-wake_" in path and value]:
            self.found.append(f"the yard rests, and the sweep wakes {len(woken)} runners for it")


def _ghosts(now_us: int) -> Iterator[tuple[str, Json]]:
    """Tickets of as many accounts that want the mason. Their operations are gone, so that nothing is left of them."""
    for number in range(_GHOSTS):
        account = crc32(f"account/ghost{number}".encode())
        id = f"op_ghost{number}"
        name = f"2-{vendor_mark(MASON)}{account:08x}-{now_us // 1000:013d}-{id}"
        yield name, {"id": id, "key": None, "vendor": MASON, "position": 0}
