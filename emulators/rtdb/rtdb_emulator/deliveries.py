"""Sends trigger events to the functions emulator: in order per trigger and location, different ones
in parallel, never retried. Knows no HTTP; the sender is given.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from rtdb_emulator.database import Commit
from rtdb_emulator.faults import AS_USUAL, Fate, FaultPlan, Faults
from rtdb_emulator.json_text import Json
from rtdb_emulator.paths import Path, to_text
from rtdb_emulator.triggers import Firing, Trigger, event_body, firings

_LOG: Final = logging.getLogger(__name__)
_REMEMBERED: Final = 2000

Sender: TypeAlias = Callable[[Trigger, dict[str, Json]], Awaitable[int]]
"""Posts one event and gives the HTTP status; raises OSError when nobody answers."""

_Lane: TypeAlias = tuple[str, str, Path]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event as it was sent, for tests to look at. Status 0: nobody answered."""

    event_id: str
    trigger: str
    namespace: str
    location: str
    status: int


class Deliveries:
    """All triggers and the events on their way."""

    def __init__(self, sender: Sender, *, parallel: int, new_id: Callable[[], str]) -> None:
        """`parallel` limits how many events are under way at once; 0 means no limit."""
        self.triggers: dict[str, Trigger] = {}
        self.log: deque[Delivery] = deque(maxlen=_REMEMBERED)
        self.dropped = 0
        self.faults: Faults | None = None
        self._sender = sender
        self._new_id = new_id
        self._limit = asyncio.Semaphore(parallel or 1_000_000)
        self._lanes: dict[_Lane, deque[tuple[Firing, str, Fate]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def pending(self) -> int:
        """Events that wait or are under way."""
        return self._pending

    def register(self, trigger: Trigger) -> None:
        """Add a trigger, or replace the one of the same name."""
        self.triggers[trigger.name] = trigger
        _LOG.info("trigger %s on %s (%s)", trigger.name, trigger.path, trigger.kind)

    def plan(self, plan: FaultPlan | None) -> None:
        """Faults for the events to come; None for none."""
        self.faults = Faults(plan) if plan is not None else None

    def committed(self, commit: Commit) -> None:
        """Start the deliveries that a commit means."""
        for trigger in self.triggers.values():
            for firing in firings(trigger, commit):
                self._start(firing)

    async def idle(self) -> None:
        """Wait until no event waits or is under way."""
        await self._idle.wait()

    async def stop(self) -> None:
        """Give up on everything, and start nothing new."""
        self.triggers.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, firing: Firing) -> None:
        event_id = self._new_id()
        fate = self.faults.fate(firing.trigger.name) if self.faults is not None else AS_USUAL
        if fate.copies == 0:
            self.dropped += 1
            return
        self._pending += 1
        self._idle.clear()
        if fate.out_of_order:
            self._spawn(self._deliver(firing, event_id, fate))
            return
        lane = (firing.trigger.name, firing.commit.namespace, firing.location)
        waiting = self._lanes.get(lane)
        if waiting is None:
            self._lanes[lane] = deque([(firing, event_id, fate)])
            self._spawn(self._drain(lane))
        else:
            waiting.append((firing, event_id, fate))

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self, lane: _Lane) -> None:
        waiting = self._lanes[lane]
        while waiting:
            await self._deliver(*waiting.popleft())
        del self._lanes[lane]

    async def _deliver(self, firing: Firing, event_id: str, fate: Fate) -> None:
        try:
            if fate.delay_ms:
                await asyncio.sleep(fate.delay_ms / 1000)
            body = event_body(firing, event_id)
            if body is not None:
                await self._send_copies(firing, body, event_id, fate.copies)
        except Exception:  # the event edge: a bug in one event must not hold up those behind it  # noqa: BLE001
            _LOG.exception("event of trigger %s at /%s lost", firing.trigger.name, to_text(firing.location))
        finally:
            self._pending -= 1
            if self._pending == 0:
                self._idle.set()

    async def _send_copies(self, firing: Firing, body: dict[str, Json], event_id: str, copies: int) -> None:
        for _ in range(copies):
            async with self._limit:
                self._note(firing, event_id, await self._send(firing.trigger, body))

    async def _send(self, trigger: Trigger, body: dict[str, Json]) -> int:
        try:
            return await self._sender(trigger, body)
        except OSError as error:
            _LOG.warning("trigger %s: %s", trigger.name, error)
            return 0

    def _note(self, firing: Firing, event_id: str, status: int) -> None:
        if status >= 300:
            _LOG.warning("trigger %s answered %d", firing.trigger.name, status)
        where = to_text(firing.location)
        self.log.append(Delivery(event_id, firing.trigger.name, firing.commit.namespace, where, status))
