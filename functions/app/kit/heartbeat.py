"""Something that is done again and again while other work goes on, such as keeping a lease.

Knows nothing of what is kept. A simulation brings one that its scheduler owns.
"""

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Heartbeat(Protocol):
    """The port."""

    def during(self, every_us: int, beat: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `beat` every so often while the body runs. No beat is under way any more when the body's end is passed.

        `beat` raises nothing: there is nobody to hear it.
        """
        ...


class ThreadHeartbeat:
    """A thread beside the work, for as long as that lasts."""

    @contextmanager
    def during(self, every_us: int, beat: Callable[[], None]) -> Iterator[None]:
        over = threading.Event()

        def keep() -> None:
            while not over.wait(every_us / 1_000_000):
                beat()

        # The lines that a beat logs belong to the work that it keeps.
        work = contextvars.copy_context()
        thread = threading.Thread(target=work.run, args=(keep,), name="pulse", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
