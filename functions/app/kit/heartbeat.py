"""Calls a function periodically while other work runs, such as the renewal of a lease.

Knows nothing of what it calls. The simulator has one of its own, which its scheduler drives.
"""

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Heartbeat(Protocol):
    """The port."""

    def during(self, every_us: int, beat: Callable[[], None]) -> AbstractContextManager[None]:
        """Calls `beat` every `every_us` microseconds while the body runs; none is running any more afterwards.

        `beat` must not raise: nothing would catch it.
        """
        ...


class ThreadHeartbeat:
    """Beats in a thread that lives as long as the work."""

    @contextmanager
    def during(self, every_us: int, beat: Callable[[], None]) -> Iterator[None]:
        over = threading.Event()

        def keep() -> None:
            while not over.wait(every_us / 1_000_000):
                beat()

        # In the context of the work, so that what a beat logs carries the same ids.
        work = contextvars.copy_context()
        thread = threading.Thread(target=work.run, args=(keep,), name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
