"""The thread that writes live text and reads cancels: one per instance, started when the first answer begins.

Not earlier: functions are loaded in one process and served in another that is forked from it, and a thread that was
started at import would not be in the second.
"""

import threading
from typing import Final

from app.chat.live.instances import Beats
from app.chat.live.running import Running
from app.chat.live.stream_mirror import EVERY_US, Closing, Coalescer, send
from app.kit import telemetry
from app.kit.clock import Clock
from app.kit.concurrency import Concurrency, Task
from app.kit.errors import Fault
from app.kit.stores.realtime import Json, Realtime

POLL_EVERY: Final = 4
"""While answers are given, cancels are read with every fourth update of the live text."""
_DRAIN_US: Final = 2_000_000

_log = telemetry.log("chat.flusher")


def cancel_path(instance: str, message_id: str = "") -> str:
    """Where a request leaves a cancel for the instance that gives the answer. Servers only."""
    return f"orchestration/cancels/{instance}/{message_id}".rstrip("/")


class Flusher:
    """A `StreamMirror` that a thread writes."""

    def __init__(
        self, realtime: Realtime, clock: Clock, running: Running, instance: str, concurrency: Concurrency
    ) -> None:
        self.coalescer = Coalescer(clock)
        self._realtime = realtime
        self._running = running
        self._instance = instance
        self._beats = Beats(realtime, clock, instance)
        self._concurrency = concurrency
        self._lock = threading.Lock()
        self._work = concurrency.signal()
        self._ended = concurrency.signal()
        self._stopped = concurrency.signal()
        self._next_send = concurrency.signal()
        """Set when the next update was sent; it is then replaced by a new signal."""
        self._task: Task | None = None

    def open(self, uid: str, message_id: str, model: str, *, attempt: int = 1, keep: bool = False) -> None:
        self.coalescer.open(uid, message_id, model, attempt=attempt, keep=keep)
        if self._task is None:
            self._start()
        self._work.set()

    def explain(self, message_id: str, because: str) -> None:
        self.coalescer.explain(message_id, because)

    def append(self, message_id: str, text: str, *, attempt: int = 0) -> None:
        self.coalescer.append(message_id, text, attempt=attempt)

    def close(self, message_id: str, closing: Closing, *, attempt: int = 0) -> None:
        self.coalescer.close(message_id, closing, attempt=attempt)
        self._work.set()
        self._ended.set()

    def leave(self, message_id: str, *, attempt: int) -> None:
        self.coalescer.leave(message_id, attempt=attempt)

    def drained(self, message_id: str) -> None:
        until_us = self._concurrency.monotonic_us() + _DRAIN_US
        while True:
            # Taken before the look: an update that ends between the two has set it.
            sent = self._next_send
            if not self.coalescer.live(message_id) or not sent.wait(self._seconds_until(until_us)):
                return

    def stop(self) -> None:
        """Ends the thread. For tests; a function's instance never stops it."""
        self._stopped.set()
        self._work.set()
        self._ended.set()
        if self._task is not None:
            self._task.join()

    def _start(self) -> None:
        with self._lock:
            if self._task is None:
                self._task = self._concurrency.start("stream-mirror", self._run)

    def _run(self) -> None:
        turn = 0
        while not self._stopped.is_set():
            self._work.wait()
            due_us = self._concurrency.monotonic_us() + EVERY_US
            turn += 1
            try:
                self._serve(turn, due_us)
            except Exception as error:  # noqa: BLE001 - the edge of this task: without it no stream is mirrored any more
                _log.error("live_text_turn_failed", exc_info=error)
                self._stopped.wait(self._seconds_until(due_us))

    def _serve(self, turn: int, due_us: int) -> None:
        # Ends leave at once. Beginnings wait their turn: at once they would take the CPU from the very request that
        # is about to ask the vendor.
        while (left := self._seconds_until(due_us)) and self._ended.wait(left) and not self._stopped.is_set():
            self._ended.clear()
            self._send(ends_only=True)
        self._send()
        if answers := self.coalescer.answers:
            self._beats.beat(answers)
        if turn % POLL_EVERY == 0 and len(self._running):
            self._hear_cancels()
        self._rest_if_idle()

    def _send(self, *, ends_only: bool = False) -> None:
        if send(self.coalescer, self._realtime, ends_only=ends_only):
            sent, self._next_send = self._next_send, self._concurrency.signal()
            sent.set()

    def _seconds_until(self, until_us: int) -> float:
        return max(0, until_us - self._concurrency.monotonic_us()) / 1_000_000

    def _rest_if_idle(self) -> None:
        if self.coalescer.busy or len(self._running):
            return
        self._work.clear()
        # An answer that began meanwhile set the event before it was cleared, and is seen here, or sets it again.
        if self.coalescer.busy:
            self._work.set()

    def _hear_cancels(self) -> None:
        try:
            asked = self._realtime.get(cancel_path(self._instance))
            if not isinstance(asked, dict) or not asked:
                return
            for message_id in asked:
                self._running.stop(message_id)
            heard: dict[str, Json] = {cancel_path(self._instance, message_id): None for message_id in asked}
            self._realtime.update(heard)
        except Fault as fault:
            _log.warning("cancels_not_read", reason=str(fault))
