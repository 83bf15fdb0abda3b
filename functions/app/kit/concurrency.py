"""Threads and waiting, as a port: what lets one piece of work wait for another, or for time to pass.

Production uses threads. The simulator brings greenlets and virtual time, so that code which waits is tested as it is
deployed. Locks are not part of the port: no code of ours waits while it holds one, so `threading.Lock` serves both.
"""

import threading
import time
from collections.abc import Callable
from typing import Protocol


class Signal(Protocol):
    """The part of `threading.Event` that is used."""

    def set(self) -> None: ...
    def clear(self) -> None: ...
    def is_set(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> bool:
        """Waits until it is set, at most `timeout` seconds; whether it is set."""
        ...


class Task(Protocol):
    """Work that was started beside the caller's."""

    def join(self) -> None:
        """Waits for its end."""
        ...


class Concurrency(Protocol):
    """The port."""

    def signal(self) -> Signal:
        """A new signal, not set."""
        ...

    def start(self, name: str, body: Callable[[], None]) -> Task:
        """Runs `body` beside the caller, until the process ends at the latest. `body` raises nothing."""
        ...

    def sleep_us(self, delay_us: int) -> None:
        """Waits."""
        ...

    def monotonic_us(self) -> int:
        """A clock that never goes back; only differences mean something."""
        ...


class Threads:
    """The port over the standard library."""

    def signal(self) -> Signal:
        return threading.Event()

    def start(self, name: str, body: Callable[[], None]) -> Task:
        # With a context of its own: what outlives a request must not log in the name of that request's user.
        thread = threading.Thread(target=body, name=name, daemon=True)
        thread.start()
        return thread

    def sleep_us(self, delay_us: int) -> None:
        time.sleep(delay_us / 1_000_000)

    def monotonic_us(self) -> int:
        return time.monotonic_ns() // 1_000
